"""Normalisation of each sample: over its last axes, a group of its channels, or one channel."""

from __future__ import annotations

import math
from typing import Any

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._function import Function
from .._operands import operands, require_one_dtype
from ..array.autocast import in_float32
from .batch import checked


class LayerNorm(Function):
    """`BatchNorm`'s formula over the features of each sample (Ba, Kiros and Hinton 2016).

    The last axes are one row of D features; μ and σ² are a row's own, so m = D there, while γ and β
    have one value per feature, and their gradients are sums over the rows.
    """

    def __init__(self, features: int, eps: float) -> None:
        self.features, self.eps = features, eps

    def forward(self, x: Array, weight: Array | None = None, bias: Array | None = None) -> Array:
        d = self.features
        shape = x.shape
        rows = self._in((math.prod(shape) // d, d), x)
        y, residuals = self.backend.layer_norm(
            rows, self._in((d,), weight), self._in((d,), bias), self.eps
        )
        if True in self.needs_input_grad:
            self.shapes = [None if a is None else a.shape for a in (x, weight, bias)]
            self.residuals = residuals
        return self._in(shape, y)

    def _in(self, shape: Any, a: Any) -> Any:
        return a if a is None or a.shape == shape else self.backend.xp.reshape(a, shape)

    def multiply_adds(self, x: Array, *others: Array | None) -> tuple[int, int]:
        n = math.prod(x.shape)
        return 2 * n, 2 * n if True in self.needs_input_grad else 0

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        d = self.features
        g = self._in((math.prod(g.shape) // d, d), g)
        gradients = self.backend.layer_norm_backward(g, self.residuals, self.needs_input_grad)
        return tuple([self._in(shape, a) for a, shape in zip(gradients, self.shapes, strict=True)])


class GroupNorm(Function):
    """`BatchNorm`'s formula over groups of channels of each sample (Wu and He 2018).

    μ and σ² are taken over the C/groups channels of a group and all its pixels, m of them; γ and β
    belong to channels, and their gradients are sums over samples and pixels.
    """

    def __init__(self, groups: int, eps: float) -> None:
        self.groups, self.eps = groups, eps

    def forward(self, x: Array, weight: Array | None = None, bias: Array | None = None) -> Array:
        y, residuals = self.backend.group_norm(x, weight, bias, self.groups, self.eps)
        if True in self.needs_input_grad:
            self.residuals = residuals
        return y

    def multiply_adds(self, x: Array, *others: Array | None) -> tuple[int, int]:
        n = math.prod(x.shape)
        return 2 * n, 2 * n if True in self.needs_input_grad else 0

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        return self.backend.group_norm_backward(g, self.residuals, self.needs_input_grad)


class RMSNorm(Function):
    """x̂ = x / √(mean(x²) + ε),  y = γ x̂: `LayerNorm` without the mean (Zhang and Sennrich 2019).

    Backward.  With r = (mean(x²) + ε)^(-1/2), m numbers in a row, and g = dL/dx̂ = γ G:  x acts
    through x̂ directly and through r, dr/dx_j = -r³ x_j / m, so

        dL/dx_j = r g_j - r³ x_j / m Σ_i g_i x_i = r (g_j - x̂_j mean(g x̂))
        dL/dγ = Σ G x̂        over the rows.

    That is `BatchNorm`'s gradient without mean(g), as nothing was subtracted.
    """

    def __init__(self, axes: int, eps: float) -> None:
        self.axes, self.eps = tuple(range(-axes, 0)), eps

    def forward(self, x: Array, weight: Array | None = None) -> Array:
        xp = self.backend.xp
        inverse = 1 / xp.sqrt(xp.mean(x * x, axis=self.axes, keepdims=True) + self.eps)
        normal = x * inverse
        if True in self.needs_input_grad:
            self.normal, self.inverse, self.weight = normal, inverse, weight
        return normal if weight is None else normal * weight

    def multiply_adds(self, x: Array, *others: Array | None) -> tuple[int, int]:
        n = math.prod(x.shape)
        return n, 2 * n if True in self.needs_input_grad else 0

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        xp, normal = self.backend.xp, self.normal
        gx = gw = None
        if self.needs_input_grad[1]:
            gw = xp.sum(g * normal, axis=tuple(range(g.ndim - len(self.axes))))
        if self.needs_input_grad[0]:
            if self.weight is not None:
                g = g * self.weight
            along = xp.mean(g * normal, axis=self.axes, keepdims=True)
            gx = (g - normal * along) * self.inverse
        return gx, gw


@in_float32
def layer_norm(
    x: Tensor,
    normalized_shape: int | tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each sample over its last axes (Ba, Kiros and Hinton 2016).

    x (..., *normalized_shape), weight and bias of shape normalized_shape or None -> like x.
    `eps` is added to the variance under the root.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: dtypes that differ, or are no floating-point ones.
    """
    x, weight, bias = operands("layer_norm", x, weight, bias)
    if not backend_of(x.data).is_float(x.data.dtype):
        require_one_dtype("layer_norm", x=x)
    wanted = _last_axes("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    return LayerNorm(math.prod(wanted), eps)(x, weight, bias)


@in_float32
def group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each sample's channels in `num_groups` groups, over the group and its pixels.

    (Wu and He 2018.)  x (N, C) or (N, C, ...), weight and bias (C,) or None -> like x.  `eps` is
    added to the variance under the root.

    Raises:
        ValueError: channels that do not split into num_groups, shapes that do not fit.
        TypeError: dtypes that differ.
    """
    x, weight, bias = checked("group_norm", x, weight, bias)
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(
            f"group_norm: the {x.shape[1]} channels must split into num_groups = {num_groups}; "
            f"x has shape {x.shape}"
        )
    return GroupNorm(num_groups, eps)(x, weight, bias)


@in_float32
def rms_norm(
    x: Tensor,
    normalized_shape: int | tuple[int, ...],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x / √(mean(x²) + eps) over the last axes, times weight (Zhang and Sennrich 2019).

    Args:
        x: (..., *normalized_shape), and so is what is returned.
        normalized_shape: the lengths of the last axes, or of the last one.
        weight: γ of that shape, or None for 1.
        eps: keeps the root away from 0; None: the dtype's own (1.2e-7 in float32).

    Raises:
        ValueError: shapes that do not fit.
        TypeError: dtypes that differ, or are no floating-point ones.
    """
    name = "rms_norm"
    x, weight, _ = operands(name, x, weight)
    require_one_dtype(name, x=x)
    wanted = _last_axes(name, x, normalized_shape, weight=weight)
    if eps is None:
        eps = float(backend_of(x.data).xp.finfo(x.dtype).eps)
    return RMSNorm(len(wanted), eps)(x, weight)


@in_float32
def instance_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise each channel of each sample over its own pixels (Ulyanov et al. 2016).

    That is `group_norm` with a group for each channel.

    Args:
        x: (N, C, ...), at least one axis after C; so is what is returned.
        weight: γ (C,), or None for 1.
        bias: β (C,), or None for 0.
        eps: added to the variance under the root.

    Raises:
        ValueError: shapes that do not fit; channels of one pixel, which have no variance.
        TypeError: dtypes that differ.
    """
    x, weight, bias = checked("instance_norm", x, weight, bias)
    pixels = math.prod(x.shape[2:])
    if x.ndim < 3 or pixels == 1:
        raise ValueError(
            "instance_norm: x must be (N, C, ...) with at least 2 values in a channel; "
            f"x has shape {x.shape}"
        )
    return GroupNorm(x.shape[1], eps)(x, weight, bias)


def _last_axes(
    name: str, x: Tensor, normalized_shape: int | tuple[int, ...], **learnt: Tensor | None
) -> tuple[int, ...]:
    """The lengths of the axes to normalise over, checked, and that what is learnt has them."""
    wanted = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not wanted or math.prod(wanted) < 1 or x.shape[-len(wanted) :] != wanted:
        raise ValueError(
            f"{name}: the last axes of x must be {wanted}, and not empty; x has shape {x.shape}"
        )
    for label, a in learnt.items():
        if a is not None and a.shape != wanted:
            raise ValueError(
                f"{name}: {label} must have shape {wanted}; it has {a.shape}, x {x.shape}"
            )
    return wanted
