"""`Kernel`: the one description of a CUDA kernel.

A `Kernel` says which function of which `.cu` file it is, what its arguments are called, which
way each one goes, and how many threads it wants:

    IM2COL = Kernel(
        "conv_im2col.cu", "im2col",
        "x:in cols:out size:i64 width:i32",
        lambda size: per_element(size),
    )

The arguments stand in the order of the C function:

| written | C type | passed |
| --- | --- | --- |
| `x:in` | `const REAL*` | a float32 or float64 array; copied first if it is not contiguous |
| `y:out` | `REAL*` | a contiguous array of which the kernel writes every element |
| `y:inout` | `REAL*` | a contiguous array that the kernel reads and updates |
| `mean:out:wide` | `REAL*` | the same where `x:in` is a `const STORE*`: see below |
| `t:in:i64`, `mask:out:u8` | `const long long*`, `unsigned char*` | an array of a fixed type |
| `bias:in?` | `const REAL*` | the same, or None, which arrives as a null pointer |
| `n:i32`, `seed:u64`, `p:f32` | `int`, `unsigned long long`, `float` | a number |
| `scale:real` | `REAL` | a number, as wide as the arrays |
| `K:const` | none: `-DK=3` | a number fixed when the kernel is compiled |
| `rows:plan` | none | a number for the plan alone |
| `params:inout*` | `struct {REAL* at[64];}` | a list of up to 64 arrays (`*?`: some may be None) |
| `sizes:i64*` | `struct {long long at[64];}` | a list of up to 64 numbers |

Kernels are plain `extern "C"` functions in which `REAL` is a macro: a file is compiled once as
`-DREAL=float` and once as `-DREAL=double`, whichever is asked for.  Templates would do as well,
but CuPy before 14.2 compiles name expressions again in every process, and keeps the binaries of
plain functions on disk.

The sources of `STORES_HALF` keep their arrays in `STORE` and compute in REAL.  The two are the
same but for float16 arrays: there STORE is `Half` (`kernels/half.cuh`), a number of 16 bits that
becomes a float where it is used, and REAL is float.  So sums, statistics (`:wide`) and numbers
(`:real`) are in float32, and a result is rounded once, where it is written.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np

REALS: dict[np.dtype[Any], str] = {np.dtype("float32"): "float", np.dtype("float64"): "double"}
STORED = {np.dtype("float16"): "Half", **REALS}
STORES_HALF = frozenset(
    (
        *("activation.cu", "linear.cu"),
        *("conv_im2col.cu", "conv_implicit.cu", "pool.cu", "pool_adaptive.cu"),
        *("norm_batch.cu", "norm_layer.cu", "embedding.cu", "random.cu"),
        *("rnn.cu", "lstm.cu", "gru.cu", "gru_sequence.cu"),
    )
)


def wide(stored: np.dtype[Any]) -> np.dtype[Any]:
    """What is computed in where arrays are of a dtype."""
    return np.dtype("float32") if stored.itemsize == 2 else stored


TYPES: dict[str, np.dtype[Any]] = {
    "i8": np.dtype("int8"),
    "u8": np.dtype("uint8"),
    "i32": np.dtype("int32"),
    "u32": np.dtype("uint32"),
    "i64": np.dtype("int64"),
    "u64": np.dtype("uint64"),
    "f32": np.dtype("float32"),
    "f64": np.dtype("float64"),
    "bool": np.dtype("bool"),
}

MOST_LISTED = 64  # what a list argument holds; CUDA passes no more than 4 KiB of arguments


class Plan(NamedTuple):
    """How many threads: blocks in the grid, threads in a block, bytes of dynamic shared memory."""

    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int = 0


def ceil_div(a: int, b: int) -> int:
    """How many pieces of `b` cover `a`."""
    return -(-a // b)


def per_element(size: int, block: int = 256) -> Plan:
    """One thread for each of `size` elements."""
    return Plan((ceil_div(size, block),), (block,))


class Argument(NamedTuple):
    """One argument of a kernel, as its description says."""

    name: str
    direction: str  # "in", "out", "inout", "scalar", "const" or "plan"
    type: str  # a key of TYPES, "real" or "wide"
    many: bool = False
    optional: bool = False

    @property
    def is_array(self) -> bool:
        return self.direction in ("in", "out", "inout")

    def dtype(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        """What it is where the arrays declared REAL (or STORE) are of the dtype `stored`."""
        if self.type == "real":
            return stored if self.is_array else wide(stored)
        return wide(stored) if self.type == "wide" else TYPES[self.type]

    def __str__(self) -> str:
        if self.direction in ("const", "plan"):
            return f"{self.name}:{self.direction}"
        marks = "*" * self.many + "?" * self.optional
        if self.direction == "scalar":
            return f"{self.name}:{self.type}{marks}"
        return f"{self.name}:{self.direction}{marks}:{self.type}"


# name : kind, * for a list, ? if it may be None, : type
ARGUMENT = re.compile(r"([A-Za-z_]\w*):(\w+)(\*?)(\??)(?::(\w+))?")


def parse_argument(text: str) -> Argument:
    """`"x:in"`, `"t:in:i64"`, `"bias:in?"`, `"n:i32"`, `"params:inout*"` as an `Argument`."""
    types = ("real", "wide", *TYPES)
    if match := ARGUMENT.fullmatch(text):
        name, kind, many, optional, type_ = match.groups()
        if kind in ("in", "out", "inout") and (type_ or "real") in types:
            return Argument(name, kind, type_ or "real", bool(many), bool(optional))
        if kind in types and kind != "wide" and not optional and not type_:
            return Argument(name, "scalar", kind, bool(many))
        if kind in ("const", "plan") and not many and not optional and not type_:
            return Argument(name, kind, "i64")
    raise ValueError(
        f"kernel argument {text!r}: write name:in, name:out or name:inout (then * for a list, ? if "
        "it may be None, :type if it is not REAL), name:type (then * for a list), name:const or "
        f"name:plan; types are {', '.join(types)}"
    )


class Kernel:
    """The description of one CUDA function; see the module's docstring for `args`.

    `plan` is called with the scalar (and const) arguments it names, and `itemsize`, the bytes of
    a REAL, if it names that.  `constants` lists for each const argument the values that are
    compiled and tested, and no others can be launched.  `together`: its blocks wait for each other,
    so all of them must be on the device at once.
    """

    def __init__(
        self,
        source: str,
        name: str,
        args: str,
        plan: Callable[..., Plan],
        constants: Mapping[str, tuple[int, ...]] | None = None,
        together: bool = False,
    ) -> None:
        self.source, self.name, self.plan, self.together = source, name, plan, together
        self.arguments = tuple(parse_argument(text) for text in args.split())
        self.constants = dict(constants or {})

        names = [a.name for a in self.arguments]
        if len(set(names)) != len(names):
            raise ValueError(f"kernel {name}: two arguments of the same name in {args!r}")
        declared = {a.name for a in self.arguments if a.direction == "const"}
        if declared != set(self.constants):
            raise ValueError(
                f"kernel {name}: const arguments are {sorted(declared)}, "
                f"but values are listed for {sorted(self.constants)}"
            )
        self.names = frozenset(names)
        self.passed = tuple(a for a in self.arguments if a.direction not in ("const", "plan"))
        self.plan_names = tuple(inspect.signature(plan).parameters)
        numbers = {a.name for a in self.arguments if not a.is_array} | {"itemsize"}
        if unknown := set(self.plan_names) - numbers:
            raise ValueError(
                f"kernel {name}: the plan asks for {sorted(unknown)}, not numbers here"
            )
        self.stores_half = source in STORES_HALF
        reals = [a for a in self.passed if a.is_array and a.type in ("real", "wide")]
        self._reals = tuple(sorted(reals, key=lambda a: a.type))  # what is stored first
        # What the arrays may be of.
        stored = self.stores_half and any(a.type == "real" for a in reals)
        self.reals = STORED if stored else REALS

    def planned(self, plan: Callable[..., Plan]) -> Kernel:
        """The same kernel with other numbers of blocks and threads: to tune it, or to test it."""
        args = " ".join(map(str, self.arguments))
        return Kernel(self.source, self.name, args, plan, self.constants, self.together)

    def __repr__(self) -> str:
        return f"Kernel({self.source}: {self.name}({', '.join(map(str, self.arguments))}))"

    def real(self, values: Mapping[str, Any]) -> np.dtype[Any]:
        """The dtype of the first array that is declared REAL, or that is stored in STORE."""
        for argument in self._reals:
            array = values[argument.name]
            if argument.many:
                array = array[0] if array else None
            if array is None:
                continue
            if array.dtype not in self.reals:
                *others, last = map(str, self.reals)
                raise TypeError(
                    f"{self.name}: {argument.name} must be {', '.join(others)} or {last}, "
                    f"got {describe(array)}"
                )
            real: np.dtype[Any] = np.dtype(array.dtype)
            return real
        return np.dtype("float32")

    def options(self, real: np.dtype[Any], constants: tuple[int, ...] = ()) -> tuple[str, ...]:
        """The compiler's options for this kernel on arrays of the dtype `real`."""
        return (
            "--std=c++17",
            f"-DREAL={REALS[wide(real)]}",
            *([f"-DSTORE={STORED[real]}"] if self.stores_half else []),
            *(f"-D{k}={v}" for k, v in zip(self.constants, constants, strict=True)),
        )

    def variants(self) -> Iterator[tuple[np.dtype[Any], tuple[int, ...]]]:
        """Every (real, constants) this kernel may be compiled for."""
        for real in self.reals:
            for constants in product(*(self.constants[name] for name in self.constants)):
                yield real, constants


def describe(value: Any) -> str:
    """What an error says of an argument: its type, dtype and shape."""
    kind = type(value)
    text = f"{kind.__module__}.{kind.__qualname__}"
    if hasattr(value, "dtype"):
        text += f" of {value.dtype} and shape {value.shape}"
    return text


REGISTRY: dict[str, Kernel] = {}


def register(kernel: Kernel) -> Kernel:
    """Enter `kernel` in the registry, whose every entry the tests compile and run."""
    if kernel.name in REGISTRY:
        raise ValueError(f"two kernels are called {kernel.name}")
    REGISTRY[kernel.name] = kernel
    return kernel
