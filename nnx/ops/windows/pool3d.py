"""Pooling of volumes, by pooling images twice: each slice, then from slice to slice.

A window of a volume is a product of three intervals, D' × H' × W', and

    max over D' × H' × W'  =  max over D' of (max over H' × W'),       the mean likewise:

(1/(d h w)) Σ_D' Σ_H'W' x = (1/d) Σ_D' ((1/(h w)) Σ_H'W' x), with as many places counted in each
slice.  The first step has the slices for images, (N, C D, H, W), the second takes what it gave as
images (D, oh ow) under windows of one column.  So the kernels for images do it all, and the chain
rule gives the gradients.  Of equal values the first in row-major order is chosen: the second step
takes the first slice that has the value, the first step had taken the first place in that slice.
NaN passes both.
"""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from .._operands import as_tensor, require_one_dtype
from ..array.autocast import in_float32_inside
from ..array.indexing import take_along_axis
from ..array.shape import reshape
from .arguments import PaddingLike, Pair, Size, Window, batch_of, one_of, remembered
from .pool import AvgPool2d, MaxPool2d, pool_geometry


def max_pool3d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: PaddingLike = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest value of each window: x (N, C, D, H, W) -> (N, C, od, oh, ow), or without N.

    Each length, and all else, is as in `max_pool2d`.

    Args:
        x: volumes.
        kernel_size: the windows, an integer or one for each axis.
        stride: from one window to the next, likewise; None: kernel_size.
        dilation: how far apart the voxels of a window are, likewise.
        padding: as in `conv3d`, at most half the kernel; it is never chosen.
        ceil_mode: let the last windows run over the end.
        return_indices: also return where in its volume each maximum stands, (slice H + row) W +
            column, int64.

    Raises:
        ValueError: the message names the rule and the shapes.
    """
    x = as_tensor("max_pool3d", x)
    slices, planes, _ = _windows(
        "max_pool3d", x.shape, kernel_size, stride, padding, dilation, ceil_mode
    )
    x, alone = batch_of(x, 3)
    within, across = MaxPool2d(planes), MaxPool2d(slices)
    y = across(_columns(within(_planes(x)), x))
    size = (*y.shape[:3], *within.argmax.shape[2:])
    if not return_indices:
        return one_of(reshape(y, size), alone)
    found = volume_indices(across.indices() // y.shape[3], within.indices(), x.shape)
    return one_of(reshape(y, size), alone), one_of(reshape(found, size), alone)


@in_float32_inside
def avg_pool3d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: PaddingLike = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window: x (N, C, D, H, W) -> (N, C, od, oh, ow), or without N for one.

    Args:
        x: volumes.
        kernel_size: the window, one number or one for each axis.
        stride: from one window to the next; None: `kernel_size`.
        padding: as in `max_pool3d`.
        ceil_mode: let the last windows run over the end.
        count_include_pad: whether a voxel of the padding counts (as zero) in the mean.
        divisor_override: divide every sum by this instead of by the number of voxels.

    Raises:
        ValueError: the message names the rule and the shapes.
        TypeError: integers.
    """
    name = "avg_pool3d"
    x = as_tensor(name, x)
    require_one_dtype(name, x=x)
    slices, planes, own = _windows(name, x.shape, kernel_size, stride, padding, 1, ceil_mode)
    x, alone = batch_of(x, 3)
    if divisor_override is not None:
        if divisor_override == 0:
            raise ValueError(f"{name}: divisor_override must not be 0")
        # Every window counts all its places, and the first step's sum is divided by 1.
        sums = AvgPool2d(planes, planes.padding, 1)(_planes(x))
        y = AvgPool2d(slices, slices.padding, divisor_override)(_columns(sums, x))
    else:
        none = ((0, 0), (0, 0), (0, 0))
        front, top, left = own if count_include_pad else none
        sums = AvgPool2d(planes, (top, left))(_planes(x))
        y = AvgPool2d(slices, (front, (0, 0)))(_columns(sums, x))
    return one_of(reshape(y, (*y.shape[:3], *sums.shape[2:])), alone)


@remembered
def _windows(
    name: str,
    shape: tuple[int, ...],
    kernel_size: Size,
    stride: Size | None,
    padding: PaddingLike,
    dilation: Size,
    ceil_mode: bool,
) -> tuple[Window, Window, tuple[Pair, ...]]:
    """The windows from slice to slice and within a slice, and the padding that was asked for."""
    geometry, own = pool_geometry(name, shape, 3, kernel_size, stride, padding, dilation, ceil_mode)
    kernel, strides, pads, dilations = geometry
    slices = Window((kernel[0], 1), (strides[0], 1), (pads[0], (0, 0)), (dilations[0], 1))
    return slices, geometry.planes(), own


def _planes(x: Tensor) -> Tensor:
    """(N, C, D, H, W) -> (N, C D, H, W)."""
    n, c, d, h, w = x.shape
    return reshape(x, (n, c * d, h, w))


def _columns(y: Tensor, x: Tensor) -> Tensor:
    """What was made of the slices of x, (N, C D, oh, ow) -> (N, C, D, oh ow)."""
    return reshape(y, (*x.shape[:3], y.shape[2] * y.shape[3]))


def volume_indices(slices: Any, places: Any, shape: tuple[int, ...]) -> Tensor:
    """Where in its volume each maximum stands, slice H W + place, (N, C, od, oh ow) int64.

    Args:
        slices: the slice that each maximum is of, (N, C, od, oh ow).
        places: where in its slice the maximum of each slice stands, (N, C D, oh, ow).
        shape: of the volumes (N, C, D, H, W).
    """
    chosen, within = Tensor(slices), reshape(Tensor(places), (*shape[:3], slices.shape[3]))
    return chosen * (shape[3] * shape[4]) + take_along_axis(within, chosen, axis=2)
