"""Operators and methods of `cupy.ndarray`, computed by NumPy."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import cupy
import numpy as np

from cupy_on_cpu.functions import asnumpy, matmul
from cupy_on_cpu.ledger import note
from cupy_on_cpu.memory import compute, do, host, refuse_host_arrays, wait

BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.mod,
    "pow": np.power,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}
COMPARE = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
UNARY = {"neg": np.negative, "abs": np.abs, "invert": np.invert, "pos": np.positive}
METHODS = "sum mean max min prod argmax argmin any all cumsum round std var clip repeat".split()
READING: dict[str, Callable[..., Any]] = {
    "item": lambda x, *at: x.item(*at),
    "tolist": lambda x: x.tolist(),
    "tobytes": lambda x: x.tobytes(),
    "__bool__": bool,
    "__float__": lambda x: float(x[()]),
    "__int__": lambda x: int(x[()]),
    "__index__": operator.index,
    "__complex__": complex,
}

_getitem, _reshape = cupy.ndarray.__getitem__, cupy.ndarray.reshape


def replacements() -> Iterator[tuple[str, Any]]:
    """(name in cupy.ndarray, what takes its place)."""
    for name, function in {**BINARY, **COMPARE}.items():
        yield f"__{name}__", _binary(name, function)
    for name, function in BINARY.items():
        yield f"__r{name}__", _binary(name, lambda x, y, f=function: f(y, x))
        yield f"__i{name}__", _in_place(name, function)
    for name, function in UNARY.items():
        yield f"__{name}__", _unary(name, function)
    for name in METHODS:
        yield name, _method(name)
    for name, read in READING.items():
        yield name, _reading(name, read)
    yield "__matmul__", lambda a, b: matmul(a, b)
    yield "__getitem__", getitem
    yield "__setitem__", setitem
    yield "__iter__", lambda self: (self[k] for k in range(self.shape[0]))
    yield "__deepcopy__", lambda self, memo: self.copy()
    yield "__repr__", lambda self: f"cupy.{host(self)!r}"
    yield "__str__", lambda self: str(host(self))
    yield "__dlpack_device__", lambda self: (2, 0)
    yield "get", lambda self, *args, **kwargs: asnumpy(self)
    yield "device", property(lambda self: cupy.cuda.Device(0))
    for own in (reshape, ravel, flatten, astype, copy, fill, nonzero):
        yield own.__name__, own


def _binary(name: str, function: Any) -> Callable[[Any, Any], Any]:
    def operate(self: Any, other: Any) -> Any:
        refuse_host_arrays(name, (other,))
        if not isinstance(other, cupy.ndarray | int | float | bool | complex | np.generic):
            return NotImplemented
        return compute(name, function, (self, other))

    return operate


def _in_place(name: str, function: Any) -> Callable[[Any, Any], Any]:
    def operate(self: Any, other: Any) -> Any:
        refuse_host_arrays(name, (other,))
        # NumPy's own rule for what may be cast into an array in place
        return compute(name, lambda x, y: function(x, y, out=np.array(x)), (self, other), out=self)

    return operate


def _unary(name: str, function: Any) -> Callable[[Any], Any]:
    return lambda self: compute(name, function, (self,))


def _method(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        return compute(
            name, lambda x, *a, **k: getattr(x, name)(*a, **k), (self, *args), kwargs, out
        )

    return method


def _reading(name: str, read: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        wait(name)
        return read(host(self), *args)

    return method


def reshape(self: Any, *shape: Any, order: str = "C") -> Any:
    """A view where there is one, else a copy."""
    given = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    mine = host(self)
    if self.size == 0 or np.shares_memory(mine, np.reshape(mine, given)):
        return _reshape(self, given)
    return compute("copy", np.reshape, (self, given))


def ravel(self: Any, order: str = "C") -> Any:
    return self.reshape(-1)


def flatten(self: Any, order: str = "C") -> Any:
    return compute("copy", lambda x: x.flatten(), (self,))


def astype(
    self: Any,
    dtype: Any,
    order: str = "K",
    casting: Any = None,
    subok: Any = None,
    copy: bool = True,
) -> Any:
    if not copy and np.dtype(dtype) == self.dtype:
        return self
    return compute("astype", lambda x: x.astype(dtype), (self,))


def copy(self: Any, order: str = "C") -> Any:
    return compute("copy", lambda x: np.array(x, order="C"), (self,))


def fill(self: Any, value: Any) -> None:
    setitem(self, ..., value)


def nonzero(self: Any) -> Any:
    wait("nonzero")  # how many there are is the shape of the result
    return compute("nonzero", np.nonzero, (self,))


def _keys(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _wait_for_mask(keys: tuple[Any, ...]) -> None:
    """How many places a mask has, CuPy reads back: `int(mask_scanned[-1])`."""
    if any(isinstance(k, cupy.ndarray) and k.dtype == bool for k in keys):
        wait("boolean index")


def _wrapped(array: np.ndarray, keys: tuple[Any, ...]) -> tuple[Any, ...]:
    """Indices beyond the end wrap around, in CuPy."""
    axis, wrapped = 0, []
    for k in keys:
        if isinstance(k, np.ndarray) and k.dtype != bool and ... not in keys[: keys.index(k)]:
            k = k % max(array.shape[axis], 1)
        axis += k is not None
        wrapped.append(k)
    return tuple(wrapped)


def getitem(self: Any, key: Any) -> Any:
    keys = _keys(key)
    if not any(isinstance(k, cupy.ndarray | list | np.ndarray) for k in keys):
        return _getitem(self, key)
    _wait_for_mask(keys)
    if len(keys) == 1:
        return compute("getitem", lambda x, k: x[_wrapped(x, (k,))], (self, keys[0]))
    return compute("getitem", lambda x, *k: x[k], (self, *keys))


def setitem(self: Any, key: Any, value: Any) -> None:
    refuse_host_arrays("setitem", (value,))
    keys = _keys(key)
    _wait_for_mask(keys)
    note("launches", "setitem")

    def write() -> None:
        host(self)[host(keys)] = host(value)

    if self.size:
        do(write)
