"""New tensors."""

from __future__ import annotations

import numpy as np

from .... import ops
from ....tensor import Tensor
from ..node import Node, beside, host, ints, one, operator, xp_of
from .arithmetic import numpy_dtype


@operator("Constant")
def constant(node: Node) -> Tensor:
    for key, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if key in node.attributes:
            return Tensor(np.asarray(node.get(key), dtype))
    if "value" not in node.attributes:
        raise node.refuse(f"a constant of {', '.join(node.attributes) or 'nothing'}")
    return Tensor(node.get("value"))


@operator("ConstantOfShape", static=(0,))
def constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    value = node.get("value", np.zeros(1, np.float32))
    return Tensor(np.full(tuple(ints(shape)), value.reshape(-1)[0], value.dtype))


@operator("Range", static=(0, 1, 2))
def range_(node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    dtype = host(start).dtype
    first, end, step = (one(x) for x in (start, limit, delta))
    count = max(0, int(np.ceil((end - first) / step)))
    return Tensor((first + np.arange(count) * step).astype(dtype))


@operator("EyeLike")
def eye_like(node: Node, x: Tensor) -> Tensor:
    dtype = numpy_dtype(node, node.get("dtype")) if "dtype" in node.attributes else None
    rows, columns = x.shape
    eye = np.eye(rows, columns, k=node.get("k", 0), dtype=dtype or host(x).dtype)
    return beside(x, eye)


@operator("OneHot", static=(0, 1, 2))
def one_hot(node: Node, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """Indices count from the end where they are negative; those outside give a row of `off`."""
    n = int(one(depth))
    off, on = host(values)
    index = host(indices).astype(np.int64)
    index = np.where(index < 0, index + n, index)[..., None]
    hit = index == np.arange(n)
    y = np.where(hit, on, off).astype(host(values).dtype)
    axis = node.get("axis", -1)
    return Tensor(np.moveaxis(y, -1, axis))


@operator("NonZero")
def non_zero(node: Node, x: Tensor) -> Tensor:
    return ops.stack([Tensor(part) for part in xp_of(x).nonzero(x.data)], axis=0)


@operator("Unique")
def unique(node: Node, x: Tensor) -> tuple[Tensor, ...]:
    """The values, where each comes first, which each element is, and how often each comes."""
    axis, array = node.get("axis"), host(x)
    values, first, inverse, counts = np.unique(
        array, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    if not node.get("sorted", 1):
        order = np.argsort(first)
        values = np.take(values, order, axis=0 if axis is None else axis)
        inverse = np.argsort(order)[inverse.reshape(-1)]
        first, counts = first[order], counts[order]
    parts = (values, first, inverse.reshape(-1), counts)
    return tuple([beside(x, np.ascontiguousarray(a)) for a in parts])
