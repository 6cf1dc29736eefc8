"""Reading by position, with every integer dtype: getitem, take, embedding, one-hot."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnx import ops

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import functional, torch


def indexing(draw: Draw) -> Case:
    return draw.choice([_slices, _arrays, _arrays, _mask, _take, _along, _embedding, _one_hot])(
        draw
    )


def _long(x: Any) -> Any:
    return x.to(torch().int64)


def _indices(draw: Draw, shape: Any, length: int, negative: bool = True) -> np.ndarray:
    """Positions on an axis of this length, in any integer dtype that holds them."""
    low = -length if negative and draw.chance(0.3) else 0
    high = length
    if draw.chance(0.03):
        high += 2  # one may be out of range
    return draw.whole(shape, low, high, draw.index_dtype(low, max(high - 1, 0)))


def _input(draw: Draw, shape: Any) -> Input:
    return Input(draw.values(shape, draw.dtype()), layout=draw.layout())


def _long_axis(draw: Draw, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Sometimes one axis is longer than 8 bits can count."""
    if draw.chance(0.2) and draw.cap is None and len(shape) < 3:
        return (draw.choice([130, 200, 300]), *shape[1:])
    return shape


def _slices(draw: Draw) -> Case:
    shape = draw.shape(1, 4)
    key: list[Any] = []
    for n in shape:
        kind = draw.rng.random()
        if kind < 0.25 and n:
            key.append(draw.between(-n, n - 1))
        elif kind < 0.85:
            start, stop = (draw.choice([None, draw.between(-n - 1, n + 1)]) for _ in range(2))
            key.append(slice(start, stop, draw.choice([None, 1, 2, 3])))
        else:
            key.append(slice(None))
        if draw.chance(0.1):
            key.append(None)
    if draw.chance(0.3):
        k = draw.between(0, len(key))
        key = [*key[:k], Ellipsis] if draw.chance(0.5) else [*key[:k], Ellipsis, *key[k:]]
    if draw.chance(0.02):
        key.append(0)
    index = tuple(key)
    return Case(
        f"x[{index}]", [_input(draw, shape)], lambda x: x[index], lambda x: x[index], exact=True
    )


def _arrays(draw: Draw) -> Case:
    """Integer arrays, broadcast with each other, with slices between."""
    shape = _long_axis(draw, draw.shape(1, 3))
    places = draw.shape(1, 2)
    key: list[Any] = []
    arrays: list[Input] = []
    for n in shape:
        if (draw.chance(0.6) and n) or (not arrays and n == shape[-1] and n):
            key.append(len(arrays))
            arrays.append(
                Input(_indices(draw, draw.smaller(places) or (1,), n), layout=draw.layout())
            )
        else:
            key.append(slice(None) if draw.chance(0.6) else slice(None, None, 2))

    def read(x: Any, indices: Any) -> Any:
        return x[tuple(indices[k] if isinstance(k, int) else k for k in key)]

    return Case(
        f"x[{key}] with arrays",
        [_input(draw, shape), *arrays],
        lambda x, *indices: read(x, indices),
        lambda x, *indices: read(x, [_long(i) for i in indices]),
        ours_may_refuse=0 in shape,  # PyTorch looks at no index where nothing is read
    )


def _mask(draw: Draw) -> Case:
    shape = draw.shape(1, 3)
    mask = draw.whole(shape[: draw.between(1, len(shape))], 0, 2, "bool")
    return Case(
        "x[mask]",
        [_input(draw, shape), Input(mask, layout=draw.layout())],
        lambda x, m: x[m],
        lambda x, m: x[m],
        exact=True,
    )


def _take(draw: Draw) -> Case:
    shape = _long_axis(draw, draw.shape(1, 3))
    axis = draw.between(-len(shape), len(shape) - 1)
    index = _indices(draw, (draw.size(),), shape[axis])

    def theirs(x: Any, i: Any) -> Any:
        i, n = _long(i), x.shape[axis]
        if i.numel() and bool(((i < -n) | (i >= n)).any()):
            raise IndexError("out of range")
        return torch().index_select(x, axis, torch().where(i < 0, i + n, i))

    return Case(
        f"take(axis={axis})",
        [_input(draw, shape), Input(index, layout=draw.layout())],
        lambda x, i: ops.take(x, i, axis),
        theirs,
    )


def _along(draw: Draw) -> Case:
    shape = _long_axis(draw, draw.shape(1, 3))
    axis = draw.between(-len(shape), len(shape) - 1)
    k = axis % len(shape)
    index = _indices(draw, (*shape[:k], draw.size(), *shape[k + 1 :]), shape[axis])

    def theirs(x: Any, i: Any) -> Any:
        i, n = _long(i), x.shape[axis]
        if i.numel() and bool(((i < -n) | (i >= n)).any()):
            raise IndexError("out of range")
        return torch().take_along_dim(x, torch().where(i < 0, i + n, i), axis)

    return Case(
        f"take_along_axis(axis={axis})",
        [_input(draw, shape), Input(index, layout=draw.layout())],
        lambda x, i: ops.take_along_axis(x, i, axis),
        theirs,
    )


def _embedding(draw: Draw) -> Case:
    rows, columns = draw.choice([1, 3, 10, 130, 300]), draw.size(70)
    if draw.cap is not None:
        rows = min(rows, draw.cap)
    padding = draw.between(-rows, rows - 1) if draw.chance(0.3) else None
    index = _indices(draw, draw.shape(0, 3), rows, negative=False)

    return Case(
        f"embedding(padding_idx={padding})",
        [_input(draw, (rows, columns)), Input(index, layout=draw.layout())],
        lambda w, i: ops.embedding(w, i, padding),
        lambda w, i: functional().embedding(_long(i), w, padding),
    )


def _one_hot(draw: Draw) -> Case:
    classes = draw.choice([1, 3, 10, 130, 300])
    index = _indices(draw, draw.shape(0, 3), classes, negative=False)
    return Case(
        f"one_hot({classes})",
        [Input(index, layout=draw.layout())],
        lambda i: ops.one_hot(i, classes),
        lambda i: functional().one_hot(_long(i), classes).to(torch().float32),
        exact=True,
    )
