"""What convolution and pooling accept as sizes, strides and paddings, checked and made uniform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from ...backends.portable.window import NO_PADDING, Padding, Pair, Window
from ...tensor import Tensor
from ..array.shape import reshape

__all__ = ["IMAGE", "KERNEL", "NO_PADDING", "Geometry", "InOneDimension", "Padding", "PaddingLike"]
__all__ += ["Pair", "Size", "Window", "batch_of", "check_fit", "one_of", "padding_pairs"]
__all__ += ["remembered", "sizes"]

Size = int | Sequence[int]
PaddingLike = int | str | Sequence[int] | Sequence[Sequence[int]]
Checked = TypeVar("Checked")

# What messages call the axes of an image and of a kernel, by how many there are.
IMAGE = {1: "L", 2: "H, W", 3: "D, H, W"}
KERNEL = {1: "k", 2: "kh, kw", 3: "kd, kh, kw"}


def remembered(check: Callable[..., Checked]) -> Callable[..., Checked]:
    """`check`, which sees shapes and arguments only, with its answers kept.

    A layer is called with the same arguments and shapes again and again; checking them takes
    longer than computing with a small image.  What cannot be a key (a list) is checked anew, and so
    is what was wrong.
    """
    known = lru_cache(maxsize=1024, typed=True)(check)

    def answer(*arguments: Any) -> Checked:
        try:
            return known(*arguments)
        except TypeError:  # a list among them; or an error of the check itself, which comes again
            return check(*arguments)

    return answer


class Geometry(NamedTuple):
    """A window along one, two or three axes."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[Pair, ...]
    dilation: tuple[int, ...]

    def planes(self) -> Window:
        """The window along the last two axes: a sequence is an image of height 1."""
        kernel, stride, padding, dilation = self
        if len(kernel) == 1:
            return Window((1, *kernel), (1, *stride), ((0, 0), *padding), (1, *dilation))  # type: ignore[arg-type]
        return Window(kernel[-2:], stride[-2:], padding[-2:], dilation[-2:])  # type: ignore[arg-type]


def sizes(operation: str, name: str, value: Size, axes: int, least: int = 1) -> tuple[int, ...]:
    """An integer for every axis, from one for all or from a sequence of them.

    Raises:
        ValueError: not an integer (or `axes` of them), or one below `least`.
    """
    values = _per_axis(value, axes)
    if len(values) != axes or not all(hasattr(v, "__index__") for v in values):
        raise ValueError(f"{operation}: {name} must be an integer or {axes} of them, got {value!r}")
    if min(values) < least:
        rule = "positive" if least == 1 else f"at least {least}"
        raise ValueError(f"{operation}: {name} must be {rule}, got {value!r}")
    return tuple(int(v) for v in values)


def padding_pairs(
    operation: str,
    value: PaddingLike,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[Pair, ...]:
    """(before, after) for every axis, from any way of saying it.

    `value` is an integer for all sides; one per axis; a pair (before, after) per axis; "valid"
    (none); or "same", which keeps the size: k - 1 pixels (times the dilation) altogether, the odd
    one after.

    Raises:
        ValueError: none of these, negative, or "same" with a stride.
    """
    axes = len(kernel)
    if isinstance(value, str):
        if value == "valid":
            return ((0, 0),) * axes
        if value != "same":
            raise ValueError(f'{operation}: padding {value!r} is not one of "same", "valid"')
        if any(s != 1 for s in stride):
            raise ValueError(
                f'{operation}: padding "same" keeps the size, which needs stride 1; '
                f"stride is {stride}"
            )
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    pairs = [_per_axis(p, 2) for p in _per_axis(value, axes)]
    if len(pairs) != axes or any(
        len(p) != 2 or not all(hasattr(side, "__index__") for side in p) for p in pairs
    ):
        raise ValueError(
            f"{operation}: padding must be an integer, {axes} of them, {axes} pairs "
            f'(before, after), "same" or "valid"; got {value!r}'
        )
    if any(side < 0 for pair in pairs for side in pair):
        raise ValueError(f"{operation}: padding must not be negative, got {value!r}")
    return tuple((int(p[0]), int(p[1])) for p in pairs)


def _per_axis(value: Any, axes: int) -> tuple[Any, ...]:
    """One thing for every axis, or a sequence of them; anything else as a tuple of one."""
    if hasattr(value, "__index__"):
        return (value,) * axes
    return tuple(value) if isinstance(value, Sequence) else (value,)


def check_fit(
    operation: str,
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    padding: tuple[Pair, ...],
    dilation: tuple[int, ...],
    more: Callable[[], str] = lambda: "",
) -> None:
    """Raise ValueError unless a window fits into the padded image at least once."""
    image = shape[-len(kernel) :]
    for size, k, (before, after), d in zip(image, kernel, padding, dilation, strict=True):
        if size + before + after < d * (k - 1) + 1:
            seen = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
            around = tuple(s + b + a for s, (b, a) in zip(image, padding, strict=True))
            raise ValueError(
                f"{operation}: a window of {seen} (kernel {kernel}, dilation {dilation}) does not "
                f"fit into the padded image of {around}; x has shape {tuple(shape)}, "
                f"padding {padding}{more()}"
            )


def batch_of(x: Tensor, axes: int) -> tuple[Tensor, bool]:
    """(C, ...) with so many axes after it as a batch of one, (1, C, ...), and whether it was."""
    if x.ndim != axes + 1:
        return x, False
    return reshape(x, (1, *x.shape)), True


def one_of(y: Tensor, alone: bool) -> Tensor:
    """What was computed of a batch, without its first axis where that was added by `batch_of`."""
    return reshape(y, y.shape[1:]) if alone else y


class InOneDimension:
    """Mixed into a 2-D Function, computes on (N, C, L) as on images of height 1."""

    backend: Any

    def _flat(self, a: Any) -> Any:
        """(A, B, L) -> (A, B, 1, L); a bias, or None, as it is."""
        return self.backend.xp.expand_dims(a, axis=-2) if a is not None and a.ndim == 3 else a

    def forward(self, *arrays: Any) -> Any:
        xp = self.backend.xp
        images = [self._flat(a) for a in arrays]
        return xp.squeeze(super().forward(*images), axis=-2)  # type: ignore[misc]

    def multiply_adds(self, *arrays: Any) -> Any:
        return super().multiply_adds(*[self._flat(a) for a in arrays])  # type: ignore[misc]

    def backward(self, g: Any) -> Any:
        xp = self.backend.xp
        gradients = super().backward(xp.expand_dims(g, axis=-2))  # type: ignore[misc]
        if type(gradients) is not tuple:
            gradients = (gradients,)
        return tuple(
            xp.squeeze(a, axis=-2) if a is not None and a.ndim == 4 else a for a in gradients
        )
