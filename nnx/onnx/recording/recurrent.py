"""RNN, LSTM and GRU as ONNX operators; the formulas are in `nnx.ops.recurrent`.

What differs, of one layer with S directions:

               here                               ONNX
    weights    weight_ih (G H, D), one by one     W (S, G H, D), and likewise R of weight_hh
    biases     bias_ih, bias_hh (G H,)            B (S, 2 G H): one behind the other
    LSTM       gates i, f, g, o                   i, o, f, c (their c is our g)
    GRU        gates r, z, n                      z, r, h (their h is our n); z as here
    GRU        reset_after                        linear_before_reset
    y          (T, N, S H)                        (T, S, N, H)

The weights stay as they are, under their own names; their blocks of rows are put into ONNX's order
in the graph, which runtimes do once, when they load it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backends import Residuals
from .source import cast
from .value import Recording, Value

LSTM_ORDER = (0, 3, 1, 2)  # i, o, f, c of i, f, g, o
GRU_ORDER = (1, 0, 2)  # z, r, h of r, z, n
DIRECTIONS = {1: "forward", 2: "bidirectional"}


class RecurrentLayers:
    """Part of `RecordingBackend`."""

    recording: Recording
    plain: Any
    xp: Any

    def rnn(
        self, x: Any, h0: Any, weights: list[Any], lengths: Any, nonlinearity: str
    ) -> tuple[Value, Value, Any]:
        y, h_n = self._layer(
            "RNN", self.plain.rnn, x, (h0,), weights, lengths, (0,), (nonlinearity,),
            activations=[nonlinearity.capitalize()] * len(weights),
        )  # fmt: skip
        return y, h_n, Residuals(())

    def lstm(
        self, x: Any, h0: Any, c0: Any, weights: list[Any], lengths: Any
    ) -> tuple[Value, Value, Value, Any]:
        if weights[0][4] is not None:
            return self._projected(x, h0, c0, weights, lengths)
        states = (h0, c0)
        if (h0 is None) != (c0 is None):
            like = self.recording.value(c0 if h0 is None else h0)
            states = tuple([self.xp.zeros_like(like) if s is None else s for s in states])
        y, h_n, c_n = self._layer(
            "LSTM", self.plain.lstm, x, states, weights, lengths, LSTM_ORDER, ()
        )
        return y, h_n, c_n, Residuals(())

    def gru(
        self, x: Any, h0: Any, weights: list[Any], lengths: Any, reset_after: bool
    ) -> tuple[Value, Value, Any]:
        y, h_n = self._layer(
            "GRU", self.plain.gru, x, (h0,), weights, lengths, GRU_ORDER, (reset_after,),
            linear_before_reset=int(reset_after),
        )  # fmt: skip
        return y, h_n, Residuals(())

    def _layer(
        self,
        op: str,
        kernel: Any,
        x: Any,
        states: Sequence[Any],
        weights: list[Any],
        lengths: Any,
        order: tuple[int, ...],
        options: tuple[Any, ...],
        **attributes: Any,
    ) -> list[Value]:
        """y and the last states of a layer."""
        made = self.recording.value
        x, states = made(x), [None if s is None else made(s) for s in states]
        hidden = weights[0][1].shape[1]
        gates = _by_gates(order, hidden)
        w, r = (self._stacked([own[k] for own in weights], gates) for k in (0, 1))
        b = None
        if weights[0][2] is not None:
            b = self.xp.concat(
                [self._stacked([own[k] for own in weights], gates) for k in (2, 3)], axis=1
            )
        count = None if lengths is None else cast(self.recording, made(lengths), np.int32)
        plain = [tuple([None if a is None else made(a).data for a in own]) for own in weights]
        y, *lasts, _ = kernel(
            x.data,
            *[None if s is None else s.data for s in states],
            plain,
            None if count is None else count.data.astype(np.int64),
            *options,
        )
        steps, n, _ = y.shape
        apart = y.reshape(steps, n, len(weights), hidden).transpose(0, 2, 1, 3)
        outputs = self.recording.steps_of_several(
            op,
            [x, w, r, b, count, *states],
            [apart, *lasts],
            1,
            direction=DIRECTIONS[len(weights)],
            hidden_size=hidden,
            **attributes,
        )
        together = self.xp.permute_dims(outputs[0], (0, 2, 1, 3))
        return [self.xp.reshape(together, y.shape), *outputs[1:]]

    def _stacked(self, weights: list[Any], gates: np.ndarray | None) -> Value:
        """(G H, ...) of each direction as (S, G H, ...), the blocks in ONNX's order."""
        parts = []
        for weight in weights:
            value = self.recording.value(weight)
            if gates is not None:
                value = self.xp.take(value, self.recording.constant(gates), axis=0)
            parts.append(self.xp.expand_dims(value, 0))
        return self.xp.concat(parts, axis=0)

    def _projected(
        self, x: Any, h0: Any, c0: Any, weights: list[Any], lengths: Any
    ) -> tuple[Value, Value, Value, Any]:
        """h[t] = W_hr (o tanh c[t]): the steps one by one, since ONNX's LSTM has no projection.

        Beyond its end a sequence's state does not move, and y is 0.
        """
        xp, x = self.xp, self.recording.value(x)
        x = self.recording.step("Identity", [x], x.data, 1)  # it knows which axis the batch is
        count = None if lengths is None else xp.reshape(lengths, (-1, 1))
        steps, n, _ = x.shape
        ys, hs, cs = [], [], []
        for s, (w_ih, w_hh, b_ih, b_hh, w_hr) in enumerate(weights):
            w_ih, w_hh, w_hr = (self.recording.value(w) for w in (w_ih, w_hh, w_hr))
            units = w_hr.shape[1]
            h = xp.zeros((n, w_hr.shape[0]), dtype=x.dtype) if h0 is None else h0[s, ...]
            c = xp.zeros((n, units), dtype=x.dtype) if c0 is None else c0[s, ...]
            order = range(steps) if s == 0 else reversed(range(steps))
            made: dict[int, Value] = {}
            for t in order:
                z = x[t, ...] @ w_ih.mT + h @ w_hh.mT
                if b_ih is not None:
                    z = z + b_ih + b_hh
                i, f, g, o = (z[:, k * units : (k + 1) * units] for k in range(4))
                c_next = self.sigmoid(f) * c + self.sigmoid(i) * xp.tanh(g)  # type: ignore[attr-defined]
                h_next = (self.sigmoid(o) * xp.tanh(c_next)) @ w_hr.mT  # type: ignore[attr-defined]
                made[t] = h_next
                if count is not None:
                    inside = count > t
                    made[t] = xp.where(inside, h_next, xp.zeros_like(h_next))
                    h_next, c_next = xp.where(inside, h_next, h), xp.where(inside, c_next, c)
                h, c = h_next, c_next
            ys.append(xp.stack([made[t] for t in range(steps)], axis=0))
            hs.append(h)
            cs.append(c)
        y = xp.concat(ys, axis=2)
        return y, xp.stack(hs, axis=0), xp.stack(cs, axis=0), Residuals(())


def _by_gates(order: tuple[int, ...], hidden: int) -> np.ndarray | None:
    """The rows of a weight in ONNX's order of gates; None where that is ours."""
    if len(order) == 1:
        return None
    return np.concatenate([np.arange(hidden) + k * hidden for k in order])
