"""Unpooling: the values of `max_pool` back where they stood, zeros elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...backends import backend_of
from ...tensor import Tensor
from .._operands import as_array, as_tensor
from ..array.scatter import scatter
from ..array.shape import reshape
from .arguments import Size, batch_of, one_of, sizes
from .pool import require_images


def max_unpool1d(
    x: Tensor,
    indices: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """What `max_pool1d` gave, where it stood: x (N, C, ol) -> (N, C, L), zeros elsewhere.

    Args:
        x: (N, C, ol) or (C, ol).
        indices: what `max_pool1d` returned with `return_indices`, of x's shape.
        kernel_size, stride, padding: that pooling's.
        output_size: L, or (..., L); None: (ol - 1) stride - 2 padding + kernel_size.

    Raises:
        ValueError: shapes that do not fit, or an output_size that the pooling does not lead from.
        IndexError: an index beyond the result.
    """
    return _unpool("max_unpool1d", 1, x, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    x: Tensor,
    indices: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """What `max_pool2d` gave, where it stood: x (N, C, oh, ow) -> (N, C, H, W) (Zeiler and Fergus
    2013).

    Where windows overlap and two chose one place, their values are the same, and the last takes
    the gradient.

    Args:
        x: (N, C, oh, ow) or (C, oh, ow).
        indices: what `max_pool2d` returned with `return_indices`, of x's shape.
        kernel_size, stride, padding: that pooling's.
        output_size: (H, W) or (..., H, W); None: (oh - 1) stride - 2 padding + kernel_size.

    Raises:
        ValueError: shapes that do not fit, or an output_size that the pooling does not lead from.
        IndexError: an index beyond the result.
    """
    return _unpool("max_unpool2d", 2, x, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    x: Tensor,
    indices: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """What `max_pool3d` gave, where it stood: x (N, C, od, oh, ow) -> (N, C, D, H, W).

    Args:
        x: (N, C, od, oh, ow) or (C, od, oh, ow).
        indices: what `max_pool3d` returned with `return_indices`, of x's shape.
        kernel_size, stride, padding: that pooling's.
        output_size: (D, H, W) or (..., D, H, W); None: as in `max_unpool2d`.

    Raises:
        ValueError: shapes that do not fit, or an output_size that the pooling does not lead from.
        IndexError: an index beyond the result.
    """
    return _unpool("max_unpool3d", 3, x, indices, kernel_size, stride, padding, output_size)


def _unpool(
    name: str,
    axes: int,
    x: Tensor,
    indices: Any,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    output_size: Sequence[int] | None,
) -> Tensor:
    x = as_tensor(name, x)
    require_images(name, x.shape, axes)
    places = as_array(name, indices, x)
    if tuple(places.shape) != x.shape:
        raise ValueError(
            f"{name}: indices must have x's shape {x.shape}; they have {tuple(places.shape)}"
        )
    kernel = sizes(name, "kernel_size", kernel_size, axes)
    strides = kernel if stride is None else sizes(name, "stride", stride, axes)
    pads = sizes(name, "padding", padding, axes, least=0)
    size = tuple(
        [
            (n - 1) * s - 2 * p + k
            for n, s, p, k in zip(x.shape[-axes:], strides, pads, kernel, strict=True)
        ]
    )
    if output_size is not None:
        wanted = tuple(output_size)[-axes:]
        near = [abs(w - n) < s for w, n, s in zip(wanted, size, strides, strict=False)]
        if len(wanted) != axes or not all(near):
            raise ValueError(
                f"{name}: output_size must be less than a stride from {size}, got {output_size}"
            )
        size = wanted
    x, alone = batch_of(x, axes)
    n, c = x.shape[:2]
    xp = backend_of(x.data).xp
    zeros = Tensor(xp.zeros((n, c, math.prod(size)), dtype=x.dtype, device=x.device))
    places = xp.reshape(places, (n, c, math.prod(x.shape[2:])))
    y = scatter(zeros, Tensor(places), reshape(x, places.shape), axis=2)
    return one_of(reshape(y, (n, c, *size)), alone)
