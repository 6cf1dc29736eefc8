"""One description of every CUDA kernel, and one way to launch them all.

A `Kernel` says which function of which `.cu` file it is, what its arguments are called, which
way each one goes, and how many threads it wants:

    IM2COL = Kernel(
        "im2col.cu", "im2col",
        "x:in cols:out size:i64 width:i32",
        lambda size: per_element(size),
    )

The arguments stand in the order of the C function:

| written | C type | passed |
| --- | --- | --- |
| `x:in` | `const REAL*` | a float32 or float64 array; copied first if it is not contiguous |
| `y:out` | `REAL*` | a contiguous array of which the kernel writes every element |
| `y:inout` | `REAL*` | a contiguous array that the kernel reads and updates |
| `t:in:i64`, `mask:out:u8` | `const long long*`, `unsigned char*` | an array of a fixed type |
| `bias:in?` | `const REAL*` | the same, or None, which arrives as a null pointer |
| `n:i32`, `seed:u64`, `p:f32` | `int`, `unsigned long long`, `float` | a number |
| `scale:real` | `REAL` | a number, as wide as the arrays |
| `K:const` | none: `-DK=3` | a number fixed when the kernel is compiled |

Kernels are plain `extern "C"` functions in which `REAL` is a macro: a file is compiled once as
`-DREAL=float` and once as `-DREAL=double`, whichever is asked for.  Templates would do as well,
but CuPy before 14.2 compiles name expressions again in every process, and keeps the binaries of
plain functions on disk.

`launch` does what every launch needs: contiguous inputs, exact scalar widths (CuPy passes a
Python number as 64 bits whatever the kernel declares), empty grids, errors that name the kernel
and the argument.  `Modules` compiles on first use and remembers; what it compiles *with* is the
one thing that differs between a GPU and the tests: `cupy.RawModule`, or g++ (`tests/cuda_cpu`).
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np

REALS: dict[np.dtype[Any], str] = {np.dtype("float32"): "float", np.dtype("float64"): "double"}

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

LARGEST_GRID = (2**31 - 1, 65535, 65535)
LARGEST_BLOCK = 1024


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
    direction: str  # "in", "out", "inout", "scalar" or "const"
    type: str  # a key of TYPES, or "real"
    optional: bool = False

    @property
    def is_array(self) -> bool:
        return self.direction in ("in", "out", "inout")

    def __str__(self) -> str:
        if not self.is_array:
            return f"{self.name}:{'const' if self.direction == 'const' else self.type}"
        return f"{self.name}:{self.direction}{'?' * self.optional}:{self.type}"


def parse_argument(text: str) -> Argument:
    """`"x:in"`, `"t:in:i64"`, `"bias:in?"`, `"n:i32"` or `"K:const"` as an `Argument`."""
    name, _, rest = text.partition(":")
    kind, _, type_ = rest.partition(":")
    direction, optional = kind.removesuffix("?"), kind.endswith("?")
    types = ("real", *TYPES)
    if name.isidentifier():
        if direction in ("in", "out", "inout") and (type_ or "real") in types:
            return Argument(name, direction, type_ or "real", optional)
        if kind in types and not type_:
            return Argument(name, "scalar", kind)
        if kind == "const" and not type_:
            return Argument(name, "const", "i32")
    raise ValueError(
        f"kernel argument {text!r}: write name:in, name:out, name:inout (with ? if it may be None, "
        f"and :type if it is not REAL), name:type or name:const; types are {', '.join(types)}"
    )


class Kernel:
    """The description of one CUDA function; see the module's docstring for `args`.

    `plan` is called with the scalar (and const) arguments it names, and `itemsize`, the bytes of
    a REAL, if it names that.  `constants` lists for each const argument the values that are
    compiled and tested, and no others can be launched.
    """

    def __init__(
        self,
        source: str,
        name: str,
        args: str,
        plan: Callable[..., Plan],
        constants: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.source, self.name, self.plan = source, name, plan
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
        self.passed = tuple(a for a in self.arguments if a.direction != "const")
        self.outputs = tuple(a.name for a in self.arguments if a.direction == "out")
        self.plan_names = tuple(inspect.signature(plan).parameters)
        numbers = {a.name for a in self.arguments if not a.is_array} | {"itemsize"}
        if unknown := set(self.plan_names) - numbers:
            raise ValueError(
                f"kernel {name}: the plan asks for {sorted(unknown)}, not numbers here"
            )
        self._reals = tuple(a for a in self.passed if a.is_array and a.type == "real")

    def planned(self, plan: Callable[..., Plan]) -> Kernel:
        """The same kernel with other numbers of blocks and threads: to tune it, or to test it."""
        args = " ".join(map(str, self.arguments))
        return Kernel(self.source, self.name, args, plan, self.constants)

    def __repr__(self) -> str:
        return f"Kernel({self.source}: {self.name}({', '.join(map(str, self.arguments))}))"

    def real(self, values: Mapping[str, Any]) -> np.dtype[Any]:
        """What REAL is for these arguments: the dtype of the first array declared REAL."""
        for argument in self._reals:
            array = values[argument.name]
            if array is None:
                continue
            if array.dtype not in REALS:
                raise TypeError(
                    f"{self.name}: {argument.name} must be float32 or float64, "
                    f"got {_describe(array)}"
                )
            return array.dtype
        return np.dtype("float32")

    def options(self, real: np.dtype[Any], constants: tuple[int, ...] = ()) -> tuple[str, ...]:
        """The compiler's options for this kernel with REAL as `real`."""
        return (
            "--std=c++17",
            f"-DREAL={REALS[real]}",
            *(f"-D{k}={v}" for k, v in zip(self.constants, constants, strict=True)),
        )

    def variants(self) -> Iterator[tuple[np.dtype[Any], tuple[int, ...]]]:
        """Every (real, constants) this kernel may be compiled for."""
        for real in REALS:
            for constants in product(*(self.constants[name] for name in self.constants)):
                yield real, constants


class Function(Protocol):
    """What a factory returns: something to call as `cupy.RawKernel` is called."""

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        *,
        shared_mem: int = 0,
    ) -> None: ...


Factory = Callable[[Kernel, tuple[str, ...]], Function]


class CompileError(RuntimeError):
    """A CUDA source that its compiler refused."""


class Modules:
    """The compiled kernels of one kind of device: made by `factory` on first use, then kept.

    `factory(kernel, options)` compiles `kernel.source` and returns the function `kernel.name`.
    `array` is the type of array these functions take.
    """

    def __init__(self, factory: Factory, array: Any) -> None:
        self.factory, self.array = factory, array
        self._functions: dict[tuple[Kernel, np.dtype[Any], tuple[int, ...]], Function] = {}

    def function(
        self, kernel: Kernel, real: np.dtype[Any], constants: tuple[int, ...] = ()
    ) -> Function:
        key = (kernel, real, constants)
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = self._compile(*key)
        return function

    def _compile(self, kernel: Kernel, real: np.dtype[Any], constants: tuple[int, ...]) -> Function:
        options = kernel.options(real, constants)
        try:
            return self.factory(kernel, options)
        except Exception as error:
            raise CompileError(
                f"could not compile {kernel.name} of {kernel.source} with {' '.join(options)}:\n"
                f"{error}"
            ) from error


def launch(kernel: Kernel, modules: Modules, /, **values: Any) -> None:
    """Run `kernel` on arrays and numbers given by name.

    Outputs are written in place, so the caller makes them, contiguous and of the right dtype.
    Nothing is launched where the plan's grid is empty.  Raises TypeError for an argument of the
    wrong type or dtype, ValueError for one that does not fit, CompileError.
    """
    if values.keys() != kernel.names:
        _wrong_names(kernel, values)
    real = kernel.real(values)
    args = []
    for argument in kernel.passed:
        name = argument.name
        value = values[name]
        dtype = real if argument.type == "real" else TYPES[argument.type]
        if argument.direction == "scalar":
            value = values[name] = _scalar(kernel, name, dtype, value)
        elif value is not None or not argument.optional:
            if not isinstance(value, modules.array) or value.dtype != dtype:
                _wrong_array(kernel, name, dtype, modules.array, value)
            if not value.flags.c_contiguous:
                if argument.direction != "in":
                    raise ValueError(
                        f"{kernel.name}: {name} is written in place, so it must be C-contiguous; "
                        f"got {_describe(value)} with strides {value.strides}"
                    )
                value = value.copy(order="C")
        args.append(value)

    constants = tuple(_constant(kernel, name, values[name]) for name in kernel.constants)
    numbers = [
        real.itemsize if name == "itemsize" else int(values[name]) for name in kernel.plan_names
    ]
    grid, block, shared = kernel.plan(*numbers)
    if 0 in grid:
        _nothing_to_write(kernel, values)
        return
    _check_plan(kernel, grid, block)
    modules.function(kernel, real, constants)(grid, block, tuple(args), shared_mem=shared)


def _scalar(kernel: Kernel, name: str, dtype: np.dtype[Any], value: Any) -> np.generic:
    """`value` as exactly `dtype`: the width that the kernel declares."""
    try:
        if dtype.kind in "iu":
            value = operator.index(value)
        return dtype.type(value)
    except (TypeError, ValueError, OverflowError) as error:
        kind = OverflowError if isinstance(error, OverflowError) else TypeError
        raise kind(f"{kernel.name}: {name} must fit {dtype}, got {value!r}") from None


def _constant(kernel: Kernel, name: str, value: Any) -> int:
    if value not in kernel.constants[name]:
        raise ValueError(
            f"{kernel.name}: {name} is compiled in and must be one of {kernel.constants[name]}, "
            f"got {value!r}"
        )
    return int(value)


def _check_plan(kernel: Kernel, grid: tuple[int, ...], block: tuple[int, ...]) -> None:
    if any(n > most or n < 0 for n, most in zip(grid, LARGEST_GRID, strict=False)):
        raise ValueError(f"{kernel.name}: a grid of {grid} blocks is beyond {LARGEST_GRID}")
    threads = 1
    for n in block:
        threads *= n
    if not 0 < threads <= LARGEST_BLOCK:
        raise ValueError(f"{kernel.name}: a block of {block} threads is not within 1 to 1024")


def _nothing_to_write(kernel: Kernel, values: Mapping[str, Any]) -> None:
    """An empty grid leaves every output as it is: fine only if none has elements."""
    for name in kernel.outputs:
        if values[name] is not None and values[name].size:
            raise ValueError(
                f"{kernel.name}: the plan launches no block, yet {name} waits to be written: "
                f"{_describe(values[name])}"
            )


def _wrong_names(kernel: Kernel, values: Mapping[str, Any]) -> None:
    missing, unknown = sorted(kernel.names - set(values)), sorted(set(values) - kernel.names)
    raise TypeError(f"{kernel.name}: arguments missing: {missing}, unknown: {unknown}")


def _wrong_array(kernel: Kernel, name: str, dtype: np.dtype[Any], array: type, value: Any) -> None:
    raise TypeError(
        f"{kernel.name}: {name} must be a {array.__module__}.{array.__qualname__} of {dtype}, "
        f"got {_describe(value)}"
    )


def _describe(value: Any) -> str:
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
