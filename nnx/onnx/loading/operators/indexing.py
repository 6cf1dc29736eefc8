"""Reading and writing at indices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import ops
from ....backends import backend_of
from ....tensor import Tensor
from ..node import Node, beside, host, ints, one, operator, xp_of


def _wrapped(x: Tensor, indices: Tensor, axis: int) -> Any:
    """Indices counted from the front, as an array."""
    return backend_of(indices.data).wrap_indices(indices.data, x.shape[axis])


@operator("Gather")
def gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0) % x.ndim
    index = _wrapped(x, indices, axis)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    flat = xp_of(indices).reshape(index, (-1,))
    return ops.reshape(ops.take(x, Tensor(flat), axis=axis), shape)


@operator("GatherElements")
def gather_elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """The other axes of the indices may be shorter than x's."""
    axis = node.get("axis", 0) % x.ndim
    part = tuple([slice(None) if k == axis else slice(0, n) for k, n in enumerate(indices.shape)])
    return ops.take_along_axis(x[part], indices, axis=axis)


@operator("GatherND")
def gather_nd(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """The last axis of the indices holds positions in the axes of x behind the batch's."""
    batch, depth = node.get("batch_dims", 0), indices.shape[-1]
    index = host(indices).astype(np.int64)
    lengths = x.shape[batch : batch + depth]
    index = np.where(index < 0, index + np.asarray(lengths), index)
    strides = [math.prod(lengths[k + 1 :]) for k in range(depth)]
    flat = (index * np.asarray(strides, np.int64)).sum(axis=-1).astype(np.int64)
    count, rest = math.prod(x.shape[:batch]), x.shape[batch + depth :]
    lines = flat.reshape(count, -1) + np.arange(count)[:, None] * math.prod(lengths)
    rows = ops.reshape(x, (count * math.prod(lengths), *rest))
    y = ops.take(rows, beside(x, lines.reshape(-1)), axis=0)
    return ops.reshape(y, (*index.shape[:-1], *rest))


@operator("Compress", static=(1,))
def compress(node: Node, x: Tensor, condition: Tensor) -> Tensor:
    places = np.flatnonzero(host(condition))
    axis = node.get("axis")
    if axis is None:
        x, axis = ops.reshape(x, (-1,)), 0
    return ops.take(x, beside(x, places), axis=axis)


# ---- writing: values go by position, so gradients do as well ----


@operator("ScatterElements", "Scatter")
def scatter_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = node.get("axis", 0) % x.ndim
    index = np.asarray(host(indices), np.int64)
    index = np.where(index < 0, index + x.shape[axis], index)
    every = np.indices(index.shape, sparse=True)
    grid: list[np.ndarray] = [np.broadcast_to(every[k], index.shape) for k in range(index.ndim)]
    grid[axis] = index
    flat = np.ravel_multi_index(tuple(grid), x.shape) if index.size else index
    return _scattered(node, x, flat.reshape(-1), ops.reshape(updates, (-1,)))


@operator("ScatterND")
def scatter_nd(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    depth = indices.shape[-1]
    index = np.asarray(host(indices), np.int64)
    lengths = x.shape[:depth]
    index = np.where(index < 0, index + np.asarray(lengths), index)
    strides = [math.prod(x.shape[k + 1 :]) for k in range(depth)]
    first = (index * np.asarray(strides, np.int64)).sum(axis=-1).reshape(-1, 1)
    flat = first + np.arange(math.prod(x.shape[depth:]))
    return _scattered(node, x, flat.reshape(-1), ops.reshape(updates, (-1,)))


def _scattered(node: Node, x: Tensor, places: np.ndarray, updates: Tensor) -> Tensor:
    """x with the updates at these places of its values in row-major order.

    Written as reading: the result takes, at each place, its own value or an update, from the two
    laid end to end; several updates of one place are taken in rounds.
    """
    reduction = node.get("reduction", "none")
    combine: Any = {
        "none": None, "add": ops.add, "mul": ops.multiply, "max": ops.maximum, "min": ops.minimum,
    }[reduction]  # fmt: skip
    size = x.size
    y = ops.reshape(x, (-1,))
    left = np.arange(places.size)
    while left.size:
        if combine is None:  # the last one stays
            _, last = np.unique(places[left][::-1], return_index=True)
            now = left[::-1][last]
            left = left[:0]
        else:
            _, first = np.unique(places[left], return_index=True)
            now, left = left[first], np.delete(left, first)
        which = np.arange(size)
        which[places[now]] = size + now
        both = ops.concat([y, updates], axis=0)
        fresh = ops.take(both, beside(x, which), axis=0)
        if combine is None:
            y = fresh
            continue
        hit = np.zeros(size, bool)
        hit[places[now]] = True
        y = ops.where(beside(x, hit), combine(y, fresh), y)
    return ops.reshape(y, x.shape)


@operator("TopK", static=(1,))
def top_k(node: Node, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Equal values in the order of their indices."""
    axis = node.get("axis", -1) % x.ndim
    count = node.get("k") if k is None else int(one(k))
    xp = xp_of(x)
    order = ops.argsort(x, axis=axis, descending=bool(node.get("largest", 1)))
    places = order[(*[slice(None)] * axis, slice(0, count))]
    return ops.take_along_axis(x, places, axis=axis), ops.astype(places, xp.int64)


@operator("ArrayFeatureExtractor")
def array_feature_extractor(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    return ops.take(x, beside(x, np.asarray(ints(indices))), axis=x.ndim - 1)
