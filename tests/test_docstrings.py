"""What every public docstring says, held by reading them; there is no list of exceptions.

Of each name in a room's `__all__`, and of each public method and property of its classes:

- a first line that ends as a sentence does;
- every argument by its name, as an entry of `Args:` or, where a formula or a sentence says enough,
  in that: to be named in another's entry, or in an error's, explains nothing;
- where a tensor or an array comes back, its shape: in words, or written out as (N, C);
- under `Raises:` every error that it raises itself, or that a function without a public name, which
  it calls, raises for it, and what an operation, which a layer calls, lists; or that error's base.

A class's docstring speaks for its `__init__`.  A method without a docstring has the one of the
method that it overrides, and its class's beside it: that is where a layer's formula stands.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import re
import sys
import textwrap
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import nnx
from nnx import nn
from nnx.ops.loss.reduction import check_reduction

PACKAGE = Path(nnx.__file__).parent


def rooms():
    """nnx, every package in it, every single file that has an `__all__`, and the modules that these
    name there: name -> module."""
    files = [path for path in PACKAGE.glob("*.py") if "\n__all__ " in path.read_text("utf-8")]
    left = [p.stem for p in files if p.stem != "__init__"]
    left += [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    left = [nnx, *[import_module(f"nnx.{name}") for name in left]]
    found = {}
    while left:
        module = left.pop()
        found[module.__name__.removeprefix("nnx.")] = module
        inside = [getattr(module, name) for name in module.__all__]
        left += [m for m in inside if inspect.ismodule(m) and m not in found.values()]
    return dict(sorted(found.items()))


ROOMS = rooms()

SHAPE = re.compile(
    r"\bshapes?\b|elementwise|->|scalar|\b(one|a) number\b|\baxis\b|\baxes\b|0-d"
    r"|\((?:\*?\w+(?:\[[^\]]*\])?|\.\.\.)?(?:, ?(?:\*?\w[\w*/+-]*|\.\.\.))*,?\)"
)


@functools.cache
def public():
    """Every class and function that has a public name."""
    things = [getattr(module, name) for module in ROOMS.values() for name in module.__all__]
    return {inspect.unwrap(thing) for thing in things if callable(thing)}


def methods(kind):
    """(name, function) of a class's methods and properties: its own, and those of its bases in nnx
    that have no public name themselves."""
    hidden = [b for b in kind.__mro__ if b.__module__.startswith("nnx") and b not in public()]
    found = {}
    for base in [*reversed(hidden), kind]:
        for name, member in vars(base).items():
            function = getattr(member, "fget", getattr(member, "__func__", member))
            if not name.startswith("_") and inspect.isfunction(function):
                found[name] = function
    return [(name, function) for name, function in found.items() if function.__name__ == name]


def everything(room):
    """(name, object, class or None) of all public callables of a room, each class once."""
    for name in ROOMS[room].__all__:
        thing = getattr(ROOMS[room], name)
        if inspect.ismodule(thing) or not getattr(thing, "__module__", "").startswith("nnx"):
            continue
        if callable(thing):
            yield f"{room}.{name}", thing, None
        if inspect.isclass(thing):
            for key, function in methods(thing):
                yield f"{room}.{name}.{key}", function, thing


def said(thing, owner):
    """The text that speaks for a callable."""
    if owner is None or thing.__doc__:
        return inspect.cleandoc(thing.__doc__ or "")
    inherited = inspect.getdoc(getattr(owner, thing.__name__)) or ""
    return f"{inherited}\n{inspect.getdoc(owner) or ''}"


def arguments(thing):
    function = thing.__init__ if inspect.isclass(thing) else thing
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:  # of a class made in C
        return []
    return [n for n in names if n not in ("self", "cls", "args", "kwargs") and n[0] != "_"]


HEADING = re.compile(r"^ *(Args|Attributes|Returns|Raises)\b[^\n:]*:\n( +)", re.M)


def explained(text):
    """What a docstring says of its arguments: the names that begin an entry of `Args:` (of a
    dataclass, `Attributes:`), and the sentences and formulas outside of such lists."""
    prose, *lists = HEADING.split(text)
    for heading, margin, below in zip(*[iter(lists)] * 3, strict=True):
        end = re.search(rf"\n {{0,{len(margin) - 1}}}\S", below)  # a line that is less indented
        entries, after = (below[: end.start()], below[end.start() :]) if end else (below, "")
        if heading in ("Args", "Attributes"):
            prose += "\n" + "\n".join(re.findall(rf"^{margin}(\S[^:]*):", margin + entries, re.M))
        prose += after
    return prose


@functools.cache
def body(function):
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    except (OSError, TypeError):  # an `__init__` that a dataclass made
        return None
    return ast.parse(source).body[0]


def listed(text):
    """What stands under `Raises:`."""
    below = re.split(r"^ *Raises[^\n]*:$", text, maxsplit=1, flags=re.M)[1:]
    return re.findall(r"\b(\w+(?:Error|Exception|Failed|File|Found|Large))\b", "".join(below))


def caught(tree):
    """For each node in a `try`, the names that its handlers catch."""
    found = {}
    for block in ast.walk(tree):
        if isinstance(block, ast.Try):
            names = {
                getattr(n, "id", "") for h in block.handlers if h.type for n in ast.walk(h.type)
            }
            for node in (n for part in block.body for n in ast.walk(part)):
                found[node] = found.get(node, set()) | names
    return found


@functools.cache
def raised(function, owner=None, deep=3):
    """The names of the errors that a function, a class's where it has an owner, raises: itself, and
    by what it calls."""
    tree = body(function)
    if tree is None:
        return frozenset()
    within, found = caught(tree), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            names = {getattr(node.exc.func, "id", "")} - {"NotImplementedError", "AssertionError"}
            errors = {name for name in names if name.endswith(("Error", "Exception"))}
        elif isinstance(node, ast.Call) and deep:
            errors = raised_by(node.func, inspect.unwrap(function).__globals__, owner, deep - 1)
        else:
            continue
        found |= {e for e in errors if not covered(e, within.get(node, ()))}
    return frozenset(found)


def raised_by(called, names, owner, deep):
    """The errors of what a call names: those of a helper, of a method of one's own that is private,
    of the `Function` behind an operation, and those that an operation lists."""
    if isinstance(called, ast.Attribute):
        home, name = getattr(called.value, "id", ""), called.attr
        if names.get(home) is nnx.ops:
            return set(listed(inspect.getdoc(getattr(nnx.ops, name)) or ""))
        method = getattr(owner, name, None) if home == "self" else None
        if inspect.isfunction(method) and (name[0] == "_" or issubclass(owner, nnx.Function)):
            return raised(method, owner, deep)
        return set()
    helper = names.get(getattr(called, "id", ""))
    if (
        not getattr(helper, "__module__", "").startswith("nnx")
        or inspect.unwrap(helper) in public()
    ):
        return set()
    if inspect.isclass(helper) and issubclass(helper, nnx.Function):
        parts = [f for f in (helper.__init__, helper.forward) if inspect.isfunction(f)]
        return {error for part in parts for error in raised(part, helper, deep)}
    return raised(helper, None, deep) if inspect.isfunction(helper) else set()


def covered(error, names):
    """Whether one of the names is that of an error, or of a class that it is derived from."""
    kind = getattr(builtins, error, None)
    return error in names or any(
        kind and issubclass(kind, base) for base in (getattr(builtins, name, ()) for name in names)
    )


def faults(thing, owner):
    text = said(thing, owner)
    if not text.strip():
        return ["says nothing"]
    found = []
    if not re.search(r"[.:?)]$", text.split("\n\n")[0].strip()):
        found.append("its first sentence has no end")
    about = explained(text)
    for name in arguments(thing):
        if not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", about):
            found.append(f"does not explain {name}")
    function = thing.__init__ if inspect.isclass(thing) else thing
    if not inspect.isclass(thing):
        returned = str(inspect.signature(thing).return_annotation)
        if re.search(r"\b(Tensor|Array|ndarray)\b", returned) and not SHAPE.search(text):
            found.append("does not say which shape comes back")
    if inspect.isfunction(function) and function.__module__.startswith(("nnx", __name__)):
        errors = listed(text)
        mine = raised(function, thing if inspect.isclass(thing) else owner)
        found += [f"does not list {e}" for e in sorted(mine) if not covered(e, errors)]
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_public_is_explained(room):
    wrong = [f"{name} {f}" for name, thing, owner in everything(room) for f in faults(thing, owner)]
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_rooms_are_found():
    """Those that nothing leads to but their name, and those inside others."""
    assert {"nnx", "autograd", "typing", "nn.init", "optim.lr_scheduler", "tools.parity"} <= {
        *ROOMS
    }
    assert sum(1 for room in ROOMS for _ in everything(room)) > 1000


def test_the_page_for_contributors_keeps_the_rule(tmp_path, monkeypatch):
    """Whoever writes as CONTRIBUTING does is not sent back."""
    page = (PACKAGE.parent / "CONTRIBUTING.md").read_text("utf-8")
    blocks = re.findall(r"^( *)```python\n(.*?)^\1```", page, re.M | re.S)
    file = tmp_path / "nnx_page.py"
    file.write_text("\n".join(textwrap.dedent(block) for _, block in blocks), "utf-8")
    spec = spec_from_file_location(file.stem, file)
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, file.stem, module)  # where inspect looks for its classes
    spec.loader.exec_module(module)
    things = [module.Scale, module.log_cosh_loss, module.lion_, module.Lion]
    found = [(thing, None) for thing in things]
    found += [(f, kind) for kind in (module.Scale, module.Lion) for _, f in methods(kind)]
    assert not [(thing, wrong) for thing, owner in found if (wrong := faults(thing, owner))]


def test_the_rule_finds_what_is_missing():
    """Each of its clauses, on a function that breaks it."""

    def nothing(x):
        pass

    def silent(x, width) -> nnx.Tensor:
        """The x"""
        if width < 0:
            raise ValueError("silent: width must not be negative")

    def aside(x, width, height):
        """Nothing of its arguments.

        Args:
            x: as wide as width,
                and as high.

        Raises:
            ValueError: height is negative.
        """

    class Layer(nn.Module):
        """max(x, 0) of x of any shape."""

        def forward(self, x):
            self._look(x)
            check_reduction("Layer", self.reduction)
            try:
                return nnx.ops.softmax(x)
            except ValueError:
                raise IsADirectoryError("Layer: ...") from None

        def _look(self, x):
            if x is None:
                raise TypeError("Layer: no x")

    missing = ("IsADirectoryError", "TypeError", "ValueError")
    assert faults(Layer.forward, Layer) == [f"does not list {error}" for error in missing]
    Layer.__doc__ += "\n\nRaises:\n    OSError: it is no file.\n    TypeError: there is no x."
    assert faults(Layer.forward, Layer) == ["does not list ValueError"]
    assert faults(nothing, None) == ["says nothing"]
    assert faults(aside, None) == ["does not explain width", "does not explain height"]
    assert faults(silent, None) == [
        "its first sentence has no end",
        "does not explain width",
        "does not say which shape comes back",
        "does not list ValueError",
    ]
