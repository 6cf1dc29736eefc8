"""Activation functions as modules; formulas and sources are in `nnx.ops`."""

from __future__ import annotations

import math

from .. import ops
from ..ops._operands import operands
from ..tensor import Tensor
from . import init
from .module import Module, new_parameter


class ReLU(Module):
    """max(x, 0), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class ReLU6(Module):
    """min(max(x, 0), 6), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu6(x)


class LeakyReLU(Module):
    """x where positive, negative_slope · x elsewhere."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """x where positive, w · x elsewhere, with w learnt (He et al. 2015).

    Args:
        num_parameters: 1 for one w, or the number of channels, axis 1, for one w each.
        init: where w starts.

    dw is the sum of g x over the x that are not positive, which is what differentiating the
    selection below gives.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: str = "float32") -> None:
        self.num_parameters, self.init = num_parameters, init
        self.weight = new_parameter((num_parameters,), dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start again."""
        init.constant_(self.weight, self.init)

    def forward(self, x: Tensor) -> Tensor:
        channels = self.num_parameters
        x, weight, _ = operands("PReLU", x, self.weight)
        if channels > 1 and (x.ndim < 2 or x.shape[1] != channels):
            raise ValueError(
                f"PReLU: axis 1 of x must have {channels} channels; x has shape {x.shape}"
            )
        if x.ndim > 2:
            weight = weight.reshape((-1,) + (1,) * (x.ndim - 2))
        elif x.ndim == 0:
            weight = weight.reshape(())
        return ops.where(x > 0, x, weight * x)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """x where positive, alpha (exp(x) - 1) elsewhere."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return ops.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class SELU(Module):
    """ELU with the two constants that keep mean 0 and variance 1."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.selu(x)


class CELU(Module):
    """x where positive, alpha (exp(x / alpha) - 1) elsewhere."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return ops.celu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Module):
    """x Φ(x), with Φ the normal distribution; `approximate="tanh"` for the shorter formula."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return ops.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x · sigmoid(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.silu(x)


class Mish(Module):
    """x · tanh(softplus(x))."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.mish(x)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta, exact at any x; x itself above `threshold`, if one is given.

    PyTorch's threshold is 20: in float32 no difference can be seen.
    """

    def __init__(self, beta: float = 1.0, threshold: float = math.inf) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Tensor) -> Tensor:
        return ops.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        threshold = "" if self.threshold == math.inf else f", threshold={self.threshold}"
        return f"beta={self.beta}{threshold}"


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.softsign(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class LogSigmoid(Module):
    """log(sigmoid(x))."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.log_sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class Hardtanh(Module):
    """x held between two bounds."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val must be below max_val; {min_val} and {max_val}")
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class Softmax(Module):
    """exp(x) / sum of exp(x) along axis `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """log(softmax(x)) along axis `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.log_softmax(x, axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
