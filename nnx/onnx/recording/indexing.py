"""Parts of an array, read and written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .source import Ints, Recorded, cast

BEFORE_THE_FIRST = -(2**31)  # where a falling slice that reaches the first element ends


def read(x: Any, key: Any) -> Any:
    """x[key]: integers, slices, None and Ellipsis as Slice and Reshape; arrays of integers and
    masks as GatherND."""
    recording = x.recording
    parts = _every_axis(key if isinstance(key, tuple) else (key,), x.ndim)
    arrays = [p for p in parts if isinstance(p, Recorded | np.ndarray)]
    if arrays:
        return _gathered(recording, x, parts)
    starts, ends, axes, steps = [], [], [], []
    dropped, shape = False, []
    axis = 0
    for part in parts:
        if part is None:
            shape.append(1)
            dropped = True
            continue
        length = x.shape[axis]
        if isinstance(part, slice):
            start, stop, step = part.indices(length)
            if (start, stop, step) != (0, length, 1):
                starts.append(start)
                ends.append(stop if stop >= 0 else BEFORE_THE_FIRST)
                axes.append(axis)
                steps.append(step)
            shape.append(len(range(start, stop, step)))
        else:
            k = int(part.__index__())
            if not -length <= k < length:
                raise IndexError(f"index {k} is out of range for axis {axis} of {length}")
            k %= length
            starts.append(k)
            ends.append(k + 1)
            axes.append(axis)
            steps.append(1)
            dropped = True
        axis += 1
    y = x
    if axes:
        data = x.data[tuple(_slice_of(axis, axes, starts, ends, steps) for axis in range(x.ndim))]
        parts_of = [Ints(tuple(v)) for v in (starts, ends, axes, steps)]
        y = recording.step("Slice", [x, *parts_of], data)
    return reshaped(y, tuple(shape)) if dropped else y


def _slice_of(axis: int, axes: list[int], *of: list[int]) -> slice:
    if axis not in axes:
        return slice(None)
    start, end, step = (values[axes.index(axis)] for values in of)
    return slice(start, None if end == BEFORE_THE_FIRST else end, step)


def reshaped(x: Any, shape: tuple[int, ...]) -> Any:
    """x in another shape."""
    data = np.reshape(x.data, shape)
    if data.shape == x.shape:
        return x
    return x.recording.step("Reshape", [x, Ints(tuple(data.shape))], data)


def _every_axis(parts: tuple[Any, ...], ndim: int) -> list[Any]:
    used = sum(
        p.ndim if isinstance(p, Recorded | np.ndarray) and p.dtype == np.bool_ else 1
        for p in parts
        if p is not None and p is not Ellipsis
    )
    dots = [k for k, p in enumerate(parts) if p is Ellipsis]
    at = dots[0] if dots else len(parts)
    return [*parts[:at], *[slice(None)] * (ndim - used), *parts[at + bool(dots) :]]


def _gathered(recording: Any, x: Any, parts: list[Any]) -> Any:
    """x at arrays of integers, one for every axis: what the array API allows."""
    if len(parts) == 1 and parts[0].dtype == np.bool_:
        recording.refuse(
            "a mask picks as many values as it has true ones, and how many those are is not known "
            "when a graph is written; nnx.where(mask, a, b) keeps the shape"
        )
    if not all(isinstance(p, Recorded | np.ndarray) or hasattr(p, "__index__") for p in parts):
        recording.refuse("arrays of integers beside slices in one index")
    index = [cast(recording, recording.value(p, np.int64), np.int64) for p in parts]
    shape = np.broadcast_shapes(*[p.shape for p in index])
    spread = []
    for p in index:
        if p.shape != shape:
            p = recording.step("Expand", [p, Ints(shape)], np.broadcast_to(p.data, shape))
        spread.append(reshaped(p, (*shape, 1)))
    joined = spread[0]
    if len(spread) > 1:
        data = np.concatenate([p.data for p in spread], axis=-1)
        joined = recording.step("Concat", spread, data, axis=-1)
    return recording.step("GatherND", [x, joined], x.data[tuple([p.data for p in index])])


def _framed(x: Any, key: Any, new: Any) -> Any:
    """A new part in an array of one value, as Pad: None where it is not that.

    So operations pad, in the array API: an array of zeros, with the image in its middle.
    """
    made = x.source.step
    parts = key if isinstance(key, tuple) else (key,)
    if made is None or made.op != "Expand" or math.prod(made.inputs[0].shape) != 1:
        return None
    if not all(isinstance(part, slice) or part is Ellipsis for part in parts):
        return None
    ends = [part.indices(n) for part, n in zip(_every_axis(parts, x.ndim), x.shape, strict=True)]
    inside = tuple([max(0, stop - start) for start, stop, _ in ends])
    if any(step != 1 for _, _, step in ends) or new.shape != inside:
        return None
    pads = [start for start, _, _ in ends]
    pads += [n - stop for (_, stop, _), n in zip(ends, x.shape, strict=True)]
    data = np.array(x.data)
    data[tuple([slice(start, stop) for start, stop, _ in ends])] = new.data
    if made.inputs[0].data is None:
        return None
    one = x.recording.constant(made.inputs[0].data.reshape(()))
    return x.recording.step("Pad", [new, Ints(tuple(pads)), one], data)


def written(x: Any, key: Any, new: Any) -> Any:
    """x with x[key] = new: the positions of x, numbered, are read at the key, and scattered to.

    A mask chooses between the two, as Where.
    """
    recording = x.recording
    new = cast(recording, new, x.dtype)
    framed = _framed(x, key, new)
    if framed is not None:
        return framed
    if isinstance(key, Recorded | np.ndarray) and key.dtype == np.bool_:
        mask = recording.value(key)
        if new.ndim:
            recording.refuse("values of an array, assigned through a mask")
        wide = reshaped(mask, (*mask.shape, *[1] * (x.ndim - mask.ndim)))
        return recording.step("Where", [wide, new, x], np.where(wide.data, new.data, x.data))
    numbers = recording.step(
        "Range", [Ints((0,), True), Ints((x.size,), True), Ints((1,), True)], np.arange(x.size)
    )
    places = read(reshaped(numbers, x.shape), key)
    if new.shape != places.shape:
        new = reshaped(new, new.shape[new.ndim - places.ndim :]) if new.ndim > places.ndim else new
        spread = np.broadcast_to(new.data, places.shape)
        new = recording.step("Expand", [new, Ints(places.shape)], spread)
    flat = np.array(x.data).reshape(-1)
    where = reshaped(places, (places.size,))
    flat[where.data] = new.data.reshape(-1)
    scattered = recording.step(
        "ScatterElements",
        [reshaped(x, (x.size,)), where, reshaped(new, (places.size,))],
        flat,
        axis=0,
    )
    return reshaped(scattered, x.shape)
