"""New arrays of the array API as ONNX operators: their lengths may depend on the batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from .source import Ints, cast
from .value import Recording, Value


class Creation:
    """Part of `Namespace`.  `device` is accepted and means nothing."""

    recording: Recording
    own: Any  # the whole namespace

    def asarray(
        self, x: Any, dtype: Any = None, device: Any = None, copy: bool | None = None
    ) -> Value:
        """An array, numbers or lists as a value; a copy where one is asked for."""
        if isinstance(x, Value):
            value = Value(self.recording, x.source, x.data) if copy else x
        else:
            value = self.recording.value(x, None)
        return value if dtype is None else cast(self.recording, value, dtype)

    def full(self, shape: Any, fill_value: Any, dtype: Any = None, device: Any = None) -> Value:
        """One value everywhere."""
        shape = shape if isinstance(shape, tuple | list) else (shape,)
        shape = tuple([n.__index__() for n in shape])
        if isinstance(fill_value, Value):
            one = fill_value if dtype is None else cast(self.recording, fill_value, dtype)
        else:
            one = self.recording.constant(fill_value, dtype)
        return self.recording.step("Expand", [one, Ints(shape)], np.full(shape, one.data))

    def zeros(self, shape: Any, dtype: Any = None, device: Any = None) -> Value:
        """Zeros."""
        return self.full(shape, 0, np.float64 if dtype is None else dtype)

    def ones(self, shape: Any, dtype: Any = None, device: Any = None) -> Value:
        """Ones."""
        return self.full(shape, 1, np.float64 if dtype is None else dtype)

    def empty(self, shape: Any, dtype: Any = None, device: Any = None) -> Value:
        """Zeros, to be written to."""
        return self.zeros(shape, dtype)

    def full_like(self, x: Any, fill_value: Any, dtype: Any = None, device: Any = None) -> Value:
        """One value everywhere, in the shape of x."""
        return self.full(tuple(x.shape), fill_value, x.dtype if dtype is None else dtype)

    def zeros_like(self, x: Any, dtype: Any = None, device: Any = None) -> Value:
        """Zeros in the shape of x."""
        return self.full_like(x, 0, dtype)

    def ones_like(self, x: Any, dtype: Any = None, device: Any = None) -> Value:
        """Ones in the shape of x."""
        return self.full_like(x, 1, dtype)

    def empty_like(self, x: Any, dtype: Any = None, device: Any = None) -> Value:
        """Zeros in the shape of x, to be written to."""
        return self.full_like(x, 0, dtype)

    def arange(
        self, start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, device: Any = None
    ) -> Value:
        """Numbers a step apart; whole ones by an operator, since `stop` may depend on the batch."""
        if stop is None:
            start, stop = 0, start
        data = np.arange(start, stop, step, dtype=dtype)
        if not all(isinstance(n, int) or hasattr(n, "__index__") for n in (start, stop, step)):
            return self.recording.constant(data)
        ends = [Ints((int(n),), True) for n in (start, stop, step)]
        whole = self.recording.step("Range", ends, data.astype(np.int64))
        return cast(self.recording, whole, data.dtype)

    def linspace(
        self,
        start: float,
        stop: float,
        num: int,
        dtype: Any = None,
        device: Any = None,
        endpoint: bool = True,
    ) -> Value:
        """Evenly spaced numbers."""
        return self.recording.constant(np.linspace(start, stop, num, endpoint, dtype=dtype))

    def eye(
        self,
        rows: int,
        columns: int | None = None,
        k: int = 0,
        dtype: Any = None,
        device: Any = None,
    ) -> Value:
        """Ones on a diagonal: where the column's number is the row's plus k."""
        down = self.arange(rows)
        across = self.arange(rows if columns is None else columns)
        hit = (down + k)[:, None] == across[None, :]
        return cast(self.recording, hit, np.float64 if dtype is None else dtype)

    def meshgrid(self, *arrays: Any, indexing: str = "xy") -> list[Value]:
        """Coordinates along each axis, everywhere."""
        values = [self.recording.value(x) for x in arrays]
        n = len(values)
        grids = []
        for k, x in enumerate(values):
            at = 1 - k if indexing == "xy" and k < 2 and n > 1 else k
            lengths = [v.size for v in values]
            if indexing == "xy" and n > 1:
                lengths[:2] = lengths[1::-1]
            x = x[(*[None] * at, slice(None), *[None] * (n - 1 - at))]
            grids.append(self.own.broadcast_to(x, tuple(lengths)))
        return grids
