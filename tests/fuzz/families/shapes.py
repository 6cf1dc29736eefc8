"""The same numbers elsewhere: reshaping, transposing, joining, cutting, repeating, padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnx import ops

from ..case import Case, Input
from ..draw import Draw, elements
from ..pytorch import functional, torch

OF_AXES = ["permute_dims", "moveaxis", "squeeze", "expand_dims", "flip", "roll"]
OF_AXES += ["matrix_transpose", "broadcast_to"]


def shaping(draw: Draw) -> Case:
    return draw.choice([_reshape, _axes, _repeat, _join, _cut, _pad, _pad, _pad_border, _cast])(
        draw
    )


def _input(draw: Draw, shape: Any, dtype: str | None = None) -> Input:
    return Input(draw.values(shape, dtype or draw.dtype(), "lattice"), layout=draw.layout())


def _reshape(draw: Draw) -> Case:
    shape = draw.shape(0, 4)
    n = elements(shape)
    divisors = [k for k in range(1, n + 1) if n % k == 0] or [1]
    first = draw.choice(divisors)
    if n == 0:
        target: tuple[int, ...] = draw.choice([(0,), (0, 3), (2, 0, 5)])
    else:
        second = draw.choice([k for k in divisors if n // first % k == 0])
        target = (first, second, n // first // second)
        if draw.chance(0.5):
            k = draw.between(0, 2)
            target = (*target[:k], -1, *target[k + 1 :])
        if draw.chance(0.04):
            target = (*target, 7)
    return Case(
        f"reshape({target})",
        [_input(draw, shape)],
        lambda x: ops.reshape(x, target),
        lambda x: torch().reshape(x, target),
        exact=True,
    )


def _axes(draw: Draw) -> Case:
    name = draw.choice(OF_AXES)
    shape = draw.shape(1, 4)
    ndim = len(shape)
    x = _input(draw, shape)
    a, b = draw.axis(ndim), draw.axis(ndim)
    order = tuple(int(k) for k in draw.rng.permutation(ndim))
    if name == "permute_dims":
        return Case(
            f"permute_dims({order})",
            [x],
            lambda x: ops.permute_dims(x, order),
            lambda x: x.permute(order),
            exact=True,
        )
    if name == "moveaxis":
        return Case(
            f"moveaxis({a}, {b})",
            [x],
            lambda x: ops.moveaxis(x, a, b),
            lambda x: torch().moveaxis(x, a, b),
            exact=True,
        )
    if name == "squeeze":
        ones = tuple(k for k in range(ndim) if shape[k] == 1)
        axis = draw.choice([None, *ones, ones])

        def theirs(x: Any) -> Any:
            return x.squeeze() if axis is None else x.squeeze(axis)

        return Case(f"squeeze({axis})", [x], lambda x: ops.squeeze(x, axis), theirs, exact=True)
    if name == "expand_dims":
        k = draw.between(-ndim - 1, ndim)
        return Case(
            f"expand_dims({k})",
            [x],
            lambda x: ops.expand_dims(x, k),
            lambda x: x.unsqueeze(k),
            exact=True,
        )
    if name == "flip":
        axis = draw.axes(ndim)
        return Case(
            f"flip({axis})",
            [x],
            lambda x: ops.flip(x, axis),
            lambda x: torch().flip(
                x, tuple(range(ndim)) if axis is None else np.atleast_1d(axis).tolist()
            ),
            exact=True,
        )
    if name == "roll":
        shift = draw.between(-9, 9)
        axis = None if draw.chance(0.3) else a
        return Case(
            f"roll({shift}, {axis})",
            [x],
            lambda x: ops.roll(x, shift, axis),
            lambda x: torch().roll(x, shift, axis),
            exact=True,
        )
    if name == "matrix_transpose":
        return Case(name, [x], ops.matrix_transpose, lambda x: x.mT, exact=True)
    to = draw.shape(0, 2) + shape
    small = draw.smaller(shape)
    return Case(
        f"broadcast_to({to})",
        [_input(draw, small)],
        lambda x: ops.broadcast_to(x, to),
        lambda x: torch().broadcast_to(x, to),
        exact=True,
    )


def _repeat(draw: Draw) -> Case:
    shape = draw.shape(1, 3)
    x = _input(draw, shape)
    if draw.chance(0.5):
        times, axis = draw.between(0, 4), draw.axis(len(shape))
        return Case(
            f"repeat({times}, {axis})",
            [x],
            lambda x: ops.repeat(x, times, axis),
            lambda x: torch().repeat_interleave(x, times, axis),
            exact=True,
        )
    tiles = tuple(draw.between(1, 3) for _ in range(draw.between(1, 4)))
    return Case(
        f"tile({tiles})",
        [x],
        lambda x: ops.tile(x, tiles),
        lambda x: torch().tile(x, tiles),
        exact=True,
    )


def _join(draw: Draw) -> Case:
    shape, dtype = draw.shape(1, 3), draw.dtype()
    axis = draw.axis(len(shape))
    count = draw.between(1, 4)
    if draw.chance(0.5):
        return Case(
            f"stack(axis={axis})",
            [_input(draw, shape, dtype) for _ in range(count)],
            lambda *xs: ops.stack(xs, axis),
            lambda *xs: torch().stack(xs, axis),
            exact=True,
        )
    k = axis % len(shape)
    shapes = [(*shape[:k], draw.size(), *shape[k + 1 :]) for _ in range(count)]
    if draw.chance(0.03):
        shapes[-1] = (*shapes[-1], 2)
    return Case(
        f"concat(axis={axis})",
        [_input(draw, s, dtype) for s in shapes],
        lambda *xs: ops.concat(xs, axis),
        lambda *xs: torch().cat(xs, axis),
        exact=True,
    )


def _cut(draw: Draw) -> Case:
    shape = draw.shape(1, 3)
    axis = draw.between(-len(shape), len(shape) - 1)
    n = shape[axis]
    x = _input(draw, shape)
    if draw.chance(0.5):
        return Case(
            f"unstack({axis})",
            [x],
            lambda x: ops.unstack(x, axis),
            lambda x: torch().unbind(x, axis),
            exact=True,
        )
    at = sorted(draw.between(0, n) for _ in range(draw.between(1, 3)))
    return Case(
        f"split({at}, {axis})",
        [x],
        lambda x: ops.split(x, at, axis),
        lambda x: torch().tensor_split(x, at, axis),
        exact=True,
    )


def _pad(draw: Draw) -> Case:
    mode = draw.choice(["constant", "reflect", "replicate", "circular"])
    shape = draw.shape(2, 4)
    widths = [(0, 0)] * len(shape)
    for k in range(-1, -1 - draw.between(1, 2), -1):  # PyTorch's modes take the last axes
        widths[k] = (draw.between(0, 3), draw.between(0, 3))
    value = draw.choice([0.0, 1.5, -2.0])

    def theirs(x: Any) -> Any:
        flat = [side for pair in reversed(widths[-2:]) for side in pair]
        lead = x.shape[:-2]
        if mode == "constant":
            return functional().pad(x, flat, value=value)
        if 0 in x.shape:
            raise NotImplementedError
        y = functional().pad(x.reshape(1, -1, *x.shape[-2:]), flat, mode=mode)
        return y.reshape(*lead, *y.shape[-2:])

    return Case(
        f"pad({widths}, {mode}, {value})",
        [_input(draw, shape)],
        lambda x: ops.pad(x, widths, mode, value),
        theirs if mode == "constant" or 0 not in shape else None,
        exact=True,
    )


def _pad_border(draw: Draw) -> Case:
    shape = (draw.size(), draw.size(), draw.between(2, 6), draw.between(2, 6))
    mode = draw.choice(["reflect", "replicate", "circular"])
    pads = tuple((draw.between(0, 2), draw.between(0, 2)) for _ in range(2))

    def theirs(x: Any) -> Any:
        return functional().pad(x, [*pads[1], *pads[0]], mode=mode)

    return Case(
        f"pad_border({pads}, {mode})",
        [_input(draw, shape)],
        lambda x: ops.pad_border(x, pads, mode),
        theirs if 0 not in shape else None,
        exact=True,
    )


def _cast(draw: Draw) -> Case:
    to = draw.dtype()
    return Case(
        f"astype({to})",
        [Input(draw.values(draw.shape()), layout=draw.layout())],
        lambda x: ops.astype(x, to),
        lambda x: x.to(getattr(torch(), to)) if x.dtype == torch().float32 else x,
    )
