"""The array API standard beside nnx: `python docs/array_api.py` writes `docs/array-api.md`.

The names, arguments and methods are those of array-api-strict, which is the standard as a library.
Whether nnx has a name is looked up, which arguments it takes is read from its signature, and a
gradient is tried.  With `--check` the page is only compared with the code.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from pathlib import Path
from typing import Any

import array_api_strict as strict
import numpy as np

import nnx

PAGE = Path(__file__).parent / "array-api.md"
REAL = "nnx computes with real numbers"
WHY_NOT = {
    "conj": REAL,
    "imag": REAL,
    "real": REAL,
    "linalg.eig": REAL + "; `eigh` is for symmetric matrices",
    "linalg.eigvals": REAL + "; `eigvalsh` is for symmetric matrices",
    "__array_namespace_info__": "nnx is no array library: a tensor holds an array of one, whose "
    "namespace is `nnx.active_backend().xp`",
    "__array_namespace__": "as `__array_namespace_info__`",
    "__complex__": REAL,
    "__buffer__": "the memory is the array's: `tensor.data`, or `tensor.numpy()`",
    **{
        f"fft.{name}": "of no use without the transforms"
        for name in ("fftfreq", "rfftfreq", "fftshift", "ifftshift")
    },
    **{
        f"fft.{name}": REAL + ", and its are complex"
        for name in (
            *("fft", "ifft", "fftn", "ifftn", "rfft", "irfft", "rfftn", "irfftn", "hfft", "ihfft"),
        )
    },
}
HEADINGS = {
    "creation": "Creation",
    "data_type": "Data types",
    "elementwise": "Elementwise",
    "indexing": "Indexing",
    "info": "Inspection",
    "linear_algebra": "Products",
    "linalg": "Linear algebra (`nnx.linalg`)",
    "manipulation": "Manipulation",
    "searching": "Searching",
    "set": "Sets",
    "sorting": "Sorting",
    "statistical": "Sums and statistics",
    "utility": "All, any, differences",
    "fft": "Fourier transforms",
}
OPERATORS = {
    "abs": "abs(x)", "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "pow": "**",
    "floor_divide": "//", "remainder": "%", "matmul": "@", "negative": "-x", "positive": "+x",
    "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">",
    "greater_equal": ">=", "bitwise_and": "&", "bitwise_or": "\\|", "bitwise_xor": "^",
    "bitwise_invert": "~", "bitwise_left_shift": "<<", "bitwise_right_shift": ">>",
    "matrix_transpose": ".mT",
}  # fmt: skip
COLUMNS = "| function | gradient | also | not taken |\n| --- | --- | --- | --- |"


def functions() -> dict[str, dict[str, Any]]:
    """The standard's functions: heading -> name -> array-api-strict's."""
    found: dict[str, dict[str, Any]] = {title: {} for title in HEADINGS.values()}
    for name in strict.__all__:
        function = getattr(strict, name)
        if inspect.isfunction(function) and not name.endswith("array_api_strict_flags"):
            found[heading(function)][name] = function
    for room in ("linalg", "fft"):
        module = getattr(strict, room)
        for name in [n for n in sorted(dir(module)) if not n.startswith("_")]:
            function = getattr(module, name)
            if inspect.isfunction(function) and getattr(strict, name, None) is not function:
                if function.__module__ == f"array_api_strict._{room}":
                    found[heading(function)][f"{room}.{name}"] = function
    return {title: dict(sorted(names.items())) for title, names in found.items() if names}


def heading(function: Any) -> str:
    module = function.__module__.rpartition("._")[2].removesuffix("_functions")
    return HEADINGS[module]


def ours(name: str) -> Any:
    """nnx's function of this name, or None."""
    room, _, last = name.rpartition(".")
    place = getattr(nnx, room, None) if room else nnx
    return getattr(place, last, None)


def arguments(function: Any) -> set[str]:
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds}


def gradient(function: Any) -> str:
    """ "yes", "0" where it is always 0, "no" where none comes back, "" where nothing goes in."""
    x = nnx.Tensor(np.asarray([[1.5, 0.25, 0.3], [0.125, 2.5, 0.5], [0.5, 0.75, 1.25]]) / 2, True)
    many = nnx.Tensor(np.asarray([[0, 1], [1, 0], [2, 1]]))
    line = x[0].detach().requires_grad_()
    above = (x.detach() + 2).requires_grad_()
    calls: list[Any] = [(x,), (many,), (x > 0,), (many, many), (x > 0, x > 0), (above,), (x, x)]
    calls += [(x > 0, x, x), ([x, x],), (line, line), (x, 0), (x, 2, 0), (x, 1, 0), (x, many)]
    calls += [(x, 0, 1), (x, (0, 1)), (x, (3, 3)), (x, "float32"), (x, 3), (line,)]
    calls += [(line, many[:, 0])]
    answer = ""
    for call in calls:
        with contextlib.suppress(Exception), np.errstate(all="ignore"):
            ys = function(*call)
            several = isinstance(ys, tuple | list)
            tensors = [y for y in (ys if several else [ys]) if isinstance(y, nnx.Tensor)]
            if not tensors or all(y is x for y in tensors):
                if tensors:
                    return "yes"
                continue
            alive = [y for y in tensors if y.requires_grad]
            if not alive:
                answer = answer or "no"
                continue
            leaves = [t for t in (x, above, line) if t is not None]
            for leaf in leaves:
                leaf.zero_grad()
            for y in alive:
                y.backward(np.linspace(1, 2, y.size).reshape(y.shape).astype(y.dtype), True)
            if any(leaf.grad is not None and np.any(leaf.grad) for leaf in leaves):
                return "yes"
            answer = "0"
    return answer


def page() -> str:
    """The whole page."""
    rows = [HEAD]
    missing = total = 0
    for title, names in functions().items():
        rows.append(f"\n## {title}\n\n{COLUMNS}")
        for name, theirs in names.items():
            total += 1
            mine = ours(name)
            if mine is None:
                missing += 1
                rows.append(f"| ~~`{name}`~~ | | | missing: {WHY_NOT[name]} |")
                continue
            also = [f"`{OPERATORS[name]}`"] if name in OPERATORS else []
            if hasattr(nnx.Tensor, name):
                also.append(f"`x.{name}`")
            left = sorted(arguments(theirs) - arguments(mine) - positional(theirs))
            rows.append(
                f"| `{name}` | {gradient(mine)} | {', '.join(also)} | "
                f"{', '.join(f'`{a}`' for a in left)} |"
            )
    rows.append(methods())
    text = "\n".join(rows) + "\n"
    return text.replace("@total", str(total)).replace("@there", str(total - missing))


def positional(function: Any) -> set[str]:
    """What the standard takes by its place: nnx's names for these may be others."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY}


def methods() -> str:
    """Attributes, methods and operators of the standard's array."""
    array = strict.asarray(0.0)
    plain = {n for n in dir(object) if n != "__eq__"} | {
        "__annotations__",
        "__slots__",
        "__array__",
    }
    names = sorted(n for n in dir(type(array)) if n not in plain and not n.startswith("_Array"))
    names = [n for n in names if n.startswith("__") or not n.startswith("_")]
    names = [n for n in names if n not in ("__module__", "__weakref__", "__dict__", "__ne__")]
    there = [n for n in names if hasattr(nnx.Tensor, n)]
    gone = [n for n in names if n not in there]
    lines = [
        "\n## Methods and operators of an array\n",
        f"A tensor has {len(there)} of {len(names)}: " + ", ".join(f"`{n}`" for n in there) + ".\n",
        "\n".join(f"- ~~`{n}`~~: {WHY_NOT[n]}" for n in gone),
    ]
    return "\n".join(lines)


HEAD = f"""# The array API standard, and what of it is here

Version {strict.__array_api_version__}, name by name, as array-api-strict has it: nnx has
@there of its @total functions, in `nnx`, `nnx.functional` and `nnx.linalg`.
`python docs/array_api.py` writes this page by asking the code, and a test holds it to that.

- **gradient**: "yes", or "0" where the function is flat between its steps, "no" where what it gives
  is no number to be changed a little (an index, a truth); nothing where no tensor goes in.
- **also**: the operator or the method that is the same.
- **not taken**: arguments of the standard that nnx has not.  No `copy` is ever needed: changing a
  tensor in place gives it a new array.  What is made of a tensor lies on that tensor's `device`.

Beside the standard nnx takes nested lists where a tensor is wanted, computes integers beside floats
in the floats' dtype, and a Python float beside integers in float32.  Dtypes are names (`"float32"`,
`nnx.float32`), or any library's.  The constants `e`, `inf`, `nan`, `pi` and `newaxis` are in `nnx`.
"""


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.read_text(encoding="utf-8") != text:
            sys.exit("docs/array-api.md is not what python docs/array_api.py writes")
    else:
        PAGE.write_text(text, encoding="utf-8")
