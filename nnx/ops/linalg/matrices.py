"""What the operations on matrices check, and the library's own errors in words of theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...tensor import Tensor
from .._operands import as_tensor, require_one_dtype


def matrices(name: str, x: Any, square: bool = False) -> Tensor:
    """x as a tensor of floating-point matrices (..., M, N), square ones where they have to be.

    Raises:
        ValueError: it has fewer than two axes, or M is not N.
        TypeError: it is of integers or booleans.
    """
    tensor: Tensor = as_tensor(name, x)
    require_one_dtype(name, x=tensor)
    shape = tensor.shape
    if len(shape) < 2 or (square and shape[-1] != shape[-2]):
        wanted = "(..., M, M)" if square else "(..., M, N)"
        raise ValueError(f"{name}: x must be {wanted}; x has shape {shape}")
    return tensor


def compute(name: str, function: Callable[..., Any], *arrays: Any, **options: Any) -> Any:
    """function(*arrays) of the library.

    Raises:
        numpy.linalg.LinAlgError: the library says that a matrix is singular, or not definite, or
            that no solution was found.
    """
    try:
        return function(*arrays, **options)
    except (ValueError, RuntimeError) as error:
        shapes = ", ".join(str(tuple(a.shape)) for a in arrays)
        raise np.linalg.LinAlgError(f"{name}: {error}; shapes {shapes}") from error
