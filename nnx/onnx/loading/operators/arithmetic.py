"""Arithmetic and elementary functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from .... import ops
from ....tensor import Tensor
from ..node import Node, host, is_float, operator, xp_of

# ONNX -> the array API's name, which is nnx's where nnx has the function
ELEMENTARY = {
    "Abs": "abs",
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Exp": "exp",
    "Floor": "floor",
    "Log": "log",
    "Neg": "negative",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}


def by_name(name: str, x: Tensor) -> Tensor:
    """nnx's operation of this name, or the library's function where nnx has none."""
    own = getattr(ops, name, None)
    if own is not None:
        y: Tensor = own(x)
        return y
    return Tensor(xp_of(x).asarray(getattr(xp_of(x), name)(x.data)))


def _elementary(name: str) -> Callable[[Node, Tensor], Tensor]:
    return lambda node, x: by_name(name, x)


for _op, _name in ELEMENTARY.items():
    operator(_op)(_elementary(_name))


@operator("Erf")
def erf(node: Node, x: Tensor) -> Tensor:
    if not is_float(x):
        return ops.erf(ops.astype(x, "float64")).astype(x.dtype)
    return ops.erf(x)


@operator("Add")
def add(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return ops.add(a, b)


@operator("Sub")
def sub(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return ops.subtract(a, b)


@operator("Mul")
def mul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return ops.multiply(a, b)


@operator("Div")
def div(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Of integers the quotient is rounded towards 0: (a - fmod(a, b)) / b, where both are exact."""
    if is_float(a):
        return ops.divide(a, b)
    xp = xp_of(a)
    rest = _fmod(a, b)
    return Tensor(xp.asarray((a.data - rest) // b.data))


def _fmod(a: Tensor, b: Tensor) -> Any:
    """What is left with the sign of a: the remainder of |a| by |b|."""
    xp = xp_of(a)
    if is_float(a):
        rest = xp.remainder(xp.abs(a.data), xp.abs(b.data))
        return xp.where(a.data < 0, -rest, rest)
    rest = a.data % b.data  # with the sign of b
    wrong = (rest != 0) & ((rest < 0) != (a.data < 0))
    return xp.where(wrong, rest - b.data, rest)


@operator("Mod")
def mod(node: Node, a: Tensor, b: Tensor) -> Tensor:
    if node.get("fmod", 0):
        return Tensor(xp_of(a).asarray(_fmod(a, b)))
    return Tensor(xp_of(a).asarray(xp_of(a).remainder(a.data, b.data)))


@operator("Pow")
def pow(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """In the dtype of the base."""
    if is_float(a) and not is_float(b):
        return ops.pow(a, ops.astype(b, a.dtype))
    if not is_float(a) and is_float(b):
        return ops.pow(ops.astype(a, "float64"), ops.astype(b, "float64")).astype(a.dtype)
    return ops.pow(a, b).astype(a.dtype)


def _folded(
    combine: Callable[[Any, Any], Tensor],
) -> Callable[..., Tensor]:
    return lambda node, *xs: reduce(combine, xs)


operator("Max")(_folded(ops.maximum))
operator("Min")(_folded(ops.minimum))
operator("Sum")(_folded(ops.add))


@operator("Mean")
def mean(node: Node, *xs: Tensor) -> Tensor:
    return ops.multiply(reduce(ops.add, xs), 1 / len(xs))


@operator("Clip", static=(1, 2))
def clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Where the lower bound is above the upper one, it is the upper one."""
    bounds: list[Any] = [
        node.get(name) if bound is None else host(bound).reshape(-1)[0].item()
        for name, bound in (("min", low), ("max", high))
    ]
    return x if bounds == [None, None] else ops.clip(x, *bounds)


@operator("BitShift")
def bit_shift(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """A shift by as many bits as there are, or more, leaves the sign alone, or nothing; and so does
    a negative one."""
    xp = xp_of(a)
    left = node.get("direction") == "LEFT"
    shift = xp.bitwise_left_shift if left else xp.bitwise_right_shift
    most = xp.iinfo(a.dtype).bits - 1
    over = (b.data > most) | (b.data < 0)
    y = shift(a.data, xp.where(over, xp.full_like(b.data, most), b.data))
    if left or xp.iinfo(a.dtype).min == 0:
        y = xp.where(over, xp.zeros_like(a.data), y)
    return Tensor(xp.asarray(y))


@operator("CumSum", static=(1,))
def cumulative_sum(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    return _running(node, x, axis, ops.cumulative_sum, 0)


@operator("CumProd", static=(1,))
def cumulative_prod(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    def product(x: Tensor, axis: int) -> Tensor:
        own = getattr(ops, "cumulative_prod", None)
        if own is not None:
            return own(x, axis=axis)
        return Tensor(xp_of(x).cumulative_prod(x.data, axis=axis))

    return _running(node, x, axis, product, 1)


def _running(
    node: Node, x: Tensor, axis: Tensor, function: Callable[..., Tensor], start: int
) -> Tensor:
    """Running sums or products; `exclusive` starts one earlier, `reverse` at the other end."""
    k = int(host(axis).reshape(-1)[0]) % x.ndim
    if node.get("reverse", 0):
        x = ops.flip(x, axis=k)
    y = function(x, axis=k).astype(x.dtype)
    if node.get("exclusive", 0):
        before = (slice(None),) * k
        first = ops.full_like(x[(*before, slice(0, 1))], start)
        y = ops.concat([first, y[(*before, slice(0, x.shape[k] - 1))]], axis=k)
    return ops.flip(y, axis=k) if node.get("reverse", 0) else y


def numpy_dtype(node: Node, number: int) -> str:
    """The name of a dtype that ONNX gives a number.

    Raises:
        LoadError: NumPy has none of it.
    """
    from onnx import TensorProto, helper

    kinds = TensorProto.DataType
    name = str(kinds.Name(number) if number in kinds.values() else number)
    integers = ("INT8", "INT16", "INT32", "INT64")
    if name in ("FLOAT16", "FLOAT", "DOUBLE", "BOOL") or name.endswith(integers):
        return str(np.dtype(helper.tensor_dtype_to_np_dtype(number)))
    raise node.refuse(f"the dtype {name} is not one of NumPy's")
