"""Images larger and smaller: interpolation, and channels rearranged as pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...backends import Array, Backend
from ...tensor import Tensor
from .._function import Unary
from .._operands import as_tensor, require_one_dtype
from ..array.join import repeat
from ..array.shape import permute_dims, reshape
from .adaptive_pool import adaptive_avg_pool2d
from .arguments import Size, sizes

MODES = {  # what is interpolated: the number of axes behind (N, C), None: 1 to 3
    "nearest": None,
    "nearest-exact": None,
    "area": None,
    "linear": 1,
    "bilinear": 2,
    "bicubic": 2,
    "trilinear": 3,
}


class Resize(NamedTuple):
    """How one axis is resampled."""

    length: int  # before
    out: int  # and after
    step: float  # how far apart the new pixels are among the old ones
    kind: str  # "nearest", "nearest-exact", "linear" or "cubic"
    align_corners: bool
    antialias: bool

    @property
    def keeps(self) -> bool:
        """Whether nothing changes; linear does nothing to an axis that keeps its length, as in
        PyTorch, whatever the step."""
        plain = self.kind == "linear" and not self.antialias
        return self.length == self.out and (plain or self.step == 1)


class Resample(Unary):
    """y[..., k] = Σ_t w[t, k] x[..., i[t, k]] along one axis: each new pixel is a weighted sum of a
    few old ones, 1 (nearest), 2 (linear) or 4 (cubic), or, with antialias, all that it covers.

    Pixel j gets what those that read it pass on:

        dx[..., j] = Σ over all (t, k) with i[t, k] = j of w[t, k] g[..., k].

    Where.  Pixel k is an interval of the image, and the middle of it, k + 1/2, lies at
    (k + 1/2) step among the old intervals, so at s = (k + 1/2) step - 1/2 counted from the middle
    of the first old pixel, where step = old length / new length.  With align_corners the middles of
    the first and the last pixels stay where they are, s = k (old - 1) / (new - 1).

    - nearest: pixel floor(k step), in float32 as PyTorch has it; nearest-exact: floor((k + ½) step)
    - linear:  between floor(s) and the next, by f = s - floor(s): weights 1 - f and f, s >= 0
    - cubic:   pixels floor(s) - 1 to + 2, the edge's again beyond it, by Keys' kernel (1981; a =
               -0.75): |d| <= 1: (a+2)|d|³ - (a+3)|d|² + 1;  |d| < 2: a|d|³ - 5a|d|² + 8a|d| - 4a
    - antialias: the kernel (linear: 1 - |d|; cubic with a = -0.5) stretched by step where that is
               more than 1, so that every old pixel counts; weights are divided by their sum.
    """

    def __init__(self, axis: int, how: Resize) -> None:
        self.axis, self.how = axis, how

    def forward(self, x: Array) -> Array:
        xp, axis = self.backend.xp, self.axis
        self.ndim = x.ndim
        self.taps = taps(self.backend, self.how, x)
        y: Array = None
        for indices, weights in self.taps:
            part = xp.take(x, indices, axis=axis)
            if weights is not None:
                part = part * self.along(weights)
            y = part if y is None else y + part
        return y

    def along(self, weights: Array) -> Array:
        """Numbers for each new pixel, to be multiplied along the axis."""
        shape = [1] * self.ndim
        shape[self.axis] = self.how.out
        return self.backend.xp.reshape(weights, tuple(shape))

    def multiply_adds(self, x: Array) -> tuple[int, int]:
        weighted = len([weights for _, weights in self.taps if weights is not None])
        return self.of_product(math.prod(x.shape) // self.how.length * self.how.out * weighted, 0)

    def backward(self, g: Array) -> Array:
        xp, axis, how = self.backend.xp, self.axis, self.how
        g = xp.moveaxis(g, axis, 0)
        rest = tuple(g.shape[1:])
        rows = xp.reshape(g, (how.out, math.prod(rest)))
        dx: Array = None
        for indices, weights in self.taps:
            part = rows if weights is None else rows * weights[:, None]
            part = self.backend.index_add(part, indices, how.length)
            dx = part if dx is None else dx + part
        return xp.moveaxis(xp.reshape(dx, (how.length, *rest)), 0, axis)


def taps(home: Backend, how: Resize, x: Array) -> list[tuple[Array, Array | None]]:
    """For each tap, which old pixel each new one reads, and how much of it; formulas, so that a
    device can follow them without being sent a list."""
    xp = home.xp
    wide = x.dtype if x.dtype == getattr(xp, "float64", None) else xp.float32
    nearest = how.kind.startswith("nearest")
    k = xp.arange(how.out, dtype=xp.float32 if nearest else wide, device=x.device)
    if nearest:
        at = (k + 0.5 if how.kind == "nearest-exact" else k) * how.step
        return [(pixels(home, xp.floor(at), how.length), None)]
    if how.antialias:
        return covered(home, how, k, x.dtype)
    s = k * how.step if how.align_corners else (k + 0.5) * how.step - 0.5
    if how.kind == "linear":
        s = xp.maximum(s, xp.zeros_like(s))
    low = xp.floor(s)
    f = s - low
    if how.kind == "linear":
        weights = {0: 1 - f, 1: f}
    else:
        weights = {-1: outer(f + 1), 0: inner(f), 1: inner(1 - f), 2: outer(2 - f)}
    return [
        (pixels(home, low + t, how.length), xp.astype(w, x.dtype, copy=False))
        for t, w in weights.items()
    ]


def pixels(home: Backend, at: Array, length: int) -> Array:
    """Whole numbers as indices; beyond the edge, the edge's."""
    return home.xp.astype(home.xp.clip(at, 0, length - 1), home.index_dtype)


def inner(d: Array, a: float = -0.75) -> Array:
    """Keys' kernel for 0 <= d <= 1."""
    return ((a + 2) * d - (a + 3)) * d * d + 1


def outer(d: Array, a: float = -0.75) -> Array:
    """Keys' kernel for 1 <= d <= 2."""
    return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a


def covered(home: Backend, how: Resize, k: Array, dtype: Any) -> list[tuple[Array, Array | None]]:
    """All old pixels under a kernel that is as wide as a new one."""
    xp = home.xp
    stretch = max(how.step, 1.0)
    reach = stretch * (1 if how.kind == "linear" else 2)
    middle = (k + 0.5) * how.step
    first = xp.clip(xp.trunc(middle - reach + 0.5), 0, None)
    end = xp.clip(xp.trunc(middle + reach + 0.5), None, how.length)
    found = []
    total = xp.zeros_like(k)
    for t in range(2 * math.ceil(reach) + 1):
        d = xp.abs((first + t - middle + 0.5) / stretch)
        w = 1 - d if how.kind == "linear" else xp.where(d < 1, inner(d, -0.5), outer(d, -0.5))
        inside = (first + t < end) & (d < (1 if how.kind == "linear" else 2))
        w = xp.where(inside, w, xp.zeros_like(w))
        total = total + w
        found.append((pixels(home, xp.minimum(first + t, end - 1), how.length), w))
    return [(i, xp.astype(w / total, dtype, copy=False)) for i, w in found]


def interpolate(
    x: Tensor,
    size: Size | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Sequences, images or volumes of another size: x (N, C, L), (N, C, H, W) or (N, C, D, H, W).

    The names and their meaning are PyTorch's; `Resample` has the formulas.

    Args:
        size: the new lengths of the axes behind (N, C): an integer for all, or one for each.
        scale_factor: or how many times as long they become, rounded down: one number, or one each.
        mode: "nearest" (pixel floor(k step)), "nearest-exact" (the one whose middle is nearest),
            "linear" of sequences, "bilinear" and "bicubic" of images, "trilinear" of volumes,
            "area" (means of the windows of `adaptive_avg_pool2d`).
        align_corners: whether the middles of the first and the last pixels stay where they are,
            instead of the outer edges; for linear, bilinear, bicubic and trilinear (None: False).
        recompute_scale_factor: whether new pixels stand old / new length apart, as they do where
            `size` is given; otherwise 1 / scale_factor, which differs where a length was rounded.
        antialias: of bilinear and bicubic, whether a smaller image is made of all pixels of the
            larger, as in Pillow, not of the nearest 2 or 4 alone.

    Returns:
        (N, C, ...) with the new lengths.

    Raises:
        ValueError: neither size nor scale_factor or both, a length below 1, a mode that x's axes
            have not, or an option that the mode has not.
        TypeError: integers, for every mode but the nearest two.
    """
    x = as_tensor("interpolate", x)
    axes = x.ndim - 2
    if mode not in MODES:
        raise ValueError(f"interpolate: mode {mode!r} is not one of {', '.join(MODES)}")
    if axes not in (1, 2, 3) or MODES[mode] not in (None, axes):
        wanted = {1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}
        allowed = [shape for n, shape in wanted.items() if MODES[mode] in (None, n)]
        raise ValueError(
            f"interpolate: mode {mode!r} takes x of shape {' or '.join(allowed)}; x has shape "
            f"{x.shape}"
        )
    if not mode.startswith("nearest"):
        require_one_dtype("interpolate", x=x)
    if MODES[mode] is None and align_corners is not None:
        raise ValueError(
            "interpolate: align_corners is for linear, bilinear, bicubic and trilinear, and the "
            f"mode is {mode!r}"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(
            f"interpolate: antialias is for bilinear and bicubic, and the mode is {mode!r}"
        )
    lengths, factors = _lengths(x.shape, size, scale_factor)
    if recompute_scale_factor:
        if factors is None:
            raise ValueError(
                "interpolate: recompute_scale_factor is for a scale_factor, not a size"
            )
        factors = None
    if mode == "area":
        return _area(x, lengths)
    kind = mode if mode.startswith("nearest") else "cubic" if mode == "bicubic" else "linear"
    for k, out in enumerate(lengths):
        length = x.shape[2 + k]
        step = length / out if factors is None else 1 / factors[k]
        if align_corners:
            step = (length - 1) / (out - 1) if out > 1 else 0.0
        how = Resize(length, out, step, kind, bool(align_corners), antialias)
        if how.keeps:
            continue
        if kind.startswith("nearest") and out * step == length and out % length == 0:
            x = repeat(x, out // length, axis=2 + k)
        else:
            x = Resample(2 + k, how)(x)
    return x


def _lengths(
    shape: tuple[int, ...], size: Size | None, scale_factor: float | Sequence[float] | None
) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """The new lengths, and by which factors, where these were given."""
    axes = len(shape) - 2
    factors = None
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "interpolate: give either size or scale_factor; "
            f"size {size}, scale_factor {scale_factor}"
        )
    if size is not None:
        lengths = sizes("interpolate", "size", size, axes)
    else:
        given = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor,) * axes
        factors = tuple([float(f) for f in given])  # type: ignore[arg-type]
        if len(factors) != axes or not all(0 < f < math.inf for f in factors):
            raise ValueError(
                f"interpolate: scale_factor must be a positive number or {axes} of them, got "
                f"{scale_factor}"
            )
        lengths = tuple([math.floor(n * f) for n, f in zip(shape[2:], factors, strict=True)])
    if 0 in (*lengths, *shape[2:]):
        raise ValueError(
            f"interpolate: an image has one pixel at least, before and after; x has shape {shape}, "
            f"the new lengths are {lengths}"
        )
    return lengths, factors


def _area(x: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """The means of windows.  That of a box is the mean along one axis of those across the others,
    so that a volume is pooled as images first."""
    n, c, *before = x.shape
    if len(before) == 1:
        y = adaptive_avg_pool2d(reshape(x, (n, c, 1, *before)), (1, *lengths))
    elif len(before) == 2:
        y = adaptive_avg_pool2d(x, lengths)
    else:
        depth, *plane = before
        y = adaptive_avg_pool2d(reshape(x, (n, c * depth, *plane)), lengths[1:])
        rows = math.prod(lengths[1:])
        y = adaptive_avg_pool2d(reshape(y, (n, c, depth, rows)), (lengths[0], rows))
    return reshape(y, (n, c, *lengths))


def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """Channels as finer pixels: x (..., C r², H, W) -> (..., C, H r, W r) (Shi et al. 2016).

    Channel (c, i, j) becomes the pixels (y r + i, x r + j) of channel c; each number goes to one
    place, so the gradient takes the same way back, by `pixel_unshuffle`.

    Args:
        upscale_factor: r.

    Raises:
        ValueError: x has less than three axes, or channels that r² does not divide.
    """
    x = as_tensor("pixel_shuffle", x)
    (r,) = sizes("pixel_shuffle", "upscale_factor", upscale_factor, 1)
    if x.ndim < 3 or x.shape[-3] % r**2:
        raise ValueError(
            f"pixel_shuffle: x must be (..., C r², H, W) with r² = {r**2}; x has shape {x.shape}"
        )
    *batch, c, h, w = x.shape
    k = len(batch)
    y = reshape(x, (*batch, c // r**2, r, r, h, w))
    y = permute_dims(y, (*range(k), k, k + 3, k + 1, k + 4, k + 2))
    return reshape(y, (*batch, c // r**2, h * r, w * r))


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """The channels of every group dealt out to all: x (N, C, ...) -> the same (Zhang et al. 2017).

    Channel k of group g, g C/groups + k, becomes number k groups + g, so that what a grouped
    convolution makes next sees all groups.  A permutation: the gradient is sent back by its
    inverse.

    Args:
        x: at least three axes.
        groups: into how many groups the channels are split.

    Raises:
        ValueError: x has fewer axes, or channels that groups does not divide.
    """
    x = as_tensor("channel_shuffle", x)
    (g,) = sizes("channel_shuffle", "groups", groups, 1)
    if x.ndim < 3 or x.shape[1] % g:
        raise ValueError(
            f"channel_shuffle: x must be (N, C, ...) with C a multiple of groups = {g}; x has "
            f"shape {x.shape}"
        )
    n, c, *rest = x.shape
    y = reshape(x, (n, g, c // g, *rest))
    return reshape(permute_dims(y, (0, 2, 1, *range(3, x.ndim + 1))), x.shape)


def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """The way back from `pixel_shuffle`: x (..., C, H r, W r) -> (..., C r², H, W).

    Args:
        downscale_factor: r.

    Raises:
        ValueError: x has less than three axes, or a height or width that r does not divide.
    """
    x = as_tensor("pixel_unshuffle", x)
    (r,) = sizes("pixel_unshuffle", "downscale_factor", downscale_factor, 1)
    if x.ndim < 3 or x.shape[-1] % r or x.shape[-2] % r:
        raise ValueError(
            f"pixel_unshuffle: x must be (..., C, H r, W r) with r = {r}; x has shape {x.shape}"
        )
    *batch, c, h, w = x.shape
    k = len(batch)
    y = reshape(x, (*batch, c, h // r, r, w // r, r))
    y = permute_dims(y, (*range(k), k, k + 2, k + 4, k + 1, k + 3))
    return reshape(y, (*batch, c * r**2, h // r, w // r))
