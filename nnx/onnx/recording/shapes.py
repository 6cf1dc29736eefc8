"""Functions of the array API that move values about, as ONNX operators."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .indexing import reshaped
from .source import Ints, cast
from .value import Recording, Value

Axis = int | tuple[int, ...] | None


class Shapes:
    """Part of `Namespace`."""

    recording: Recording
    own: Any  # the whole namespace

    def reshape(self, x: Any, shape: Any, copy: bool | None = None) -> Value:
        """The values in row-major order, in another shape."""
        lengths = shape if isinstance(shape, tuple | list) else (shape,)
        return reshaped(self.recording.value(x), tuple([operator.index(n) for n in lengths]))

    def permute_dims(self, x: Any, axes: Sequence[int]) -> Value:
        """The axes in another order."""
        x = self.recording.value(x)
        perm = tuple([k % x.ndim for k in axes])
        if perm == tuple(range(x.ndim)):
            return x
        return self.recording.step("Transpose", [x], np.permute_dims(x.data, perm), perm=perm)

    def matrix_transpose(self, x: Any) -> Value:
        """The last two axes exchanged."""
        return self.recording.value(x).mT

    def moveaxis(self, x: Any, source: Any, destination: Any) -> Value:
        """Some axes moved elsewhere."""
        x = self.recording.value(x)
        places = [source] if isinstance(source, int) else list(source)
        goals = [destination] if isinstance(destination, int) else list(destination)
        perm = [k for k in range(x.ndim) if k not in [p % x.ndim for p in places]]
        for goal, place in sorted(zip([g % x.ndim for g in goals], places, strict=True)):
            perm.insert(goal, place % x.ndim)
        return self.permute_dims(x, perm)

    def squeeze(self, x: Any, axis: Axis) -> Value:
        """Without axes of length 1."""
        x = self.recording.value(x)
        return reshaped(x, np.squeeze(x.data, axis=axis).shape)

    def expand_dims(self, x: Any, axis: Axis = 0) -> Value:
        """With an axis of length 1 more."""
        x = self.recording.value(x)
        return reshaped(x, np.expand_dims(x.data, axis=0 if axis is None else axis).shape)

    def broadcast_to(self, x: Any, shape: Sequence[int]) -> Value:
        """Repeated along axes of length 1 and new ones."""
        x, shape = self.recording.value(x), tuple(shape)
        if x.shape == shape:
            return x
        return self.recording.step("Expand", [x, Ints(shape)], np.broadcast_to(x.data, shape))

    def broadcast_arrays(self, *arrays: Any) -> list[Value]:
        """All in the shape that they are broadcast to."""
        values = [self.recording.value(x) for x in arrays]
        shape = np.broadcast_shapes(*[x.shape for x in values])
        return [self.broadcast_to(x, shape) for x in values]

    def concat(self, arrays: Sequence[Any], axis: int | None = 0) -> Value:
        """One after the other along an axis."""
        values = [self.recording.value(x) for x in arrays]
        if axis is None:
            values, axis = [reshaped(x, (x.size,)) for x in values], 0
        dtype = np.result_type(*[x.dtype for x in values])
        values = [cast(self.recording, x, dtype) for x in values]
        if len(values) == 1:
            return values[0]
        data = np.concatenate([x.data for x in values], axis=axis)
        return self.recording.step("Concat", values, data, axis=axis % data.ndim)

    def stack(self, arrays: Sequence[Any], axis: int = 0) -> Value:
        """Side by side along a new axis."""
        values = [self.recording.value(x) for x in arrays]
        ndim = values[0].ndim + 1
        return self.concat([self.expand_dims(x, axis % ndim) for x in values], axis % ndim)

    def unstack(self, x: Any, axis: int = 0) -> tuple[Value, ...]:
        """The slices along an axis."""
        x = self.recording.value(x)
        axis = axis % x.ndim
        before = (slice(None),) * axis
        return tuple([x[(*before, k, ...)] for k in range(x.shape[axis])])

    def flip(self, x: Any, axis: Axis = None) -> Value:
        """In reverse order along axes."""
        x = self.recording.value(x)
        axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
        turned = {k % x.ndim for k in axes}
        return x[tuple([slice(None, None, -1 if k in turned else 1) for k in range(x.ndim)])]

    def roll(self, x: Any, shift: Any, axis: Axis = None) -> Value:
        """Moved on along axes, what falls off coming in at the start."""
        x = self.recording.value(x)
        if axis is None:
            return reshaped(self.roll(reshaped(x, (x.size,)), shift, 0), x.shape)
        axes = (axis,) if isinstance(axis, int) else tuple(axis)
        shifts = (shift,) if isinstance(shift, int) else tuple(shift)
        for k, by in zip(axes, shifts * (len(axes) // len(shifts)), strict=True):
            k, n = k % x.ndim, x.shape[k]
            cut = -by % n if n else 0
            if cut:
                before = (slice(None),) * k
                x = self.concat(
                    [x[(*before, slice(cut, None), ...)], x[(*before, slice(0, cut), ...)]], k
                )
        return x

    def repeat(self, x: Any, repeats: Any, axis: int | None = None) -> Value:
        """Every slice several times in a row."""
        x = self.recording.value(x)
        if axis is None:
            x, axis = reshaped(x, (x.size,)), 0
        k = axis % x.ndim
        if not isinstance(repeats, int):
            times = self.recording.value(repeats).looked_at()
            return self.take(x, np.repeat(np.arange(x.shape[k]), times), k)
        wide = (*x.shape[: k + 1], repeats, *x.shape[k + 1 :])
        y = self.broadcast_to(self.expand_dims(x, k + 1), wide)
        return reshaped(y, (*x.shape[:k], x.shape[k] * repeats, *x.shape[k + 1 :]))

    def tile(self, x: Any, repetitions: Sequence[int]) -> Value:
        """Laid side by side."""
        x = self.recording.value(x)
        times = (1,) * (x.ndim - len(repetitions)) + tuple(repetitions)
        x = reshaped(x, (1,) * (len(times) - x.ndim) + x.shape)
        return self.recording.step("Tile", [x, Ints(times)], np.tile(x.data, times))

    def take(self, x: Any, indices: Any, axis: int | None = None) -> Value:
        """The slices at some indices."""
        x, index = self.recording.value(x), self.recording.value(indices)
        index = (
            index if index.dtype in (np.int32, np.int64) else cast(self.recording, index, np.int64)
        )
        axis = 0 if axis is None else axis % x.ndim
        data = np.take(x.data, index.data, axis=axis)
        return self.recording.step("Gather", [x, index], data, axis=axis)

    def take_along_axis(self, x: Any, indices: Any, axis: int = -1) -> Value:
        """Along an axis each line with its own indices."""
        x, index = self.recording.value(x), self.recording.value(indices)
        index = cast(self.recording, index, np.int64)
        axis = axis % x.ndim
        whole = [n for k, n in enumerate(x.shape) if k != axis]
        lines = [n for k, n in enumerate(index.shape) if k != axis]
        if whole != lines:  # GatherElements does not broadcast
            both = np.broadcast_shapes(tuple(whole), tuple(lines))
            x = self.broadcast_to(x, (*both[:axis], x.shape[axis], *both[axis:]))
            index = self.broadcast_to(index, (*both[:axis], index.shape[axis], *both[axis:]))
        data = np.take_along_axis(x.data, index.data, axis=axis)
        return self.recording.step("GatherElements", [x, index], data, axis=axis)

    def tril(self, x: Any, k: int = 0) -> Value:
        """The lower triangle, 0 above it."""
        return self._triangle(x, k, 0)

    def triu(self, x: Any, k: int = 0) -> Value:
        """The upper triangle, 0 below it."""
        return self._triangle(x, k, 1)

    def _triangle(self, x: Any, k: int, upper: int) -> Value:
        x = self.recording.value(x)
        data = np.triu(x.data, k) if upper else np.tril(x.data, k)
        return self.recording.step(
            "Trilu", [x, self.recording.constant(k, np.int64)], data, upper=upper
        )

    def tensordot(self, a: Any, b: Any, axes: Any = 2) -> Value:
        """Sums of products over axes: both laid out as matrices, and multiplied."""
        x, y = self.recording.value(a), self.recording.value(b)
        if isinstance(axes, int):
            axes = (tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes)))
        over = [
            tuple([k % v.ndim for k in ([part] if isinstance(part, int) else part)])
            for part, v in zip(axes, (x, y), strict=True)
        ]
        free = [[k for k in range(v.ndim) if k not in o] for v, o in zip((x, y), over, strict=True)]
        m, n = ([v.shape[k] for k in f] for v, f in zip((x, y), free, strict=True))
        summed = int(np.prod([x.shape[k] for k in over[0]]))
        left = self.reshape(self.permute_dims(x, (*free[0], *over[0])), (int(np.prod(m)), summed))
        right = self.reshape(self.permute_dims(y, (*over[1], *free[1])), (summed, int(np.prod(n))))
        return self.reshape(left @ right, (*m, *n))

    def vecdot(self, a: Any, b: Any, axis: int = -1) -> Value:
        """Inner products along an axis."""
        x, y = self.recording.value(a), self.recording.value(b)
        return self.own.sum(x * y, axis=axis)
