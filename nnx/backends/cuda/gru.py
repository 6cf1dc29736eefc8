"""The GRU over time in CUDA (`gru_sequence.cu`, `gru_wide.cu`); where a state is too wide for that,
by the cells of `gru_cell`."""

from __future__ import annotations

from typing import Any

from ...typing import Array
from ..portable.recurrent import only, previous
from ..portable.residuals import Residuals
from .gru_cell import (
    GRU_CELL,
    GRU_CELL_BACKWARD,
    GRU_RESET,
    GRU_RESET_BACKWARD,
    GRU_UPDATE,
    GRU_UPDATE_BACKWARD,
    CudaGRUCell,
)
from .launcher import Kernel, launch, register
from .recurrent import (
    SCAN,
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
    room,
    sizes,
    split,
    stack,
    weight_gradient,
    wide,
)


def _scans(name: str, arguments: str) -> dict[int, Kernel]:
    return {
        units: register(
            Kernel(
                "gru_sequence.cu",
                f"{name}_{units}",
                f"{arguments} {SCAN}",
                one_block_each(3 * units),
            )
        )
        for units in UNITS
    }


SCAN_AFTER = _scans(
    "gru_sequence_after",
    "x:in h0:in? weight:in* bias:in*? lengths:in?:i64 states:out gates:out u_n:out h_n:out "
    "across:i32",
)
SCAN_BEFORE = _scans(
    "gru_sequence_before",
    "x:in h0:in? weight:in* bias:in*? lengths:in?:i64 states:out gates:out h_n:out across:i32",
)
SCAN_BACKWARD_AFTER = _scans(
    "gru_sequence_backward_after",
    "gy:in gh_n:in? gates:in u_n:in states:in h0:in? weight:in* lengths:in?:i64 "
    "gx:out gu:out gh0:out totals:out",
)
SCAN_BACKWARD_BEFORE = _scans(
    "gru_sequence_backward_before",
    "gy:in gh_n:in? gates:in states:in h0:in? weight:in* lengths:in?:i64 gx:out gh0:out totals:out",
)
WIDE = (
    wide(
        "gru_wide",
        3,
        "x:in h0:in? weight:in* bias:in*? lengths:in?:i64 states:out gates:out u_n:out h_n:out",
    ),
    wide(
        "gru_wide_backward",
        3,
        "gy:in gh_n:in? gates:in u_n:in states:in h0:in? weight:in* lengths:in?:i64 gx:out gu:out "
        "gh0:out gb:out*?",
    ),
)
WIDE_BEFORE = (
    wide(
        "gru_wide_before",
        3,
        "x:in h0:in? weight:in* bias:in*? lengths:in?:i64 states:out gates:out rh:out h_n:out",
    ),
    wide(
        "gru_wide_before_backward",
        3,
        "gy:in gh_n:in? gates:in states:in h0:in? weight:in* lengths:in?:i64 gx:out gh0:out",
    ),
)


class CudaGRU(CudaLayers, CudaGRUCell):
    # ---- the whole layer ----

    def gru(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        reset_after: bool,
    ) -> tuple[Array, Array, Residuals]:
        if not reset_after or not self.scanned_whole(WIDE, x, weights, h0):
            return super().gru(x, h0, weights, lengths, reset_after)
        z, mask, lengths = self.begin(x, weights, lengths)
        states, gates, u_n, h_n = self._gru_scan(
            z, h0, column(weights, 1), biases(weights), lengths, reset_after
        )
        y = only(self.xp, mask, self.joined(states))
        return y, h_n, Residuals((x, weights, mask, lengths, gates, u_n, states, h0))

    def gru_backward(
        self, gy: Array, gh_n: Array | None, residuals: Residuals, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Any, ...]]]:
        if len(residuals) != 8:  # of the portable layer
            x, weights = residuals[:2]
            (gh_n,) = self.zeros_for((gh_n,), x, weights)
            return super().gru_backward(gy, gh_n, residuals, needs_x)
        x, weights, mask, lengths, gates, u_n, states, h0 = residuals
        gy = self.apart(only(self.xp, mask, gy), len(weights))
        biased = weights[0][2] is not None
        gz, gu, gh0, gb = self._gru_scan_backward(
            gy, gh_n, column(weights, 1), gates, u_n, states, h0, lengths, biased
        )
        gx, gw_ih = self.end(gz, x, weights, mask, needs_x)
        gw_hh = self.recurrent_gradients(gu, states, h0)
        pairs = in_pairs(gb, len(weights))
        return gx, gh0, [(gw_ih[s], gw_hh[s], *pairs[s]) for s in range(len(weights))]

    # ---- the scan over time ----

    def gru_sequence(
        self,
        z: Array,
        h0: Array,
        weight_hh: Array,
        bias_hh: Array | None,
        lengths: Array | None,
        reset_after: bool,
    ) -> tuple[Array, Residuals]:
        if not one_real_dtype(z, h0, weight_hh, bias_hh):
            return super().gru_sequence(z, h0, weight_hh, bias_hh, lengths, reset_after)
        lengths = on_device(self.xp, lengths)
        shape = (*z.shape[:3], h0.shape[2])
        if self._one_launch(z, shape[3], reset_after):
            bias = None
            if bias_hh is not None:
                bias = [b for own in split(bias_hh) for b in (None, own)]
            states, gates, u_n, _ = self._gru_scan(
                z, h0, split(weight_hh), bias, lengths, reset_after
            )
            return states, Residuals((gates, u_n, states, h0, weight_hh, lengths))
        arrays = {"x": z, "bias": bias_hh, "lengths": lengths}
        arrays["gates"], arrays["states"] = self._empty(z.shape, z), self._empty(shape, z)
        u_n = self._empty(shape, z) if reset_after else None
        if reset_after:
            self._steps_after(h0, weight_hh, u_n, arrays)
        else:
            self._steps_before(h0, weight_hh, arrays)
        states = arrays["states"]
        return states, Residuals((arrays["gates"], u_n, states, h0, weight_hh, lengths))

    def _gru_scan(
        self,
        z: Array,
        h0: Array | None,
        weights: list[Array],
        bias: list[Array | None] | None,
        lengths: Array | None,
        reset_after: bool,
    ) -> tuple[Array, Array, Array | None, Array]:
        """All steps in one launch: states, gates, u_n (with the reset after), the last state."""
        steps, n, directions, _ = z.shape
        hidden = z.shape[3] // 3
        shape = (steps, n, directions, hidden)
        gates, states = self._empty(z.shape, z), self._empty(shape, z)
        h_n = self._empty((directions, n, hidden), z)
        u_n = self._empty(shape, z) if reset_after else None
        values = {"x": z, "h0": h0, "bias": bias, "lengths": lengths, "states": states}
        values |= {"gates": gates, "h_n": h_n, **sizes(*shape)}
        if reset_after:
            values["u_n"] = u_n
        kernels = WIDE if reset_after else WIDE_BEFORE
        units = self.units_each(kernels, z.dtype, hidden, directions)
        if units:
            if not reset_after:
                values["rh"] = self._empty(h_n.shape, z)
            values |= {"weight": weights, "arrived": self.arrived(directions), "UNITS": units}
            launch(kernels[0], self.modules, **values)
        else:
            kernel = (SCAN_AFTER if reset_after else SCAN_BEFORE)[room(hidden)]
            launch(kernel, self.modules, **as_read(self.xp, weights), **values)
        return states, gates, u_n, h_n

    def _one_launch(self, z: Array, hidden: int, reset_after: bool) -> bool:
        kernels = WIDE if reset_after else WIDE_BEFORE
        return self.one_launch(kernels, z.dtype, hidden, z.shape[2])

    def _gru_scan_backward(
        self,
        gy: Array,
        gh_n: Array | None,
        weights: list[Array],
        gates: Array,
        u_n: Array | None,
        states: Array,
        h0: Array | None,
        lengths: Array | None,
        biased: bool,
    ) -> tuple[Array, Array, Array, list[Array]]:
        """gz, gu (with the reset before, the same), gh0, and the gradients of the biases, two of
        each direction."""
        _, n, directions, hidden = states.shape
        gz = gu = self._empty(gates.shape, gates)
        gh0 = self._empty((directions, n, hidden), gates)
        gb = self.bias_arrays(gates, biased)
        values = {"gy": gy, "gh_n": gh_n, "gates": gates, "states": states, "h0": h0}
        values |= {"weight": weights, "lengths": lengths, "gx": gz, "gh0": gh0}
        values |= sizes(*states.shape)
        if u_n is not None:
            gu = self._empty(gates.shape, gates)
            values |= {"u_n": u_n, "gu": gu}
        kernels = WIDE_BEFORE if u_n is None else WIDE
        units = self.units_each(kernels, gates.dtype, hidden, directions)
        if units:
            if u_n is not None:
                values["gb"] = gb
            values |= {"arrived": self.arrived(directions), "UNITS": units}
            launch(kernels[1], self.modules, **values)
        else:
            totals = self._empty((n, directions, 6 * hidden), gates)
            kernel = (SCAN_BACKWARD_BEFORE if u_n is None else SCAN_BACKWARD_AFTER)[room(hidden)]
            launch(kernel, self.modules, totals=totals, **values)
            self.bias_gradients(totals, gb)
        return gz, gu, gh0, gb

    def _steps_after(self, h: Array, weight: Array, u_n: Array, arrays: dict[str, Array]) -> None:
        """A product and a cell for each step, both directions together."""
        steps, n, directions, hidden = arrays["states"].shape
        product = Product(self.xp, self.xp.matrix_transpose(weight), n)
        spare = self._like(h), self._like(h)
        for k in range(steps):
            h_next = spare[k % 2]
            launch(
                GRU_CELL,
                self.modules,
                u=product(h),
                h=h,
                u_n=u_n,
                h_next=h_next,
                k=k,
                **arrays,
                **sizes(steps, n, directions, hidden),
            )
            h = h_next

    def _steps_before(self, h: Array, weight: Array, arrays: dict[str, Array]) -> None:
        """Two products and two cells for each step."""
        steps, n, directions, hidden = arrays["states"].shape
        lengths, states = arrays["lengths"], arrays["states"]
        common = {name: arrays[name] for name in ("x", "bias", "gates")}
        across = self.xp.matrix_transpose(weight)  # (S, H, 3H)
        product_rz = Product(self.xp, across[:, :, : 2 * hidden], n)
        product_n = Product(self.xp, across[:, :, 2 * hidden :], n)
        rh, z_now = self._like(h), self._like(h)
        spare = self._like(h), self._like(h)
        for k in range(steps):
            numbers = {"width": 3 * hidden, "k": k, **sizes(steps, n, directions, hidden)}
            launch(
                GRU_RESET,
                self.modules,
                u=product_rz(h),
                h=h,
                rh=rh,
                z_now=z_now,
                **common,
                **numbers,
            )
            h_next = spare[k % 2]
            launch(
                GRU_UPDATE,
                self.modules,
                u=product_n(rh),
                z=z_now,
                h=h,
                lengths=lengths,
                h_next=h_next,
                states=states,
                **common,
                **numbers,
            )
            h = h_next

    def gru_sequence_backward(
        self, gy: Array, gh_n: Array, residuals: Residuals
    ) -> tuple[Array, Array, Array, Array]:
        gates, u_n, states, h0, weight_hh, lengths = residuals
        if not one_real_dtype(gy, gh_n, gates, h0, weight_hh):
            return super().gru_sequence_backward(gy, gh_n, residuals)
        xp = self.xp
        hidden = states.shape[3]
        if self._one_launch(gates, hidden, u_n is not None):
            gz, gu, gh0, _ = self._gru_scan_backward(
                gy, gh_n, split(weight_hh), gates, u_n, states, h0, lengths, False
            )
        else:
            arrays = {"gy": gy, "gates": gates, "states": states, "h0": h0, "lengths": lengths}
            arrays["gx"] = gz = gu = self._empty(gates.shape, gates)
            if u_n is not None:
                arrays["gu"] = gu = self._empty(gates.shape, gates)
                arrays["u_n"] = u_n
                gh0 = self._steps_after_backward(gh_n, weight_hh, arrays)
            else:
                gh0 = self._steps_before_backward(gh_n, weight_hh, arrays)
        if u_n is not None:
            gw = stack(xp, self.recurrent_gradients(gu, states, h0))
        else:
            before = previous(xp, states, h0)
            rh = gates[..., :hidden] * before  # what W_hn was applied to
            by_rz = weight_gradient(xp, gu[..., : 2 * hidden], before)
            gw = xp.concat([by_rz, weight_gradient(xp, gu[..., 2 * hidden :], rh)], axis=1)
        return gz, gh0, gw, xp.sum(gu, axis=(0, 1))

    def _steps_after_backward(self, gh_n: Array, weight: Array, arrays: dict[str, Array]) -> Array:
        """A cell and a product for each step, last to first; gh0."""
        steps, n, directions, hidden = arrays["gy"].shape
        product = Product(self.xp, weight, n)
        gu_now = self._empty((directions, n, 3 * hidden), gh_n)
        back, carry = None, gh_n
        spare = self._like(gh_n), self._like(gh_n)
        for k in range(steps - 1, -1, -1):
            carry_next = spare[k % 2]
            launch(
                GRU_CELL_BACKWARD,
                self.modules,
                back=back,
                carry=carry,
                gu_now=gu_now,
                carry_next=carry_next,
                k=k,
                **arrays,
                **sizes(steps, n, directions, hidden),
            )
            back, carry = product(gu_now), carry_next
        return back + carry

    def _steps_before_backward(self, gh_n: Array, weight: Array, arrays: dict[str, Array]) -> Array:
        """Two cells and two products for each step; gh0."""
        steps, n, directions, hidden = arrays["gy"].shape
        gates, states, h0 = arrays["gates"], arrays["states"], arrays["h0"]
        product_rz = Product(self.xp, weight[:, : 2 * hidden, :], n)
        product_n = Product(self.xp, weight[:, 2 * hidden :, :], n)
        g_a, g_z, direct = (self._like(gh_n) for _ in range(3))
        g_rz = self._empty((directions, n, 2 * hidden), gh_n)
        back, carry = None, gh_n
        spare = self._like(gh_n), self._like(gh_n)
        for k in range(steps - 1, -1, -1):
            numbers = {"width": 3 * hidden, "k": k, **sizes(steps, n, directions, hidden)}
            launch(
                GRU_UPDATE_BACKWARD,
                self.modules,
                gy=arrays["gy"],
                back=back,
                carry=carry,
                z=gates,
                candidate=gates,
                states=states,
                h0=h0,
                lengths=arrays["lengths"],
                g_a=g_a,
                g_z=g_z,
                gh_before=direct,
                z_at=hidden,
                n_at=2 * hidden,
                **numbers,
            )
            carry = spare[k % 2]
            launch(
                GRU_RESET_BACKWARD,
                self.modules,
                g_rh=product_n(g_a),
                g_z=g_z,
                g_a=g_a,
                direct=direct,
                gates=gates,
                states=states,
                h0=h0,
                g_rz=g_rz,
                gh=carry,
                gx=arrays["gx"],
                **numbers,
            )
            back = product_rz(g_rz)
        return back + carry
