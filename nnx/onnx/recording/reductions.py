"""Reductions, sorting and searching of the array API as ONNX operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from .indexing import reshaped
from .source import Ints, cast
from .value import Recording, Value

Axis = int | tuple[int, ...] | None


class Reductions:
    """Part of `Namespace`.

    The axes are an input of the operator (since opset 18; of ReduceSum since 13), or its attribute.
    """

    recording: Recording
    own: Any  # the whole namespace

    def _reduce(self, op: str, x: Any, axis: Axis, keepdims: bool, data: Any) -> Value:
        axes = _axes(axis, x.ndim)
        if not axes:
            return x if np.asarray(data).dtype == x.dtype else cast(self.recording, x, data.dtype)
        if self.recording.opset >= (13 if op == "ReduceSum" else 18):
            return self.recording.step(op, [x, Ints(axes)], data, keepdims=int(keepdims))
        return self.recording.step(op, [x], data, axes=axes, keepdims=int(keepdims))

    def sum(self, x: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Value:
        """The sum along axes; small integers in int64."""
        x = self.recording.value(x)
        if dtype is None and x.dtype.kind in "biu":
            dtype = np.sum(x.data[:0] if x.ndim else x.data).dtype
        if dtype is not None:
            x = cast(self.recording, x, dtype)
        return self._reduce(
            "ReduceSum", x, axis, keepdims, np.sum(x.data, axis=axis, keepdims=keepdims)
        )

    def prod(self, x: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Value:
        """The product along axes; small integers in int64."""
        x = self.recording.value(x)
        if dtype is None and x.dtype.kind in "biu":
            dtype = np.prod(x.data[:0] if x.ndim else x.data).dtype
        if dtype is not None:
            x = cast(self.recording, x, dtype)
        return self._reduce(
            "ReduceProd", x, axis, keepdims, np.prod(x.data, axis=axis, keepdims=keepdims)
        )

    def mean(self, x: Any, axis: Axis = None, keepdims: bool = False) -> Value:
        """The mean along axes."""
        x = self.recording.value(x)
        return self._reduce(
            "ReduceMean", x, axis, keepdims, np.mean(x.data, axis=axis, keepdims=keepdims)
        )

    def max(self, x: Any, axis: Axis = None, keepdims: bool = False) -> Value:
        """The largest along axes."""
        x = self.recording.value(x)
        return self._reduce(
            "ReduceMax", x, axis, keepdims, np.max(x.data, axis=axis, keepdims=keepdims)
        )

    def min(self, x: Any, axis: Axis = None, keepdims: bool = False) -> Value:
        """The smallest along axes."""
        x = self.recording.value(x)
        return self._reduce(
            "ReduceMin", x, axis, keepdims, np.min(x.data, axis=axis, keepdims=keepdims)
        )

    def var(
        self, x: Any, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
    ) -> Value:
        """Σ (x - m)² / (n - correction) along axes."""
        x = self.recording.value(x)
        centred = x - self.mean(x, axis, keepdims=True)
        squares = self.mean(centred * centred, axis, keepdims)
        if not correction:
            return squares
        return self.sum(centred * centred, axis, keepdims=keepdims) / (
            self.size_along(x, axis) - correction
        )

    def size_along(self, x: Value, axis: Axis) -> Value:
        """How many values each result is made of, in x's dtype: a shape, which may be dynamic."""
        axes = _axes(axis, x.ndim)
        lengths = self.recording.step("Shape", [x], np.asarray(x.shape, np.int64))
        along = [x.shape[k] for k in axes]
        taken = self.recording.step(
            "Gather", [lengths, self.recording.constant(axes, np.int64)], np.asarray(along), axis=0
        )
        return cast(self.recording, self.prod(taken), x.dtype)

    def std(
        self, x: Any, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
    ) -> Value:
        """The root of the variance."""
        return self.own.sqrt(self.var(x, axis, correction, keepdims))

    def all(self, x: Any, axis: Axis = None, keepdims: bool = False) -> Value:
        """Whether all are true: the smallest of 0 and 1."""
        return self._truth("min", x, axis, keepdims)

    def any(self, x: Any, axis: Axis = None, keepdims: bool = False) -> Value:
        """Whether one is true: the largest of 0 and 1."""
        return self._truth("max", x, axis, keepdims)

    def _truth(self, which: str, x: Any, axis: Axis, keepdims: bool) -> Value:
        truth = cast(self.recording, self.recording.value(x), np.bool_)
        number = cast(self.recording, truth, np.int32)
        return cast(self.recording, getattr(self, which)(number, axis, keepdims), np.bool_)

    def count_nonzero(self, x: Any, axis: Axis = None, keepdims: bool = False) -> Value:
        """How many are not 0."""
        truth = cast(self.recording, self.recording.value(x), np.bool_)
        return self.sum(truth, axis, np.dtype(np.int64), keepdims)

    def argmax(self, x: Any, axis: int | None = None, keepdims: bool = False) -> Value:
        """The index of the first of the largest."""
        return self._position("ArgMax", np.argmax, x, axis, keepdims)

    def argmin(self, x: Any, axis: int | None = None, keepdims: bool = False) -> Value:
        """The index of the first of the smallest."""
        return self._position("ArgMin", np.argmin, x, axis, keepdims)

    def _position(self, op: str, compute: Any, x: Any, axis: int | None, keepdims: bool) -> Value:
        x = self.recording.value(x)
        if x.dtype == np.bool_:
            x = cast(self.recording, x, np.int32)
        if axis is None:
            flat = self._position(op, compute, reshaped(x, (x.size,)), 0, False)
            return reshaped(flat, (1,) * x.ndim) if keepdims else flat
        data = np.asarray(compute(x.data, axis=axis, keepdims=keepdims), np.int64)
        axis = axis % x.ndim
        return self.recording.step(op, [x], data, axis=axis, keepdims=int(keepdims))

    def cumulative_sum(
        self, x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False
    ) -> Value:
        """Running sums along an axis."""
        x = self.recording.value(x)
        axis = 0 if axis is None else axis % x.ndim
        if dtype is None and x.dtype.kind in "biu":
            dtype = np.cumulative_sum(x.data[:0], axis=0).dtype
        if dtype is not None:
            x = cast(self.recording, x, dtype)
        y = self.recording.step(
            "CumSum",
            [x, self.recording.constant(axis, np.int64)],
            np.cumulative_sum(x.data, axis=axis),
        )
        if not include_initial:
            return y
        first = tuple([1 if k == axis else n for k, n in enumerate(x.shape)])
        return self.own.concat([self.own.zeros(first, dtype=y.dtype), y], axis=axis)

    def cumulative_prod(
        self, x: Any, axis: int | None = None, dtype: Any = None, include_initial: bool = False
    ) -> Value:
        """Running products along an axis: those of 1, 2, 4, ... neighbours, by doubling.

        ONNX has an operator since opset 26 only.
        """
        x = self.recording.value(x)
        axis = 0 if axis is None else axis % x.ndim
        if dtype is None and x.dtype.kind in "biu":
            dtype = np.cumulative_prod(x.data[:0], axis=0).dtype
        y = x if dtype is None else cast(self.recording, x, dtype)
        before, by = (slice(None),) * axis, 1
        while by < x.shape[axis]:
            ones = self.own.ones_like(y[(*before, slice(0, by))])
            moved = y[(*before, slice(0, x.shape[axis] - by))]
            y = y * self.own.concat([ones, moved], axis=axis)
            by *= 2
        if not include_initial:
            return y
        return self.own.concat([self.own.ones_like(y[(*before, slice(0, 1))]), y], axis=axis)

    def diff(self, x: Any, axis: int = -1, n: int = 1) -> Value:
        """Differences of neighbours, n times."""
        x = self.recording.value(x)
        axis = axis % x.ndim
        for _ in range(n):
            before = (slice(None),) * axis
            x = x[(*before, slice(1, None))] - x[(*before, slice(0, x.shape[axis] - 1))]
        return x

    def searchsorted(self, a: Any, values: Any, side: str = "left", sorter: Any = None) -> Value:
        """Where values would be put in order: how many are smaller, or not larger."""
        x, v = self.recording.value(a), self.recording.value(values)
        if sorter is not None:
            x = self.own.take(x, sorter, axis=0)
        wide = reshaped(v, (*v.shape, 1))
        return self.sum(x < wide if side == "left" else x <= wide, axis=-1)

    def nonzero(self, x: Any) -> tuple[Value, ...]:
        """The indices of what is not 0, where that does not depend on the inputs."""
        x = self.recording.value(x)
        if not x.source.known:
            self.recording.refuse(
                "a mask picks as many values as it has true ones, and how many those are is not "
                "known when a graph is written; nnx.where(mask, a, b) keeps the shape"
            )
        return tuple([self.recording.constant(k) for k in np.nonzero(x.data)])

    def _top(self, x: Any, axis: int, descending: bool) -> list[Value]:
        """All of an axis in order, and where they stood: TopK with its whole length."""
        x = self.recording.value(x)
        axis = axis % x.ndim
        places = np.argsort(-x.data if descending else x.data, axis=axis, stable=True)
        return self.recording.steps_of_several(
            "TopK",
            [x, Ints((x.shape[axis],))],
            [np.take_along_axis(x.data, places, axis), places],
            axis=axis,
            largest=int(descending),
            sorted=1,
        )

    def sort(self, x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Value:
        """The values in order."""
        return self._top(x, axis, descending)[0]

    def argsort(
        self, x: Any, axis: int = -1, descending: bool = False, stable: bool = True
    ) -> Value:
        """The indices in that order; equal values in the order of their indices."""
        return self._top(x, axis, descending)[1]


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple([k % ndim for k in (axis if isinstance(axis, tuple | list) else (axis,))])
