"""Where in its sequence a vector stands: attention alone would not know."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...backends import Array, active_backend, backend_of
from ...ops._operands import as_tensor, require_one_dtype
from ...tensor import Tensor
from .. import init
from ..dropout import Dropout
from ..module import Module
from ..state import new_parameter


def _angles(features: int, max_len: int, base: float) -> np.ndarray:
    """t base^(-2i/features) for positions t and pairs i, (max_len, pairs), float64."""
    rates = base ** (-np.arange(0, features, 2, dtype=np.float64) / features)
    return np.arange(max_len, dtype=np.float64)[:, None] * rates


class _Added(Module):
    """What the encodings that are added share: one row for each position."""

    features: int
    max_len: int
    batch_first: bool

    def _set(self, features: int, max_len: int, dropout: float, batch_first: bool) -> None:
        name = type(self).__name__
        if features < 1 or max_len < 1:
            raise ValueError(
                f"{name}: features and max_len must be positive; got {features} and {max_len}"
            )
        self.features, self.max_len, self.batch_first = features, max_len, batch_first
        self.dropout = Dropout(dropout)

    def _added(self, x: Tensor, table: Tensor, start: int) -> Tensor:
        """x plus the table's rows from `start` on, (T, E)."""
        name = type(self).__name__
        x = as_tensor(name, x)
        axis = 0 if x.ndim == 2 or not self.batch_first else 1
        if x.ndim not in (2, 3) or x.shape[-1] != self.features:
            order = "(N, T, {})" if self.batch_first else "(T, N, {})"
            raise ValueError(
                f"{name}: x must be {order.format(self.features)}, or without N; x has shape "
                f"{x.shape}"
            )
        require_one_dtype(name, x=x, table=table)
        steps = x.shape[axis]
        if start < 0 or start + steps > self.max_len:
            raise ValueError(
                f"{name}: positions {start} to {start + steps - 1} are not all below max_len = "
                f"{self.max_len}; x has shape {x.shape}"
            )
        rows = table[start : start + steps]
        if x.ndim == 3 and axis == 0:
            rows = ops.expand_dims(rows, axis=1)  # (T, E) -> (T, 1, E)
        y: Tensor = self.dropout(x + rows)
        return y

    def extra_repr(self) -> str:
        return f"{self.features}, max_len={self.max_len}"


class PositionalEncoding(_Added):
    """x plus sines and cosines of its position t (Vaswani et al. 2017, 3.5):

        p[t, 2i] = sin(t / 10000^(2i/E)),     p[t, 2i+1] = cos(t / 10000^(2i/E))

    The encoding of t + k is that of t turned by k: a linear function of it.

    Args:
        features: E.
        dropout: the probability to drop a number of the sum, in training.
        max_len: how many positions there may be.
        batch_first: x is (N, T, E) instead of (T, N, E).
        dtype: of the table; x must have the same.

    Call: `y = encoding(x, start=0)`, y like x (T, N, E), or (T, E); `start` is the position of the
    first row.  There are no parameters, and nothing in the state.

    Raises:
        ValueError: a size is not positive, or dropout no probability; when called, another shape,
            or a position that is not below max_len.
        TypeError: x is of another dtype.
    """

    table: Array

    def __init__(
        self,
        features: int,
        dropout: float = 0.0,
        max_len: int = 5000,
        batch_first: bool = False,
        dtype: str = "float32",
    ) -> None:
        self._set(features, max_len, dropout, batch_first)
        table = np.empty((max_len, features))
        angles = _angles(features, max_len, 10000.0)
        table[:, ::2] = np.sin(angles)
        table[:, 1::2] = np.cos(angles)[:, : features // 2]
        table = table.astype(np.dtype(dtype))
        self.register_buffer("table", active_backend().from_numpy(table), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        return self._added(x, Tensor(self.table), start)


class LearnedPositionalEncoding(_Added):
    """x plus a vector for each position, learnt.

    Args:
        features: E.
        max_len: how many positions there are.
        dropout: the probability to drop a number of the sum, in training.
        batch_first: x is (N, T, E) instead of (T, N, E).
        dtype: of the parameter; x must have the same.

    Call: `y = encoding(x, start=0)`, as `PositionalEncoding`.

    Parameter: weight (max_len, E), from N(0, 0.02²) (Radford et al. 2018).

    Raises:
        ValueError: a size is not positive, or dropout no probability; when called, another shape,
            or a position that is not below max_len.
        TypeError: x is of another dtype.
    """

    def __init__(
        self,
        features: int,
        max_len: int,
        dropout: float = 0.0,
        batch_first: bool = False,
        dtype: str = "float32",
    ) -> None:
        self._set(features, max_len, dropout, batch_first)
        self.weight = new_parameter((max_len, features), dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new vectors from N(0, 0.02²)."""
        init.normal_(self.weight, 0.0, 0.02)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        return self._added(x, self.weight, start)


class RotaryEmbedding(Module):
    """Queries or keys with each pair of features turned by an angle that grows with the position t
    (Su et al. 2021, equation 34):

        y[2i]   = x[2i] cos(t a_i) - x[2i+1] sin(t a_i)          a_i = base^(-2i/d)
        y[2i+1] = x[2i] sin(t a_i) + x[2i+1] cos(t a_i)

    The product of a query at t and a key at s then depends on t - s alone.  Pairs are neighbours,
    as in the paper; some libraries pair feature i with i + d/2.

    Args:
        features: d, of one head; even.
        base: of the angles.

    Call: `y = rotary(x, start=0)`, x (..., T, d) -> y of the same shape; `start` is the position of
    the first row.

    Raises:
        ValueError: features is not even and positive; when called, another shape.
        TypeError: x is not of a floating-point dtype.
    """

    def __init__(self, features: int, base: float = 10000.0) -> None:
        if features < 2 or features % 2:
            raise ValueError(f"RotaryEmbedding: features must be even and positive, got {features}")
        self.features, self.base = features, base
        self._made: tuple[Any, list[Tensor]] = (None, [])  # the last tables, and of what

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        x = as_tensor("RotaryEmbedding", x)
        if x.ndim < 2 or x.shape[-1] != self.features:
            raise ValueError(
                f"RotaryEmbedding: x must be (..., T, {self.features}); x has shape {x.shape}"
            )
        require_one_dtype("RotaryEmbedding", x=x)
        sine, cosine = self._tables(x, start)
        even, odd = x[..., ::2], x[..., 1::2]
        pairs = [even * cosine - odd * sine, even * sine + odd * cosine]
        return ops.reshape(ops.stack(pairs, axis=-1), x.shape)

    def _tables(self, x: Tensor, start: int) -> list[Tensor]:
        """sin and cos of the angles, (T, d/2), sent to a device once and not at every step."""
        home, steps = backend_of(x.data), x.shape[-2]
        key = home, x.data.device, x.dtype, start, steps
        before, tables = self._made
        if before != key:
            angles = _angles(self.features, start + steps, self.base)[start:]
            tables = [
                Tensor(home.xp.asarray(home.asarray(f(angles), x.dtype), device=x.data.device))
                for f in (np.sin, np.cos)
            ]
            self._made = key, tables
        return tables

    def extra_repr(self) -> str:
        return f"{self.features}, base={self.base}"
