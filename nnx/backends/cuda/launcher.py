"""One `launch` for every CUDA kernel, and the modules that are compiled for it.

`launch` does what every launch needs: contiguous inputs, exact scalar widths (CuPy passes a
Python number as 64 bits whatever the kernel declares), empty grids, errors that name the kernel
and the argument.  `Modules` compiles on first use and remembers; what it compiles *with* is the
one thing that differs between a GPU and the tests: `cupy.RawModule`, or g++ (the tests'
`support/cuda_cpu`).
"""

from __future__ import annotations

import math
import operator
import weakref
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from .kernel import (
    MOST_LISTED,
    REALS,
    REGISTRY,
    STORED,
    TYPES,
    Argument,
    Kernel,
    Plan,
    ceil_div,
    describe,
    per_element,
    register,
    wide,
)

__all__ = [
    "REALS",
    "REGISTRY",
    "STORED",
    "CompileError",
    "Kernel",
    "Modules",
    "Plan",
    "ceil_div",
    "launch",
    "per_element",
    "register",
]

LARGEST_GRID = (2**31 - 1, 65535, 65535)
LARGEST_BLOCK = 1024


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
Resident = Callable[[Function, int, int], int]
Processors = Callable[[], int]


class CompileError(RuntimeError):
    """A CUDA source that its compiler refused."""


class Modules:
    """The compiled kernels of one kind of device: made by `factory` on first use, then kept.

    `factory(kernel, options)` compiles `kernel.source` and returns the function `kernel.name`.
    `array` is the type of array these functions take.  `resident(function, threads, shared)` is how
    many blocks of a function are on the current device at once (0 where one alone is too large),
    and `processors()` how many multiprocessors it has; None: nobody knows.
    """

    def __init__(
        self,
        factory: Factory,
        array: Any,
        resident: Resident | None = None,
        processors: Processors | None = None,
    ) -> None:
        self.factory, self.array = factory, array
        self.resident, self.processors = resident, processors
        self._functions: dict[tuple[Kernel, np.dtype[Any], tuple[int, ...]], Function] = {}

    def function(
        self, kernel: Kernel, real: np.dtype[Any], constants: tuple[int, ...] = ()
    ) -> Function:
        key = (kernel, real, constants)
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = self._compile(*key)
        return function

    def fit(
        self, kernel: Kernel, real: np.dtype[Any], constants: tuple[int, ...], plan: Plan
    ) -> int:
        """How many blocks of a plan are on the current device at once."""
        if self.resident is None:
            return 0
        function = self.function(kernel, real, constants)
        return self.resident(function, math.prod(plan.block), plan.shared)

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
    array_type = modules.array
    args: list[Any] = []
    for name, argument, dtype, number in _steps(kernel, real):
        value = values[name]
        if number is None:
            suits = type(value) is array_type and value.dtype is dtype
            if not (suits and value.flags.c_contiguous):
                value = _array(kernel, modules, argument, dtype, value)
        elif argument.many:
            value = _list(kernel, modules, argument, dtype, value)
        elif type(value) is int:
            try:
                value = number(value)
            except OverflowError:
                value = _scalar(kernel, modules, argument, dtype, value)  # says what is wrong
        else:
            value = _scalar(kernel, modules, argument, dtype, value)
        args.append(value)

    constants = _constants(kernel, values) if kernel.constants else ()
    numbers = [
        wide(real).itemsize if name == "itemsize" else values[name] for name in kernel.plan_names
    ]
    plan = kernel.plan(*numbers)
    grid, block, shared = plan
    if 0 in grid:
        _nothing_to_write(kernel, values)
        return
    _check_plan(kernel, grid, block)
    if kernel.together and (fit := modules.fit(kernel, real, constants, plan)) < math.prod(grid):
        raise ValueError(
            f"{kernel.name}: its {math.prod(grid)} blocks wait for each other, and {fit} of them "
            "fit on the device"
        )
    modules.function(kernel, real, constants)(grid, block, tuple(args), shared_mem=shared)


class Step(NamedTuple):
    """How one argument is passed, worked out once for each kernel and dtype of its arrays."""

    name: str
    argument: Argument
    dtype: np.dtype[Any]
    number: Callable[[Any], Any] | None  # makes the scalar; None for an array


@cache
def _steps(kernel: Kernel, real: np.dtype[Any]) -> tuple[Step, ...]:
    steps = []
    for argument in kernel.passed:
        dtype = argument.dtype(real)
        one_array = argument.is_array and not argument.many
        steps.append(Step(argument.name, argument, dtype, None if one_array else dtype.type))
    return tuple(steps)


def _array(
    kernel: Kernel, modules: Modules, argument: Argument, dtype: np.dtype[Any], value: Any
) -> Any:
    """`value`, contiguous; TypeError or ValueError where it does not suit."""
    if value is None and argument.optional:
        return None
    if not isinstance(value, modules.array) or value.dtype != dtype:
        kind = modules.array
        raise TypeError(
            f"{kernel.name}: {argument.name} must be a {kind.__module__}.{kind.__qualname__} of "
            f"{dtype}, got {describe(value)}"
        )
    if value.flags.c_contiguous:
        return value
    if argument.direction != "in":
        raise ValueError(
            f"{kernel.name}: {argument.name} is written in place, so it must be C-contiguous; "
            f"got {describe(value)} with strides {value.strides}"
        )
    return value.copy(order="C")


def _scalar(
    kernel: Kernel, modules: Modules, argument: Argument, dtype: np.dtype[Any], value: Any
) -> np.generic:
    """`value` as exactly `dtype`: the width that the kernel declares."""
    try:
        if dtype.kind in "iu":
            value = operator.index(value)
        number: np.generic = dtype.type(value)
        return number
    except (TypeError, ValueError, OverflowError) as error:
        kind = OverflowError if isinstance(error, OverflowError) else TypeError
        message = f"{kernel.name}: {argument.name} must fit {dtype}, got {value!r}"
        raise kind(message) from None


LISTS = {dtype: np.dtype([("at", dtype, MOST_LISTED)]) for dtype in TYPES.values()}


class PassedList(np.ndarray):
    """A list argument as CuPy passes it by value: one element that is a structure.

    `items` are the arrays it points to (or the numbers), which must outlive the launch.
    """

    items: list[Any]


def _list(
    kernel: Kernel, modules: Modules, argument: Argument, dtype: np.dtype[Any], value: Any
) -> PassedList:
    """The addresses of a list of arrays, or the numbers of a list, as one structure."""
    if value is None and argument.optional:
        value = []
    if len(value) > MOST_LISTED:
        raise ValueError(
            f"{kernel.name}: {argument.name} may list {MOST_LISTED} items, got {len(value)}"
        )
    if not argument.is_array:
        items = [_scalar(kernel, modules, argument, dtype, item) for item in value]
        return _passed(_structure(dtype, tuple(items)), items)
    # Parameters and state are the same arrays at every step: their addresses are looked up once.
    key = kernel, argument.name, id(value[0]) if value else 0
    kept = _kept.get(key)
    if kept is not None and len(kept.arrays) == len(value):
        if all(ref() is item for ref, item in zip(kept.arrays, value, strict=True)):
            return _passed(kept.structure, value)
    arrays = [_array(kernel, modules, argument, dtype, item) for item in value]
    structure = _structure(
        np.dtype(np.uint64), tuple([0 if item is None else address(item) for item in arrays])
    )
    # What is written in place is passed as it is, never as a copy.
    if value and argument.direction == "inout" and all(item is not None for item in value):
        forget = weakref.ref(value[0], lambda _: _kept.pop(key, None))
        _kept[key] = _Kept([forget, *map(weakref.ref, value[1:])], structure)
    return _passed(structure, arrays)


class _Kept(NamedTuple):
    """Arrays, which it does not keep alive, and the structure of their addresses."""

    arrays: list[Any]
    structure: np.ndarray


_kept: dict[Any, _Kept] = {}


@lru_cache(maxsize=256)
def _structure(dtype: np.dtype[Any], items: tuple[Any, ...]) -> np.ndarray:
    """One element that is the structure of these numbers; not to be written."""
    made = np.zeros((1,), LISTS[dtype])
    made["at"][0][: len(items)] = items
    made.flags.writeable = False
    return made


def _passed(structure: np.ndarray, items: list[Any]) -> PassedList:
    passed = structure.view(PassedList)
    passed.items = items
    return passed


def address(array: Any) -> int:
    """Where an array's elements begin, on the device it lives on."""
    return int(array.data.ptr if hasattr(array.data, "ptr") else array.ctypes.data)


def _constants(kernel: Kernel, values: Mapping[str, Any]) -> tuple[int, ...]:
    for name, allowed in kernel.constants.items():
        if values[name] not in allowed:
            raise ValueError(
                f"{kernel.name}: {name} is compiled in and must be one of {allowed}, "
                f"got {values[name]!r}"
            )
    return tuple(int(values[name]) for name in kernel.constants)


def _check_plan(kernel: Kernel, grid: tuple[int, ...], block: tuple[int, ...]) -> None:
    for n, most in zip(grid, LARGEST_GRID, strict=False):
        if not 0 < n <= most:
            raise ValueError(f"{kernel.name}: a grid of {grid} blocks is beyond {LARGEST_GRID}")
    threads = math.prod(block)
    if not 0 < threads <= LARGEST_BLOCK:
        raise ValueError(f"{kernel.name}: a block of {block} threads is not within 1 to 1024")


def _nothing_to_write(kernel: Kernel, values: Mapping[str, Any]) -> None:
    """An empty grid leaves every output as it is: fine only if none has elements."""
    for argument in kernel.passed:
        if argument.direction != "out" or values[argument.name] is None:
            continue
        value = values[argument.name]
        for array in value if argument.many else [value]:
            if array.size:
                raise ValueError(
                    f"{kernel.name}: the plan launches no block, yet {argument.name} waits to be "
                    f"written: {describe(array)}"
                )


def _wrong_names(kernel: Kernel, values: Mapping[str, Any]) -> None:
    missing, unknown = sorted(kernel.names - set(values)), sorted(set(values) - kernel.names)
    raise TypeError(f"{kernel.name}: arguments missing: {missing}, unknown: {unknown}")
