"""Images of another size: each axis by a matrix of weights, so that gradients follow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import ops
from ....tensor import Tensor
from ..node import Node, beside, host, ints, is_float, operator


@operator("Resize", static=(1, 2, 3))
def resize(
    node: Node,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    """y = A x along each axis, where row p of A holds the weights of the pixels around the place
    that p comes from."""
    axes = [k % x.ndim for k in node.get("axes") or range(x.ndim)]
    lengths = [x.shape[k] for k in axes]
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    if sizes is not None and sizes.size:
        goals = ints(sizes)
        factors = [g / n for g, n in zip(goals, lengths, strict=True)]
        if policy != "stretch":
            same = min(factors) if policy == "not_larger" else max(factors)
            factors = [same] * len(axes)
            goals = [math.floor(same * n + 0.5) for n in lengths]
    elif scales is not None:
        factors = [float(s) for s in host(scales)]
        goals = [math.floor(f * n) for f, n in zip(factors, lengths, strict=True)]
    else:
        raise node.refuse("neither scales nor sizes")
    corners = np.asarray(host(roi), float) if roi is not None and roi.size else None
    dtype, integer = host(x[:0]).dtype, not is_float(x)
    y = ops.astype(x, "float64") if integer else x
    for at, k in enumerate(axes):
        region = (0.0, 1.0) if corners is None else (corners[at], corners[at + len(axes)])
        if goals[at] == lengths[at] and factors[at] == 1 and corners is None:
            continue
        matrix, outside = _weights(node, lengths[at], goals[at], factors[at], region)
        y = _along(y, matrix, k)
        if outside.any():
            shape = [1] * x.ndim
            shape[k] = -1
            filled = ops.full_like(y, node.get("extrapolation_value", 0.0))
            y = ops.where(beside(y, outside.reshape(shape)), filled, y)
    if integer:
        y = Tensor(np.clip(np.rint(host(y)), *_range(dtype)).astype(dtype))
    return y


def _range(dtype: np.dtype) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _along(x: Tensor, matrix: np.ndarray, axis: int) -> Tensor:
    """The matrix times x along an axis."""
    last = (*[k for k in range(x.ndim) if k != axis], axis)
    weights = beside(x, matrix.T.astype(host(x[:0]).dtype))
    y = ops.matmul(ops.permute_dims(x, last), weights)
    back = (*range(axis), x.ndim - 1, *range(axis, x.ndim - 1))
    return ops.permute_dims(y, back)


def _weights(
    node: Node, length: int, goal: int, scale: float, region: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """(goal, length), and which places lie outside of the image."""
    mode = node.get("mode", "nearest")
    where = np.array([_source(node, p, length, goal, scale, region) for p in range(goal)])
    matrix = np.zeros((goal, length))
    crop = node.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    outside = (where < 0) | (where > length - 1) if crop else np.zeros(goal, bool)
    smooth = node.get("antialias", 0) and scale < 1
    for p, place in enumerate(where):
        if mode == "nearest":
            matrix[p, _nearest(node, place, length)] = 1
            continue
        reach = {"linear": 1, "cubic": 2}[mode]
        stretch = 1 / scale if smooth else 1.0
        first = math.floor(place - reach * stretch) + 1 if smooth else math.floor(place) - reach + 1
        last = math.ceil(place + reach * stretch) - 1 if smooth else math.floor(place) + reach
        near = np.arange(first, last + 1)
        distance = np.abs(near - place) / stretch
        share = (
            _cubic(distance, node.get("cubic_coeff_a", -0.75))
            if mode == "cubic"
            else np.maximum(0, 1 - distance)
        )
        if node.get("exclude_outside", 0):
            share = np.where((near < 0) | (near >= length), 0, share)
        if smooth or node.get("exclude_outside", 0):
            share = share / share.sum()
        np.add.at(matrix[p], np.clip(near, 0, length - 1), share)
    return matrix, outside


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel (1981): a cubic up to 1, another up to 2."""
    inner = ((a + 2) * d - (a + 3)) * d * d + 1
    outer = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, inner, np.where(d < 2, outer, 0))


def _source(
    node: Node, p: int, length: int, goal: int, scale: float, region: tuple[float, float]
) -> float:
    """The place in the image that output p comes from; the width before it is rounded counts."""
    width = scale * length
    mode = node.get("coordinate_transformation_mode", "half_pixel")
    if mode == "asymmetric":
        return p / scale
    if mode == "align_corners":
        return 0.0 if width == 1 else p * (length - 1) / (width - 1)
    if mode == "pytorch_half_pixel":
        return (p + 0.5) / scale - 0.5 if width != 1 else -0.5
    if mode == "half_pixel_symmetric":
        centre, adjust = length / 2, goal / (scale * length)
        return centre * (1 - adjust) + (p + 0.5) / scale - 0.5
    if mode == "tf_crop_and_resize":
        start, end = region
        if width == 1:
            return 0.5 * (start + end) * (length - 1)
        return start * (length - 1) + p * (end - start) * (length - 1) / (width - 1)
    if mode == "tf_half_pixel_for_nn":
        return (p + 0.5) / scale
    if mode != "half_pixel":
        raise node.refuse(f"coordinate_transformation_mode={mode!r}")
    return (p + 0.5) / scale - 0.5


def _nearest(node: Node, place: float, length: int) -> int:
    mode = node.get("nearest_mode", "round_prefer_floor")
    found = {
        "round_prefer_floor": math.ceil(place - 0.5),
        "round_prefer_ceil": math.floor(place + 0.5),
        "floor": math.floor(place),
        "ceil": math.ceil(place),
    }[mode]
    return min(max(found, 0), length - 1)


@operator("Upsample", static=(1,))
def upsample(node: Node, x: Tensor, scales: Tensor) -> Tensor:
    """What Resize was called before: the nearest pixel before, or a line between two."""
    settings: dict[str, Any] = {
        "mode": node.get("mode", "nearest"),
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    return resize(node._replace(attributes=settings), x, None, scales)
