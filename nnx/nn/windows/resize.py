"""Layers that make images larger or smaller, and that move channels to pixels and back."""

from __future__ import annotations

from collections.abc import Sequence

from ... import ops
from ...ops.windows.arguments import Size
from ...tensor import Tensor
from ..module import Module


class Upsample(Module):
    """Sequences, images or volumes of another size: x (N, C, ...) -> (N, C, ...).

    `ops.interpolate` has the formulas.

    Args:
        size: the new lengths of the axes behind (N, C): an integer for all, or one for each; or
        scale_factor: how many times as long they become, one number, or one each.
        mode: "nearest", "nearest-exact", "linear" of sequences, "bilinear" and "bicubic" of images,
            "trilinear" of volumes, "area".
        align_corners: whether the middles of the first and the last pixels stay where they are.
        recompute_scale_factor: whether pixels stand old / new length apart, not 1 / scale_factor.

    Raises:
        ValueError: when called, arguments that make no sense, or that x's axes have not.
        TypeError: x is of integers, where the mode is none of the nearest two.
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, x: Tensor) -> Tensor:
        return ops.interpolate(
            x,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        what = "size" if self.scale_factor is None else "scale_factor"
        return f"{what}={getattr(self, what)}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of images (N, C, H, W) by repeating pixels, with mode "nearest".

    Args:
        size: the new (H, W), or one number for both; or
        scale_factor: how many times as large they become, one number or two.

    Raises:
        ValueError: when called, arguments that make no sense.
    """

    def __init__(
        self, size: Size | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of images (N, C, H, W), with mode "bilinear" and align_corners=True.

    Args:
        size: the new (H, W), or one number for both; or
        scale_factor: how many times as large they become, one number or two.

    Raises:
        ValueError: when called, arguments that make no sense.
        TypeError: x is of integers.
    """

    def __init__(
        self, size: Size | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, "bilinear", align_corners=True)


class PixelShuffle(Module):
    """Channels as finer pixels: x (..., C r², H, W) -> (..., C, H r, W r) (Shi et al. 2016).

    Args:
        upscale_factor: r.

    Raises:
        ValueError: when called, x has channels that r² does not divide.
    """

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, x: Tensor) -> Tensor:
        return ops.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels as channels, the way back of `PixelShuffle`: (..., C, H r, W r) -> (..., C r², H, W).

    Args:
        downscale_factor: r.

    Raises:
        ValueError: when called, x has rows or columns that r does not divide.
    """

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = downscale_factor

    def forward(self, x: Tensor) -> Tensor:
        return ops.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """The channels of every group dealt out to all: x (N, C, ...) -> the same (Zhang et al. 2017).

    Between grouped convolutions, so that each sees all groups.

    Args:
        groups: into how many groups the channels are split.

    Raises:
        ValueError: when called, x has channels that groups does not divide.
    """

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return ops.channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
