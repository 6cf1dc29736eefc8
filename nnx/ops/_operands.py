"""The door of the operations: what counts as a tensor, and which dtypes go together.

Where an operation or a layer wants a tensor, it takes

- a tensor;
- an array of any library: a tensor without a gradient, and not copied;
- a (nested) list or tuple of numbers: as `nnx.tensor` makes it, so that floats are float32, but
  beside the operand it is computed with, in its library and on its device.

Anything else is a TypeError.  Numbers stand beside tensors in arithmetic only.

Arithmetic takes operands of two dtypes and gives what the array API says.  An operation with
weights (a dense layer, a convolution, a normalisation, a recurrent layer) takes one dtype: data in
float64 beside weights in float32 would be computed, and silently, in float64, and integers not at
all.  Losses cast the target to the input's dtype, and the input is floating-point.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Node, as_tensor
from ..autograd.autocast import autocast_dtype, blocks
from ..backends import backend_of, dtype_name, reconciled
from ..tensor import Tensor
from ..typing import Array

__all__ = ["as_array", "as_tensor", "operands", "require_one_dtype"]


def as_array(name: str, x: Any, like: Tensor) -> Array:
    """What an operand off the tape (indices, targets, weights of classes) is as an array.

    Raises:
        TypeError: it is neither tensor, array nor list, or of another library than `like`.
    """
    if type(x) is np.ndarray and type(like.data) is np.ndarray and x.dtype.isnative:
        return x  # as nearly always, and in a tenth of the time
    array = as_tensor(name, x, like).data
    home, other = backend_of(like.data), backend_of(array)
    if other is not home:
        array = reconciled(home, other, (like, array))[1].data
    return array


def operands(name: str, x: Any, weight: Any, bias: Any = None) -> tuple[Any, Any, Any]:
    """x, weight and bias (None stays None) as tensors of one dtype.

    Raises:
        TypeError: one is no tensor, array or list, or the dtypes differ.
    """
    if weight is not None and not isinstance(weight, Node):
        weight = as_tensor(name, weight, x if isinstance(x, Node) else None)
    if not isinstance(x, Node):
        x = as_tensor(name, x, weight)
    if bias is not None and not isinstance(bias, Node):
        bias = as_tensor(name, bias, x)
    dtype = x.data.dtype
    if (weight is not None and weight.data.dtype is not dtype) or (
        bias is not None and bias.data.dtype is not dtype
    ):
        require_one_dtype(name, x=x, weight=weight, bias=bias)
    return x, weight, bias


def require_one_dtype(name: str, **named: Any) -> None:
    """Raise TypeError unless the tensors or arrays named, None left out, are of one floating dtype.

    The first of them is the data; the message says how to convert it.
    """
    arrays = [a.data if isinstance(a, Node) else a for a in named.values() if a is not None]
    first = arrays[0]
    home, dtype = backend_of(first), first.dtype
    if home.is_float(dtype):
        for array in arrays:
            if array.dtype is not dtype or type(array) is not type(first):
                break
        else:
            return
    home = backend_of(*arrays)  # of one library, or an error that says so
    floating, same = home.is_float(dtype), True
    for array in arrays:
        same = same and (array.dtype is dtype or array.dtype == dtype)
    if floating and same:
        return
    (data, x), *others = [(key, a) for key, a in named.items() if a is not None]
    if blocks and autocast_dtype() and all(home.is_float(a.dtype) for a in arrays):
        return  # the operation itself casts them
    given = dtype_name(x.dtype)
    if same:
        raise TypeError(
            f"{name}: {data} must be of a floating-point dtype, not {given}; use "
            f'{data}.astype("float32")'
        )
    wanted = next(dtype_name(a.dtype) for _, a in others if a.dtype != x.dtype)
    dtypes = "".join(f", {key} {dtype_name(a.dtype)}" for key, a in others)
    remedy = f'use {data}.astype("{wanted}"), or dtype="{wanted}" in DataLoader or Trainer'
    if floating:
        remedy += f', or module.to(dtype="{given}")'
    *most, last = [key for key, a in named.items() if a is not None]
    raise TypeError(
        f"{name}: {', '.join(most)} and {last} must have one dtype; {data} is {given}{dtypes}; "
        f"{remedy}"
    )
