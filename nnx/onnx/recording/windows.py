"""Convolution and pooling as ONNX operators; the formulas are in `nnx.ops.windows`.

ONNX writes pads as all that come before, then all that come after: (top, left, bottom, right).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backends import Residuals
from ...backends.portable.window import NO_PADDING, Padding, Pair, Window
from .source import Ints, cast, nothing
from .value import Recording, Value


def pads_of(padding: Padding) -> tuple[int, ...]:
    """(before, after) of each axis in ONNX's order."""
    return tuple([p[0] for p in padding] + [p[1] for p in padding])


class Windows:
    """Part of `RecordingBackend`."""

    recording: Recording
    plain: Any
    xp: Any

    def conv2d(
        self, x: Any, weight: Any, bias: Any, window: Window, groups: int
    ) -> tuple[Value, Any]:
        taken: list[Any] = [self.recording.value(a) for a in (x, weight, bias) if a is not None]
        shape = (taken[0].shape[0], taken[1].shape[0], *window.counts(taken[0].shape[2:]))
        data = self.recording.values(
            taken,
            shape,
            lambda: self.plain.conv2d(*_data(taken), window, groups)[0],
        )
        y = self.recording.step(
            "Conv",
            taken,
            data,
            0,
            kernel_shape=window.kernel,
            strides=window.stride,
            pads=pads_of(window.padding),
            dilations=window.dilation,
            group=groups,
        )
        return y, Residuals(())

    def conv_transpose2d(
        self, x: Any, weight: Any, shape: tuple[int, ...], window: Window, groups: int
    ) -> Value:
        """The output padding is what the size of the image is beyond what the windows give.

        Groups become an operator each, up to 16 of them: the reference evaluator of ONNX gives
        wrong results for groups of one operator.
        """
        x, weight = self.recording.value(x), self.recording.value(weight)
        if 1 < groups <= 16:
            channels, part = x.shape[1] // groups, (shape[0], shape[1] // groups, *shape[2:])
            own = [slice(k * channels, (k + 1) * channels) for k in range(groups)]
            parts = [
                self.conv_transpose2d(x[:, g, ...], weight[g, ...], part, window, 1) for g in own
            ]
            return self.xp.concat(parts, axis=1)
        extra = tuple(
            [
                size - ((length - 1) * s - before - after + reach)
                for size, length, s, (before, after), reach in zip(
                    shape[2:],
                    x.shape[2:],
                    window.stride,
                    window.padding,
                    window.extent,
                    strict=True,
                )
            ]
        )
        data = self.recording.values(
            [x, weight],
            shape,
            lambda: self.plain.conv_transpose2d(x.data, weight.data, shape, window, groups),
        )
        return self.recording.step(
            "ConvTranspose",
            [x, weight],
            data,
            0,
            kernel_shape=window.kernel,
            strides=window.stride,
            pads=pads_of(window.padding),
            dilations=window.dilation,
            output_padding=extra,
            group=groups,
        )

    # ---- pooling ----

    def max_pool2d(self, x: Any, window: Window) -> tuple[Value, Value]:
        """The values, and the place i kw + j in its window of each, from where in the whole tensor
        the operator says it was: ((n C + c) H + row) W + column."""
        x = self.recording.value(x)
        shape = (*x.shape[:2], *window.counts(x.shape[2:]))
        data = self.recording.values([x], shape, lambda: self.plain.max_pool2d(x.data, window)[0])
        kind = np.dtype(np.uint8 if window.places <= 256 else np.int32)
        places = nothing(shape, kind)
        if x.source.known:
            places = self.plain.max_pool2d(x.data, window)[1]
        inner, padded = window, x
        if _beyond(window):
            padded, inner = self._padded(x, window, -np.inf)
        (_, kw), (sh, sw), ((top, _), (left, _)), (dh, dw) = inner
        h, w = padded.shape[2:]
        n, c, oh, ow = data.shape
        rows, columns = np.arange(oh) * sh - top, np.arange(ow) * sw - left
        row = rows[:, None] + places.astype(np.int64) // kw * dh
        column = columns + places.astype(np.int64) % kw * dw
        images = np.arange(n * c).reshape(n, c, 1, 1)
        y, at = self.recording.steps_of_several(
            "MaxPool",
            [padded],
            [data, images * (h * w) + row * w + column],
            0,
            kernel_shape=inner.kernel,
            strides=inner.stride,
            pads=pads_of(inner.padding),
            dilations=inner.dilation,
        )
        pixel = at % (h * w)
        down = (pixel // w - rows[:, None]) // dh
        across = (pixel % w - columns) // dw
        return y, cast(self.recording, down * kw + across, places.dtype)

    def avg_pool2d(self, x: Any, window: Window, counted: Padding) -> Value:
        """The operator counts all of its padding or none; what lies between is a factor for each
        window: (pixels of the window) / (those counted)."""
        x = self.recording.value(x)
        shape = (*x.shape[:2], *window.counts(x.shape[2:]))

        def means(counts: Padding) -> np.ndarray:
            return self.recording.values(
                [x], shape, lambda: self.plain.avg_pool2d(x.data, window, counts)
            )

        if counted in (window.padding, NO_PADDING) and not _beyond(window):
            return self._mean(x, window, means(counted), int(counted == window.padding))
        padded, inner = self._padded(x, window, 0.0)
        share = self.plain._divisor(x.data, x.shape, shape[2:], window, counted)
        scale = self.recording.constant(window.places / share, x.dtype)
        return self._mean(padded, inner, means(window.padding), 1) * scale

    def _mean(self, x: Value, window: Window, data: np.ndarray, count: int) -> Value:
        return self.recording.step(
            "AveragePool",
            [x],
            data,
            0,
            kernel_shape=window.kernel,
            strides=window.stride,
            pads=pads_of(window.padding),
            count_include_pad=count,
        )

    def _padded(self, x: Value, window: Window, value: float) -> tuple[Value, Window]:
        """The image with its padding, and a window without: runtimes refuse a padding as long as
        the window."""
        pairs = ((0, 0), (0, 0), *window.padding)
        y = self.recording.step(
            "Pad",
            [x, Ints(pads_of(pairs)), self.recording.constant(value, x.dtype)],  # type: ignore[arg-type]
            np.pad(x.data, pairs, constant_values=value),
        )
        return y, window._replace(padding=NO_PADDING)

    def adaptive_avg_pool2d(self, x: Any, size: Pair) -> Value:
        """The mean over rows and then columns of each window: two products with matrices of
        1/length, A (oh, H) X (H, W) B (W, ow)."""
        x = self.recording.value(x)
        down, across = (
            _means(length, count, x.dtype) for length, count in zip(x.shape[2:], size, strict=True)
        )
        made = self.recording.constant
        return made(down) @ x @ made(across.T)

    def adaptive_max_pool2d(self, x: Any, size: Pair) -> tuple[Value, Value]:
        """Each window cut out, laid flat, and the largest of it, with its pixel row W + column."""
        x = self.recording.value(x)
        width, (rows, columns) = (
            x.shape[3],
            (_cells(length, count) for length, count in zip(x.shape[2:], size, strict=True)),
        )
        tops, pixels = [], []
        for r in rows:
            for c in columns:
                cell = x[:, :, r, c]
                across = cell.shape[3]
                flat = self.xp.reshape(cell, (*x.shape[:2], cell.shape[2] * across))
                at = self.xp.argmax(flat, axis=2, keepdims=True)
                tops.append(self.xp.max(flat, axis=2, keepdims=True))
                pixels.append((at // across + r.start) * width + at % across + c.start)
        shape = (*x.shape[:2], *size)
        values, places = (self.xp.concat(part, axis=2) for part in (tops, pixels))
        return self.xp.reshape(values, shape), self.xp.reshape(places, shape)


def _data(taken: list[Any]) -> list[Any]:
    """The arrays of x, weight and bias, which may not be there."""
    return [*[a.data for a in taken], None][:3]


def _beyond(window: Window) -> bool:
    return any(max(pair) >= k for pair, k in zip(window.padding, window.kernel, strict=True))


def _cells(length: int, count: int) -> list[slice]:
    """The windows of adaptive pooling along an axis."""
    return [slice(k * length // count, -(-(k + 1) * length // count)) for k in range(count)]


def _means(length: int, count: int, dtype: Any) -> np.ndarray:
    """(count, length): row k takes the mean of window k."""
    matrix = np.zeros((count, length), dtype)
    for k, cell in enumerate(_cells(length, count)):
        matrix[k, cell] = 1 / (cell.stop - cell.start)
    return matrix
