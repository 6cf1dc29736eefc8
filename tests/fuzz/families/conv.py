"""Convolutions: all sizes, strides, dilations, groups, paddings and padding modes."""

from __future__ import annotations

from typing import Any

from nnx import ops

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import functional


def convolution(draw: Draw) -> Case:
    return draw.choice([_convolution, _convolution, _convolution, _transposed])(draw)


def kernel_and_stride(draw: Draw, axes: int) -> tuple[Any, Any, Any]:
    """Kernel, stride and dilation per axis, each mostly small and often alike."""
    kernel = tuple(draw.choice([1, 2, 3, 3, 3, 5]) for _ in range(axes))
    stride = tuple(draw.choice([1, 1, 1, 2, 3]) for _ in range(axes))
    dilation = tuple(draw.choice([1, 1, 1, 2, 3]) for _ in range(axes))
    if draw.chance(0.6):
        kernel, stride, dilation = kernel[:1] * axes, stride[:1] * axes, dilation[:1] * axes
    return kernel, stride, dilation


def channels(draw: Draw) -> tuple[int, int, int]:
    """Groups, channels in and out of each group; every channel its own group among them."""
    if draw.chance(0.15):
        return max(1, draw.size(20)), 1, draw.choice([1, 1, 2])
    return draw.choice([1, 1, 1, 2, 3]), max(1, draw.size(20)), max(1, draw.size(20))


def images(draw: Draw, kernel: Any, dilation: Any) -> tuple[int, ...]:
    """Image sizes that a window mostly fits into, and sometimes just does."""
    sides = []
    for k, d in zip(kernel, dilation, strict=True):
        span = d * (k - 1) + 1
        more = draw.choice([0, 0, 1, 2, 3, 5, 8, 13])
        sides.append(max(1, span + more - draw.choice([0, 0, 0, 1, 2])))
    return tuple(sides)


def batch(draw: Draw) -> int:
    """1 often, and one more than pieces of 16 and 32 images."""
    return draw.size() if draw.chance(0.9) or draw.cap else draw.choice([16, 17, 32, 33])


def _padding(draw: Draw, kernel: Any, axes: int) -> Any:
    kind = draw.rng.random()
    most = max(kernel)
    if kind < 0.25:
        return 0
    if kind < 0.5:
        return draw.between(0, most)
    if kind < 0.7:
        return tuple(draw.between(0, most) for _ in range(axes))
    if kind < 0.9:
        return tuple((draw.between(0, most), draw.between(0, most)) for _ in range(axes))
    return draw.choice(["same", "valid"])


def _convolution(draw: Draw) -> Case:
    axes = draw.choice([1, 2, 2, 2])
    kernel, stride, dilation = kernel_and_stride(draw, axes)
    groups, cin, cout = channels(draw)
    padding = _padding(draw, kernel, axes)
    mode = "zeros" if draw.chance(0.8) else draw.choice(["reflect", "replicate", "circular"])
    bias = draw.chance(0.6)
    wrong = 1 if draw.chance(0.02) else 0
    x = (batch(draw), groups * cin + wrong, *images(draw, kernel, dilation))
    weight = (groups * cout, cin, *kernel)
    dtype, kind = draw.dtype(), draw.choice(["normal", "lattice"])
    options: dict[str, Any] = {"stride": stride, "dilation": dilation, "groups": groups}

    def ours(*xs: Any) -> Any:
        conv = ops.conv1d if axes == 1 else ops.conv2d
        return conv(*xs, padding=padding, padding_mode=mode, **options)

    def theirs(x: Any, *others: Any) -> Any:
        f = functional()
        conv = f.conv1d if axes == 1 else f.conv2d
        if isinstance(padding, str) and mode == "zeros":
            return conv(x, *others, padding=padding, **options)
        flat = _flat(padding, kernel, stride, dilation)
        if any(flat):
            x = f.pad(x, flat, mode="constant" if mode == "zeros" else mode)
        return conv(x, *others, **options)

    shapes = [x, weight] + ([(groups * cout,)] if bias else [])
    says = f"conv{axes}d({options}, padding={padding}, {mode})"
    inputs = [Input(draw.values(s, dtype, kind), draw.chance(0.9), draw.layout()) for s in shapes]
    return Case(says, inputs, ours, theirs if 0 not in x else None)


def _flat(padding: Any, kernel: Any, stride: Any, dilation: Any) -> list[int]:
    """Padding as torch.nn.functional.pad takes it: the last axis first."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError("same")
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        padding = [(t // 2, t - t // 2) for t in totals]
    pairs = [padding] * len(kernel) if isinstance(padding, int) else padding
    flat: list[int] = []
    for pair in reversed(list(pairs)):
        flat += [pair, pair] if isinstance(pair, int) else pair
    return flat


def _transposed(draw: Draw) -> Case:
    kernel, stride, dilation = kernel_and_stride(draw, 2)
    groups, cin, cout = channels(draw)
    padding = tuple(draw.between(0, 2) for _ in range(2))
    more = tuple(draw.choice([0, 0, 1, 2]) for _ in range(2))
    x = (batch(draw), groups * cin, draw.between(1, 7), draw.between(1, 7))
    shapes = [x, (groups * cin, cout, *kernel)]
    shapes += [(groups * cout,)] if draw.chance(0.6) else []
    dtype, kind = draw.dtype(), draw.choice(["normal", "lattice"])
    after = [
        (n - 1) * s - 2 * p + d * (k - 1) + m + 1
        for n, s, p, d, k, m in zip(x[2:], stride, padding, dilation, kernel, more, strict=True)
    ]
    options: dict[str, Any] = {"stride": stride, "padding": padding, "output_padding": more}
    options |= {"groups": groups, "dilation": dilation}
    return Case(
        f"conv_transpose2d({options})",
        [Input(draw.values(s, dtype, kind), draw.chance(0.9), draw.layout()) for s in shapes],
        lambda *xs: ops.conv_transpose2d(*xs, **options),
        (lambda *xs: functional().conv_transpose2d(*xs, **options)) if 0 not in x else None,
        ours_may_refuse=any(n <= 0 for n in after),  # nothing of the result is left
    )
