"""Layers that put a border around sequences, images and volumes."""

from __future__ import annotations

from collections.abc import Sequence

from ... import ops
from ...ops._operands import as_tensor
from ...ops.windows.arguments import IMAGE
from ...tensor import Tensor
from ..module import Module


class _Pad(Module):
    """What padding layers share: `padding` as PyTorch has it, the last axis first."""

    axes = 1
    mode = "constant"
    value = 0.0

    def __init__(self, padding: int | Sequence[int]) -> None:
        name, sides = type(self).__name__, 2 * self.axes
        given = tuple(padding) if isinstance(padding, Sequence) else (padding,) * sides
        if len(given) != sides or not all(hasattr(side, "__index__") for side in given):
            raise ValueError(
                f"{name}: padding must be an integer or {sides} of them, got {padding!r}"
            )
        if self.mode != "constant" and min(given) < 0:
            raise ValueError(f"{name}: padding must not be negative, got {padding!r}")
        self.padding = given

    def forward(self, x: Tensor) -> Tensor:
        name, axes = type(self).__name__, self.axes
        x = as_tensor(name, x)
        constant = self.mode == "constant"
        if x.ndim < axes if constant else x.ndim not in (axes + 1, axes + 2):
            form = f"(..., {IMAGE[axes]})" if constant else f"(N, C, {IMAGE[axes]}), or without N"
            raise ValueError(f"{name}: x must be {form}; x has shape {x.shape}")
        pairs = [self.padding[2 * k : 2 * k + 2] for k in reversed(range(axes))]
        if min(self.padding) < 0:
            x = self._cut(x, pairs)
        wanted = [(0, 0)] * (x.ndim - axes) + [(max(a, 0), max(b, 0)) for a, b in pairs]
        return ops.pad(x, wanted, self.mode, self.value)

    def _cut(self, x: Tensor, pairs: Sequence[Sequence[int]]) -> Tensor:
        """x without what negative widths cut off."""
        lengths = x.shape[x.ndim - self.axes :]
        key = [
            slice(max(-before, 0), length - max(-after, 0))
            for length, (before, after) in zip(lengths, pairs, strict=True)
        ]
        if any(part.start > part.stop for part in key):
            raise ValueError(
                f"{type(self).__name__}: padding {self.padding} cuts off more than there is; "
                f"x has shape {x.shape}"
            )
        return x[(..., *key)]

    def extra_repr(self) -> str:
        return f"padding={self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """A border of one value around sequences: x (..., L) -> y with longer axes.

    Negative widths cut off.

    Args:
        padding: one number for all sides, or (left, right).
        value: what the border is of.

    Raises:
        ValueError: padding is none of these; when called,
            x has too few axes, or less than is cut off.
    """

    axes = 1


class ConstantPad2d(_ConstantPad):
    """A border of one value around images: x (..., H, W) -> y with longer axes.

    Negative widths cut off.

    Args:
        padding: one number for all sides, or (left, right, top, bottom).
        value: what the border is of.

    Raises:
        ValueError: padding is none of these; when called,
            x has too few axes, or less than is cut off.
    """

    axes = 2


class ConstantPad3d(_ConstantPad):
    """A border of one value around volumes: x (..., D, H, W) -> y with longer axes.

    Negative widths cut off.

    Args:
        padding: one number for all sides, or (left, right, top, bottom, front,
            back).
        value: what the border is of.

    Raises:
        ValueError: padding is none of these; when called,
            x has too few axes, or less than is cut off.
    """

    axes = 3


class ZeroPad1d(_Pad):
    """A border of zeros around sequences: x (..., L) -> y with longer axes.

    Negative widths cut off.

    Args:
        padding: one number for all sides, or (left, right).

    Raises:
        ValueError: padding is none of these; when called,
            x has too few axes, or less than is cut off.
    """

    axes = 1


class ZeroPad2d(_Pad):
    """A border of zeros around images: x (..., H, W) -> y with longer axes.

    Negative widths cut off.

    Args:
        padding: one number for all sides, or (left, right, top, bottom).

    Raises:
        ValueError: padding is none of these; when called,
            x has too few axes, or less than is cut off.
    """

    axes = 2


class ZeroPad3d(_Pad):
    """A border of zeros around volumes: x (..., D, H, W) -> y with longer axes.

    Negative widths cut off.

    Args:
        padding: one number for all sides, or (left, right, top, bottom, front,
            back).

    Raises:
        ValueError: padding is none of these; when called,
            x has too few axes, or less than is cut off.
    """

    axes = 3


class ReflectionPad1d(_Pad):
    """Sequences mirrored at their edges, which are not repeated: 2 1 | 0 1 2 3 | 2 1.

    x (N, C, L) or (C, L) -> y with longer axes.  A value that stands in y several
    times gets the sum of their gradients.  Each width is less than the length of its axis.

    Args:
        padding: one number for all sides, or (left, right).

    Raises:
        ValueError: padding is none of these or negative; when called,
            x has other axes, or is too small.
    """

    axes = 1
    mode = "reflect"


class ReflectionPad2d(_Pad):
    """Images mirrored at their edges, which are not repeated: 2 1 | 0 1 2 3 | 2 1.

    x (N, C, H, W) or (C, H, W) -> y with longer axes.  A value that stands in y several
    times gets the sum of their gradients.  Each width is less than the length of its axis.

    Args:
        padding: one number for all sides, or (left, right, top, bottom).

    Raises:
        ValueError: padding is none of these or negative; when called,
            x has other axes, or is too small.
    """

    axes = 2
    mode = "reflect"


class ReflectionPad3d(_Pad):
    """Volumes mirrored at their edges, which are not repeated: 2 1 | 0 1 2 3 | 2 1.

    x (N, C, D, H, W) or (C, D, H, W) -> y with longer axes.  A value that stands in y several
    times gets the sum of their gradients.  Each width is less than the length of its axis.

    Args:
        padding: one number for all sides, or (left, right, top, bottom, front,
            back).

    Raises:
        ValueError: padding is none of these or negative; when called,
            x has other axes, or is too small.
    """

    axes = 3
    mode = "reflect"


class ReplicationPad1d(_Pad):
    """Sequences continued by the values at their edges: 0 0 | 0 1 2 3 | 3 3.

    x (N, C, L) or (C, L) -> y with longer axes.  A value that stands in y several
    times gets the sum of their gradients.

    Args:
        padding: one number for all sides, or (left, right).

    Raises:
        ValueError: padding is none of these or negative; when called,
            x has other axes, or is empty.
    """

    axes = 1
    mode = "replicate"


class ReplicationPad2d(_Pad):
    """Images continued by the values at their edges: 0 0 | 0 1 2 3 | 3 3.

    x (N, C, H, W) or (C, H, W) -> y with longer axes.  A value that stands in y several
    times gets the sum of their gradients.

    Args:
        padding: one number for all sides, or (left, right, top, bottom).

    Raises:
        ValueError: padding is none of these or negative; when called,
            x has other axes, or is empty.
    """

    axes = 2
    mode = "replicate"


class ReplicationPad3d(_Pad):
    """Volumes continued by the values at their edges: 0 0 | 0 1 2 3 | 3 3.

    x (N, C, D, H, W) or (C, D, H, W) -> y with longer axes.  A value that stands in y several
    times gets the sum of their gradients.

    Args:
        padding: one number for all sides, or (left, right, top, bottom, front,
            back).

    Raises:
        ValueError: padding is none of these or negative; when called,
            x has other axes, or is empty.
    """

    axes = 3
    mode = "replicate"


class CircularPad1d(_Pad):
    """Sequences continued by their other ends, as on a ring: 2 3 | 0 1 2 3 | 0 1.

    x (N, C, L) or (C, L) -> y with longer axes.  A value that stands in y several
    times gets the sum of their gradients.  Each width is at most the length of its axis.

    Args:
        padding: one number for all sides, or (left, right).

    Raises:
        ValueError: padding is none of these or negative; when called,
            x has other axes, or is too small.
    """

    axes = 1
    mode = "circular"


class CircularPad2d(_Pad):
    """Images continued by their other ends, as on a ring: 2 3 | 0 1 2 3 | 0 1.

    x (N, C, H, W) or (C, H, W) -> y with longer axes.  A value that stands in y several
    times gets the sum of their gradients.  Each width is at most the length of its axis.

    Args:
        padding: one number for all sides, or (left, right, top, bottom).

    Raises:
        ValueError: padding is none of these or negative; when called,
            x has other axes, or is too small.
    """

    axes = 2
    mode = "circular"


class CircularPad3d(_Pad):
    """Volumes continued by their other ends, as on a ring: 2 3 | 0 1 2 3 | 0 1.

    x (N, C, D, H, W) or (C, D, H, W) -> y with longer axes.  A value that stands in y several
    times gets the sum of their gradients.  Each width is at most the length of its axis.

    Args:
        padding: one number for all sides, or (left, right, top, bottom, front,
            back).

    Raises:
        ValueError: padding is none of these or negative; when called,
            x has other axes, or is too small.
    """

    axes = 3
    mode = "circular"
