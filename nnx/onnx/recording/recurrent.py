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
from .source import cast, nothing
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
            "RNN", x, (h0,), weights, lengths, (0,),
            activations=[nonlinearity.capitalize()],
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
        y, h_n, c_n = self._layer("LSTM", x, states, weights, lengths, LSTM_ORDER)
        return y, h_n, c_n, Residuals(())

    def gru(
        self, x: Any, h0: Any, weights: list[Any], lengths: Any, reset_after: bool
    ) -> tuple[Value, Value, Any]:
        y, h_n = self._layer(
            "GRU", x, (h0,), weights, lengths, GRU_ORDER,
            linear_before_reset=int(reset_after),
        )  # fmt: skip
        return y, h_n, Residuals(())

    def _layer(
        self,
        op: str,
        x: Any,
        states: Sequence[Any],
        weights: list[Any],
        lengths: Any,
        order: tuple[int, ...],
        **attributes: Any,
    ) -> list[Value]:
        """y and the last states of a layer."""
        made = self.recording.value
        x, states = made(x), [None if s is None else made(s) for s in states]
        if lengths is not None:
            return self._of_lengths(op, x, states, weights, made(lengths), order, **attributes)
        inputs = [x, *self._weights_of(weights, order), None, *states]
        y, *lasts = self._operator(op, inputs, weights, **attributes)
        together = self.xp.permute_dims(y, (0, 2, 1, 3))
        shape = (*together.shape[:2], together.shape[2] * together.shape[3])
        return [self.xp.reshape(together, shape), *lasts]

    def _operator(
        self,
        op: str,
        inputs: list[Any],
        weights: list[Any],
        **attributes: Any,
    ) -> list[Value]:
        """The operator of these inputs: y (T, S, N, H) and the last states."""
        x, hidden = inputs[0], weights[0][1].shape[1]
        last = (len(weights), x.shape[1], hidden)
        shapes = [(x.shape[0], *last), *[last] * (2 if op == "LSTM" else 1)]
        if "activations" in attributes:
            attributes["activations"] = attributes["activations"] * len(weights)
        return self.recording.steps_of_several(
            op,
            inputs,
            [nothing(shape, x.dtype) for shape in shapes],
            1,
            direction=DIRECTIONS[len(weights)],
            hidden_size=hidden,
            **attributes,
        )

    def _weights_of(self, weights: list[Any], order: tuple[int, ...]) -> list[Value | None]:
        """W, R and B of all directions."""
        gates = _by_gates(order, weights[0][1].shape[1])
        w, r = (self._stacked([own[k] for own in weights], gates) for k in (0, 1))
        if weights[0][2] is None:
            return [w, r, None]
        biases = [self._stacked([own[k] for own in weights], gates) for k in (2, 3)]
        return [w, r, self.xp.concat(biases, axis=1)]

    def _of_lengths(
        self,
        op: str,
        x: Value,
        states: Sequence[Any],
        weights: list[Any],
        lengths: Value,
        order: tuple[int, ...],
        **attributes: Any,
    ) -> list[Value]:
        """A layer over sequences of several lengths, so that a runtime which passes over the
        operator's `sequence_lens`, as ONNX's reference evaluator does, is right too.

        y is put to 0 beyond the end, and h_n read at the last real step.  The second direction
        reads each sequence turned round up to its own length.  The cell of an LSTM stays as it is
        beyond the end: one more input, 1 there and 0 before, closes the input gate and opens the
        forget gate, with a weight of 80.
        """
        xp, rec = self.xp, self.recording
        steps, n, _ = x.shape
        count = cast(rec, lengths, np.int64)
        times = xp.reshape(xp.arange(steps), (-1, 1))
        inside = xp.reshape(times < xp.reshape(count, (1, -1)), (steps, n, 1))
        x = xp.where(inside, x, xp.zeros_like(x))
        ys, lasts = [], []
        for s, own in enumerate(weights):
            w, r, b = self._weights_of([own], order)
            assert w is not None
            given = [None if state is None else state[s : s + 1, ...] for state in states]
            read = self._turned(x, count) if s else x
            if op == "LSTM":
                past = cast(rec, ~inside, x.dtype)
                read = xp.concat([read, past], axis=2)
                hidden = own[1].shape[1]
                closing = np.repeat(np.asarray([-80, 0, 80, 0], x.dtype), hidden)  # of i, o, f, c
                w = xp.concat([w, rec.constant(closing.reshape(1, -1, 1))], axis=2)
            inputs = [read, w, r, b, cast(rec, count, np.int32), *given]
            y, _, *cells = self._operator(op, inputs, [own], **attributes)
            y = xp.where(inside, xp.reshape(y, (steps, n, y.shape[3])), rec.constant(0, y.dtype))
            end = xp.broadcast_to(xp.reshape(count - 1, (1, -1, 1)), (1, n, y.shape[2]))
            h_n = xp.take_along_axis(y, end, axis=0)
            ys.append(self._turned(y, count) if s else y)
            lasts.append([h_n, *cells])
        kinds = zip(*lasts, strict=True)
        return [xp.concat(ys, axis=2), *[xp.concat(list(kind), axis=0) for kind in kinds]]

    def _turned(self, x: Value, count: Value) -> Value:
        """Each sequence of (T, N, D) from its end to its start; what stands beyond stays there."""
        steps = np.arange(x.shape[0])[:, None]
        places = np.where(steps < count.data, count.data - 1 - steps, steps)[..., None]
        return self.recording.step(
            "ReverseSequence",
            [x, count],
            np.take_along_axis(x.data, places, axis=0),
            time_axis=0,
            batch_axis=1,
        )

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
