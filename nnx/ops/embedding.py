"""Embedding: rows of a table, read by index."""

from __future__ import annotations

import math
from typing import Any

from ..backends import Array, backend_of, dtype_name
from ..tensor import Tensor
from ._function import Function, Unary
from ._operands import as_array, as_tensor, require_one_dtype
from .arithmetic import divide, multiply
from .array.indexing import take_along_axis
from .array.shape import reshape
from .reduce import sum as total
from .select import where


class Embedding(Function):
    """y[k] = W[i[k]]: a product with one-hot rows that is never formed.

    Backward.  With P[k, v] = [i[k] = v], y = P W, so dL/dW = P^T G: row v of the gradient is the
    sum of G[k] over all k that read row v (`index_add`).  The padding row gets 0.  `by_frequency`
    divides that sum by how many they are.
    """

    def __init__(self, indices: Array, padding_idx: int | None, by_frequency: bool = False) -> None:
        self.indices, self.padding_idx, self.by_frequency = indices, padding_idx, by_frequency

    def forward(self, weight: Array) -> Array:
        xp = self.backend.xp
        self.rows = weight.shape[0]
        flat = xp.reshape(self.indices, (-1,))
        return xp.reshape(xp.take(weight, flat, axis=0), (*self.indices.shape, weight.shape[1]))

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        flat = xp.reshape(self.indices, (-1,))
        rows = xp.reshape(g, (flat.shape[0], g.shape[-1]))
        gw = self.backend.index_add(rows, flat, self.rows)
        if self.by_frequency:
            ones = xp.ones((flat.shape[0], 1), dtype=g.dtype, device=g.device)
            gw = gw / xp.clip(self.backend.index_add(ones, flat, self.rows), 1.0, None)
        if self.padding_idx is not None:
            gw[self.padding_idx, :] = 0
        return gw


class BagSum(Unary):
    """y[b] = the sum of x[k] over all k in bag b, (M, E) -> (B, E):  dx[k] = g[b] of k's bag b."""

    def __init__(self, bags: Array, count: int) -> None:
        self.bags, self.count = bags, count

    def forward(self, x: Array) -> Array:
        return self.backend.index_add(x, self.bags, self.count)

    def backward(self, g: Array) -> Array:
        return self.backend.xp.take(g, self.bags, axis=0)


def embedding(
    weight: Tensor, indices: Any, padding_idx: int | None = None, scale_grad_by_freq: bool = False
) -> Tensor:
    """Rows of a table: weight (V, E), integer indices (...,) from 0 to V-1 -> (..., E).

    The row `padding_idx` is read like any other but gets no gradient.  `scale_grad_by_freq` divides
    each row's gradient by how often it is read.

    Raises:
        TypeError: the indices are no integers.
        ValueError: weight is no matrix, or padding_idx is not a row.
        IndexError: an index is not a row (checked in host memory; on a GPU, where that would wait
            for the device, it is not).
    """
    weight, ids, padding_idx = _rows_read("embedding", weight, indices, padding_idx)
    return Embedding(ids, padding_idx, scale_grad_by_freq)(weight)


def _rows_read(
    name: str, weight: Any, indices: Any, padding_idx: int | None
) -> tuple[Tensor, Array, int | None]:
    """The table, int64 indices into it, and the padding row counted from the front; all checked."""
    weight = as_tensor(name, weight)
    ids = as_array(name, indices, weight)
    if weight.ndim != 2:
        raise ValueError(f"{name}: weight must be (V, E); weight has shape {weight.shape}")
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise ValueError(f"{name}: padding_idx {padding_idx} is not one of the {rows} rows")
    home = backend_of(weight.data)
    if not home.is_integer(ids.dtype):
        raise TypeError(f"{name}: indices must be integers, got {dtype_name(ids.dtype)}")
    ids = home.positions(ids)
    if home.checks_values and math.prod(ids.shape):
        low, high = int(home.xp.min(ids)), int(home.xp.max(ids))
        if low < 0 or high >= rows:
            raise IndexError(
                f"{name}: indices must be from 0 to {rows - 1}; they are from {low} to {high}; "
                f"weight has shape {weight.shape}, indices {tuple(ids.shape)}"
            )
    if padding_idx is not None and padding_idx < 0:
        padding_idx += rows
    return weight, ids, padding_idx


def embedding_bag(
    weight: Tensor,
    indices: Any,
    offsets: Any = None,
    mode: str = "mean",
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
) -> Tensor:
    """Sums, means or largest values of bags of a table's rows: weight (V, E) -> (B, E).

    An empty bag gives zeros.  Of equal values the first takes the gradient.

    Args:
        weight: the table.
        indices: integers (B, N), a bag in each row; or (M,), all bags one after another.
        offsets: for (M,): where each bag begins, (B,), from 0 on and never falling.
        mode: "sum", "mean" or "max", number by number.
        per_sample_weights: of the shape of indices, what each row is multiplied by; in the mode
            "sum" only.
        include_last_offset: whether offsets has one more entry, the end of the last bag.
        padding_idx: a row that counts for nothing: its index is passed over, and it gets no
            gradient.
        scale_grad_by_freq: whether each row's gradient is divided by how often it is read; not in
            the mode "max".

    Raises:
        ValueError: shapes that do not fit, an unknown mode, offsets that fall, or an option that
            the mode has not.
        TypeError: indices or offsets are no integers; weights of another dtype.
        IndexError: an index is not a row (as in `embedding`).
    """
    name = "embedding_bag"
    weight, ids, padding_idx = _rows_read(name, weight, indices, padding_idx)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{name}: mode {mode!r} is not one of sum, mean, max")
    if mode != "sum" and per_sample_weights is not None:
        raise ValueError(f"{name}: per_sample_weights are for the mode sum, not {mode!r}")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError(f"{name}: scale_grad_by_freq is not for the mode max")
    xp = backend_of(weight.data).xp
    shape = tuple(ids.shape)
    bags, begins, count = _bags(name, weight, ids, offsets, include_last_offset)
    flat = xp.reshape(ids, (-1,))
    kept = flat == flat if padding_idx is None else flat != padding_idx
    if mode == "max" and flat.shape[0]:
        return _largest(weight, flat, bags, begins, count, kept, shape)
    rows = Embedding(flat, padding_idx, scale_grad_by_freq)(weight)
    if padding_idx is not None:
        rows = where(Tensor(xp.expand_dims(kept, axis=1)), rows, 0.0)
    if per_sample_weights is not None:
        scale = as_tensor(name, per_sample_weights, weight)
        require_one_dtype(name, weight=weight, per_sample_weights=scale)
        if scale.shape != shape:
            raise ValueError(
                f"{name}: per_sample_weights must have the shape of indices, {shape}; they have "
                f"{scale.shape}"
            )
        rows = multiply(rows, reshape(scale, (-1, 1)))
    ones = xp.astype(xp.expand_dims(kept, axis=1), weight.dtype)
    if len(shape) == 2:
        y = total(reshape(rows, (*shape, weight.shape[1])), axis=1)
        members = xp.sum(xp.reshape(ones, (*shape, 1)), axis=1)
    else:
        y = BagSum(bags, count)(rows)
        members = backend_of(weight.data).index_add(ones, bags, count)
    return y if mode == "sum" else divide(y, Tensor(xp.clip(members, 1.0, None)))


def _bags(
    name: str, weight: Tensor, ids: Array, offsets: Any, include_last: bool
) -> tuple[Array, Array, int]:
    """For each index its bag (M,), where each bag begins (B,), and how many there are."""
    home = backend_of(weight.data)
    xp = home.xp
    shape = tuple(ids.shape)
    if ids.ndim == 2:
        if offsets is not None:
            raise ValueError(f"{name}: offsets are for indices (M,); these have shape {shape}")
        count, length = shape
        begins = xp.arange(count, dtype=home.index_dtype, device=ids.device) * length
        steps = xp.arange(count * length, dtype=home.index_dtype, device=ids.device)
        return steps // max(1, length), begins, count
    if ids.ndim != 1 or offsets is None:
        raise ValueError(
            f"{name}: indices must be (B, N), or (M,) with offsets; they have shape {shape}"
        )
    begins = as_array(name, offsets, weight)
    if begins.ndim != 1 or not home.is_integer(begins.dtype):
        raise TypeError(
            f"{name}: offsets must be integers (B,); got {dtype_name(begins.dtype)} of shape "
            f"{tuple(begins.shape)}"
        )
    begins = home.positions(begins)
    if not begins.shape[0] and shape[0]:
        raise ValueError(f"{name}: there are {shape[0]} indices, and no offset of a bag")
    if home.checks_values and begins.shape[0]:
        values = home.to_numpy(begins)
        rising = bool((values[1:] >= values[:-1]).all())
        if values[0] != 0 or not rising or values[-1] > shape[0]:
            raise ValueError(
                f"{name}: offsets must begin with 0, never fall and not pass the {shape[0]} "
                f"indices; got {values.tolist()!s:.200}"
            )
    if include_last:
        begins = begins[: max(0, begins.shape[0] - 1)]
    steps = xp.arange(shape[0], dtype=home.index_dtype, device=ids.device)
    bags = xp.searchsorted(begins, steps, side="right") - 1
    return home.positions(bags), begins, begins.shape[0]


def _largest(
    weight: Tensor,
    flat: Array,
    bags: Array,
    begins: Array,
    count: int,
    kept: Array,
    shape: tuple[int, ...],
) -> Tensor:
    """For each bag and column the row with the largest number in it, and that number."""
    home = backend_of(weight.data)
    xp, m = home.xp, flat.shape[0]
    if len(shape) == 2:
        longest = shape[1]
    else:  # a layout needs the longest bag, which is read from the device
        ones = xp.ones((m, 1), dtype=weight.dtype, device=flat.device)
        longest = int(xp.max(home.index_add(ones, bags, count))) if count else 0
    if not (longest and count):
        return BagSum(bags, count)(Embedding(flat, None)(weight))
    steps = xp.arange(longest, dtype=home.index_dtype, device=flat.device)
    places = xp.expand_dims(begins, axis=1) + steps
    inside = xp.clip(places, 0, m - 1)
    line = xp.reshape(inside, (-1,))
    own = xp.reshape(xp.take(bags, line, axis=0), places.shape)
    bag = xp.expand_dims(xp.arange(count, dtype=home.index_dtype, device=flat.device), axis=1)
    valid = (own == bag) & (inside == places)
    valid = valid & xp.reshape(xp.take(kept, line, axis=0), places.shape)
    read = xp.take(flat, line, axis=0)  # (B L,)
    rows = xp.reshape(xp.take(weight.data, read, axis=0), (*places.shape, weight.shape[1]))
    low = xp.full_like(rows, -math.inf)
    first = xp.argmax(xp.where(xp.expand_dims(valid, axis=2), rows, low), axis=1)  # (B, E)
    read = xp.reshape(read, places.shape)
    chosen = xp.take_along_axis(read, home.positions(first), axis=1)
    y = take_along_axis(weight, Tensor(chosen), axis=0)
    return where(Tensor(xp.any(valid, axis=1, keepdims=True)), y, 0.0)
