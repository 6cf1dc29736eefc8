"""Layers that stand in a row, computed by one kernel where the backend has one.

`Sequential` asks here.  A convolution with the batch norm, ReLU and max-pooling that follow it
becomes one operation, `ops.conv_block2d`; a dense layer and its ReLU, `ops.linear_relu`.  Nobody
shall see a difference but in time: parameters, running statistics, errors and gradients are those
of the layers one by one, to rounding.  So a layer stays on its own if somebody is looking (a
hook), if it is not exactly the class known here (a subclass may compute anything), or if its
arguments do not suit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..autograd import is_grad_enabled
from ..autograd.autocast import autocast_dtype
from ..backends import backend_of
from ..backends.portable.window import Window
from ..ops.windows.arguments import remembered, sizes
from ..ops.windows.conv import conv_window
from ..tensor import Tensor
from .activation import ReLU
from .linear import Linear
from .module import Module, is_watched
from .norm.batch import BatchNorm2d
from .windows.conv import Conv2d
from .windows.pool import MaxPool2d

FIRST = (Conv2d, Linear)  # what a row of layers to be fused begins with


def fused(layers: Sequence[Module], start: int, x: Any) -> tuple[Any, int] | None:
    """What the layers from `start` on make of x, and how many of them did; None: not fused."""
    first = layers[start]
    if type(first) is Linear:
        relu = layers[start + 1] if start + 1 < len(layers) else None
        if type(relu) is ReLU and _alone(first) and _alone(relu):
            return ops.linear_relu(x, first.weight, first.bias), 2
        return None
    return _convolution(layers, start, x)


def _convolution(layers: Sequence[Module], start: int, x: Any) -> tuple[Any, int] | None:
    conv: Any = layers[start]  # exactly a Conv2d: FIRST says so
    if not _alone(conv) or type(x) is not Tensor or x.ndim != 4:
        return None
    if autocast_dtype() is not None:  # each layer is on a list of its own
        return None
    if not backend_of(x.data).fuses_convolution or conv.padding_mode != "zeros":
        return None
    following: list[Module | None] = [
        m if _alone(m) else None for m in layers[start + 1 : start + 4]
    ]
    following += [None] * (3 - len(following))
    after, norm, relu, pool = following.pop(0), None, None, None
    if type(after) is BatchNorm2d:
        norm, after = after, following.pop(0)
    if type(after) is ReLU:
        relu, after = after, following.pop(0)
        if type(after) is MaxPool2d:
            pool = after
    if norm is None and relu is None:
        return None
    return _compute(conv, norm, relu, pool, x)


def _alone(module: Module) -> bool:
    """Nobody looks at what this layer computes, or has changed how it does."""
    return not (is_watched(module) or "forward" in vars(module))


def _compute(
    conv: Conv2d, norm: BatchNorm2d | None, relu: ReLU | None, pool: MaxPool2d | None, x: Tensor
) -> tuple[Any, int] | None:
    weight: Tensor = conv.weight
    bias: Tensor | None = conv.bias
    shapes = x.shape, weight.shape, None if bias is None else bias.shape
    arguments = conv.stride, conv.padding, conv.dilation, conv.groups
    oh, ow = conv_window("conv2d", *shapes, *arguments, 2).counts((x.shape[2], x.shape[3]))
    values = x.shape[0] * oh * ow
    if values < 2:  # the layers themselves say what is wrong
        return None
    window = _pool_geometry(pool, (oh, ow))
    count = 1 + sum(m is not None for m in (norm, relu, window))
    gamma = beta = eps = None
    if norm is not None:
        gamma, beta, eps = norm.weight, norm.bias, norm.eps
        if norm.num_features != conv.out_channels:
            return None
        if any(a is not None and a.dtype != weight.dtype for a in (gamma, beta, norm.running_mean)):
            return None
        if not norm.training and norm.running_mean is not None:
            if relu is None or (is_grad_enabled() and (x.requires_grad or _learning(conv, norm))):
                return None
            weight, bias = _folded(conv, norm)
            norm = gamma = beta = eps = None
    y, mean, variance = ops.conv_block2d(
        x, weight, bias, *arguments,
        gamma, beta, eps, relu is not None, window,
    )  # fmt: skip
    # In training: else it is folded.
    if norm is not None and norm.track_running_stats and norm.running_mean is not None:
        norm.track(mean, variance, values)
    return y, count


def _learning(*modules: Module) -> bool:
    return any(p.requires_grad for module in modules for p in module.parameters())


def _pool_geometry(pool: MaxPool2d | None, size: tuple[int, int]) -> Window | None:
    """The pooling's window; None where it cannot be part of the block."""
    if pool is None or pool.return_indices or pool.ceil_mode or pool.padding != 0:
        return None
    return _tiling(pool.kernel_size, pool.stride, pool.dilation, size)


@remembered
def _tiling(kernel_size: Any, stride: Any, dilation: Any, size: tuple[int, int]) -> Window | None:
    """A pooling's window if windows lie side by side, without gaps, and one at least fits."""
    kernel = sizes("max_pool2d", "kernel_size", kernel_size, 2)
    if (
        sizes("max_pool2d", "stride", stride, 2) != kernel
        or kernel[0] > size[0]
        or kernel[1] > size[1]
    ):
        return None
    if sizes("max_pool2d", "dilation", dilation, 2) != (1, 1):
        return None
    return Window(kernel, kernel)  # type: ignore[arg-type]


def _folded(conv: Conv2d, norm: BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that includes batch norm's evaluation (Xu 6.13).

    γ (w * x + b - μ) r + β = (γ r w) * x + (γ r (b - μ) + β), with r = 1/√(σ² + ε).
    """
    xp = backend_of(norm.running_mean).xp
    scale = 1 / xp.sqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.data
    shift = -norm.running_mean if conv.bias is None else conv.bias.data - norm.running_mean
    shift = shift * scale
    if norm.bias is not None:
        shift = shift + norm.bias.data
    return Tensor(conv.weight.data * xp.reshape(scale, (-1, 1, 1, 1))), Tensor(shift)
