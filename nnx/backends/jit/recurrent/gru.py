"""The GRU compiled by numba, both variants; see `layer.py`."""

from __future__ import annotations

from typing import Any

from ....typing import Array
from ...cpu.gru import NumpyGRU
from ...cpu.memory import empty_like
from ...portable.residuals import Residuals
from .layer import GRULayer, Rows, worth_a_scan


class JitGRU(NumpyGRU):
    def gru(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        reset_after: bool,
    ) -> tuple[Array, Array, Residuals]:
        if not worth_a_scan(x, weights):
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
