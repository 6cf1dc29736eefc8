"""Activation functions as modules, elementwise: x of any shape -> y of the same shape and dtype.

Their gradients are derived in `nnx.ops.activation`.  All but ReLU take floating-point x only.
Where PyTorch has the argument `inplace`, it is accepted, and means nothing: y is a new array.
"""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..ops._operands import as_tensor, operands
from ..ops.array.autocast import in_low_precision
from ..tensor import Tensor
from . import init
from .module import Module
from .state import new_parameter


class _Plain(Module):
    """An activation without options."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace


class ReLU(_Plain):
    """max(x, 0), elementwise; its derivative at 0 is 0 (Nair and Hinton 2010; Xu 3.12).

    `inplace` is accepted, and means nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class ReLU6(_Plain):
    """min(max(x, 0), 6), elementwise (Krizhevsky 2010); its derivative at 0 and at 6 is 0.

    `inplace` is accepted, and means nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu6(x)


class LeakyReLU(Module):
    """x where positive, negative_slope · x elsewhere, elementwise (Maas, Hannun and Ng 2013).

    `inplace` is accepted, and means nothing.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """x where positive, w · x elsewhere, with w learnt (He et al. 2015).

    x has any shape where there is one w, or (N, C), (N, C, ...) where there is one for each
    channel; y has the same.  dw is the sum of g x over the x that are not positive, which is what
    differentiating the selection below gives.

    Args:
        num_parameters: 1 for one w, or the number of channels, axis 1, for one w each.
        init: where w starts.
        device: None, or where the active backend makes arrays.
        dtype: of w.

    Parameter: weight (num_parameters,).

    Raises:
        ValueError: axis 1 of x has not `num_parameters` channels.
        TypeError: x and w are of different dtypes.
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        self.num_parameters, self.init = num_parameters, init
        self.weight = new_parameter((num_parameters,), dtype, device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start again from `init`."""
        init.constant_(self.weight, self.init)

    @in_low_precision
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
    """x where positive, alpha (exp(x) - 1) elsewhere, elementwise (Clevert et al. 2015).

    Below 0 it goes to -alpha; alpha = 1 alone has no kink at 0.

    `inplace` is accepted, and means nothing.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha, self.inplace = alpha, inplace

    def forward(self, x: Tensor) -> Tensor:
        return ops.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class SELU(_Plain):
    """s x where positive, s a (exp(x) - 1) elsewhere, elementwise (Klambauer et al. 2017).

    s = 1.0507 and a = 1.6733 keep mean 0 and variance 1 from one dense layer to the next, where the
    weights start from variance 1/fan_in.

    `inplace` is accepted, and means nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.selu(x)


class CELU(Module):
    """x where positive, alpha (exp(x / alpha) - 1) elsewhere, elementwise (Barron 2017).

    Unlike `ELU`'s its slope at 0 is 1 for every alpha.

    `inplace` is accepted, and means nothing.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha, self.inplace = alpha, inplace

    def forward(self, x: Tensor) -> Tensor:
        return ops.celu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Module):
    """x Φ(x), elementwise, Φ the normal distribution function (Hendrycks and Gimpel 2016).

    Args:
        approximate: "none", or "tanh" for x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2.

    Raises:
        ValueError: when called, `approximate` is neither of the two.
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return ops.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(_Plain):
    """x sigmoid(x), elementwise; also called Swish (Elfwing et al. 2017).

    `inplace` is accepted, and means nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.silu(x)


class Mish(_Plain):
    """x tanh(softplus(x)), elementwise (Misra 2019).

    `inplace` is accepted, and means nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.mish(x)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta, elementwise, exact at any x (Dugas et al. 2001).

    Args:
        beta: the larger, the closer to ReLU.
        threshold: where beta x is above it, y is x itself.  PyTorch's is 20: in float32 no
            difference can be seen.
    """

    def __init__(self, beta: float = 1.0, threshold: float = math.inf) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Tensor) -> Tensor:
        return ops.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        threshold = "" if self.threshold == math.inf else f", threshold={self.threshold}"
        return f"beta={self.beta}{threshold}"


class Softsign(Module):
    """x / (1 + |x|), elementwise: to ±1 as slowly as 1/x (Turian, Bergstra and Bengio 2009)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.softsign(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), elementwise (Xu section 3.6): its slope is at most 1/4."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class LogSigmoid(Module):
    """log(sigmoid(x)) = -log(1 + exp(-x)), elementwise, exact where sigmoid itself rounds to 0."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.log_sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent tanh(x) = 2 sigmoid(2x) - 1, elementwise (Xu section 3.6)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class Hardtanh(Module):
    """min(max(x, min_val), max_val), elementwise; no gradient outside the bounds, or on them.

    `inplace` is accepted, and means nothing.

    Raises:
        ValueError: min_val is not below max_val.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val must be below max_val; {min_val} and {max_val}")
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class Softmax(Module):
    """exp(x) / sum of exp(x) along axis `dim`, of x's shape: numbers that add up to 1 (Xu 2.2-2.3).

    Not to be put before `CrossEntropyLoss`, which takes the softmax itself.  PyTorch's `dim` has no
    default; here it is the last axis.

    Raises:
        ValueError: x has no such axis.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """log(softmax(x)) = x - log(sum of exp(x)) along axis `dim`, of the shape of x.

    Exact where softmax itself rounds to 0; what `NLLLoss` and `KLDivLoss` want.

    Raises:
        ValueError: x has no such axis.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.log_softmax(x, axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(Module):
    """softmax(-x) along axis `dim`, of x's shape: the largest share to the smallest number.

    Raises:
        ValueError: x has no such axis.
        TypeError: x is not of a floating-point dtype.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmin(x, axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax2d(Module):
    """Softmax over the channels of every pixel: x (N, C, H, W) or (C, H, W) -> the same shape.

    Raises:
        ValueError: x has other axes.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = as_tensor("Softmax2d", x)
        if x.ndim not in (3, 4):
            raise ValueError(
                f"Softmax2d: x must be (N, C, H, W), or (C, H, W) for one; x has shape {x.shape}"
            )
        return ops.softmax(x, axis=-3)


class GLU(Module):
    """a sigmoid(b), with a and b the halves of x along axis `dim` (Dauphin et al. 2016).

    x (..., 2 n, ...) -> y (..., n, ...).

    Raises:
        ValueError: x has no such axis, or an odd number along it.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.glu(x, axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
