"""Attention with several heads."""

from __future__ import annotations

import math
from typing import Any

from ... import ops
from ...backends import backend_of, dtype_name
from ...ops._operands import as_tensor, require_one_dtype
from ...ops.attention import HeadsApart, HeadsTogether
from ...tensor import Tensor
from .. import init
from ..linear import Linear
from ..module import Module
from ..state import Parameter, new_parameter


class MultiheadAttention(Module):
    """Attention of `num_heads` heads side by side (Vaswani et al. 2017, 3.2.2).

    Head i of H sees its own d = E/H features of the projections:

        a_i = softmax(q_i k_iᵀ / √d + mask) v_i,     q = query W_qᵀ + b_q, and likewise k and v
        y = [a_1, ..., a_H] W_oᵀ + b_o

    `nnx.ops.attention` derives it, in blocks that never hold the scores; only where weights are
    asked for (`need_weights`) do they stand in memory.

    Args:
        embed_dim: E, the features of query and y.
        num_heads: H; it divides E.
        dropout: the probability to drop a weight, in training.
        bias: whether there are biases.
        add_bias_kv: one more key and value, learnt, `bias_k` and `bias_v`, after the others.
        add_zero_attn: one more, of zeros, after that.
        kdim, vdim: the features of key and of value; None: E.
        batch_first: query, key, value and y are (N, L, E) instead of (L, N, E).
        dtype: of the parameters; the inputs must have the same.

    Call: `y, weights = attention(query, key, value, key_padding_mask=None, need_weights=True,
    attn_mask=None, average_attn_weights=True, is_causal=False)`

        query    (L, N, E), (N, L, E) with batch_first, or (L, E) for one sequence
        key      (S, N, kdim), and value (S, N, vdim), likewise
        key_padding_mask      (N, S), or (S,): True where a key is *not* to be looked at, or numbers
                              that are added to the scores.  (The operation's mask is the inverse.)
        need_weights          False: weights is None, and the scores are never held
        attn_mask             (L, S), or (N H, L, S) for each head: likewise
        average_attn_weights  False: weights of each head
        is_causal             query l sees the keys 0 to l; where there is an attn_mask as well, it
                              is that which counts: this is then only what it is said to be
        y        like query; weights (N, L, S), or (N, H, L, S); without N for one sequence.  S
                 counts the keys that were added.

    A query that may look nowhere gets weights of NaN, and y of NaN; without weights 0 in place of
    what the heads see: both as in PyTorch.

    Parameters: in_proj_weight (3E, E), the rows of q, k and v one below the other, or, where kdim
    or vdim is another, q_proj_weight (E, E), k_proj_weight (E, kdim), v_proj_weight (E, vdim);
    in_proj_bias (3E,); bias_k, bias_v (1, 1, E); out_proj.weight (E, E), out_proj.bias (E,).
    Projections start from Glorot's uniform distribution, bias_k and bias_v from his normal one,
    out_proj.weight as `Linear`'s, the other biases from 0.

    Raises:
        ValueError: a size is not positive, num_heads does not divide embed_dim, or dropout is no
            probability; when called, shapes that do not fit.
        TypeError: the inputs and the parameters are of different dtypes, or a mask is of integers.
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: str = "float32",
    ) -> None:
        kdim = embed_dim if kdim is None else kdim
        vdim = embed_dim if vdim is None else vdim
        if min(embed_dim, num_heads, kdim, vdim) < 1 or embed_dim % num_heads:
            raise ValueError(
                "MultiheadAttention: embed_dim, num_heads, kdim and vdim must be positive, and "
                f"num_heads must divide embed_dim; got {embed_dim}, {num_heads}, {kdim} and {vdim}"
            )
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"MultiheadAttention: dropout must be between 0 and 1, got {dropout}")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim, self.dropout, self.batch_first = kdim, vdim, dropout, batch_first
        self.add_zero_attn = add_zero_attn
        shapes: dict[str, tuple[int, ...] | None] = dict.fromkeys(
            ["in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias"]
        )
        if kdim == vdim == embed_dim:
            shapes["in_proj_weight"] = (3 * embed_dim, embed_dim)
        else:
            for name, features in (("q", embed_dim), ("k", kdim), ("v", vdim)):
                shapes[f"{name}_proj_weight"] = (embed_dim, features)
        if bias:
            shapes["in_proj_bias"] = (3 * embed_dim,)
        shapes |= dict.fromkeys(["bias_k", "bias_v"], (1, 1, embed_dim) if add_bias_kv else None)
        for name, shape in shapes.items():
            self.register_parameter(name, None if shape is None else new_parameter(shape, dtype))
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        self.out_proj.reset_parameters()
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)
        for name, p in self.named_parameters(recurse=False):
            if name == "in_proj_bias":
                init.zeros_(p)
            elif name.startswith("bias"):
                init.xavier_normal_(p)
            else:
                init.xavier_uniform_(p)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        name = "MultiheadAttention"
        same = key is query and value is query
        query = as_tensor(name, query)
        key, value = as_tensor(name, key, query), as_tensor(name, value, query)
        self._check(query, key, value)
        batched = query.ndim == 3
        if not batched:
            axis = 0 if self.batch_first else 1
            query, key, value = (ops.expand_dims(a, axis=axis) for a in (query, key, value))
        q, k, v = self._projections(query, key, value, same)  # each (N, H, length, d)
        k, v, added = self._with_more_keys(k, v)
        scores = (*q.shape[:3], k.shape[2])
        mask = self._mask(attn_mask, key_padding_mask, scores, added, q)
        causal = is_causal and attn_mask is None
        drop = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            weights = self._weights(q, k, mask, self._causal(scores, added, q) if causal else None)
            weights = ops.dropout(weights, drop, drop > 0)
            y = ops.matmul(weights, v)
            if average_attn_weights:
                weights = ops.mean(weights, axis=1)
        else:
            if causal and added:  # these are seen by all
                mask, causal = _both(mask, self._causal(scores, added, q)), False
            y = ops.scaled_dot_product_attention(q, k, v, mask, drop, causal)
        y = self.out_proj(HeadsTogether(self.batch_first)(y))
        if not batched:
            y = ops.squeeze(y, axis=0 if self.batch_first else 1)
            weights = None if weights is None else ops.squeeze(weights, axis=0)
        return y, weights

    def _projections(self, query: Tensor, key: Tensor, value: Tensor, same: bool) -> list[Tensor]:
        """q, k and v, each (N, H, length, d)."""
        w, b = self.in_proj_weight, self.in_proj_bias
        if same and w is not None:
            apart = HeadsApart(3, self.num_heads, self.batch_first)
            return list(apart(ops.linear(query, w, b)))
        one: Any = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        weights = one if w is None else ops.split(w, 3)
        biases = (None, None, None) if b is None else ops.split(b, 3)
        return [
            HeadsApart(1, self.num_heads, self.batch_first)(ops.linear(x, w_x, b_x))[0]
            for x, w_x, b_x in zip((query, key, value), weights, biases, strict=True)
        ]

    def _with_more_keys(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, int]:
        """k and v (N, H, S, d) with the learnt pair and that of zeros; how many these are."""
        if self.bias_k is None and not self.add_zero_attn:
            return k, v, 0
        n, heads, _, d = k.shape
        keys, values = [k], [v]
        if self.bias_k is not None and self.bias_v is not None:
            for bias, several in ((self.bias_k, keys), (self.bias_v, values)):
                own = ops.reshape(bias, (1, heads, 1, d))
                several.append(ops.broadcast_to(own, (n, heads, 1, d)))
        if self.add_zero_attn:
            none = ops.zeros_like(k[:, :, :1] if k.shape[2] else keys[-1])
            keys.append(none)
            values.append(none)
        return ops.concat(keys, axis=2), ops.concat(values, axis=2), len(keys) - 1

    def _weights(self, q: Tensor, k: Tensor, mask: Tensor | None, causal: Tensor | None) -> Tensor:
        """softmax(q kᵀ / √d + mask), (N, H, L, S)."""
        s = ops.matmul(q * (1 / math.sqrt(self.head_dim)), ops.matrix_transpose(k))
        if causal is not None:
            mask = causal if mask is None else _both(mask, causal)
        if mask is None:
            return ops.softmax(s)
        if dtype_name(mask.dtype) == "bool":
            s, blind = ops.where(mask, s, -math.inf), ops.logical_not(mask)
        else:
            s, blind = s + mask, ops.equal(mask, -math.inf)
        blind = ops.all(blind, axis=-1, keepdims=True)  # what looks nowhere
        p = ops.softmax(ops.where(blind, 0.0, s))
        return ops.where(blind, math.nan, p)

    def _causal(self, scores: tuple[int, ...], added: int, like: Tensor) -> Tensor:
        """(L, S): where a query may look, at what was added too."""
        xp, (queries, keys) = backend_of(like.data).xp, scores[-2:]
        rows = xp.arange(queries, dtype=xp.int64, device=like.data.device)
        columns = xp.arange(keys, dtype=xp.int64, device=like.data.device)
        seen = columns <= xp.expand_dims(rows, axis=1)
        return Tensor(seen | (columns >= keys - added))

    def _mask(
        self, attn_mask: Any, key_padding_mask: Any, scores: tuple[int, ...], added: int, q: Tensor
    ) -> Tensor | None:
        """Both masks in one that broadcasts to (N, H, L, S), in the operation's sense."""
        if attn_mask is None and key_padding_mask is None:
            return None
        n, heads, queries, keys = scores
        keys -= added
        masks = []
        for what, given, allowed in (
            ("attn_mask", attn_mask, {(queries, keys): (1, 1, queries, keys),
                                      (n * heads, queries, keys): (n, heads, queries, keys)}),
            ("key_padding_mask", key_padding_mask, {(n, keys): (n, 1, 1, keys),
                                                    (n * keys,) if n == 1 else (n, keys):
                                                    (n, 1, 1, keys)}),
        ):  # fmt: skip
            if given is None:
                continue
            mask = as_tensor("MultiheadAttention", given, q)
            if mask.shape not in allowed:
                raise ValueError(
                    f"MultiheadAttention: {what} must have shape "
                    f"{' or '.join(map(str, allowed))} for {n} sequences of {queries} queries and "
                    f"{keys} keys, and {heads} heads; it has shape {mask.shape}"
                )
            mask = ops.reshape(mask, allowed[mask.shape])
            kind = dtype_name(mask.dtype)
            if kind == "bool":
                mask = ops.logical_not(mask)
            elif "float" in kind:
                mask = ops.astype(mask, q.dtype)
            else:
                raise TypeError(
                    f"MultiheadAttention: {what} must be of booleans, or of numbers that are "
                    f"added, floating-point; it is {kind}"
                )
            if added:  # these may always be seen
                more = (*mask.shape[:-1], added)
                seen = ops.ones_like if kind == "bool" else ops.zeros_like
                mask = ops.concat([mask, ops.broadcast_to(seen(mask[..., :1]), more)], axis=-1)
            masks.append(mask)
        if len(masks) < 2:
            return masks[0] if masks else None
        return _both(*masks)

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Raise unless the inputs fit the parameters and each other."""
        weight = self.out_proj.weight
        require_one_dtype(
            "MultiheadAttention", x=query, key=key, value=value, **{"out_proj.weight": weight}
        )
        shapes = query.shape, key.shape, value.shape
        features = self.embed_dim, self.kdim, self.vdim
        fits = len(query.shape) in (2, 3) and all(
            len(shape) == query.ndim and shape[-1] == d
            for shape, d in zip(shapes, features, strict=True)
        )
        if fits and query.ndim == 3:
            n = 0 if self.batch_first else 1
            fits = query.shape[n] == key.shape[n]
        if not fits or key.shape[:-1] != value.shape[:-1]:
            order = "(N, L, {})" if self.batch_first else "(L, N, {})"
            want = [order.format(d).replace("L", s) for d, s in zip(features, "LSS", strict=True)]
            raise ValueError(
                f"MultiheadAttention: query must be {want[0]}, key {want[1]} and value {want[2]}, "
                f"or each without N; query has shape {query.shape}, key {key.shape}, value "
                f"{value.shape}"
            )

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}"


def _both(one: Tensor | None, other: Tensor) -> Tensor:
    """A mask that holds where both do: of booleans, or of numbers, or one of each."""
    if one is None:
        return other
    is_bool = [dtype_name(m.dtype) == "bool" for m in (one, other)]
    if all(is_bool):
        return ops.logical_and(one, other)
    if is_bool[0]:
        one, other = other, one
    if any(is_bool):
        return ops.where(other, one, -math.inf)
    return one + other
