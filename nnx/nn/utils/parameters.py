"""Clipping gradients, and a model's parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ...backends import Array, backend_of
from ...tensor import Tensor, tensor


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together so that their norm is at most `max_norm`; returns the norm.

        norm = (sum over all gradients of |g|^p)^(1/p),    g = g · min(1, max_norm / (norm + 1e-6))

    The direction stays, unlike with `clip_grad_value_` (Pascanu et al. 2013).  What is returned, a
    scalar tensor, is the norm there was before; no number is fetched from a device unless
    `error_if_nonfinite`.  The 1e-6, PyTorch's, is not in the textbook's rule (Xu 7.18).

    Args:
        parameters: tensors, or one; those without a gradient are left out.  Gradients become new
            arrays.
        max_norm: the largest norm.
        norm_type: p; math.inf for the largest |g|.
        error_if_nonfinite: whether a norm that is infinite or NaN is an error; without it the
            gradients become 0 or NaN.

    Raises:
        ValueError: norm_type is not positive.
        FloatingPointError: the norm is infinite or NaN and `error_if_nonfinite`; nothing has been
            changed then.
    """
    if not norm_type > 0:
        raise ValueError(f"clip_grad_norm_: norm_type must be positive, got {norm_type}")
    some = [p for p in _with_gradient(parameters) if p.size]
    gradients: list[Array] = [p.grad for p in some]
    if not some:
        return tensor(0.0)
    xp = backend_of(*gradients).xp
    norm = _norm(xp, gradients, norm_type)
    if error_if_nonfinite and not math.isfinite(float(norm)):
        raise FloatingPointError(f"clip_grad_norm_: the gradients' norm is {float(norm)}")
    scale = xp.clip(max_norm / (norm + 1e-6), None, 1.0)
    for p, g in zip(some, gradients, strict=True):
        p.grad = xp.asarray(g * xp.astype(scale, g.dtype))  # of 0-d arrays NumPy makes scalars
    return Tensor(norm)


def _norm(xp: Any, gradients: list[Array], p: float) -> Array:
    """The p-norm of all gradients: first of each, then of those together."""
    if p == math.inf:
        parts = [xp.max(xp.abs(g)) for g in gradients]
    elif p == 2:
        parts = [xp.sum(g * g) for g in gradients]
    else:
        parts = [xp.sum(xp.abs(g) ** p) for g in gradients]
    dtype = xp.result_type(*[g.dtype for g in gradients])
    together = xp.stack([xp.astype(xp.asarray(part), dtype) for part in parts])
    if p == math.inf:
        return xp.asarray(xp.max(together))
    return xp.asarray(xp.sum(together) ** (1 / p))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of every gradient to [-clip_value, clip_value]; each becomes a new array.

    Args:
        parameters: tensors, or one; those without a gradient are left out.
        clip_value: the largest size of an element, at least 0.

    Raises:
        ValueError: clip_value is negative.
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must not be negative, got {clip_value}")
    for p in _with_gradient(parameters):
        xp = backend_of(p.grad).xp
        p.grad = xp.asarray(xp.clip(p.grad, -clip_value, clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters in one vector (P,), one after the other, row by row; a copy, off the tape.

    Args:
        parameters: tensors of one backend.

    Raises:
        ValueError: there are none.
    """
    arrays = [p.data for p in parameters]
    if not arrays:
        raise ValueError("parameters_to_vector: there are no parameters")
    xp = backend_of(*arrays).xp
    return Tensor(xp.concat([xp.reshape(a, (-1,)) for a in arrays]))


def vector_to_parameters(vector: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters the values of a vector that `parameters_to_vector` made; they are copied.

    Args:
        vector: (P,), as long as all parameters together.
        parameters: in the same order.

    Raises:
        ValueError: the vector is shorter or longer than that.
    """
    some = list(parameters)
    total = sum(p.size for p in some)
    if vector.shape != (total,):
        raise ValueError(
            f"vector_to_parameters: the vector has shape {vector.shape}, but the parameters have "
            f"{total} elements"
        )
    xp = backend_of(vector.data).xp
    begin = 0
    for p in some:
        part = vector.data[begin : begin + p.size]
        p.data = xp.asarray(xp.reshape(part, p.shape), copy=True)
        begin += p.size


def _with_gradient(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    tensors = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p for p in tensors if p.grad is not None]
