"""Attention (Vaswani et al. 2017) and rotary embeddings (Su et al. 2021)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .... import ops
from ....tensor import Tensor
from ..node import Node, beside, host, operator


@operator("Attention", static=(6,))
def attention(
    node: Node,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Any:
    """softmax(scale q k^T + mask) v for each head; queries share the keys of a group of heads."""
    flat = q.ndim == 3
    if flat:
        q = _heads(q, node.get("q_num_heads"))
        k, v = (_heads(a, node.get("kv_num_heads")) for a in (k, v))
    past = 0
    if past_key is not None and past_value is not None:
        past = past_key.shape[2]
        k, v = ops.concat([past_key, k], axis=2), ops.concat([past_value, v], axis=2)
    present = (k, v)
    share = q.shape[1] // k.shape[1]
    if share > 1:
        k, v = (ops.repeat(a, share, axis=1) for a in (k, v))
    scale = node.get("scale") or 1 / math.sqrt(q.shape[3])
    root = math.sqrt(scale)
    scores = ops.matmul(q * root, ops.matrix_transpose(k * root))
    product = scores
    rows, columns = scores.shape[2:]
    bias: Any = 0.0
    if mask is not None:
        shown = mask
        if shown.shape[-1] < columns:  # what a mask does not reach is not seen
            none = False if str(mask.dtype).endswith("bool") else -math.inf
            more = [(0, 0)] * (mask.ndim - 1) + [(0, columns - mask.shape[-1])]
            shown = beside(mask, np.pad(host(mask), more, constant_values=none))
        bias = _bias(shown, scores)
    at = np.arange(rows)[:, None] + past  # where each query stands among the keys
    if lengths is not None and past_key is None:
        at = np.arange(rows)[:, None] + host(lengths).reshape(-1, 1, 1, 1) - rows
    left, right = node.get("left_window_size", -1), node.get("right_window_size", -1)
    if node.get("is_causal", 0):
        right = 0 if right < 0 else min(right, 0)
    if left >= 0 or right >= 0:
        keys = np.arange(columns)
        seen = np.ones(np.broadcast_shapes(at.shape, keys.shape), bool)
        if left >= 0:
            seen &= keys >= at - left
        if right >= 0:
            seen &= keys <= at + right
        bias = bias + _bias(beside(q, seen), scores)
    if lengths is not None:
        inside = np.arange(columns) < host(lengths).reshape(-1, 1, 1, 1)
        bias = bias + _bias(beside(q, inside), scores)
    masked = scores if isinstance(bias, float) else scores + bias
    cap = node.get("softcap", 0.0)
    mode = node.get("qk_matmul_output_mode", 0)
    capped = ops.tanh(scores / cap) * cap if cap else scores
    if cap:
        masked = capped if isinstance(bias, float) else capped + bias
    weights = _softmax(masked)
    y = ops.matmul(weights, v)
    if flat:
        n, heads, steps, width = y.shape
        y = ops.reshape(ops.permute_dims(y, (0, 2, 1, 3)), (n, steps, heads * width))
    stages = (product, capped, masked, weights)
    return (y, *present, stages[mode])


def _softmax(x: Tensor) -> Tensor:
    """Along the last axis; a row that sees nothing gives 0."""
    empty = np.all(np.isneginf(host(x)), axis=-1, keepdims=True)
    if not empty.any():
        return ops.softmax(x, axis=-1)
    mask = beside(x, empty)
    y = ops.softmax(ops.where(mask, ops.zeros_like(x), x), axis=-1)
    return ops.where(mask, ops.zeros_like(y), y)


def _heads(x: Tensor, heads: int) -> Tensor:
    """(N, T, heads E) -> (N, heads, T, E)."""
    n, steps, width = x.shape
    return ops.permute_dims(ops.reshape(x, (n, steps, heads, width // heads)), (0, 2, 1, 3))


def _bias(mask: Tensor, scores: Tensor) -> Tensor:
    """A mask as what is added: 0 where a key is seen and -inf where not, or itself."""
    if not str(mask.dtype).endswith("bool"):
        return mask
    dtype = host(scores[:0]).dtype
    return beside(scores, np.where(host(mask), 0, -math.inf).astype(dtype))


@operator("RotaryEmbedding", static=(3,))
def rotary_embedding(
    node: Node, x: Tensor, cosines: Tensor, sines: Tensor, positions: Tensor | None = None
) -> Tensor:
    """Pairs of features turned by an angle of their position; the halves are a pair's members, or
    neighbours with `interleaved`."""
    flat = x.ndim == 3
    shape = x.shape
    if flat:
        x = _heads(x, node.get("num_heads"))
    width = node.get("rotary_embedding_dim", 0) or x.shape[3]
    turned, rest = x[..., :width], x[..., width:]
    if positions is not None:
        where = host(positions).astype(np.int64)
        cosines, sines = (
            ops.reshape(ops.take(a, beside(a, where.reshape(-1)), axis=0), (*where.shape, -1))
            for a in (cosines, sines)
        )
    cosines, sines = (ops.expand_dims(a[..., : width // 2], 1) for a in (cosines, sines))
    if node.get("interleaved", 0):
        a, b = turned[..., 0::2], turned[..., 1::2]
    else:
        a, b = turned[..., : width // 2], turned[..., width // 2 :]
    left, right = a * cosines - b * sines, b * cosines + a * sines
    if node.get("interleaved", 0):
        y = ops.reshape(ops.stack([left, right], axis=-1), turned.shape)
    else:
        y = ops.concat([left, right], axis=-1)
    if rest.shape[-1]:
        y = ops.concat([y, rest], axis=-1)
    if not flat:
        return y
    return ops.reshape(ops.permute_dims(y, (0, 2, 1, 3)), shape)
