"""The LSTM compiled by numba; see `layer.py`."""

from __future__ import annotations

from typing import Any

from ....typing import Array
from ...cpu.lstm import NumpyLSTM
from ...cpu.memory import empty_like
from ...portable.residuals import Residuals
from .layer import Layer, Rows, worth_a_scan


class JitLSTM(NumpyLSTM):
    def lstm(
        self,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        weights: list[Any],
        lengths: Array | None,
    ) -> tuple[Array, Array, Array, Residuals]:
        if weights[0][4] is not None or not worth_a_scan(x, weights):
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
