"""One time step of a recurrent layer, for loops of one's own."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..backends import backend_of
from ..ops._operands import as_tensor, require_one_dtype
from ..ops.recurrent.rnn import NONLINEARITIES
from ..tensor import Tensor
from . import init
from .module import Module
from .recurrent import mark_reset_before
from .state import Parameter, new_parameter


class _Cell(Module):
    """What the cells share: weight_ih (G H, D), weight_hh (G H, H), bias_ih, bias_hh (G H,)."""

    gates = 1
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, device: Any, dtype: Any
    ) -> None:
        if input_size < 1 or hidden_size < 1:
            raise ValueError(
                f"{type(self).__name__}: input_size and hidden_size must be positive; "
                f"got {input_size} and {hidden_size}"
            )
        self.input_size, self.hidden_size = input_size, hidden_size
        rows = self.gates * hidden_size
        self.weight_ih = new_parameter((rows, input_size), dtype, device)
        self.weight_hh = new_parameter((rows, hidden_size), dtype, device)
        self.register_parameter("bias_ih", new_parameter((rows,), dtype, device) if bias else None)
        self.register_parameter("bias_hh", new_parameter((rows,), dtype, device) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values from U(-1/√H, 1/√H)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def checked(self, x: Tensor, *states: Any) -> tuple[Tensor, ...]:
        """x (N, D) and the states (N, H), zeros where there is none; one row where unbatched.

        Raises:
            ValueError: x or a state has another shape.
            TypeError: dtypes that differ.
        """
        name = type(self).__name__
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: x must be (N, D), or (D,) for one row, with D = input_size = "
                f"{self.input_size}; x has shape {x.shape}"
            )
        require_one_dtype(name, x=x, weight_ih=self.weight_ih)
        want = (*x.shape[:-1], self.hidden_size)
        checked = []
        for state in states:
            if state is None:
                xp = backend_of(x.data).xp
                state = Tensor(xp.zeros(want, dtype=x.dtype, device=x.device))
            state = as_tensor(name, state, x)
            require_one_dtype(name, x=x, state=state)
            if state.shape != want:
                raise ValueError(
                    f"{name}: a state must be {want} for x of shape {x.shape}; "
                    f"it has shape {state.shape}"
                )
            checked.append(state)
        if x.ndim == 1:
            x, *checked = (ops.expand_dims(a, axis=0) for a in (x, *checked))
        return x, *checked

    def extra_repr(self) -> str:
        bias = "" if self.bias_ih is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}"


class RNNCell(_Cell):
    """h' = f(W_ih x + b_ih + W_hh h + b_hh), f = tanh or relu: one step of `RNN` (Xu 7.1-7.2).

    x (N, D), h (N, H), zeros if None, -> h' (N, H); or x (D,), h (H,) -> (H,) for one row.

    Args:
        input_size: D.
        hidden_size: H.
        bias: whether there are b_ih and b_hh.
        nonlinearity: "tanh" or "relu".
        device: None, or where the active backend makes arrays.
        dtype: of the parameters; x must have the same.

    Parameters: weight_ih (H, D), weight_hh (H, H), bias_ih, bias_hh (H,), from U(-1/√H, 1/√H).

    Raises:
        ValueError: a size is not positive, or an unknown nonlinearity; when called, shapes that do
            not fit.
        TypeError: x, the state and the parameters are of different dtypes.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"RNNCell: nonlinearity must be tanh or relu, got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        x = as_tensor(type(self).__name__, x)
        one = x.ndim == 1
        x, h = self.checked(x, h)
        z = ops.linear(x, self.weight_ih, self.bias_ih) + ops.linear(
            h, self.weight_hh, self.bias_hh
        )
        y = ops.tanh(z) if self.nonlinearity == "tanh" else ops.relu(z)
        return ops.squeeze(y, axis=0) if one else y


class LSTMCell(_Cell):
    """One step of `LSTM` (Xu 8.2-8.7).

    With i, f, g, o = σ, σ, tanh, σ of W_ih x + b_ih + W_hh h + b_hh, cut in four,

        c' = f c + i g,    h' = o tanh(c')

    x (N, D), hx = (h, c) each (N, H), zeros if None, -> (h', c') each (N, H); without N for one
    row.

    Args:
        input_size: D.
        hidden_size: H.
        bias: whether there are b_ih and b_hh.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters; x must have the same.

    Parameters: weight_ih (4H, D), weight_hh (4H, H), bias_ih, bias_hh (4H,), rows in the order i,
    f, g, o, from U(-1/√H, 1/√H).

    Raises:
        ValueError: a size is not positive; when called, hx is no pair, or shapes that do not fit.
        TypeError: x, the state and the parameters are of different dtypes.
    """

    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        x = as_tensor(type(self).__name__, x)
        one = x.ndim == 1
        states = (None, None) if hx is None else hx
        if not isinstance(states, tuple | list) or len(states) != 2:
            raise ValueError("LSTMCell: the state must be the pair (h, c)")
        x, h, c = self.checked(x, *states)
        z = ops.linear(x, self.weight_ih, self.bias_ih) + ops.linear(
            h, self.weight_hh, self.bias_hh
        )
        h, c = ops.lstm_cell(z, c)
        return (ops.squeeze(h, axis=0), ops.squeeze(c, axis=0)) if one else (h, c)


class GRUCell(_Cell):
    """One step of `GRU`, in its two variants.

    With r, z = σ of their thirds of W_ih x + b_ih + W_hh h + b_hh, h' = (1 - z) n + z h, where

        n = tanh(W_in x + b_in + r (W_hn h + b_hn))       reset_after=True, PyTorch's (Xu 9.8)
        n = tanh(W_in x + b_in + W_hn (r h) + b_hn)       reset_after=False, the textbook's (Xu 9.4)

    x (N, D), h (N, H), zeros if None, -> h' (N, H); without N for one row.

    Args:
        input_size: D.
        hidden_size: H.
        bias: whether there are b_ih and b_hh.
        reset_after: which variant; with False the state dict holds one more entry, `reset_before`,
            so that weights of one are not loaded into the other.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters; x must have the same.

    Parameters: weight_ih (3H, D), weight_hh (3H, H), bias_ih, bias_hh (3H,), rows in the order r,
    z, n, from U(-1/√H, 1/√H).

    Raises:
        ValueError: a size is not positive; when called, shapes that do not fit.
        TypeError: x, the state and the parameters are of different dtypes.
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        reset_after: bool = True,
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.reset_after = reset_after
        if not reset_after:
            self.register_buffer("reset_before", mark_reset_before())

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        x = as_tensor(type(self).__name__, x)
        one = x.ndim == 1
        x, h = self.checked(x, h)
        gates = ops.linear(x, self.weight_ih, self.bias_ih)
        if self.reset_after:
            y = ops.gru_cell(gates, ops.linear(h, self.weight_hh, self.bias_hh), h)
        else:
            two = 2 * self.hidden_size
            u = self._recurrent(h, slice(0, two))
            rh, z = ops.gru_reset(gates[:, :two], u, h)
            u = self._recurrent(rh, slice(two, None))
            y = ops.gru_update(gates[:, two:], u, z, h)
        return ops.squeeze(y, axis=0) if one else y

    def _recurrent(self, h: Tensor, rows: slice) -> Tensor:
        bias: Any = None if self.bias_hh is None else self.bias_hh[rows]
        return ops.linear(h, self.weight_hh[rows], bias)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")
