"""The LSTM in CUDA (`kernels/lstm.cu`)."""

from __future__ import annotations

from typing import Any

from ...typing import Array
from ..portable.lstm import LSTMKernels
from ..portable.recurrent import final, only
from ..portable.residuals import Residuals
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
    launch_alone,
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

LSTM_CELL = register(
    Kernel(
        "lstm.cu",
        "lstm_cell",
        "z:in u:in? h:in? c:in lengths:in?:i64 gates:inout h_next:out c_next:out "
        f"states:inout? cells:inout? {STEP}",
        one_thread_each,
    )
)
LSTM_CELL_BACKWARD = register(
    Kernel(
        "lstm.cu",
        "lstm_cell_backward",
        "gy:in back:in? carry:in? gc:in gates:in cells:in c0:in lengths:in?:i64 "
        f"gz:inout gz_now:out? carry_next:out? gc_next:out {STEP}",
        one_thread_each,
    )
)
LSTM_SEQUENCE = {
    units: register(
        Kernel(
            "lstm.cu",
            f"lstm_sequence_{units}",
            "z:in h0:in? c0:in? weight:in* bias:in*? lengths:in?:i64 states:out gates:out "
            f"cells:out h_n:out c_n:out across:i32 {SCAN}",
            one_block_each(4 * units),
        )
    )
    for units in UNITS
}
LSTM_SEQUENCE_BACKWARD = {
    units: register(
        Kernel(
            "lstm.cu",
            f"lstm_sequence_backward_{units}",
            "gy:in gh_n:in? gc_n:in? gates:in cells:in c0:in? weight:in* lengths:in?:i64 "
            f"gz:out gh0:out gc0:out totals:out {SCAN}",
            one_block_each(4 * units),
        )
    )
    for units in UNITS
}

WIDE = (
    wide(
        "lstm_wide",
        4,
        "z:in h0:in? c0:in? weight:in* bias:in*? lengths:in?:i64 states:out gates:out cells:out "
        "h_n:out c_n:out",
    ),
    wide(
        "lstm_wide_backward",
        4,
        "gy:in gh_n:in? gc_n:in? gates:in cells:in c0:in? weight:in* lengths:in?:i64 gz:out "
        "gh0:out gc0:out gb:out*?",
    ),
)


class CudaLSTM(CudaLayers, LSTMKernels):
    modules: Modules

    # ---- the whole layer ----

    def lstm(
        self,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        weights: list[Any],
        lengths: Array | None,
    ) -> tuple[Array, Array, Array, Residuals]:
        if weights[0][4] is not None or not self.scanned_whole(WIDE, x, weights, h0, c0):
            return super().lstm(x, h0, c0, weights, lengths)
        z, mask, lengths = self.begin(x, weights, lengths)
        scanned = self._lstm_scan(z, h0, c0, column(weights, 1), biases(weights), lengths)
        states, gates, cells, h_n, c_n = scanned
        y = only(self.xp, mask, self.joined(states))
        kept = x, weights, mask, lengths, gates, cells, states, h0, c0
        return y, h_n, c_n, Residuals(kept)

    def lstm_backward(
        self,
        gy: Array,
        gh_n: Array | None,
        gc_n: Array | None,
        residuals: Residuals,
        needs_x: bool,
    ) -> tuple[Array | None, Array, Array, list[tuple[Any, ...]]]:
        if len(residuals) != 9:  # of the portable layer
            x, weights = residuals[:2]
            gh_n, gc_n = self.zeros_for((gh_n, gc_n), x, weights)
            return super().lstm_backward(gy, gh_n, gc_n, residuals, needs_x)
        x, weights, mask, lengths, gates, cells, states, h0, c0 = residuals
        gy = self.apart(only(self.xp, mask, gy), len(weights))
        biased = weights[0][2] is not None
        gz, gh0, gc0, gb = self._lstm_scan_backward(
            gy, gh_n, gc_n, column(weights, 1), gates, cells, c0, lengths, biased
        )
        gx, gw_ih = self.end(gz, x, weights, mask, needs_x)
        gw_hh = self.recurrent_gradients(gz, states, h0)
        pairs = in_pairs(gb, len(weights))
        own = [(gw_ih[s], gw_hh[s], *pairs[s], None) for s in range(len(weights))]
        return gx, gh0, gc0, own

    # ---- one step's elementwise half ----

    def lstm_cell(self, z: Array, c: Array) -> tuple[Array, Array, Array]:
        if not one_real_dtype(z, c):
            return super().lstm_cell(z, c)
        xp = self.xp
        gates = xp.empty(z.shape, dtype=z.dtype)
        h_next, c_next = (xp.empty(c.shape, dtype=z.dtype) for _ in range(2))
        launch_alone(
            LSTM_CELL,
            self.modules,
            c.shape,
            z=z,
            c=c,
            gates=gates,
            h_next=h_next,
            c_next=c_next,
        )
        return gates, c_next, h_next

    def lstm_cell_backward(
        self, gh: Array, gc: Array, gates: Array, c: Array, c_next: Array
    ) -> tuple[Array, Array]:
        if not one_real_dtype(gh, gc, gates, c, c_next):
            return super().lstm_cell_backward(gh, gc, gates, c, c_next)
        gz = self.xp.empty(gates.shape, dtype=gates.dtype)
        gc_before = self.xp.empty(c.shape, dtype=gates.dtype)
        launch_alone(
            LSTM_CELL_BACKWARD,
            self.modules,
            c.shape,
            gy=gh,
            gc=gc,
            gates=gates,
            cells=c_next,
            c0=c,
            gz=gz,
            gc_next=gc_before,
        )
        return gz, gc_before

    # ---- the scan over time ----

    def lstm_sequence(
        self,
        z: Array,
        h0: Array,
        c0: Array,
        weight_hh: Array,
        weight_hr: Array | None,
        lengths: Array | None,
    ) -> tuple[Array, Array, Residuals]:
        if weight_hr is not None or not one_real_dtype(z, h0, c0, weight_hh):
            return super().lstm_sequence(z, h0, c0, weight_hh, weight_hr, lengths)
        lengths = on_device(self.xp, lengths)
        hidden = h0.shape[2]
        if self.one_launch(WIDE, z.dtype, hidden, z.shape[2]):
            weights = split(weight_hh)
            states, gates, cells, _, c_n = self._lstm_scan(z, h0, c0, weights, None, lengths)
        else:
            arrays = self._lstm_arrays(z)
            states, gates, cells = (arrays[k] for k in ("states", "gates", "cells"))
            self._lstm_steps(h0, c0, weight_hh, {"z": z, "lengths": lengths, **arrays})
            c_n = final(self.xp, cells)
        return states, c_n, Residuals((gates, cells, states, h0, c0, weight_hh, None, lengths))

    def _lstm_arrays(self, z: Array) -> dict[str, Array]:
        """What a scan keeps."""
        shape = (*z.shape[:3], z.shape[3] // 4)
        shapes = {"gates": z.shape, "states": shape, "cells": shape}
        return {name: self.xp.empty(s, dtype=z.dtype) for name, s in shapes.items()}

    def _lstm_scan(
        self,
        z: Array,
        h0: Array | None,
        c0: Array | None,
        weights: list[Array],
        bias: list[Array | None] | None,
        lengths: Array | None,
    ) -> tuple[Array, Array, Array, Array, Array]:
        """All steps in one launch: states, gates and cells, and the last h and c."""
        arrays = self._lstm_arrays(z)
        steps, n, directions, hidden = arrays["states"].shape
        h_n, c_n = (self.xp.empty((directions, n, hidden), dtype=z.dtype) for _ in range(2))
        values = {"z": z, "h0": h0, "c0": c0, "bias": bias, "lengths": lengths}
        values |= {"h_n": h_n, "c_n": c_n, **arrays, **sizes(steps, n, directions, hidden)}
        units = self.units_each(WIDE, z.dtype, hidden, directions)
        if units:
            values |= {"weight": weights, "arrived": self.arrived(directions), "UNITS": units}
            launch(WIDE[0], self.modules, **values)
        else:
            kernel = LSTM_SEQUENCE[room(hidden)]
            launch(kernel, self.modules, **as_read(self.xp, weights), **values)
        return arrays["states"], arrays["gates"], arrays["cells"], h_n, c_n

    def _lstm_scan_backward(
        self,
        gy: Array,
        gh_n: Array | None,
        gc_n: Array | None,
        weights: list[Array],
        gates: Array,
        cells: Array,
        c0: Array | None,
        lengths: Array | None,
        biased: bool,
    ) -> tuple[Array, Array, Array, list[Array]]:
        """gz, gh0, gc0, and the gradients of the biases, two of each direction."""
        steps, n, directions, hidden = cells.shape
        gz = self.xp.empty(gates.shape, dtype=gates.dtype)
        gh0, gc0 = (self.xp.empty((directions, n, hidden), dtype=gates.dtype) for _ in range(2))
        gb = self.bias_arrays(gates, biased)
        values = {"gy": gy, "gh_n": gh_n, "gc_n": gc_n, "gates": gates, "cells": cells, "c0": c0}
        values |= {"weight": weights, "lengths": lengths, "gz": gz, "gh0": gh0, "gc0": gc0}
        values |= sizes(steps, n, directions, hidden)
        units = self.units_each(WIDE, gates.dtype, hidden, directions)
        if units:
            values |= {"arrived": self.arrived(directions), "UNITS": units, "gb": gb}
            launch(WIDE[1], self.modules, **values)
        else:
            totals = self.xp.empty((n, directions, 4 * hidden), dtype=gates.dtype)
            launch(LSTM_SEQUENCE_BACKWARD[room(hidden)], self.modules, totals=totals, **values)
            self.bias_gradients(totals, gb)
        return gz, gh0, gc0, gb

    def _lstm_steps(
        self, h0: Array, c0: Array, weight: Array, arrays: dict[str, Array | None]
    ) -> None:
        """A product and a cell for each step, both directions together."""
        xp = self.xp
        steps, n, directions, hidden = arrays["states"].shape  # type: ignore[union-attr]
        product = Product(xp, xp.matrix_transpose(weight), n)
        h, c = h0, c0
        hs, cs = ([xp.empty(h0.shape, dtype=h0.dtype) for _ in range(2)] for _ in range(2))
        for k in range(steps):
            h_next, c_next = hs[k % 2], cs[k % 2]
            launch(
                LSTM_CELL,
                self.modules,
                u=product(h),
                h=h,
                c=c,
                h_next=h_next,
                c_next=c_next,
                k=k,
                **arrays,
                **sizes(steps, n, directions, hidden),
            )
            h, c = h_next, c_next

    def lstm_sequence_backward(
        self, gy: Array, gh_n: Array, gc_n: Array, residuals: Residuals
    ) -> tuple[Array, Array, Array, Array, Array | None]:
        gates, cells, states, h0, c0, weight_hh, weight_hr, lengths = residuals
        if weight_hr is not None or not one_real_dtype(gy, gh_n, gc_n, gates, h0, c0, weight_hh):
            return super().lstm_sequence_backward(gy, gh_n, gc_n, residuals)
        hidden = h0.shape[2]
        if self.one_launch(WIDE, gates.dtype, hidden, gates.shape[2]):
            gz, gh0, gc0, _ = self._lstm_scan_backward(
                gy, gh_n, gc_n, split(weight_hh), gates, cells, c0, lengths, False
            )
        else:
            gz = self.xp.empty(gates.shape, dtype=gates.dtype)
            arrays = {"gy": gy, "gates": gates, "cells": cells, "c0": c0}
            arrays |= {"lengths": lengths, "gz": gz}
            gh0, gc0 = self._lstm_steps_backward(gh_n, gc_n, weight_hh, arrays)
        gw = stack(self.xp, self.recurrent_gradients(gz, states, h0))
        return gz, gh0, gc0, gw, None

    def _lstm_steps_backward(
        self, gh_n: Array, gc_n: Array, weight: Array, arrays: dict[str, Array | None]
    ) -> tuple[Array, Array]:
        """A cell and a product for each step, last to first; gh0 and gc0."""
        xp = self.xp
        steps, n, directions, _ = arrays["gy"].shape  # type: ignore[union-attr]
        hidden = gh_n.shape[2]
        product = Product(xp, weight, n)
        gz_now = xp.empty((directions, n, 4 * hidden), dtype=gh_n.dtype)
        back, carry, gc = None, gh_n, gc_n
        carries = [xp.empty(gh_n.shape, dtype=gh_n.dtype) for _ in range(2)]
        cells = [xp.empty(gc_n.shape, dtype=gc_n.dtype) for _ in range(2)]
        for k in range(steps - 1, -1, -1):
            carry_next = None if arrays["lengths"] is None else carries[k % 2]
            gc_next = cells[k % 2]
            launch(
                LSTM_CELL_BACKWARD,
                self.modules,
                back=back,
                carry=carry,
                gc=gc,
                gz_now=gz_now,
                carry_next=carry_next,
                gc_next=gc_next,
                k=k,
                **arrays,
                **sizes(steps, n, directions, hidden),
            )
            back, carry, gc = product(gz_now), carry_next, gc_next
        return back if carry is None else back + carry, gc
