"""Shapes: values stay, their places change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import ops
from ....tensor import Tensor
from ..node import Node, beside, host, ints, one, operator


@operator("Reshape", static=(1,))
def reshape(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """0 keeps the axis as it is, unless `allowzero`."""
    new = ints(shape)
    if not node.get("allowzero", 0):
        new = [x.shape[k] if n == 0 else n for k, n in enumerate(new)]
    if -1 in new and 0 in new:
        new[new.index(-1)] = 0 if x.size == 0 else -1
    return ops.reshape(x, new)


@operator("Flatten")
def flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    k = axis + x.ndim if axis < 0 else axis
    return ops.reshape(x, (math.prod(x.shape[:k]), math.prod(x.shape[k:])))


@operator("Squeeze", static=(1,))
def squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    named = node.get("axes") if axes is None else ints(axes)
    return ops.squeeze(x, None if named is None else tuple(named))


@operator("Unsqueeze", static=(1,))
def unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return ops.expand_dims(x, tuple(node.get("axes") if axes is None else ints(axes)))


@operator("Transpose")
def transpose(node: Node, x: Tensor) -> Tensor:
    return ops.permute_dims(x, node.get("perm") or tuple(reversed(range(x.ndim))))


@operator("Expand", static=(1,))
def expand(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    return ops.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(ints(shape))))


@operator("Tile", static=(1,))
def tile(node: Node, x: Tensor, times: Tensor) -> Tensor:
    return ops.tile(x, ints(times))


@operator("Concat")
def concat(node: Node, *xs: Tensor) -> Tensor:
    return ops.concat(xs, axis=node.get("axis"))


@operator("Split", static=(1,))
def split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Into parts of given lengths; or into equal ones, the last of which may be shorter."""
    axis = node.get("axis", 0)
    length, parts = x.shape[axis], node.get("num_outputs", len(node.outputs))
    named = node.get("split") if sizes is None else ints(sizes)
    if named is None:
        step = -(-length // parts)
        named = [max(0, min(step, length - k * step)) for k in range(parts)]
    if sum(named) != length:
        raise node.refuse(f"parts of {named} of an axis of {length}; x has shape {x.shape}")
    return ops.split(x, [sum(named[: k + 1]) for k in range(len(named) - 1)], axis=axis)


@operator("Slice", static=(1, 2, 3, 4))
def slice_(
    node: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """Ends beyond the axis are its end; -1 is the last element, as in Python."""
    begin = list(node.get("starts", ())) if starts is None else ints(starts)
    end = list(node.get("ends", ())) if ends is None else ints(ends)
    along = node.get("axes", range(len(begin))) if axes is None else ints(axes)
    by = [1] * len(begin) if steps is None else ints(steps)
    key = [slice(None)] * x.ndim
    for a, b, k, step in zip(begin, end, along, by, strict=True):
        length = x.shape[k]
        low, high = (0, length) if step > 0 else (-1, length - 1)
        a = min(max(a + length if a < 0 else a, low if step > 0 else 0), high)
        b = min(max(b + length if b < 0 else b, low), high if step > 0 else length - 1)
        key[k] = slice(a, None if b < 0 else b, step)
    return x[tuple(key)]


@operator("Shape")
def shape(node: Node, x: Tensor) -> Tensor:
    return Tensor(np.asarray(x.shape[node.get("start", 0) : node.get("end")], np.int64))


@operator("Size")
def size(node: Node, x: Tensor) -> Tensor:
    return Tensor(np.asarray(x.size, np.int64))


@operator("DepthToSpace")
def depth_to_space(node: Node, x: Tensor) -> Tensor:
    """DCR: channels are (block, block, c); CRD: (c, block, block)."""
    n, c, h, w = x.shape
    b = node.get("blocksize")
    if node.get("mode", "DCR") == "DCR":
        y = ops.permute_dims(ops.reshape(x, (n, b, b, c // b**2, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        y = ops.permute_dims(ops.reshape(x, (n, c // b**2, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return ops.reshape(y, (n, c // b**2, h * b, w * b))


@operator("SpaceToDepth")
def space_to_depth(node: Node, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = node.get("blocksize")
    y = ops.reshape(x, (n, c, h // b, b, w // b, b))
    if node.get("mode", "DCR") == "DCR":
        y = ops.permute_dims(y, (0, 3, 5, 1, 2, 4))
    else:
        y = ops.permute_dims(y, (0, 1, 3, 5, 2, 4))
    return ops.reshape(y, (n, c * b * b, h // b, w // b))


@operator("Pad", static=(1, 2, 3))
def pad(
    node: Node,
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    """Negative pads cut off; "wrap" may go round more than once."""
    widths = list(node.get("pads", ())) if pads is None else ints(pads)
    along = list(range(x.ndim)) if axes is None else [k % x.ndim for k in ints(axes)]
    pairs = [(0, 0)] * x.ndim
    for at, k in enumerate(along):
        pairs[k] = (widths[at], widths[at + len(along)])
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}[
        node.get("mode", "constant")
    ]
    cut = tuple(
        [slice(max(0, -a), n - max(0, -b)) for (a, b), n in zip(pairs, x.shape, strict=True)]
    )
    x, pairs = x[cut], [(max(0, a), max(0, b)) for a, b in pairs]
    if mode == "constant":
        filled = node.get("value", 0.0) if value is None else one(value)
        return _constant(x, pairs, filled)
    if mode == "circular":
        for k, (a, b) in enumerate(pairs):
            if a or b:
                places = np.arange(-a, x.shape[k] + b) % x.shape[k]
                x = ops.take(x, beside(x, places), axis=k)
        return x
    return ops.pad(x, pairs, mode)


def _constant(x: Tensor, pairs: list[tuple[int, int]], value: Any) -> Tensor:
    return ops.pad(x, pairs, "constant", value) if any(map(any, pairs)) else x


@operator("CenterCropPad", static=(1,))
def center_crop_pad(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    along = node.get("axes", range(x.ndim))
    for k, goal in zip(along, ints(shape), strict=True):
        length = x.shape[k]
        pairs = [(0, 0)] * x.ndim
        if goal < length:
            start = (length - goal) // 2
            x = x[(*[slice(None)] * (k % x.ndim), slice(start, start + goal))]
        elif goal > length:
            before = (goal - length) // 2
            pairs[k] = (before, goal - length - before)
            x = _constant(x, pairs, 0)
    return x


@operator("ReverseSequence", static=(1,))
def reverse_sequence(node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    """The first lengths[n] steps of sequence n turned round."""
    batch, time = node.get("batch_axis", 1), node.get("time_axis", 0)
    count = np.asarray(ints(lengths))
    steps = np.arange(x.shape[time])
    places = np.where(steps < count[:, None], count[:, None] - 1 - steps, steps)  # (N, T)
    if batch > time:
        places = places.T
    wide = places.reshape(*places.shape, *[1] * (x.ndim - 2))
    wide = np.broadcast_to(wide, x.shape)
    return ops.take_along_axis(x, beside(x, np.array(wide)), axis=time)


@operator("Trilu", static=(1,))
def trilu(node: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    rows, columns = np.arange(x.shape[-2])[:, None], np.arange(x.shape[-1])
    offset = 0 if k is None else int(host(k).reshape(-1)[0])
    kept = columns - rows >= offset if node.get("upper", 1) else columns - rows <= offset
    mask = beside(x, kept)
    return ops.where(mask, x, ops.zeros_like(x))
