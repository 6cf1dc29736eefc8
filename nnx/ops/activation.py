"""Activation functions, elementwise.

In each, g = dL/dy and dx = g f'(x).  Where f' follows from y, only y is kept; where it costs as
much as f itself it is computed in the forward pass, beside f, and kept as `slope`.
"""

from __future__ import annotations

import math
from typing import Any

from ..backends import Array, dtype_name
from ..tensor import Tensor
from ._broadcast import one_axis
from ._function import Unary
from ._operands import as_tensor
from .array.autocast import in_float32, in_float32_inside
from .elementwise import Pointwise


class ReLU(Pointwise):
    """y = max(x, 0):  dx = g where x > 0, else 0.

    The derivative at 0 is taken as 0.  x > 0 exactly where y > 0, so only y is kept.
    """

    floats_only = False
    from_output = True

    def compute(self, x: Array) -> Array:
        return self.backend.relu(x)

    def backward(self, g: Array) -> Array:
        return self.backend.relu_backward(g, self.y)


class Sigmoid(Pointwise):
    """y = 1 / (1 + e^-x):  dx = g y (1 - y)."""

    from_output = True

    def compute(self, x: Array) -> Array:
        return self.backend.sigmoid(x)

    def backward(self, g: Array) -> Array:
        return self.backend.sigmoid_backward(g, self.y)


class Softplus(Unary):
    """y = log(1 + e^(b x)) / b:  dx = g sigmoid(b x).

    Above a threshold of b x, if there is one, y = x and dx = g.
    """

    floats_only = True

    def __init__(self, beta: float, threshold: float) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Array) -> Array:
        z = x if self.beta == 1 else x * self.beta
        if self.needs_input_grad[0]:
            self.z = z
        y = self.backend.softplus(z)
        if self.beta != 1:
            y = y / self.beta
        return self.backend.xp.where(z > self.threshold, x, y) if self._cuts(z) else y

    def backward(self, g: Array) -> Array:
        gx = g * self.backend.sigmoid(self.z)
        if not self._cuts(self.z):
            return gx
        return self.backend.xp.where(self.z > self.threshold, g, gx)

    def _cuts(self, z: Array) -> bool:
        """Whether the threshold changes anything: above 18, float32 rounds y to x and dx to g."""
        same = self.threshold >= 18 and self.beta == 1 and dtype_name(z.dtype) == "float32"
        return self.threshold < math.inf and not same


class LogSigmoid(Unary):
    """y = log sigmoid(x) = -softplus(-x):  dx = g sigmoid(-x)."""

    floats_only = True
    name = "log_sigmoid"

    def forward(self, x: Array) -> Array:
        z = -x
        if self.needs_input_grad[0]:
            self.z = z
        return -self.backend.softplus(z)

    def backward(self, g: Array) -> Array:
        return g * self.backend.sigmoid(self.z)


class BySlope(Unary):
    """An activation whose derivative is computed beside it, where it is wanted, and kept."""

    floats_only = True
    slope: Array | None

    def forward(self, x: Array) -> Array:
        y, self.slope = self.compute(x)
        return y

    def compute(self, x: Array) -> tuple[Array, Array | None]:
        """y, and dy/dx if `self.needs_input_grad[0]`."""
        raise NotImplementedError

    def backward(self, g: Array) -> Array:
        return self.backend.slope_backward(g, self.slope)


class LeakyReLU(BySlope):
    """y = x where x > 0, else a x:  dy/dx = 1 or a."""

    name = "leaky_relu"

    def __init__(self, negative_slope: float) -> None:
        self.a = negative_slope

    def compute(self, x: Array) -> tuple[Array, Array | None]:
        return self.backend.leaky_relu(x, self.a, self.needs_input_grad[0])


class ELU(BySlope):
    """y = s x where x > 0, else s a (e^(x/b) - 1):  dy/dx = s, or s a e^(x/b) / b.

    The latter is (y + s a) / b too, but a sum that cancels where x is far below 0.  b = 1 but for
    CELU, s = 1 but for SELU.
    """

    def __init__(self, name: str, alpha: float, scale: float = 1.0, width: float = 1.0) -> None:
        self.name, self.alpha, self.scale, self.width = name, alpha, scale, width

    def compute(self, x: Array) -> tuple[Array, Array | None]:
        return self.backend.elu(x, self.alpha, self.scale, self.width, self.needs_input_grad[0])


class SiLU(BySlope):
    """y = x s with s = sigmoid(x):  dy/dx = s + x s (1 - s) = s + y (1 - s)."""

    def compute(self, x: Array) -> tuple[Array, Array | None]:
        return self.backend.silu(x, self.needs_input_grad[0])


class GELU(BySlope):
    """y = x Φ(x), Φ the standard normal distribution function, (1 + erf(x/√2)) / 2.

    dy/dx = Φ(x) + x φ(x), with the density φ(x) = e^(-x²/2) / √(2π).  The tanh approximation
    takes (1 + tanh u) / 2 for Φ, u = √(2/π) (x + 0.044715 x³), and

        dy/dx = (1 + tanh u) / 2 + x (1 - tanh² u) u' / 2,   u' = √(2/π) (1 + 3 0.044715 x²)
    """

    def __init__(self, approximate: str) -> None:
        self.approximate = approximate

    def compute(self, x: Array) -> tuple[Array, Array | None]:
        return self.backend.gelu(x, self.approximate, self.needs_input_grad[0])


class Mish(BySlope):
    """y = x t with t = tanh(softplus(x)):  dy/dx = t + x (1 - t²) sigmoid(x)."""

    def compute(self, x: Array) -> tuple[Array, Array | None]:
        t = self.backend.tanh(self.backend.softplus(x))
        if not self.needs_input_grad[0]:
            return x * t, None
        return x * t, t + x * (1 - t * t) * self.backend.sigmoid(x)


class Softsign(BySlope):
    """y = x r with r = 1 / (1 + |x|), ±1 at ±∞:  dy/dx = r - |x| r² = r² (1 + |x| - |x|) = r²."""

    def compute(self, x: Array) -> tuple[Array, Array | None]:
        xp = self.backend.xp
        r = 1.0 / (xp.abs(x) + 1)
        y = xp.where(r == 0, xp.sign(x), xp.where(r == 0, xp.zeros_like(x), x) * r)
        return y, r * r if self.needs_input_grad[0] else None


class Hardtanh(Pointwise):
    """y = min(max(x, low), high):  dx = g strictly between the bounds, else 0.

    x lies strictly between them exactly where y does, so only y is kept.
    """

    from_output = True

    def __init__(self, name: str, low: float, high: float) -> None:
        self.name, self.low, self.high = name, low, high

    def compute(self, x: Array) -> Array:
        return self.backend.hardtanh(x, self.low, self.high)

    def backward(self, g: Array) -> Array:
        return self.backend.hardtanh_backward(g, self.y, self.low, self.high)


class Erf(Pointwise):
    """y = 2/√π ∫ e^(-u²) du from 0 to x:  dx = g 2/√π e^(-x²)."""

    def compute(self, x: Array) -> Array:
        return self.backend.erf(x)

    def backward(self, g: Array) -> Array:
        x = self.backend.xp.clip(self.x, -30.0, 30.0)  # beyond, e^(-x²) is 0 and x² may overflow
        return g * (self.backend.xp.exp(-x * x) * (2 / math.sqrt(math.pi)))


class GLU(Unary):
    """y = a s with x = [a, b] along an axis and s = sigmoid(b):  da = g s,  db = g a s (1 - s)."""

    floats_only = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        half = x.shape[self.axis] // 2
        self.first = (*[slice(None)] * self.axis, slice(0, half), ...)
        self.second = (*[slice(None)] * self.axis, slice(half, 2 * half), ...)
        a, s = x[self.first], self.backend.sigmoid(x[self.second])
        if self.needs_input_grad[0]:
            self.a, self.s = a, s
        return a * s

    def backward(self, g: Array) -> Array:
        xp, gs = self.backend.xp, g * self.s
        return xp.concat([gs, gs * self.a * (1 - self.s)], axis=self.axis)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), elementwise (Nair and Hinton 2010; Xu 3.12); the derivative at 0 is 0."""
    return ReLU()(x)


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where positive, negative_slope x elsewhere, elementwise (Maas, Hannun and Ng 2013)."""
    return LeakyReLU(negative_slope)(x)


@in_float32_inside
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, alpha (exp(x) - 1) elsewhere (Clevert, Unterthiner and Hochreiter 2015)."""
    return ELU("elu", alpha)(x)


@in_float32_inside
def selu(x: Tensor) -> Tensor:
    """ELU of x, elementwise, by constants that keep mean 0, variance 1 (Klambauer et al. 2017)."""
    return ELU("selu", 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)(x)


@in_float32_inside
def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where positive, alpha (exp(x / alpha) - 1) where not, elementwise (Barron 2017)."""
    return ELU("celu", alpha, width=alpha)(x)


@in_float32_inside
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), elementwise, without overflow (Xu section 3.6)."""
    return Sigmoid()(x)


@in_float32_inside
def log_sigmoid(x: Tensor) -> Tensor:
    """log(sigmoid(x)), elementwise, without overflow."""
    return LogSigmoid()(x)


@in_float32
def softplus(x: Tensor, beta: float = 1.0, threshold: float = math.inf) -> Tensor:
    """log(1 + exp(beta x)) / beta, elementwise, without overflow at any x (Dugas et al. 2001).

    Where beta x is above `threshold` it is x itself.  PyTorch needs that and has it at 20; here
    nothing overflows, and there is none unless it is asked for.  In float32 the two are the same
    number there, in float64 they differ by 2e-9.
    """
    return Softplus(beta, threshold)(x)


@in_float32_inside
def silu(x: Tensor) -> Tensor:
    """x sigmoid(x), elementwise: SiLU or Swish (Elfwing et al. 2017)."""
    return SiLU()(x)


@in_float32_inside
def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x Φ(x), elementwise (Hendrycks and Gimpel 2016); `approximate="tanh"` for their shorter form.

    Raises:
        ValueError: `approximate` is neither "none" nor "tanh".
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate must be "none" or "tanh", not {approximate!r}')
    return GELU(approximate)(x)


@in_float32_inside
def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x)), elementwise (Misra 2019)."""
    return Mish()(x)


@in_float32_inside
def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|), elementwise: to ±1 as slowly as 1/x (Turian, Bergstra and Bengio 2009)."""
    return Softsign()(x)


@in_float32_inside
def glu(x: Tensor, axis: int = -1) -> Tensor:
    """a sigmoid(b), where a and b are the two halves of x along `axis` (Dauphin et al. 2016).

    The result's `axis` is half as long.

    Raises:
        ValueError: x has no such axis, or an odd number along it.
    """
    x = as_tensor("glu", x)
    k = one_axis("glu", axis, x.shape)
    if x.shape[k] % 2:
        raise ValueError(
            f"glu: the axis must have two halves; axis {axis} of x, which has shape {x.shape}"
        )
    return GLU(k)(x)


def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x held between min_val and max_val, elementwise; no gradient there (`clip` passes it)."""
    return Hardtanh("hardtanh", min_val, max_val)(x)


def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6), elementwise; no gradient at 0 and 6."""
    return Hardtanh("relu6", 0.0, 6.0)(x)


@in_float32_inside
def erf(x: Any) -> Tensor:
    """The error function of x, elementwise."""
    return Erf()(x)
