"""The simple recurrent layer in CUDA (`kernels/rnn.cu`)."""

from __future__ import annotations

from typing import Any

from ...typing import Array
from ..portable.recurrent import only
from ..portable.residuals import Residuals
from ..portable.rnn import RNNKernels
from .launcher import Kernel, Modules, launch, register
from .recurrent import (
    SCAN,
    STEP,
    UNITS,
    CudaLayers,
    Product,
    as_read,
    biases,
    column,
    in_pairs,
    on_device,
    one_block_each,
    one_real_dtype,
    one_thread_each,
    room,
    sizes,
    split,
    stack,
    wide,
)

RNN_STEP = register(
    Kernel(
        "rnn.cu",
        "rnn_step",
        f"z:in u:in h:in lengths:in?:i64 h_next:out states:inout relu:i32 {STEP}",
        one_thread_each,
    )
)
RNN_STEP_BACKWARD = register(
    Kernel(
        "rnn.cu",
        "rnn_step_backward",
        "gy:in back:in? carry:in? states:in lengths:in?:i64 gz:inout gz_now:out carry_next:out? "
        f"relu:i32 {STEP}",
        one_thread_each,
    )
)
RNN_SEQUENCE = {
    units: register(
        Kernel(
            "rnn.cu",
            f"rnn_sequence_{units}",
            "z:in h0:in? weight:in* bias:in*? lengths:in?:i64 states:out h_n:out "
            f"relu:i32 across:i32 {SCAN}",
            one_block_each(units),
        )
    )
    for units in UNITS
}
RNN_SEQUENCE_BACKWARD = {
    units: register(
        Kernel(
            "rnn.cu",
            f"rnn_sequence_backward_{units}",
            "gy:in gh_n:in? states:in weight:in* lengths:in?:i64 gz:out gh0:out totals:out "
            f"relu:i32 {SCAN}",
            one_block_each(units),
        )
    )
    for units in UNITS
}
WIDE = (
    wide(
        "rnn_wide",
        1,
        "z:in h0:in? weight:in* bias:in*? lengths:in?:i64 states:out h_n:out relu:i32",
    ),
    wide(
        "rnn_wide_backward",
        1,
        "gy:in gh_n:in? states:in weight:in* lengths:in?:i64 gz:out gh0:out gb:out*? relu:i32",
    ),
)


class CudaRNN(CudaLayers, RNNKernels):
    modules: Modules

    # ---- the whole layer ----

    def rnn(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        nonlinearity: str,
    ) -> tuple[Array, Array, Residuals]:
        if not self.scanned_whole(WIDE, x, weights, h0):
            return super().rnn(x, h0, weights, lengths, nonlinearity)
        z, mask, lengths = self.begin(x, weights, lengths)
        states, h_n = self._rnn_scan(
            z, h0, column(weights, 1), biases(weights), lengths, nonlinearity
        )
        y = only(self.xp, mask, self.joined(states))
        kept = x, weights, mask, lengths, states, h0, nonlinearity
        return y, h_n, Residuals(kept)

    def rnn_backward(
        self, gy: Array, gh_n: Array | None, residuals: Residuals, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Any, ...]]]:
        if len(residuals) != 7:  # of the portable layer
            x, weights = residuals[:2]
            (gh_n,) = self.zeros_for((gh_n,), x, weights)
            return super().rnn_backward(gy, gh_n, residuals, needs_x)
        x, weights, mask, lengths, states, h0, nonlinearity = residuals
        gy = self.apart(only(self.xp, mask, gy), len(weights))
        biased = weights[0][2] is not None
        gz, gh0, gb = self._rnn_scan_backward(
            gy, gh_n, column(weights, 1), states, lengths, nonlinearity, biased
        )
        gx, gw_ih = self.end(gz, x, weights, mask, needs_x)
        gw_hh = self.recurrent_gradients(gz, states, h0)
        pairs = in_pairs(gb, len(weights))
        return gx, gh0, [(gw_ih[s], gw_hh[s], *pairs[s]) for s in range(len(weights))]

    # ---- the scan over time ----

    def rnn_sequence(
        self, z: Array, h0: Array, weight_hh: Array, lengths: Array | None, nonlinearity: str
    ) -> tuple[Array, Residuals]:
        if not one_real_dtype(z, h0, weight_hh):
            return super().rnn_sequence(z, h0, weight_hh, lengths, nonlinearity)
        lengths = on_device(self.xp, lengths)
        if self.one_launch(WIDE, z.dtype, z.shape[3], z.shape[2]):
            states, _ = self._rnn_scan(z, h0, split(weight_hh), None, lengths, nonlinearity)
        else:
            states = self._rnn_steps(z, h0, weight_hh, lengths, nonlinearity)
        return states, Residuals((states, h0, weight_hh, lengths, nonlinearity))

    def rnn_sequence_backward(
        self, gy: Array, gh_n: Array, residuals: Residuals
    ) -> tuple[Array, Array, Array]:
        states, h0, weight_hh, lengths, nonlinearity = residuals
        if not one_real_dtype(gy, gh_n, states, h0, weight_hh):
            return super().rnn_sequence_backward(gy, gh_n, residuals)
        if self.one_launch(WIDE, states.dtype, states.shape[3], states.shape[2]):
            gz, gh0, _ = self._rnn_scan_backward(
                gy, gh_n, split(weight_hh), states, lengths, nonlinearity, False
            )
        else:
            gz = self.xp.empty(states.shape, dtype=states.dtype)
            values = self._rnn_values(states, lengths, nonlinearity)
            gh0 = self._rnn_steps_backward(gh_n, weight_hh, {"gy": gy, "gz": gz, **values})
        return gz, gh0, stack(self.xp, self.recurrent_gradients(gz, states, h0))

    def _rnn_scan(
        self,
        z: Array,
        h0: Array | None,
        weights: list[Array],
        bias: list[Array | None] | None,
        lengths: Array | None,
        nonlinearity: str,
    ) -> tuple[Array, Array]:
        """All steps in one launch: the states, and the last of them."""
        states = self.xp.empty(z.shape, dtype=z.dtype)
        _, n, directions, hidden = z.shape
        h_n = self.xp.empty((directions, n, hidden), dtype=z.dtype)
        values = {"z": z, "h0": h0, "bias": bias, "h_n": h_n}
        values |= self._rnn_values(states, lengths, nonlinearity)
        units = self.units_each(WIDE, z.dtype, hidden, directions)
        if units:
            values |= {"weight": weights, "arrived": self.arrived(directions), "UNITS": units}
            launch(WIDE[0], self.modules, **values)
        else:
            kernel = RNN_SEQUENCE[room(hidden)]
            launch(kernel, self.modules, **as_read(self.xp, weights), **values)
        return states, h_n

    def _rnn_scan_backward(
        self,
        gy: Array,
        gh_n: Array | None,
        weights: list[Array],
        states: Array,
        lengths: Array | None,
        nonlinearity: str,
        biased: bool,
    ) -> tuple[Array, Array, list[Array]]:
        """gz, gh0, and the gradients of the biases, two of each direction."""
        gz = self.xp.empty(states.shape, dtype=states.dtype)
        _, n, directions, hidden = states.shape
        gh0 = self.xp.empty((directions, n, hidden), dtype=states.dtype)
        gb = self.bias_arrays(states, biased)
        values = {"gy": gy, "gh_n": gh_n, "weight": weights, "gz": gz, "gh0": gh0}
        values |= self._rnn_values(states, lengths, nonlinearity)
        units = self.units_each(WIDE, states.dtype, hidden, directions)
        if units:
            values |= {"arrived": self.arrived(directions), "UNITS": units, "gb": gb}
            launch(WIDE[1], self.modules, **values)
        else:
            totals = self.xp.empty((n, directions, hidden), dtype=states.dtype)
            launch(RNN_SEQUENCE_BACKWARD[room(hidden)], self.modules, totals=totals, **values)
            self.bias_gradients(totals, gb)
        return gz, gh0, gb

    def _rnn_values(
        self, states: Array, lengths: Array | None, nonlinearity: str
    ) -> dict[str, Any]:
        relu = int(nonlinearity == "relu")
        return {"states": states, "lengths": lengths, "relu": relu, **sizes(*states.shape)}

    def _rnn_steps(
        self, z: Array, h0: Array, weight: Array, lengths: Array | None, nonlinearity: str
    ) -> Array:
        """A product and the elementwise half for each step, both directions together."""
        xp = self.xp
        states = xp.empty(z.shape, dtype=z.dtype)
        values = self._rnn_values(states, lengths, nonlinearity)
        product = Product(xp, xp.matrix_transpose(weight), z.shape[1])
        h, both = h0, [xp.empty(h0.shape, dtype=h0.dtype) for _ in range(2)]
        for k in range(z.shape[0]):
            h_next = both[k % 2]
            launch(RNN_STEP, self.modules, z=z, u=product(h), h=h, h_next=h_next, k=k, **values)
            h = h_next
        return states

    def _rnn_steps_backward(self, gh_n: Array, weight: Array, values: dict[str, Any]) -> Array:
        """The elementwise half and a product for each step, last to first; gh0."""
        xp = self.xp
        product = Product(xp, weight, gh_n.shape[1])
        gz_now = xp.empty(gh_n.shape, dtype=gh_n.dtype)
        carries = [xp.empty(gh_n.shape, dtype=gh_n.dtype) for _ in range(2)]
        back, carry = None, gh_n
        for k in range(values["steps"] - 1, -1, -1):
            carry_next = None if values["lengths"] is None else carries[k % 2]
            launch(
                RNN_STEP_BACKWARD,
                self.modules,
                back=back,
                carry=carry,
                gz_now=gz_now,
                carry_next=carry_next,
                k=k,
                **values,
            )
            back, carry = product(gz_now), carry_next
        return back if carry is None else back + carry
