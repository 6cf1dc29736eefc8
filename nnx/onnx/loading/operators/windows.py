"""Convolution and pooling, over one axis, two or three."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .... import ops
from ....tensor import Tensor
from ..node import Node, beside, host, ints, is_float, operator, xp_of

Pairs = tuple[tuple[int, int], ...]


class Sliding(NamedTuple):
    """A window as ONNX describes it: for every axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pairs
    dilations: tuple[int, ...]

    def reach(self, k: int) -> int:
        """How far the window goes along an axis."""
        return self.dilations[k] * (self.kernel[k] - 1) + 1


def window_of(node: Node, x: Tensor, kernel: Any) -> Sliding:
    """The window of a node: `auto_pad` worked out, and what `ceil_mode` adds at the end."""
    axes = x.ndim - 2
    kernel = tuple(kernel)
    strides = tuple(node.get("strides") or [1] * axes)
    dilations = tuple(node.get("dilations") or [1] * axes)
    pads = list(node.get("pads") or [0] * (2 * axes))
    pairs = [(pads[k], pads[k + axes]) for k in range(axes)]
    auto = node.get("auto_pad", "NOTSET")
    window = Sliding(kernel, strides, tuple(pairs), dilations)
    for k, length in enumerate(x.shape[2:]):
        if auto.startswith("SAME"):
            count = -(-length // strides[k])
            total = max(0, (count - 1) * strides[k] + window.reach(k) - length)
            small, large = total // 2, total - total // 2
            pairs[k] = (small, large) if auto == "SAME_UPPER" else (large, small)
        elif auto == "VALID":
            pairs[k] = (0, 0)
    return window._replace(pads=tuple(pairs))


def ceiled(node: Node, x: Tensor, window: Sliding) -> Sliding:
    """The window with padding for a last one that begins in the image but ends beyond it."""
    if not node.get("ceil_mode", 0):
        return window
    pairs = []
    for k, ((before, after), length) in enumerate(zip(window.pads, x.shape[2:], strict=True)):
        stride, reach = window.strides[k], window.reach(k)
        count = -(-(length + before + after - reach) // stride) + 1
        if (count - 1) * stride >= length + before:
            count -= 1
        needed = (count - 1) * stride + reach - length - before
        pairs.append((before, max(after, needed)))
    return window._replace(pads=tuple(pairs))


def _padded(x: Tensor, pads: Pairs, value: float) -> Tensor:
    if not any(map(any, pads)):
        return x
    return ops.pad(x, [(0, 0), (0, 0), *pads], "constant", value)


# ---- convolution ----


@operator("Conv")
def conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    window = window_of(node, x, weight.shape[2:])
    axes = x.ndim - 2
    function = getattr(ops, f"conv{axes}d", None)
    if function is None:
        raise node.refuse(f"a convolution over {axes} axes; x has shape {x.shape}")
    y: Tensor = function(
        x, weight, bias, window.strides, window.pads, window.dilations, node.get("group", 1)
    )
    return y


@operator("ConvTranspose")
def conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`output_shape` says how much is cut off; whatever padding and size remain are cut or added
    here, since ONNX lets both be anything."""
    axes = x.ndim - 2
    window = window_of(
        node._replace(attributes={**node.attributes, "auto_pad": "NOTSET"}), x, weight.shape[2:]
    )
    extra = list(node.get("output_padding") or [0] * axes)
    wanted = node.get("output_shape")
    auto = node.get("auto_pad", "NOTSET")
    pairs = list(window.pads)
    for k, length in enumerate(x.shape[2:]):
        full = (length - 1) * window.strides[k] + window.reach(k) + extra[k]
        if wanted or auto.startswith("SAME"):
            goal = wanted[-axes:][k] if wanted else length * window.strides[k]
            total = full - goal
            small, large = total // 2, total - total // 2
            pairs[k] = (small, large) if auto == "SAME_UPPER" else (large, small)
    lifted = axes == 1
    strides, dilations = window.strides, window.dilations
    if lifted:  # a sequence as an image of height 1
        x, weight = ops.expand_dims(x, 2), ops.expand_dims(weight, 2)
        strides, dilations = (1, *strides), (1, *dilations)
        pairs, extra = [(0, 0), *pairs], [0, *extra]
    elif axes != 2:
        function = getattr(ops, f"conv_transpose{axes}d", None)
        if function is None:
            raise node.refuse(f"a transposed convolution over {axes} axes; x has shape {x.shape}")
        y = function(x, weight, None, strides, 0, 0, node.get("group", 1), dilations)
    if axes <= 2:
        y = ops.conv_transpose2d(x, weight, None, strides, 0, 0, node.get("group", 1), dilations)
    grown = tuple([(max(0, -a), max(0, e - b)) for (a, b), e in zip(pairs, extra, strict=True)])
    y = _padded(y, grown, 0.0)
    key: list[Any] = [slice(None), slice(None)]
    for (a, b), e, n in zip(pairs, extra, y.shape[2:], strict=True):
        key.append(slice(max(0, a), n - max(0, b - e)))
    y = y[tuple(key)]
    if lifted:
        y = ops.squeeze(y, 2)
    return y if bias is None else y + ops.reshape(bias, (-1, *[1] * axes))


# ---- pooling ----


def _taps(x: Tensor, window: Sliding) -> list[Tensor]:
    """What each place of the window sees, in row-major order: (N, C, ...) of the windows."""
    counts = [(n - window.reach(k)) // window.strides[k] + 1 for k, n in enumerate(x.shape[2:])]
    found = []
    for place in np.ndindex(*window.kernel):
        key: list[Any] = [slice(None), slice(None)]
        for k, p in enumerate(place):
            start = p * window.dilations[k]
            key.append(
                slice(start, start + (counts[k] - 1) * window.strides[k] + 1, window.strides[k])
            )
        found.append(x[tuple(key)])
    return found


@operator("MaxPool")
def max_pool(node: Node, x: Tensor) -> Any:
    """The indices are those of the whole tensor in row-major order, or, in column-major order of
    the image, with `storage_order` 1."""
    window = ceiled(node, x, window_of(node, x, node.get("kernel_shape")))
    xp = xp_of(x)
    integer = not is_float(x)
    lowest = xp.iinfo(x.dtype).min if integer else -math.inf
    usual = x.ndim == 4 and window.dilations == (1, 1) and _small(window)
    if usual and not node.wants(1) and not integer:
        return ops.max_pool2d(x, window.kernel, window.strides, window.pads)
    taps = ops.stack(_taps(_padded(x, window.pads, lowest), window), axis=-1)
    y = ops.max(taps, axis=-1)
    if not node.wants(1):
        return y
    return y, beside(x, _places(node, x, host(ops.argmax(taps, axis=-1)), window))


def _small(window: Sliding) -> bool:
    """Whether the padding is one that nnx's pooling takes: at most half the window."""
    return all(2 * max(p) <= k for p, k in zip(window.pads, window.kernel, strict=True))


def _places(node: Node, x: Tensor, chosen: np.ndarray, window: Sliding) -> np.ndarray:
    image = x.shape[2:]
    within = np.unravel_index(chosen, window.kernel)
    axes = len(image)
    at = []
    for k in range(axes):
        shape = [1] * chosen.ndim
        shape[2 + k] = chosen.shape[2 + k]
        starts = np.arange(chosen.shape[2 + k]).reshape(shape) * window.strides[k]
        at.append(starts - window.pads[k][0] + within[k] * window.dilations[k])
    order = range(axes) if not node.get("storage_order", 0) else reversed(range(axes))
    flat: Any = 0
    for k in order:
        flat = flat * image[k] + at[k]
    images = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *[1] * axes)
    return np.asarray(images * math.prod(image) + flat, np.int64)


def average(x: Tensor, window: Sliding, count: bool, pads: Pairs | None = None) -> Tensor:
    """The mean of each window; `count`: of the padding `pads` too, which is 0."""
    own = window.pads if pads is None else pads
    taps = _taps(_padded(x, window.pads, 0.0), window)
    total = taps[0]
    for tap in taps[1:]:
        total = total + tap
    inside = np.ones([n + a + b for n, (a, b) in zip(x.shape[2:], own, strict=True)])
    if not count:
        inside = np.zeros_like(inside)
        inside[tuple([slice(a, a + n) for n, (a, _) in zip(x.shape[2:], own, strict=True)])] = 1
    more = [(0, w[1] - o[1]) for w, o in zip(window.pads, own, strict=True)]
    counted = Tensor(np.pad(inside, more)[None, None])
    divisor = sum(host(tap) for tap in _taps(counted, window))
    return total / beside(x, np.asarray(divisor, host(x[:0]).dtype))


@operator("AveragePool")
def average_pool(node: Node, x: Tensor) -> Tensor:
    """What `ceil_mode` adds at the end never counts."""
    own = window_of(node, x, node.get("kernel_shape"))
    return average(x, ceiled(node, x, own), bool(node.get("count_include_pad", 0)), own.pads)


@operator("GlobalAveragePool")
def global_average_pool(node: Node, x: Tensor) -> Tensor:
    return ops.mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)


@operator("GlobalMaxPool")
def global_max_pool(node: Node, x: Tensor) -> Tensor:
    return ops.max(x, axis=tuple(range(2, x.ndim)), keepdims=True)


@operator("MaxUnpool", static=(1, 2))
def max_unpool(node: Node, x: Tensor, indices: Tensor, shape: Tensor | None = None) -> Tensor:
    """Zeros, with each value where its pooling found it."""
    window = window_of(node, x, node.get("kernel_shape"))
    natural = [
        (n - 1) * window.strides[k] - sum(window.pads[k]) + window.kernel[k]
        for k, n in enumerate(x.shape[2:])
    ]
    goal = (*x.shape[:2], *natural)
    places = host(indices).reshape(-1)
    if shape is not None:  # the indices are those of the natural size
        at = np.unravel_index(places, goal)
        goal = tuple(ints(shape))
        places = np.ravel_multi_index(at, goal)
    which = np.full(math.prod(goal), x.size)
    which[places] = np.arange(x.size)
    flat = ops.concat([ops.reshape(x, (-1,)), ops.zeros_like(ops.reshape(x, (-1,))[:1])], axis=0)
    return ops.reshape(ops.take(flat, beside(x, which), axis=0), goal)


@operator("Col2Im", static=(1, 2))
def col2im(node: Node, x: Tensor, image: Tensor, block: Tensor) -> Tensor:
    """Columns of windows, added up where they were read: (N, C places, L) -> (N, C, *image)."""
    size, kernel = tuple(ints(image)), tuple(ints(block))
    n = x.shape[0]
    axes, places = len(size), math.prod(kernel)
    pads = list(node.get("pads") or [0] * (2 * axes))
    window = Sliding(
        kernel,
        tuple(node.get("strides") or [1] * axes),
        tuple([(pads[k], pads[k + axes]) for k in range(axes)]),
        tuple(node.get("dilations") or [1] * axes),
    )
    padded = [s + a + b for s, (a, b) in zip(size, window.pads, strict=True)]
    numbers = Tensor(np.arange(math.prod(padded)).reshape(1, 1, *padded))
    at = np.stack([host(tap).reshape(-1) for tap in _taps(numbers, window)])  # (places, L)
    columns = ops.reshape(x, (n, -1, places, at.shape[1]))
    c = columns.shape[1]
    rows = ops.reshape(ops.permute_dims(columns, (2, 3, 0, 1)), (at.size, n * c))
    hits = np.zeros((math.prod(padded), at.size), host(x[:0]).dtype)
    hits[at.reshape(-1), np.arange(at.size)] = 1
    y = ops.reshape(ops.permute_dims(ops.matmul(beside(x, hits), rows), (1, 0)), (n, c, *padded))
    inside = [slice(a, a + s) for s, (a, _) in zip(size, window.pads, strict=True)]
    return y[(slice(None), slice(None), *inside)]
