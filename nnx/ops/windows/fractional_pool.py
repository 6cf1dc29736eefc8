"""Pooling over windows at random places, by a factor that need not be a whole number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._operands import as_array, as_tensor, require_one_dtype
from ..array.indexing import take_along_axis
from ..array.shape import reshape
from .arguments import IMAGE, Size, batch_of, one_of, sizes
from .pool import require_images


def fractional_max_pool2d(
    x: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    random_samples: Any = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest value of windows at random places: x (N, C, H, W) -> (N, C, oh, ow), or without N
    (Graham 2014).

    Along an axis of L with m windows of k, window i begins at floor((i + u) a) - floor(u a), with
    a = (L - k) / (m - 1), and the last at L - k; u is drawn from U(0, 1) for each channel of each
    image and axis.  So their distances are floor(a) or ceil(a), in a random order.  The gradient of
    each value goes to where it stood, as in `max_pool2d`; the first of equal ones is chosen.

    Args:
        x: images.
        kernel_size: the windows, an integer or (kh, kw).
        output_size: oh and ow, or one number for both; or
        output_ratio: what part of H and W they are, between 0 and 1, one number or two.
        return_indices: also give where in its image each value stood, row W + column, int64.
        random_samples: u, (N, C, 2), of the columns first; of several the first is that of one
            image without N.  None: drawn from the shared generator.

    Returns:
        (N, C, oh, ow), or that and the indices.

    Raises:
        ValueError: not one of output_size and output_ratio; windows that do not fit.
        TypeError: integers.
    """
    return _fractional(
        "fractional_max_pool2d",
        2,
        x,
        kernel_size,
        output_size,
        output_ratio,
        return_indices,
        random_samples,
    )


def fractional_max_pool3d(
    x: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    random_samples: Any = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """`fractional_max_pool2d` of volumes: x (N, C, D, H, W) -> (N, C, od, oh, ow), or without N.

    Args:
        x: volumes.
        kernel_size: the windows, an integer or (kd, kh, kw).
        output_size: od, oh and ow, or one number for all; or
        output_ratio: what part of D, H and W they are, one number or three.
        return_indices: also give where in its volume each value stood, (slice H + row) W + column,
            int64.
        random_samples: u, (N, C, 3); None: drawn from the shared generator.

    Returns:
        (N, C, od, oh, ow), or that and the indices.

    Raises:
        ValueError: not one of output_size and output_ratio; windows that do not fit.
        TypeError: integers.
    """
    return _fractional(
        "fractional_max_pool3d",
        3,
        x,
        kernel_size,
        output_size,
        output_ratio,
        return_indices,
        random_samples,
    )


def _fractional(
    name: str,
    axes: int,
    x: Tensor,
    kernel_size: Size,
    output_size: Size | None,
    output_ratio: float | Sequence[float] | None,
    return_indices: bool,
    random_samples: Any,
) -> Tensor | tuple[Tensor, Tensor]:
    x = as_tensor(name, x)
    require_images(name, x.shape, axes)
    require_one_dtype(name, x=x)
    kernel = sizes(name, "kernel_size", kernel_size, axes)
    lengths = x.shape[-axes:]
    counts = _counts(name, lengths, output_size, output_ratio)
    if any(not n or k + m - 1 > n for n, k, m in zip(lengths, kernel, counts, strict=True)):
        raise ValueError(
            f"{name}: {counts} windows of {kernel} do not fit into ({IMAGE[axes]}) = {lengths}: "
            f"kernel + windows - 1 must be at most the length; x has shape {x.shape}"
        )
    x, alone = batch_of(x, axes)
    flat = reshape(x, (*x.shape[:2], math.prod(lengths)))
    samples = _samples(name, x, axes, random_samples, alone)
    home = backend_of(x.data)
    # (N, C, windows, places): every place of every window, as an index into its image
    places = window_places(home.xp, samples, lengths, kernel, counts)
    shape = tuple(places.shape)
    seen = take_along_axis(
        flat.detach(), home.xp.reshape(places, (*shape[:2], shape[2] * shape[3])), axis=2
    )
    largest = home.xp.argmax(home.xp.reshape(seen.data, shape), axis=-1, keepdims=True)
    chosen = home.xp.squeeze(
        home.xp.take_along_axis(places, home.positions(largest), axis=-1), axis=-1
    )
    y = one_of(reshape(take_along_axis(flat, chosen, axis=2), (*shape[:2], *counts)), alone)
    if not return_indices:
        return y
    return y, one_of(reshape(Tensor(chosen), (*shape[:2], *counts)), alone)


def _counts(
    name: str,
    lengths: tuple[int, ...],
    output_size: Size | None,
    output_ratio: float | Sequence[float] | None,
) -> tuple[int, ...]:
    if (output_size is None) == (output_ratio is None):
        raise ValueError(f"{name}: either output_size or output_ratio must be given, and not both")
    axes = len(lengths)
    if output_size is not None:
        return sizes(name, "output_size", output_size, axes)
    several = isinstance(output_ratio, Sequence)
    ratios: Any = output_ratio if several else [output_ratio] * axes
    if len(ratios) != axes or not all(0 < ratio < 1 for ratio in ratios):
        raise ValueError(
            f"{name}: output_ratio must be between 0 and 1, one number or {axes}, "
            f"got {output_ratio}"
        )
    wanted = tuple([int(n * ratio) for n, ratio in zip(lengths, ratios, strict=True)])
    return sizes(name, "output_size", wanted, axes)


def _samples(name: str, x: Tensor, axes: int, given: Any, alone: bool) -> Array:
    """u of each image, channel and axis, (N, C, axes), the axes in their order."""
    shape = (*x.shape[:2], axes)
    if given is None:
        from ...random import default_generator  # here, so that `import nnx` need not load it

        return default_generator().uniform(shape, like=x.data)
    u = as_array(name, given, x)
    if alone and u.ndim == 3:
        u = u[:1, ...]
    if tuple(u.shape) != shape:
        raise ValueError(
            f"{name}: random_samples must have shape {shape}; it has {tuple(u.shape)}, x {x.shape}"
        )
    u = backend_of(u).xp.astype(u, x.dtype, copy=False)
    # As in PyTorch, where images have the columns' first, and volumes have the axes in order.
    return backend_of(u).xp.flip(u, axis=2) if axes == 2 else u


def window_places(
    xp: Any,
    samples: Array,
    lengths: tuple[int, ...],
    kernel: tuple[int, ...],
    counts: tuple[int, ...],
) -> Array:
    """For every window, row by row, the places that it sees, as indices into the flat image.

    samples (N, C, axes) -> (N, C, windows, places in a window), int64.
    """
    axes = len(lengths)
    total = None
    stride = math.prod(lengths)
    for axis, (length, k, m) in enumerate(zip(lengths, kernel, counts, strict=True)):
        stride //= length
        starts = interval_starts(xp, samples[:, :, axis], length, k, m)
        inside = xp.arange(k, dtype=xp.int64, device=samples.device)
        around = [1] * axes
        at = xp.reshape(
            starts, (*starts.shape[:2], *around[:axis], m, *around[axis + 1 :], *around)
        ) + xp.reshape(inside, (*around, *around[:axis], k, *around[axis + 1 :]))
        total = at * stride if total is None else total + at * stride
    assert total is not None
    return xp.reshape(total, (*samples.shape[:2], math.prod(counts), math.prod(kernel)))


def interval_starts(xp: Any, u: Array, length: int, k: int, m: int) -> Array:
    """Where m windows of k begin along an axis: u (N, C) -> (N, C, m), int64."""
    last = xp.full((*u.shape, 1), length - k, dtype=xp.int64, device=u.device)
    if m == 1:
        return last
    step = (length - k) / (m - 1)
    u = xp.expand_dims(u, axis=-1)
    i = xp.arange(m - 1, dtype=u.dtype, device=u.device)
    starts = xp.astype(xp.floor((i + u) * step) - xp.floor(u * step), xp.int64)
    return xp.concat([starts, last], axis=-1)
