"""The simple recurrent layer in CUDA (`kernels/rnn.cu`)."""

from __future__ import annotations

from typing import Any

from ...typing import Array
from ..portable.recurrent import previous
from ..portable.residuals import Residuals
from ..portable.rnn import RNNKernels
from .launcher import Kernel, Modules, launch, register
from .recurrent import (
    MOST_UNITS,
    SCAN,
    STEP,
    UNITS,
    Product,
    on_device,
    one_block_each,
    one_thread_each,
    room,
    sizes,
    suits,
    weight_gradient,
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
            f"z:in h0:in across:in lengths:in?:i64 states:out relu:i32 {SCAN}",
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
            "gy:in gh_n:in states:in weight:in lengths:in?:i64 gz:out gh0:out relu:i32 " + SCAN,
            one_block_each(units),
        )
    )
    for units in UNITS
}


class CudaRNN(RNNKernels):
    modules: Modules

    def rnn_sequence(
        self, z: Array, h0: Array, weight_hh: Array, lengths: Array | None, nonlinearity: str
    ) -> tuple[Array, Residuals]:
        if not suits(z, h0, weight_hh):
            return super().rnn_sequence(z, h0, weight_hh, lengths, nonlinearity)
        xp = self.xp
        lengths = on_device(xp, lengths)
        across = xp.matrix_transpose(weight_hh)
        states = xp.empty(z.shape, dtype=z.dtype)
        values = {
            "z": z,
            "lengths": lengths,
            "states": states,
            "relu": int(nonlinearity == "relu"),
            **sizes(*z.shape),
        }
        if z.shape[3] <= MOST_UNITS:
            launch(RNN_SEQUENCE[room(z.shape[3])], self.modules, h0=h0, across=across, **values)
        else:
            product = Product(xp, across, z.shape[1])
            h, both = h0, [xp.empty(h0.shape, dtype=h0.dtype) for _ in range(2)]
            for k in range(z.shape[0]):
                h_next = both[k % 2]
                launch(RNN_STEP, self.modules, u=product(h), h=h, h_next=h_next, k=k, **values)
                h = h_next
        return states, Residuals((states, h0, weight_hh, lengths, nonlinearity))

    def rnn_sequence_backward(
        self, gy: Array, gh_n: Array, residuals: Residuals
    ) -> tuple[Array, Array, Array]:
        states, h0, weight_hh, lengths, nonlinearity = residuals
        if not suits(gy, gh_n, states, h0, weight_hh):
            return super().rnn_sequence_backward(gy, gh_n, residuals)
        xp = self.xp
        gz = xp.empty(states.shape, dtype=states.dtype)
        values = {
            "gy": gy,
            "states": states,
            "lengths": lengths,
            "gz": gz,
            "relu": int(nonlinearity == "relu"),
            **sizes(*states.shape),
        }
        if states.shape[3] <= MOST_UNITS:
            gh0 = xp.empty(h0.shape, dtype=h0.dtype)
            kernel = RNN_SEQUENCE_BACKWARD[room(states.shape[3])]
            launch(kernel, self.modules, gh_n=gh_n, weight=weight_hh, gh0=gh0, **values)
        else:
            gh0 = self._rnn_steps_backward(gh_n, weight_hh, values)
        return gz, gh0, weight_gradient(xp, gz, previous(xp, states, h0))

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
