"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..backends import Array, dtype_name
from ..backends.portable.attention import Blocks
from ..tensor import Tensor
from ._broadcast import broadcast_shape
from ._function import Function, Several, Unary
from ._operands import as_tensor, require_one_dtype
from .array.autocast import in_low_precision
from .array.join import repeat
from .array.shape import expand_dims, reshape

if TYPE_CHECKING:
    from ..random import Generator


class Attention(Function):
    """Y = D V, D = P Z, P = softmax(S), S = scale Q Kᵀ + M: Q (L, E), K (S, E), V (S, F) -> (L, F).

    (Vaswani et al. 2017, equation 1.)  M is the mask, numbers or -∞ where a query may not look; Z
    is dropout's, 0 with probability p and else 1 / (1 - p), and 1 without it.

    Forward, without ever holding S (Milakov and Gimelshein 2018; Dao et al. 2022).  For one query,
    the scores s come in blocks.  With t the largest so far, l = sum e^(s - t) and
    a = sum z e^(s - t) v over the blocks so far, a new block with the largest score t' changes

        t_new = max(t, t'),   l = l e^(t - t_new) + sum e^(s - t_new),
                              a = a e^(t - t_new) + sum z e^(s - t_new) v

    since e^(s - t) e^(t - t_new) = e^(s - t_new).  At the end y = a / l: numerator and denominator
    of the softmax have the common factor e^-t.  A query that may look nowhere has l = 0; its y is
    0, PyTorch's rule, and so are its gradients.

    Backward.  Kept are y and λ = t + log l for each query (L,), from which a block's weights come
    back as p = e^(s - λ).  With G = dY,

        dV = Dᵀ G,     dD = G Vᵀ,     dP = dD Z,     dS = P (dP - δ),   δ[l] = sum_s P[l,s] dP[l,s]
        dQ = scale dS K,     dK = scale dSᵀ Q,     dM = dS

    (softmax's backward; products of P, Z and dP are number by number).  Nor does δ need a whole
    row: P dP = P Z dD = D dD, and the sum over s of D[l,s] sum_f G[l,f] V[s,f] is
    sum_f G[l,f] Y[l,f], so δ = sum_f G Y.

    Memory: O(L F) beside the operands, instead of O(L S).
    """

    def __init__(
        self, causal: bool, scale: float, keep: float = 1.0, generator: Generator | None = None
    ) -> None:
        self.causal, self.scale, self.keep, self.generator = causal, scale, keep, generator

    def forward(self, q: Array, k: Array, v: Array, mask: Array | None) -> Array:
        drop = None
        if self.generator is not None:
            place = self.generator.reserve(Blocks(q, k, v, self.causal).all_words())
            drop = (*place, round(self.keep * 2**32), 1.0 / self.keep if self.keep else 0.0)
        y, saved = self.backend.attention(q, k, v, mask, self.causal, self.scale, drop)
        if True in self.needs_input_grad:
            self.saved = saved
        return y

    def multiply_adds(self, q: Array, k: Array, v: Array, mask: Any = None) -> tuple[int, int]:
        stack = broadcast_shape("attention", q.shape[:-2], k.shape[:-2], v.shape[:-2])
        pairs = math.prod(stack) * q.shape[-2] * k.shape[-2]  # with those that a mask forbids
        scores, sums = pairs * q.shape[-1], pairs * v.shape[-1]
        for_q, for_k, for_v, *_ = self.needs_input_grad
        return scores + sums, scores * (for_q + for_k) + sums * (for_v + (for_q or for_k))

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        needs: Any = self.needs_input_grad
        return self.backend.attention_backward(g, self.saved, needs)


class HeadsApart(Several):
    """x (N, L, k H d) -> k tensors (N, H, L, d): part i of head h is x[n, l, i, h].

    Where the batch is not first, x is (L, N, k H d).  Every number goes to one place, so its
    gradient comes from there.
    """

    def __init__(self, parts: int, heads: int, batch_first: bool) -> None:
        self.parts, self.heads, self.batch_first = parts, heads, batch_first

    def forward(self, x: Array) -> tuple[Array, ...]:
        xp = self.backend.xp
        a, b, features = self.shape = x.shape
        x = xp.reshape(x, (a, b, self.parts, self.heads, features // (self.parts * self.heads)))
        order = (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3)
        return tuple([xp.permute_dims(x[:, :, k, ...], order) for k in range(self.parts)])

    def backward(self, *gradients: Array) -> Array:
        xp = self.backend.xp
        order = (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3)
        g = [xp.permute_dims(part, order) for part in gradients]
        return xp.reshape(g[0] if len(g) == 1 else xp.stack(g, axis=2), self.shape)


class HeadsTogether(Unary):
    """y (N, H, L, d) -> (N, L, H d), or (L, N, H d) where the batch is not first: the way back."""

    def __init__(self, batch_first: bool) -> None:
        self.batch_first = batch_first

    def forward(self, y: Array) -> Array:
        xp = self.backend.xp
        y = xp.permute_dims(y, (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3))
        self.apart = y.shape
        return xp.reshape(y, (*y.shape[:2], y.shape[2] * y.shape[3]))

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        g = xp.reshape(g, self.apart)
        return xp.permute_dims(g, (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3))


@in_low_precision
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """softmax(scale query keyᵀ + mask) value (Vaswani et al. 2017), for sequences of any length:
    the scores (L, S) are computed in blocks, forward and backward, and never held together.

    Args:
        query: (..., L, E).
        key: (..., S, E); the axes before the last two broadcast with query's.
        value: (..., S, F).
        attn_mask: broadcasts to (..., L, S): booleans, False where a query may *not* look; or
            numbers in query's dtype that are added to the scores, and may require a gradient.
        dropout_p: the probability to drop a weight, whether a model trains or not: 0.0 for none.
        is_causal: query l sees the keys 0 to l only; with `attn_mask` both hold.
        scale: None: 1/√E.
        enable_gqa: grouped queries (Ainslie et al. 2023): query has a multiple of the heads of key
            and value, which are axis -3, and each of theirs serves as many neighbours of query's.
        generator: what dropout draws from; None: the one that `nnx.manual_seed` sets.

    Returns:
        (..., L, F); 0 for a query that may look nowhere.

    Raises:
        ValueError: shapes that do not fit, or dropout_p is no probability.
        TypeError: query, key, value and a mask of numbers differ in dtype.
    """
    name = "scaled_dot_product_attention"
    query = as_tensor(name, query)
    key, value = as_tensor(name, key, query), as_tensor(name, value, query)
    require_one_dtype(name, query=query, key=key, value=value)
    if not 0.0 <= dropout_p <= 1.0:
        raise ValueError(f"{name}: dropout_p must be between 0 and 1, got {dropout_p}")
    mask = None if attn_mask is None else as_tensor(name, attn_mask, query)
    _check_shapes(name, query, key, value)
    grouped = enable_gqa and {x.shape[-3:-2] for x in (query, key, value)} != {query.shape[-3:-2]}
    if grouped:
        heads, groups = query.shape[-3], key.shape[-3]
        _check_groups(name, query, key, value)
        if value.shape[-3] != groups:
            key, value = (repeat(x, heads // x.shape[-3], axis=-3) for x in (key, value))
            grouped = False
        else:
            query = reshape(query, (*query.shape[:-3], groups, heads // groups, *query.shape[-2:]))
            key, value = expand_dims(key, axis=-3), expand_dims(value, axis=-3)
    batch = query.shape[:-2]
    if key.shape[:-2] != batch or value.shape[:-2] != batch:
        batch = broadcast_shape(name, batch, key.shape[:-2], value.shape[:-2])
        query, key, value = (_with_axes(x, len(batch) + 2) for x in (query, key, value))
    if mask is not None:
        _check_mask(name, mask, query)
        if grouped:
            mask = _grouped_mask(name, mask, heads, groups, (query.shape[-2], key.shape[-2]))
        scores = (*batch, query.shape[-2], key.shape[-2])
        if mask.ndim > len(scores) or broadcast_shape(name, mask.shape, scores) != scores:
            raise ValueError(
                f"{name}: attn_mask must broadcast to the scores, {scores}; it has shape "
                f"{mask.shape}; query {query.shape}, key {key.shape}"
            )
        mask = _with_axes(mask, len(scores))
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1] or 1)
    if dropout_p and generator is None:
        from ..random import default_generator  # here, so that `import nnx` need not load it

        generator = default_generator()
    function = Attention(is_causal, scale, 1 - dropout_p, generator if dropout_p else None)
    y = function(query, key, value, mask)
    return reshape(y, (*y.shape[:-4], heads, *y.shape[-2:])) if grouped else y


def _check_shapes(name: str, query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raise unless there are two axes and more, and those of products and of pairs agree."""
    shapes = query.shape, key.shape, value.shape
    if (
        min(map(len, shapes)) < 2
        or key.shape[-1] != query.shape[-1]
        or (key.shape[-2] != value.shape[-2])
    ):
        raise ValueError(
            f"{name}: query must be (..., L, E), key (..., S, E) and value (..., S, F); query has "
            f"shape {query.shape}, key {key.shape}, value {value.shape}"
        )


def _check_groups(name: str, query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raise unless the heads of key and value divide those of query."""
    several = [x.shape[-3] if x.ndim > 2 else 0 for x in (query, key, value)]
    if 0 in several or several[0] % several[1] or several[0] % several[2]:
        raise ValueError(
            f"{name}: with enable_gqa the heads of key and value, axis -3, must divide those of "
            f"query; there are {several[0]} heads of query, {several[1]} of key, {several[2]} of "
            f"value; query has shape {query.shape}, key {key.shape}, value {value.shape}"
        )


def _check_mask(name: str, mask: Tensor, query: Tensor) -> None:
    dtype = dtype_name(mask.dtype)
    if dtype != "bool" and mask.dtype != query.dtype:
        raise TypeError(
            f"{name}: attn_mask must be of booleans or of query's dtype; it is {dtype}, query "
            f"{dtype_name(query.dtype)}"
        )


def _grouped_mask(
    name: str, mask: Tensor, heads: int, groups: int, ends: tuple[int, int]
) -> Tensor:
    """A mask (..., heads, L, S) with its heads in groups, as query's are."""
    if mask.ndim < 3:
        return mask
    own = mask.shape[-3]
    if own not in (1, heads):
        raise ValueError(
            f"{name}: attn_mask must have 1 or {heads} heads on axis -3; it has shape {mask.shape}"
        )
    split = (1, 1) if own == 1 else (groups, heads // groups)
    return reshape(mask, (*mask.shape[:-3], *split, *mask.shape[-2:]))


def _with_axes(x: Tensor, ndim: int) -> Tensor:
    """x with axes of length 1 in front."""
    return x if x.ndim == ndim else reshape(x, (*(1,) * (ndim - x.ndim), *x.shape))
