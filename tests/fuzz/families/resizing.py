"""Windows beyond the plane, images of another size, windows as columns, and the ways back."""

from __future__ import annotations

from typing import Any

from nnx import ops

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import functional
from .conv import channels, kernel_and_stride
from .functions import named

MODES = {1: ["nearest", "linear"], 2: ["nearest", "bilinear", "bicubic"], 3: ["nearest"]}


def resizing(draw: Draw) -> Case:
    kinds = [_interpolate, _interpolate, _shuffle, _columns, _conv, _conv, _pool, _unpool]
    return draw.choice(kinds)(draw)


def _image(draw: Draw, axes: int, large: int = 9, least: int = 1) -> tuple[int, ...]:
    sides = [max(least, draw.between(1, large)) for _ in range(axes)]
    return (draw.between(1, 3), draw.size(9, empty=False), *sides)


def _input(draw: Draw, shape: Any, kind: str = "normal") -> Input:
    return Input(draw.values(shape, draw.dtype(), kind), draw.chance(0.9), draw.layout())


def _interpolate(draw: Draw) -> Case:
    axes = draw.choice([1, 2, 2, 2, 3])
    mode = draw.choice([*MODES[axes], "area", "nearest-exact", *(["trilinear"] * (axes == 3))])
    options: dict[str, Any] = {"mode": mode}
    if draw.chance(0.5):
        options["size"] = tuple(draw.between(1, 12) for _ in range(axes))
    else:
        factors = tuple(draw.choice([0.5, 1.5, 2.0, 3.0, 0.7]) for _ in range(axes))
        options["scale_factor"] = draw.choice([2.0, factors])
        if draw.chance(0.3) and mode != "area":
            options["recompute_scale_factor"] = True
    if mode.endswith(("linear", "cubic")) and draw.chance(0.5):
        options["align_corners"] = draw.chance(0.5)
    x = _input(draw, _image(draw, axes))
    if mode in ("bilinear", "bicubic") and "size" in options and draw.chance(0.5):
        options["antialias"] = True
        options["size"] = (options["size"][0], options["size"][1] + 1)  # PyTorch errs at width 1
    return named("interpolate", options, [x], slack=8, ours_may_refuse=mode == "area")  # length 0


def _shuffle(draw: Draw) -> Case:
    r = draw.between(1, 3)
    n, c, h, w = _image(draw, 2, 5)
    if draw.chance(0.5):
        return named("pixel_shuffle", {"upscale_factor": r}, [_input(draw, (n, c * r * r, h, w))])
    x = _input(draw, (n, c, h * r, w * r))
    return named("pixel_unshuffle", {"downscale_factor": r}, [x], exact=True)


def _columns(draw: Draw) -> Case:
    kernel, stride, dilation = kernel_and_stride(draw, 2)
    padding = tuple(draw.between(0, 2) for _ in range(2))
    options: dict[str, Any] = {"kernel_size": kernel, "stride": stride}
    options |= {"dilation": dilation, "padding": padding}
    sides = [d * (k - 1) + 1 + draw.between(0, 6) for k, d in zip(kernel, dilation, strict=True)]
    n, c = draw.between(1, 3), draw.between(1, 4)
    if draw.chance(0.5):
        return named("unfold", options, [_input(draw, (n, c, *sides))], exact=True)
    windows = 1
    for side, k, d, s, p in zip(sides, kernel, dilation, stride, padding, strict=True):
        windows *= (side + 2 * p - d * (k - 1) - 1) // s + 1
    x = _input(draw, (n, c * kernel[0] * kernel[1], windows), "lattice")
    return named("fold", options | {"output_size": tuple(sides)}, [x])


def _conv(draw: Draw) -> Case:
    """In one dimension and in three, and their transposes."""
    axes, transposed = draw.choice([1, 3, 3]), draw.chance(0.6)
    kernel, stride, dilation = kernel_and_stride(draw, axes)
    kernel = tuple(min(k, 3) for k in kernel) if axes == 3 else kernel
    groups, cin, cout = channels(draw)
    padding = tuple(draw.between(0, 2) for _ in range(axes))
    sides = [draw.between(1, 5) for _ in range(axes)]
    options: dict[str, Any] = {"stride": stride, "padding": padding}
    options |= {"groups": groups, "dilation": dilation}
    if transposed:
        options["output_padding"] = tuple(draw.choice([0, 0, 1, 2]) for _ in range(axes))
        shapes = [(groups * cin, cout, *kernel)]
    else:
        sides = [n + d * (k - 1) for n, d, k in zip(sides, dilation, kernel, strict=True)]
        shapes = [(groups * cout, cin, *kernel)]
    lead = (draw.between(1, 3),) if draw.chance(0.85) else ()
    shapes = [(*lead, groups * cin, *sides), *shapes]
    shapes += [(groups * cout,)] if draw.chance(0.6) else []
    dtype, kind = draw.dtype(), draw.choice(["normal", "lattice"])
    inputs = [Input(draw.values(s, dtype, kind), draw.chance(0.9), draw.layout()) for s in shapes]
    name = f"conv_transpose{axes}d" if transposed else f"conv{axes}d"
    return named(name, options, inputs, ours_may_refuse=transposed)


def _pool(draw: Draw) -> Case:
    kind = draw.choice(["max_pool3d", "avg_pool3d", "lp_pool1d", "lp_pool2d", "adaptive"])
    if kind == "adaptive":
        axes = draw.choice([1, 3])
        kind = draw.choice(["adaptive_avg_pool", "adaptive_max_pool"]) + f"{axes}d"
        options = {"output_size": tuple(draw.between(1, 5) for _ in range(axes))}
        return named(kind, options, [_input(draw, _image(draw, axes))])
    axes = int(kind[-2])
    kernel = tuple(draw.between(1, 3) for _ in range(axes))
    options: dict[str, Any] = {"ceil_mode": draw.chance(0.3)}
    if draw.chance(0.5):
        options["stride"] = tuple(draw.between(1, 3) for _ in range(axes))
    if kind.startswith("lp"):
        options |= {"norm_type": draw.choice([1.0, 2.0, 3.0]), "kernel_size": kernel}
        if axes == 1:  # where PyTorch takes numbers only
            options = {k: v[0] if isinstance(v, tuple) else v for k, v in options.items()}
        x = _input(draw, _image(draw, axes, least=3), "positive")
        return named(kind, options, [x], slack=8)
    options |= {"kernel_size": kernel, "padding": tuple(k // 2 for k in kernel)}
    if kind == "max_pool3d":
        options["return_indices"] = draw.chance(0.3)
    x = _input(draw, _image(draw, axes), "lattice")
    return named(kind, options, [x], ours_may_accept=True)


def _unpool(draw: Draw) -> Case:
    axes = draw.choice([1, 2, 3])
    k = draw.between(2, 3)
    x = _input(draw, _image(draw, axes, 7, least=k))
    size = x.values.shape[2:] if draw.chance(0.5) else None

    def of(module: Any, x: Any) -> Any:
        pool = getattr(module, f"max_pool{axes}d")
        y, places = pool(x, k, return_indices=True)
        return getattr(module, f"max_unpool{axes}d")(y, places, k, output_size=size)

    return Case(
        f"max_unpool{axes}d({k}, {size})",
        [x],
        lambda x: of(ops, x),
        lambda x: of(functional(), x),
        ours_may_refuse=True,  # places that lie beyond the smaller result
    )
