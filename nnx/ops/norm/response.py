"""Local response normalisation: each pixel by those of the neighbouring channels."""

from __future__ import annotations

from typing import Any

from ...backends import Array
from ...tensor import Tensor
from .._function import Unary
from .._operands import as_tensor, require_one_dtype
from ..array.autocast import in_float32


class LocalResponseNorm(Unary):
    """y_c = x_c d_c^-β with d_c = k + α/n Σ x_j², summed over the n channels j around c.

    (Krizhevsky et al. 2012.)

    Backward.  x_c acts on y_c directly, and on d_j for every j in whose window it is:

        dL/dx_c = g_c d_c^-β - (2 α β / n) x_c Σ_j g_j x_j d_j^(-β-1)

    over those j: the same window turned round.  With y_j = x_j d_j^-β the summand is g_j y_j / d_j.
    """

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.around = (size // 2, (size - 1) // 2)  # how many channels before and after

    def forward(self, x: Array) -> Array:
        xp = self.backend.xp
        d = window_sum(xp, x * x, *self.around) * (self.alpha / self.size) + self.k
        scale = d**-self.beta
        y = x * scale
        if self.needs_input_grad[0]:
            self.x, self.y, self.d, self.scale = x, y, d, scale
        return y

    def backward(self, g: Array) -> Array:
        before, after = self.around
        others = window_sum(self.backend.xp, g * self.y / self.d, after, before)
        return g * self.scale - self.x * others * (2 * self.alpha * self.beta / self.size)


def window_sum(xp: Any, x: Array, before: int, after: int) -> Array:
    """Of each channel of x (N, C, ...), the sum of it and of so many before and after it."""
    channels = x.shape[1]

    def zeros(count: int) -> Array:
        return xp.zeros((x.shape[0], count, *x.shape[2:]), dtype=x.dtype, device=x.device)

    wide = xp.concat([zeros(before), x, zeros(after)], axis=1)
    total = wide[:, :channels, ...]
    for shift in range(1, before + after + 1):
        total = total + wide[:, shift : shift + channels, ...]
    return total


@in_float32
def local_response_norm(
    x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha/size Σ x²)^beta, the sum over `size` neighbouring channels, as AlexNet has it.

    (Krizhevsky, Sutskever and Hinton 2012, whose α is alpha/size.)

    Args:
        x: (N, C, ...), with at least one axis after C; so is what is returned.
        size: how many channels are summed: size // 2 before, itself, and the rest after.
        alpha, beta, k: as in the formula.

    Raises:
        ValueError: size is not positive, or x has fewer than three axes.
        TypeError: integers.
    """
    name = "local_response_norm"
    x = as_tensor(name, x)
    require_one_dtype(name, x=x)
    if size < 1:
        raise ValueError(f"{name}: size must be positive, got {size}")
    if x.ndim < 3:
        raise ValueError(f"{name}: x must be (N, C, ...) with pixels; x has shape {x.shape}")
    return LocalResponseNorm(size, alpha, beta, k)(x)
