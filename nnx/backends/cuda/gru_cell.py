"""One step of a GRU in CUDA (`kernels/gru.cu`): the elementwise parts, between its products."""

from __future__ import annotations

from ...typing import Array
from ..portable.gru import GRUKernels
from .launcher import Kernel, Modules, register
from .recurrent import STEP, launch_alone, one_real_dtype, one_thread_each


def _cell(name: str, arguments: str, step: str = STEP) -> Kernel:
    return register(Kernel("gru.cu", name, f"{arguments} {step}", one_thread_each))


GRU_CELL = _cell(
    "gru_cell",
    "x:in u:in bias:in? h:in lengths:in?:i64 gates:inout u_n:inout? h_next:out states:inout?",
)
GRU_CELL_BACKWARD = _cell(
    "gru_cell_backward",
    "gy:in back:in? carry:in? gates:in u_n:in states:in? h0:in lengths:in?:i64 "
    "gx:inout gu:inout gu_now:out? carry_next:out",
)
GRU_RESET = _cell(
    "gru_reset", "x:in u:in bias:in? h:in gates:inout rh:out z_now:out?", f"width:i32 {STEP}"
)
GRU_UPDATE = _cell(
    "gru_update",
    "x:in u:in bias:in? z:in h:in lengths:in?:i64 gates:inout h_next:out states:inout?",
    f"width:i32 {STEP}",
)
GRU_UPDATE_BACKWARD = _cell(
    "gru_update_backward",
    "gy:in back:in? carry:in? z:in candidate:in states:in? h0:in lengths:in?:i64 "
    "g_a:out g_z:out gh_before:out",
    f"width:i32 z_at:i32 n_at:i32 {STEP}",
)
GRU_RESET_BACKWARD = _cell(
    "gru_reset_backward",
    "g_rh:in g_z:in g_a:in? direct:in? gates:in states:in? h0:in g_rz:out gh:out gx:inout?",
    f"width:i32 {STEP}",
)


class CudaGRUCell(GRUKernels):
    modules: Modules

    def gru_cell(self, x: Array, u: Array, h: Array) -> tuple[Array, Array]:
        if not one_real_dtype(x, u, h):
            return super().gru_cell(x, u, h)
        gates, h_next = self._empty(x.shape, h), self._empty(h.shape, h)
        launch_alone(GRU_CELL, self.modules, h.shape, x=x, u=u, h=h, gates=gates, h_next=h_next)
        return gates, h_next

    def gru_cell_backward(
        self, gh: Array, gates: Array, u_n: Array, h: Array
    ) -> tuple[Array, Array, Array]:
        if not one_real_dtype(gh, gates, u_n, h):
            return super().gru_cell_backward(gh, gates, u_n, h)
        gx, gu, direct = self._empty(gates.shape, h), self._empty(gates.shape, h), self._like(h)
        launch_alone(
            GRU_CELL_BACKWARD,
            self.modules,
            h.shape,
            gy=gh,
            gates=gates,
            u_n=u_n,
            h0=h,
            gx=gx,
            gu=gu,
            carry_next=direct,
        )
        return gx, gu, direct

    def gru_reset(self, x: Array, u: Array, h: Array) -> tuple[Array, Array]:
        if not one_real_dtype(x, u, h):
            return super().gru_reset(x, u, h)
        gates, rh = self._empty(x.shape, h), self._like(h)
        launch_alone(
            GRU_RESET, self.modules, h.shape, x=x, u=u, h=h, gates=gates, rh=rh, width=x.shape[1]
        )
        return gates, rh

    def gru_reset_backward(
        self, g_rh: Array, gz: Array, rz: Array, h: Array
    ) -> tuple[Array, Array]:
        if not one_real_dtype(g_rh, gz, rz, h):
            return super().gru_reset_backward(g_rh, gz, rz, h)
        g_rz, gh = self._empty(rz.shape, h), self._like(h)
        launch_alone(
            GRU_RESET_BACKWARD,
            self.modules,
            h.shape,
            g_rh=g_rh,
            g_z=gz,
            gates=rz,
            h0=h,
            g_rz=g_rz,
            gh=gh,
            width=rz.shape[1],
        )
        return g_rz, gh

    def gru_update(self, x: Array, u: Array, z: Array, h: Array) -> tuple[Array, Array]:
        if not one_real_dtype(x, u, z, h):
            return super().gru_update(x, u, z, h)
        n, h_next = self._like(h), self._like(h)
        width = h.shape[1]
        launch_alone(
            GRU_UPDATE,
            self.modules,
            h.shape,
            x=x,
            u=u,
            z=z,
            h=h,
            gates=n,
            h_next=h_next,
            width=width,
        )
        return n, h_next

    def gru_update_backward(
        self, gh: Array, z: Array, n: Array, h: Array
    ) -> tuple[Array, Array, Array]:
        if not one_real_dtype(gh, z, n, h):
            return super().gru_update_backward(gh, z, n, h)
        g_a, g_z, gh_before = self._like(h), self._like(h), self._like(h)
        launch_alone(
            GRU_UPDATE_BACKWARD,
            self.modules,
            h.shape,
            gy=gh,
            z=z,
            candidate=n,
            h0=h,
            g_a=g_a,
            g_z=g_z,
            gh_before=gh_before,
            width=h.shape[1],
            z_at=0,
            n_at=0,
        )
        return g_a, g_z, gh_before

    def _empty(self, shape: tuple[int, ...], like: Array) -> Array:
        return self.xp.empty(shape, dtype=like.dtype)

    def _like(self, x: Array) -> Array:
        return self.xp.empty(x.shape, dtype=x.dtype)
