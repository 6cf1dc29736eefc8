"""Pooling: windows, ceil mode, indices, adaptive sizes; ties and NaN among the values."""

from __future__ import annotations

from typing import Any

from nnx import ops

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import functional
from .conv import batch, images


def pooling(draw: Draw) -> Case:
    return draw.choice([_largest, _largest, _mean, _mean, _adaptive])(draw)


def _window(draw: Draw, axes: int) -> tuple[Any, Any, Any, Any]:
    kernel = tuple(draw.choice([1, 2, 2, 3, 4]) for _ in range(axes))
    if draw.chance(0.6):
        kernel = kernel[:1] * axes
    stride = None if draw.chance(0.4) else tuple(draw.between(1, 4) for _ in range(axes))
    padding: Any = 0
    if draw.chance(0.4):
        padding = tuple(draw.between(0, k // 2) for k in kernel)
    if draw.chance(0.03):
        padding = max(kernel)
    dilation = tuple(draw.choice([1, 1, 1, 2]) for _ in range(axes))
    return kernel, stride, padding, dilation


def _image(draw: Draw, kernel: Any, dilation: Any) -> Input:
    kind = draw.choice(["normal", "lattice", "lattice"])
    if draw.chance(0.05):
        kind = "special"
    shape = (batch(draw), draw.size(20), *images(draw, kernel, dilation))
    grad = kind != "special"  # which of several NaN is the largest, PyTorch answers otherwise
    return Input(draw.values(shape, draw.dtype(), kind), grad, draw.layout())


def _largest(draw: Draw) -> Case:
    axes = draw.choice([1, 2, 2])
    kernel, stride, padding, dilation = _window(draw, axes)
    image = _image(draw, kernel, dilation)
    options: dict[str, Any] = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": draw.chance(0.3),
        "return_indices": image.grad and draw.chance(0.3),
    }
    name = f"max_pool{axes}d"
    return Case(
        f"{name}({kernel}, {options})",
        [image],
        lambda x: getattr(ops, name)(x, kernel, **options),
        lambda x: getattr(functional(), name)(x, kernel, **options),
        ours_may_accept=0 in image.values.shape,
        exact=True,
        ours_may_refuse=max(dilation) > 1 and padding != 0,  # a window of padding alone
    )


def _mean(draw: Draw) -> Case:
    axes = draw.choice([1, 2, 2])
    kernel, stride, padding, _ = _window(draw, axes)
    options: dict[str, Any] = {
        "stride": stride,
        "padding": padding,
        "ceil_mode": draw.chance(0.3),
        "count_include_pad": draw.chance(0.5),
    }
    if axes == 2 and draw.chance(0.2):
        options["divisor_override"] = draw.choice([1, 2, 7])
    name = f"avg_pool{axes}d"
    return Case(
        f"{name}({kernel}, {options})",
        [_image(draw, kernel, (1,) * axes)],
        lambda x: getattr(ops, name)(x, kernel, **options),
        lambda x: getattr(functional(), name)(x, kernel, **options),
        ours_may_accept=True,  # images without channels
    )


def _adaptive(draw: Draw) -> Case:
    largest = draw.chance(0.5)
    size = (draw.between(1, 6), draw.between(1, 6))
    target: Any = size[0] if draw.chance(0.3) else size
    shape = (batch(draw), draw.size(9), draw.between(1, 9), draw.between(1, 9))
    kind = draw.choice(["normal", "lattice"])
    x = Input(draw.values(shape, draw.dtype(), kind), layout=draw.layout())
    indices = draw.chance(0.3) and largest
    name = "adaptive_max_pool2d" if largest else "adaptive_avg_pool2d"
    more = {"return_indices": True} if indices else {}
    return Case(
        f"{name}({target}, {more})",
        [x],
        lambda x: getattr(ops, name)(x, target, **more),
        lambda x: getattr(functional(), name)(x, target, **more),
        exact=largest,
        ours_may_accept=0 in shape,
    )
