"""What `nnx.autocast` does at the door of an operation: the operands are cast, and the result.

Three decorators say which list an operation is on; without one it takes what comes.  Inside, the
operation runs as outside of any block, so that what it calls is not cast again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from ...autograd import Node, autocast
from ...autograd.autocast import autocast_dtype, blocks, cast_once
from ...backends import Array, Backend, backend_of, dtype_name
from ...tensor import Tensor
from .._function import Unary

F = TypeVar("F", bound=Callable[..., Any])

LISTS: dict[str, list[str]] = {"low": [], "float32": [], "inside": []}  # names, for the tests
NARROW = ("float16", "bfloat16")
CASTABLE = (*NARROW, "float32")


class Stored(Unary):
    """y = x rounded to a dtype of low precision, in an array of `held`; dx is g, rounded alike.

    `held` is the dtype itself, or float32 where the rounded numbers are to be computed with, or
    where the library does not have it.
    """

    def __init__(self, low: str, held: Any) -> None:
        self.low, self.held = low, held

    def __call__(self, x: Tensor) -> Tensor:
        self.x = x
        y = super().__call__(x)
        del self.x
        return y

    def forward(self, x: Array) -> Array:
        self.x_dtype = x.dtype
        return cast_once(
            self.x, (self.low, self.held), lambda x: rounded(self.backend, x, self.low, self.held)
        )

    def backward(self, g: Array) -> Array:
        return rounded(self.backend, g, self.low, self.x_dtype)


class Widened(Unary):
    """y = x in float32: dx is g in x's dtype."""

    def forward(self, x: Array) -> Array:
        self.x_dtype = x.dtype
        return self.backend.xp.astype(x, self.backend.xp.float32)

    def backward(self, g: Array) -> Array:
        return self.backend.xp.astype(g, self.x_dtype)


def rounded(backend: Backend, x: Array, low: str, held: Any) -> Array:
    """x rounded to the dtype `low`, in an array of the dtype `held`."""
    xp = backend.xp
    dtype = getattr(xp, low, None)
    if dtype is not None:
        with np.errstate(over="ignore"):  # beyond the largest number it is infinite, as on a GPU
            y = xp.astype(x, dtype, copy=False)
            return y if held == dtype else xp.astype(y, held)
    x = xp.astype(x, xp.float32)
    y = _to_bfloat16(xp, x) if low == "bfloat16" else _to_float16(xp, x)
    return xp.astype(y, held)


def _to_bfloat16(xp: Any, x: Array) -> Array:
    """float32 numbers rounded to 8 binary digits, to nearest.

    A bfloat16 is the upper half of a float32.  With bits at hand, ties go to the even neighbour;
    the array API has none, and Veltkamp's splitting (Dekker 1971) leaves the way of ties open.
    """
    if hasattr(x, "view"):
        bits = xp.asarray(x, copy=False).view(xp.uint32)
        odd = (bits >> 16) & 1
        even = ((bits + (odd + 0x7FFF)) & 0xFFFF0000).view(xp.float32)
        return xp.where(xp.isfinite(x), even, x)
    large = xp.abs(x) > 1e30
    y = _split(xp.where(large, x * 2.0**-24, x), 16)
    return xp.where(xp.isfinite(x), xp.where(large, y * 2.0**24, y), x)


def _to_float16(xp: Any, x: Array) -> Array:
    """float32 numbers rounded to float16's 11 digits and range, in array-API code."""
    size = xp.abs(x)
    y = _split(xp.where(size < 65520.0, x, xp.zeros_like(x)), 13)
    tiny = (x + 0.75) - 0.75  # below the smallest normal number the last place stays: 2^-24
    y = xp.where(size < 2.0**-14, tiny, y)
    return xp.where(size < 65520.0, y, x * xp.inf)


def _split(x: Array, digits: int) -> Array:
    """x without its last digits, rounded to nearest."""
    c = x * (2.0**digits + 1)
    return c - (c - x)


def in_low_precision(function: F) -> F:
    """An operation that computes in the low dtype, summed in float32."""
    return _at_the_door(function, "low", _low)


def in_float32(function: F) -> F:
    """An operation that computes in float32, and whose result is in float32."""
    return _at_the_door(function, "float32", _wide)


def in_float32_inside(function: F) -> F:
    """An operation that computes in float32, and whose result is stored as its first operand is."""
    return _at_the_door(function, "inside", _inside)


def _at_the_door(function: F, name: str, cast: Callable[..., Any]) -> F:
    if str(function.__module__).startswith("nnx."):  # None in what is executed
        LISTS[name].append(function.__qualname__)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not blocks:
            return function(*args, **kwargs)
        low = autocast_dtype()
        if low is None:
            return function(*args, **kwargs)
        return cast(function, low, args, kwargs)

    return call  # type: ignore[return-value]


def _low(function: Any, low: str, args: Any, kwargs: Any) -> Any:
    first = next(_arrays((args, kwargs)), None)
    if first is None:  # lists alone, of which the operation makes float32
        return function(*args, **kwargs)
    home = backend_of(first)
    stored = getattr(home.xp, low, None) or home.xp.float32
    own = stored if low == "float16" and function.__name__ in home.low_kernels else home.xp.float32

    def operand(x: Tensor) -> Tensor:
        there = x.data.dtype
        return x if there == own and dtype_name(there) == low else Stored(low, own)(x)

    with autocast(enabled=False):
        args, kwargs = _each((args, kwargs), CASTABLE, operand)
        y = function(*args, **kwargs)
        if stored is own and dtype_name(own) != "float32":
            return y
        return _each(y, ("float32",), lambda y: Stored(low, stored)(y))


def _wide(function: Any, low: str, args: Any, kwargs: Any) -> Any:
    with autocast(enabled=False):
        args, kwargs = _each((args, kwargs), NARROW, lambda x: Widened()(x))
        return function(*args, **kwargs)


def _inside(function: Any, low: str, args: Any, kwargs: Any) -> Any:
    first = next(_arrays(args), None)
    if first is not None and dtype_name(first.dtype) == "float16":
        if function.__name__ in backend_of(first).low_kernels:
            with autocast(enabled=False):
                return function(*args, **kwargs)
    y = _wide(function, low, args, kwargs)
    if first is None or dtype_name(first.dtype) not in NARROW:
        return y
    with autocast(enabled=False):
        return _each(y, ("float32",), lambda y: Stored(low, first.dtype)(y), tensors_only=True)


def _arrays(tree: Any) -> Any:
    """The arrays in an operation's arguments."""
    if isinstance(tree, Node):
        yield tree.data
    elif isinstance(tree, dict):
        for part in tree.values():
            yield from _arrays(part)
    elif isinstance(tree, tuple | list):
        for part in tree:
            yield from _arrays(part)
    elif hasattr(tree, "dtype") and hasattr(tree, "shape") and hasattr(tree, "ndim"):
        yield tree


def _each(tree: Any, dtypes: tuple[str, ...], cast: Any, tensors_only: bool = False) -> Any:
    """The arguments, or results, with what is of one of the dtypes cast; all else as it is."""
    if isinstance(tree, Node):
        return cast(tree) if dtype_name(tree.data.dtype) in dtypes else tree
    if isinstance(tree, dict):
        return {key: _each(part, dtypes, cast, tensors_only) for key, part in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)(_each(part, dtypes, cast, tensors_only) for part in tree)
    if not tensors_only and hasattr(tree, "dtype") and hasattr(tree, "ndim"):
        if not isinstance(tree, np.generic) and dtype_name(tree.dtype) in dtypes:
            return cast(Tensor(tree)).data
    return tree
