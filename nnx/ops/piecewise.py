"""Activation functions made of pieces, elementwise.

In each, g = dL/dy and dx = g f'(x); where two pieces meet at an angle, f' is one of the two sides',
as it is in PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backends import Array, dtype_name
from ..tensor import Tensor
from ._function import Unary
from ._operands import as_tensor, require_one_dtype
from .activation import BySlope
from .array.autocast import in_float32_inside

if TYPE_CHECKING:
    from ..random import Generator


class Selected(Unary):
    """An activation whose derivative is 1 at some x and 0 at the others: dx = g there."""

    floats_only = True

    def forward(self, x: Array) -> Array:
        y, passes = self.compute(x)
        if self.needs_input_grad[0]:
            self.passes = passes
        return y

    def compute(self, x: Array) -> tuple[Array, Array]:
        """y, and where dy/dx is 1."""
        raise NotImplementedError

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        return xp.where(self.passes, g, xp.zeros_like(g))


class Threshold(Selected):
    """y = x where x > t, else v:  dy/dx = 1, or 0."""

    floats_only = False

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold, self.value = threshold, value

    def compute(self, x: Array) -> tuple[Array, Array]:
        xp = self.backend.xp
        passes = ~xp.asarray(x <= self.threshold)  # so that NaN passes
        return xp.where(passes, x, xp.full_like(x, self.value)), passes


class Hardshrink(Selected):
    """y = x where |x| > l, else 0:  dy/dx = 1, or 0."""

    def __init__(self, lambd: float) -> None:
        self.lambd = lambd

    def compute(self, x: Array) -> tuple[Array, Array]:
        xp = self.backend.xp
        passes = ~xp.asarray(xp.abs(x) <= self.lambd)
        return xp.where(passes, x, xp.zeros_like(x)), passes


class Softshrink(Selected):
    """y = x - l where x > l, x + l where x < -l, else 0:  dy/dx = 1 outside of [-l, l], 0 in it.

    It is the x that minimises (x - x₀)²/2 + l |x|: the proximal map of the L1 norm.
    """

    def __init__(self, lambd: float) -> None:
        self.lambd = lambd

    def compute(self, x: Array) -> tuple[Array, Array]:
        xp = self.backend.xp
        passes = ~xp.asarray(xp.abs(x) <= self.lambd)
        return xp.where(passes, x - xp.sign(x) * self.lambd, xp.zeros_like(x)), passes


class Hardsigmoid(BySlope):
    """y = min(max(x/6 + 1/2, 0), 1):  dy/dx = 1/6 where -3 < x < 3, else 0."""

    def compute(self, x: Array) -> tuple[Array, Array | None]:
        xp = self.backend.xp
        y = xp.clip(x + 3.0, 0.0, 6.0) / 6.0
        if not self.needs_input_grad[0]:
            return y, None
        inside = xp.asarray((x > -3.0) & (x < 3.0))
        return y, xp.astype(inside, x.dtype) / 6.0


class Hardswish(BySlope):
    """y = x min(max(x + 3, 0), 6) / 6:  dy/dx = 0 up to -3, 1 from 3 on, x/3 + 1/2 between."""

    def compute(self, x: Array) -> tuple[Array, Array | None]:
        xp = self.backend.xp
        held = xp.clip(x, -3.0, 3.0)
        y = xp.clip(x, -3.0, None) * ((held + 3.0) / 6.0)  # -inf times 0 would be NaN
        if not self.needs_input_grad[0]:
            return y, None
        slope = xp.where(x < 3.0, held / 3.0 + 0.5, xp.ones_like(x))
        return y, xp.where(x > -3.0, slope, xp.zeros_like(x))


class Tanhshrink(BySlope):
    """y = x - tanh x:  dy/dx = tanh² x.

    The two are nearly equal near 0, and their difference keeps few digits there.  By Lambert's
    continued fraction (1768)

        tanh x = x / (1 + c),    c = x² / (3 + x² / (5 + x² / (7 + ...)))

    so that y = x c / (1 + c), where nothing cancels.  For |x| < 1 the terms up to 19 give all
    digits of float64.
    """

    def compute(self, x: Array) -> tuple[Array, Array | None]:
        xp, t = self.backend.xp, self.backend.tanh(x)
        near = xp.abs(x) < 1
        v = xp.where(near, x, xp.zeros_like(x))
        s = v * v
        c = s / 19
        for n in (17, 15, 13, 11, 9, 7, 5, 3):
            c = s / (c + n)
        y = xp.where(near, v * (c / (c + 1)), x - t)
        return y, t * t if self.needs_input_grad[0] else None


class RReLU(BySlope):
    """y = x where x > 0, else a x with an a of its own for each number:  dy/dx = 1, or a."""

    def __init__(self, lower: float, upper: float, generator: Generator) -> None:
        self.lower, self.upper, self.generator = lower, upper, generator

    def compute(self, x: Array) -> tuple[Array, Array | None]:
        xp = self.backend.xp
        dtype = "float64" if dtype_name(x.dtype) == "float64" else "float32"
        a: Any = self.lower
        if self.lower < self.upper:
            a = self.generator.uniform(tuple(x.shape), self.lower, self.upper, dtype, like=x)
            a = xp.astype(a, x.dtype, copy=False)
        slope = xp.where(x > 0, xp.ones_like(x), xp.ones_like(x) * a)
        return x * slope, slope


def threshold(x: Tensor, threshold: float, value: float) -> Tensor:
    """x where it is above `threshold`, `value` elsewhere, elementwise; no gradient there."""
    return Threshold(threshold, value)(x)


def hardshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, 0 elsewhere, elementwise: the hard threshold of wavelets (Donoho and
    Johnstone 1994)."""
    return Hardshrink(lambd)(x)


def softshrink(x: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, 0 between ±lambd, elementwise (Donoho and Johnstone 1994).

    Raises:
        ValueError: lambd is negative.
    """
    if not lambd >= 0:
        raise ValueError(f"softshrink: lambd must not be negative, got {lambd}")
    return Softshrink(lambd)(x)


@in_float32_inside
def tanhshrink(x: Tensor) -> Tensor:
    """x - tanh(x), elementwise: what tanh leaves over."""
    return Tanhshrink()(x)


def hardsigmoid(x: Tensor) -> Tensor:
    """x/6 + 1/2 held between 0 and 1, elementwise (Courbariaux et al. 2015; Howard et al. 2019)."""
    return Hardsigmoid()(x)


@in_float32_inside
def hardswish(x: Tensor) -> Tensor:
    """x hardsigmoid(x), elementwise: 0 below -3, x above 3 (Howard et al. 2019)."""
    return Hardswish()(x)


def rrelu(
    x: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """x where positive, a x elsewhere, each number with an a from U(lower, upper)
    (B. Xu et al. 2015).

    Args:
        x: of any shape, which is the result's.
        lower, upper: between what a is drawn.
        training: False: a is (lower + upper) / 2, and nothing is drawn.
        generator: where a comes from; None: what `nnx.manual_seed` sets.

    Raises:
        ValueError: lower is above upper.
        TypeError: integers.
    """
    if not lower <= upper:
        raise ValueError(f"rrelu: lower must not be above upper; {lower} and {upper}")
    x = as_tensor("rrelu", x)
    require_one_dtype("rrelu", x=x)
    if not training:
        lower = upper = (lower + upper) / 2
    if generator is None:
        from ..random import default_generator  # here, so that `import nnx` need not load it

        generator = default_generator()
    return RReLU(lower, upper, generator)(x)
