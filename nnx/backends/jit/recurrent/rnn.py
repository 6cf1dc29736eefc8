"""The simple recurrent layer compiled by numba; see `layer.py`."""

from __future__ import annotations

from typing import Any

from ....typing import Array
from ...cpu.memory import empty_like
from ...cpu.rnn import NumpyRNN
from ...portable.residuals import Residuals
from .layer import Layer, Rows, worth_a_scan


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
        if not worth_a_scan(x, weights):
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
