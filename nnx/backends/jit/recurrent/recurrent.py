"""Recurrent layers compiled by numba; the loops over time are in `*_scan.py` and `scan.py`.

Products over all time steps are BLAS's, through `threads.matmul`; the scan is split over the
batch and the directions.  The state before each step is the output itself, one step earlier, so
the output is what is kept of the states.  Hidden units are filled up to `units`, a multiple of a
register: what is kept and the weights that a scan reads have zeros there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....typing import Array
from ...cpu.gru import NumpyGRU
from ...cpu.lstm import NumpyLSTM
from ...cpu.memory import empty_like
from ...cpu.recurrent import alike
from ...cpu.rnn import NumpyRNN
from ...portable.residuals import Residuals
from . import small_rnn
from .layer import GRULayer, Layer

# Pre-activations in all: for fewer, NumPy's LSTM and GRU are as quick and compile nothing, and the
# simple layer has a way of its own (`small_rnn.py`).
_WORTH_IT = 2**14


class Rows(Residuals):
    """Kept in the layout of this file; what is not, `cpu/` or `portable/` kept."""

    __slots__ = ()


class JitRNN(NumpyRNN):
    def rnn(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        nonlinearity: str,
    ) -> tuple[Array, Array, Residuals]:
        relu = nonlinearity == "relu"
        if not _suits(x, weights, h0):
            if _compiles(x, weights, h0):
                return small_rnn.forward(x, h0, weights, lengths, relu)
            return super().rnn(x, h0, weights, lengths, nonlinearity)
        from .rnn_scan import rnn_forward

        layer = Layer(x, weights, lengths, 1)
        w = layer.recurrent(forward=True)
        y = layer.input_product()
        h_n = layer.state(h0)
        layer.scan(rnn_forward, w, y, w, layer.bias(2, 3), layer.lengths, relu, h_n)
        return layer.output(y), layer.real(h_n), Rows((layer, y, h0, relu))

    def rnn_backward(
        self, gy: Array, gh_n: Array, residuals: Residuals, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Any, ...]]]:
        if isinstance(residuals, small_rnn.Whole):
            return small_rnn.backward(gy, gh_n, residuals, needs_x)
        if not isinstance(residuals, Rows):
            return super().rnn_backward(gy, gh_n, residuals, needs_x)
        from .rnn_scan import rnn_backward

        layer, y, h0, relu = residuals
        w = layer.recurrent(forward=False)
        gz, gh = empty_like(y), layer.state(gh_n)
        gy = layer.output_gradient(gy)
        layer.scan(rnn_backward, w, y, w, gy, layer.lengths, relu, gz, gh)
        gw_hh = layer.recurrent_gradient(gz, y, h0)
        gb = layer.bias_gradient(gz)
        weights = zip(layer.input_gradient(gz), gw_hh, gb, gb, strict=True)
        return layer.x_gradient(gz) if needs_x else None, layer.real(gh), list(weights)


class JitLSTM(NumpyLSTM):
    def lstm(
        self,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        weights: list[Any],
        lengths: Array | None,
    ) -> tuple[Array, Array, Array, Residuals]:
        if weights[0][4] is not None or not _suits(x, [w[:4] for w in weights], h0, c0):
            return super().lstm(x, h0, c0, weights, lengths)
        from .lstm_scan import lstm_forward

        layer = Layer(x, weights, lengths, 4)
        w = layer.recurrent(forward=True)
        z = layer.input_product()
        h_n, c_n = layer.state(h0), layer.state(c0)
        y, cells = layer.states(), layer.states()
        bias = layer.bias(2, 3)
        layer.scan(lstm_forward, w, z, w, bias, layer.lengths, y, cells, h_n, c_n)
        residuals = Rows((layer, z, y, cells, h0, c0))
        return layer.output(y), layer.real(h_n), layer.real(c_n), residuals

    def lstm_backward(
        self, gy: Array, gh_n: Array, gc_n: Array, residuals: Residuals, needs_x: bool
    ) -> tuple[Array | None, Array, Array, list[tuple[Any, ...]]]:
        if not isinstance(residuals, Rows):
            return super().lstm_backward(gy, gh_n, gc_n, residuals, needs_x)
        from .lstm_scan import lstm_backward

        layer, gates, y, cells, h0, c0 = residuals
        w = layer.recurrent(forward=False)
        gz, gh, gc = empty_like(gates), layer.state(gh_n), layer.state(gc_n)
        first, gy = layer.state(c0), layer.output_gradient(gy)
        arrays = (gates, cells, w, first, gy, layer.lengths, gz, gh, gc)
        layer.scan(lstm_backward, w, *arrays)
        gw_hh = layer.recurrent_gradient(gz, y, h0)
        gb = layer.bias_gradient(gz)
        none = [None] * len(gw_hh)
        gradients = zip(layer.input_gradient(gz), gw_hh, gb, gb, none, strict=True)
        gx = layer.x_gradient(gz) if needs_x else None
        return gx, layer.real(gh), layer.real(gc), list(gradients)


class JitGRU(NumpyGRU):
    def gru(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        reset_after: bool,
    ) -> tuple[Array, Array, Residuals]:
        if not _suits(x, weights, h0):
            return super().gru(x, h0, weights, lengths, reset_after)
        from . import gru_scan as loops

        layer = GRULayer(x, weights, lengths, reset_after)
        z = layer.input_product()
        h_n, y = layer.state(h0), layer.states()
        bias = layer.bias()
        if reset_after:
            w = layer.recurrent(forward=True)
            layer.scan(loops.gru_forward, w, z, w, bias, layer.lengths, y, h_n)
        else:
            w_rz, w_n = layer.recurrent_parts(forward=True)
            arrays = (z, w_rz, w_n, bias, layer.lengths, y, h_n)
            layer.scan(loops.gru_before_forward, w_rz, *arrays)
        return layer.output(y), layer.real(h_n), Rows((layer, z, y, h0))

    def gru_backward(
        self, gy: Array, gh_n: Array, residuals: Residuals, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Any, ...]]]:
        if not isinstance(residuals, Rows):
            return super().gru_backward(gy, gh_n, residuals, needs_x)
        from . import gru_scan as loops

        layer, gates, y, h0 = residuals
        gz, gh = empty_like(gates), layer.state(gh_n)
        first, gy = layer.state(h0), layer.output_gradient(gy)
        if layer.reset_after:
            w = layer.recurrent(forward=False)
            layer.scan(loops.gru_backward, w, gates, y, w, first, gy, layer.lengths, gz, gh)
        else:
            w_rz, w_n = layer.recurrent_parts(forward=False)
            arrays = (gates, y, w_rz, w_n, first, gy, layer.lengths, gz, gh)
            layer.scan(loops.gru_before_backward, w_rz, *arrays)
        gw_hh = layer.recurrent_gradient(gz, y, h0, gates)
        gradients = zip(layer.input_gradient(gz), gw_hh, *layer.bias_gradients(gz), strict=True)
        return layer.x_gradient(gz) if needs_x else None, layer.real(gh), list(gradients)


def _suits(x: Array, weights: list[Any], *others: Array | None) -> bool:
    steps, n, _ = x.shape
    enough = steps * n * weights[0][0].shape[0] >= _WORTH_IT
    return enough and _compiles(x, weights, *others)


def _compiles(x: Array, weights: list[Any], *others: Array | None) -> bool:
    return x.dtype == np.float32 and x.size > 0 and alike(x, weights, *others)
