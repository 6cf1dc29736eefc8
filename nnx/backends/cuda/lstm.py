"""The LSTM in CUDA (`kernels/lstm.cu`)."""

from __future__ import annotations

from ...typing import Array
from ..portable.lstm import LSTMKernels
from ..portable.recurrent import final, previous
from ..portable.residuals import Residuals
from .launcher import Kernel, Modules, launch, register
from .recurrent import (
    MOST_UNITS,
    SCAN,
    STEP,
    UNITS,
    Product,
    launch_alone,
    on_device,
    one_block_each,
    one_thread_each,
    room,
    sizes,
    suits,
    weight_gradient,
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
            f"z:in h0:in c0:in across:in lengths:in?:i64 states:out gates:out cells:out {SCAN}",
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
            "gy:in gh_n:in gc_n:in gates:in cells:in c0:in weight:in lengths:in?:i64 "
            f"gz:out gh0:out gc0:out {SCAN}",
            one_block_each(4 * units),
        )
    )
    for units in UNITS
}


class CudaLSTM(LSTMKernels):
    modules: Modules

    # ---- one step's elementwise half ----

    def lstm_cell(self, z: Array, c: Array) -> tuple[Array, Array, Array]:
        if not suits(z, c):
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
        if not suits(gh, gc, gates, c, c_next):
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
        if weight_hr is not None or not suits(z, h0, c0, weight_hh):
            return super().lstm_sequence(z, h0, c0, weight_hh, weight_hr, lengths)
        xp = self.xp
        lengths = on_device(xp, lengths)
        shape = (*z.shape[:3], h0.shape[2])
        gates = xp.empty(z.shape, dtype=z.dtype)
        states, cells = (xp.empty(shape, dtype=z.dtype) for _ in range(2))
        arrays = {"z": z, "lengths": lengths, "states": states, "gates": gates, "cells": cells}
        if shape[3] <= MOST_UNITS:
            kernel = LSTM_SEQUENCE[room(shape[3])]
            across = xp.matrix_transpose(weight_hh)
            launch(kernel, self.modules, h0=h0, c0=c0, across=across, **arrays, **sizes(*shape))
        else:
            self._lstm_steps(h0, c0, weight_hh, arrays)
        residuals = Residuals((gates, cells, states, h0, c0, weight_hh, None, lengths))
        return states, final(xp, cells), residuals

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
        if weight_hr is not None or not suits(gy, gh_n, gc_n, gates, h0, c0, weight_hh):
            return super().lstm_sequence_backward(gy, gh_n, gc_n, residuals)
        xp = self.xp
        shape = states.shape
        gz = xp.empty(gates.shape, dtype=gates.dtype)
        arrays = {"gy": gy, "gates": gates, "cells": cells, "c0": c0, "lengths": lengths, "gz": gz}
        if shape[3] <= MOST_UNITS:
            gh0, gc0 = (xp.empty(h0.shape, dtype=gates.dtype) for _ in range(2))
            launch(
                LSTM_SEQUENCE_BACKWARD[room(shape[3])],
                self.modules,
                gh_n=gh_n,
                gc_n=gc_n,
                weight=weight_hh,
                gh0=gh0,
                gc0=gc0,
                **arrays,
                **sizes(*shape),
            )
        else:
            gh0, gc0 = self._lstm_steps_backward(gh_n, gc_n, weight_hh, arrays)
        return gz, gh0, gc0, weight_gradient(xp, gz, previous(xp, states, h0)), None

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
