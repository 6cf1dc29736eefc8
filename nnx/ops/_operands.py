"""The door of the operations: what counts as a tensor, and which dtypes go together.

Where an operation or a layer wants a tensor, it takes

- a tensor;
- an array of any library: a tensor without a gradient, and not copied;
- a (nested) list or tuple of numbers: as `nnx.tensor` makes it, so that floats are float32, but
  beside the operand it is computed with, in its library and on its device.

Anything else is a TypeError.  Numbers stand beside tensors in arithmetic only.
"""

from __future__ import annotations

from typing import Any

from ..autograd import as_tensor
from ..backends import Array, backend_of, mixed
from ..tensor import Tensor

__all__ = ["as_array", "as_tensor"]


def as_array(name: str, x: Any, like: Tensor) -> Array:
    """What an operand off the tape (indices, targets, weights of classes) is as an array.

    Raises:
        TypeError: it is neither tensor, array nor list, or of another library than `like`.
    """
    array = as_tensor(name, x, like).data
    home, other = backend_of(like.data), backend_of(array)
    if other is not home:
        raise mixed(home, other)
    return array
