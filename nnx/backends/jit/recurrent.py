"""Recurrent layers compiled by numba; the loops over time are in `sweeps.py`.

Products over all time steps are BLAS's, through `threads.matmul`; the sweep is split over the
batch.  The state before each step is the output itself, one step earlier, so the output is what
is kept of the states.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cpu.gru import NumpyGRU
from ..cpu.lstm import NumpyLSTM
from ..cpu.recurrent import alike
from ..cpu.rnn import NumpyRNN
from ..saved import Saved
from .threads import matmul, split

Array = Any

_WORTH_IT = 2**14  # pre-activations in all: for fewer, NumPy is as quick and compiles nothing
_PER_THREAD = 2**19  # multiply-adds of a sweep: for fewer, waking a second thread does not pay


class Rows(Saved):
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
    ) -> tuple[Array, Array, Saved]:
        if not _suits(x, weights, h0):
            return super().rnn(x, h0, weights, lengths, nonlinearity)
        from . import sweeps

        rows, lengths, real = _rows(x, lengths)
        y = _input_product(x, rows, weights, [_sum(w[2], w[3]) for w in weights])
        w_t = _factor([w[1].T for w in weights])
        h0 = _state(h0, y, w_t.shape[1])
        h_n = np.empty_like(h0)
        relu = nonlinearity == "relu"
        _sweep(sweeps.rnn_forward, y, w_t, y, w_t, h0, lengths, relu, h_n)
        return _flat(y), h_n, Rows((x.shape, rows, weights, y, h0, lengths, real, relu))

    def rnn_backward(
        self, gy: Array, gh_n: Array, saved: Saved, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Any, ...]]]:
        if not isinstance(saved, Rows):
            return super().rnn_backward(gy, gh_n, saved, needs_x)
        from . import sweeps

        shape, rows, weights, y, h0, lengths, real, relu = saved
        gz, gh0 = np.empty_like(y), np.empty_like(h0)
        w = _factor([w[1] for w in weights])
        gy, gh_n = _plain(gy).reshape(y.shape), _plain(gh_n)
        _sweep(sweeps.rnn_backward, gz, w, y, w, gy, gh_n, lengths, relu, gz, gh0)
        gx, gw_ih, gb = _input_product_backward(gz, rows, shape, weights, needs_x)
        gw_hh = [_recurrent_gradient(gz[:, :, s], y, h0, s, lengths, real) for s in _each(weights)]
        return gx, gh0, list(zip(gw_ih, gw_hh, gb, gb, strict=True))


class JitLSTM(NumpyLSTM):
    def lstm(
        self,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        weights: list[Any],
        lengths: Array | None,
    ) -> tuple[Array, Array, Array, Saved]:
        if weights[0][4] is not None or not _suits(x, [w[:4] for w in weights], h0, c0):
            return super().lstm(x, h0, c0, weights, lengths)
        from . import sweeps

        rows, lengths, real = _rows(x, lengths)
        z = _input_product(x, rows, weights, [_sum(w[2], w[3]) for w in weights])
        w_t = _factor([w[1].T for w in weights])
        hidden = z.shape[3] // 4
        h0, c0 = _state(h0, z, hidden), _state(c0, z, hidden)
        y = np.empty((*z.shape[:3], hidden), z.dtype)
        cells, h_n, c_n = np.empty_like(y), np.empty_like(h0), np.empty_like(c0)
        _sweep(sweeps.lstm_forward, z, w_t, z, w_t, h0, c0, lengths, y, cells, h_n, c_n)
        saved = Rows((x.shape, rows, weights, z, y, cells, h0, c0, lengths, real))
        return _flat(y), h_n, c_n, saved

    def lstm_backward(
        self, gy: Array, gh_n: Array, gc_n: Array, saved: Saved, needs_x: bool
    ) -> tuple[Array | None, Array, Array, list[tuple[Any, ...]]]:
        if not isinstance(saved, Rows):
            return super().lstm_backward(gy, gh_n, gc_n, saved, needs_x)
        from . import sweeps

        shape, rows, weights, gates, y, cells, h0, c0, lengths, real = saved
        gz, gh0, gc0 = np.empty_like(gates), np.empty_like(h0), np.empty_like(c0)
        w = _factor([w[1] for w in weights])
        gy, gh_n = _plain(gy).reshape(y.shape), _plain(gh_n)
        gc_n = _plain(gc_n)
        _sweep(
            sweeps.lstm_backward,
            *(gz, w),
            *(gates, cells, w, c0, gy, gh_n, gc_n, lengths, gz, gh0, gc0),
        )
        gx, gw_ih, gb = _input_product_backward(gz, rows, shape, weights, needs_x)
        gw_hh = [_recurrent_gradient(gz[:, :, s], y, h0, s, lengths, real) for s in _each(weights)]
        none = [None] * len(weights)
        return gx, gh0, gc0, list(zip(gw_ih, gw_hh, gb, gb, none, strict=True))


class JitGRU(NumpyGRU):
    def gru(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        reset_after: bool,
    ) -> tuple[Array, Array, Saved]:
        if not _suits(x, weights, h0):
            return super().gru(x, h0, weights, lengths, reset_after)
        from . import sweeps

        rows, lengths, real = _rows(x, lengths)
        biases = [w[2] if reset_after else _sum(w[2], w[3]) for w in weights]
        z = _input_product(x, rows, weights, biases)
        hidden = z.shape[3] // 3
        h0 = _state(h0, z, hidden)
        y, h_n = np.empty((*z.shape[:3], hidden), z.dtype), np.empty_like(h0)
        u_n = None
        if reset_after:
            u_n, w_t = np.empty_like(y), _factor([w[1].T for w in weights])
            bias = np.zeros((len(weights), 3 * hidden), z.dtype)
            if weights[0][3] is not None:
                bias[:] = [w[3] for w in weights]
            _sweep(sweeps.gru_forward, z, w_t, z, w_t, bias, h0, lengths, y, u_n, h_n)
        else:
            w_rz = _factor([w[1][: 2 * hidden].T for w in weights])
            w_n = _factor([w[1][2 * hidden :].T for w in weights])
            _sweep(sweeps.gru_before_forward, z, w_rz, z, w_rz, w_n, h0, lengths, y, h_n)
        return _flat(y), h_n, Rows((x.shape, rows, weights, z, y, u_n, h0, lengths, real))

    def gru_backward(
        self, gy: Array, gh_n: Array, saved: Saved, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Any, ...]]]:
        if not isinstance(saved, Rows):
            return super().gru_backward(gy, gh_n, saved, needs_x)
        from . import sweeps

        shape, rows, weights, gates, y, u_n, h0, lengths, real = saved
        hidden = y.shape[3]
        two = 2 * hidden
        gz, gh0 = np.empty_like(gates), np.empty_like(h0)
        last = np.empty_like(y)  # the gradient of u_n; or what W_hn was applied to
        gy, gh_n = _plain(gy).reshape(y.shape), _plain(gh_n)
        if u_n is not None:
            w = _factor([w[1] for w in weights])
            arrays = (gates, y, u_n, w, h0, gy, gh_n, lengths, gz, last, gh0)
            _sweep(sweeps.gru_backward, gz, w, *arrays)
        else:
            w = _factor([w[1][:two] for w in weights])
            w_n = _factor([w[1][two:] for w in weights])
            arrays = (gates, y, w, w_n, h0, gy, gh_n, lengths, gz, last, gh0)
            _sweep(sweeps.gru_before_backward, gz, w, *arrays)
        gx, gw_ih, gb_ih = _input_product_backward(gz, rows, shape, weights, needs_x)
        gradients = []
        for s in _each(weights):
            rz = _recurrent_gradient(gz[:, :, s, :two], y, h0, s, lengths, real)
            gb_hh = gb_ih[s]
            if u_n is not None:
                n = _recurrent_gradient(last[:, :, s], y, h0, s, lengths, real)
                if gb_hh is not None:
                    gb_hh = np.concatenate([gb_hh[:two], _column_sums(_matrix(last[:, :, s]))])
            else:
                n = matmul(_matrix(gz[:, :, s, two:]).T, _matrix(last[:, :, s]))
            gradients.append((gw_ih[s], np.concatenate([rz, n]), gb_ih[s], gb_hh))
        return gx, gh0, gradients


def _suits(x: Array, weights: list[Any], *others: Array | None) -> bool:
    steps, n, _ = x.shape
    return (
        x.dtype == np.float32
        and steps * n * weights[0][0].shape[0] >= _WORTH_IT
        and alike(x, weights, *others)
    )


def _each(weights: list[Any]) -> range:
    return range(len(weights))


def _rows(x: Array, lengths: Array | None) -> tuple[Array, Array, bool]:
    """x (T, N, D) as (T N, D), 0 where a sequence has ended; all lengths; whether they differ."""
    steps, n, features = x.shape
    if lengths is None:
        return x.reshape(-1, features), np.full(n, steps, np.int64), False
    ended = np.arange(steps)[:, None] >= lengths
    rows = np.where(ended[..., None], np.float32(0), x).reshape(-1, features)
    return rows, np.array(lengths, np.int64), True


def _sum(a: Array | None, b: Array | None) -> Array | None:
    return None if a is None else a + b


def _plain(a: Array) -> Array:
    """Contiguous and writable: numba compiles a kernel anew for each other kind of array."""
    a = np.ascontiguousarray(a)
    return a if a.flags.writeable else a.copy()


def _factor(arrays: list[Array]) -> Array:
    """The right factors of a step's product, S x (K, G): stacked, and filled up with zeros."""
    from .sweeps import WIDTH

    inner, columns = arrays[0].shape
    w = np.zeros((len(arrays), inner, -(-columns // WIDTH) * WIDTH), arrays[0].dtype)
    for s, a in enumerate(arrays):
        w[s, :, :columns] = a
    return w


def _joined(arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _state(h0: Array | None, z: Array, units: int) -> Array:
    """(S, N, units), contiguous."""
    if h0 is None:
        return np.zeros((z.shape[2], z.shape[1], units), z.dtype)
    return _plain(h0)


def _flat(y: Array) -> Array:
    """(T, N, S, H) -> (T, N, S H)."""
    return y.reshape(*y.shape[:2], -1)


def _matrix(a: Array) -> Array:
    """(T, N, G) -> (T N, G); a view wherever the rows are evenly spaced."""
    return a.reshape(-1, a.shape[2])


def _input_product(x: Array, rows: Array, weights: list[Any], biases: list[Any]) -> Array:
    """(T N, D) -> z (T, N, S, G) for all directions at once."""
    z = matmul(rows, _joined([w[0] for w in weights]).T)
    if biases[0] is not None:
        z += _joined(biases)
    return z.reshape(*x.shape[:2], len(weights), -1)


def _input_product_backward(
    gz: Array, rows: Array, shape: tuple[int, ...], weights: list[Any], needs_x: bool
) -> tuple[Array | None, list[Array], list[Array | None]]:
    flat = gz.reshape(len(rows), -1)  # (T N, S G)
    gw = matmul(flat.T, rows)
    gx = None
    if needs_x:
        gx = matmul(flat, _joined([w[0] for w in weights])).reshape(shape)
    gb: list[Array | None] = [None] * len(weights)
    if weights[0][2] is not None:
        gb = list(np.split(_column_sums(flat), len(weights)))
    return gx, list(np.split(gw, len(weights))), gb


def _column_sums(a: Array) -> Array:
    """Sums over the first axis, as a product: BLAS adds in blocks, faster and closer."""
    return matmul(np.ones((1, len(a)), a.dtype), a)[0]


def _recurrent_gradient(g: Array, y: Array, h0: Array, s: int, lengths: Array, real: bool) -> Array:
    """gW_hh (G, H) of direction s from g (T, N, G): the state before a step is y one step
    earlier, and h0 before the first, which in direction 1 is a sequence's last step.

    Where a sequence has ended both g and y are 0, so nothing need be left out.
    """
    steps, n, _ = g.shape
    if s == 0:
        gw = matmul(g[0].T, h0[0])
        later, earlier = g[1:], y[:-1, :, 0]
    else:
        first = g[lengths - 1, np.arange(n)] if real else g[-1]
        gw = matmul(first.T, h0[1])
        later, earlier = g[:-1], y[1:, :, 1]
    if steps > 1:
        gw += matmul(_matrix(later).T, _matrix(earlier))
    return gw


def _sweep(kernel: Any, z: Array, w: Array, *args: Any) -> None:
    """Run a sweep over the batch, on as many threads as its work is worth."""
    steps, n, directions, _ = z.shape
    work = steps * directions * w.shape[1] * w.shape[2]  # multiply-adds of one row
    split(kernel, n, *args, least=max(1, _PER_THREAD // work))
