"""Attention: shapes that broadcast, masks of both kinds, and what is hidden altogether."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnx import nn, ops

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import functional, torch
from .modules import fill


def attention(draw: Draw) -> Case:
    return draw.choice([_products, _products, _heads])(draw)


def _length(draw: Draw) -> int:
    """Mostly small; sometimes more than one block of the scores."""
    return draw.size(20, empty=False) if draw.chance(0.95) or draw.cap else draw.choice([65, 130])


def _mask(draw: Draw, shape: tuple[int, ...], dtype: str) -> Any:
    """Which places are seen, every row one of them at least; as truth values or as summands."""
    seen = draw.stream.random(shape) < 0.7
    seen[..., 0] = True
    if draw.chance(0.5):
        return seen
    hidden = draw.choice([-np.inf, -3.0])
    return np.where(seen, draw.values(shape, dtype), hidden).astype(dtype)


def _products(draw: Draw) -> Case:
    dtype, lead = draw.dtype(), draw.shape(1, 2, 4)
    queries, keys, width = _length(draw), _length(draw), draw.size(20, empty=False)
    groups = draw.chance(0.2) and len(lead) == 2
    heads = (*lead[:-1], lead[-1] * draw.between(1, 3)) if groups else lead
    options: dict[str, Any] = {"enable_gqa": True} if groups else {}
    if draw.chance(0.3):
        options["scale"] = draw.choice([1.0, 0.5, 2.0])
    shapes = [(*heads, queries, width), (*lead, keys, width), (*lead, keys, draw.size(9))]
    inputs = [Input(draw.values(s, dtype), draw.chance(0.9), draw.layout()) for s in shapes]
    given = []
    if draw.chance(0.25):
        options["is_causal"] = True
    elif draw.chance(0.5):
        # PyTorch's rows must be seen too; its mask broadcasts to the scores
        rows = draw.smaller(heads) if draw.chance(0.5) else ()
        shape = (*rows, 1 if draw.chance(0.3) else queries, keys)
        inputs.append(Input(_mask(draw, shape, dtype), False))
        given = ["attn_mask"]
    return Case(
        f"scaled_dot_product_attention({options}, {given})",
        inputs,
        lambda q, k, v, *mask: ops.scaled_dot_product_attention(q, k, v, *mask, **options),
        (
            lambda q, k, v, *mask: functional().scaled_dot_product_attention(
                q, k, v, *mask, **options
            )
        )
        if all(0 not in s for s in shapes)
        else None,
        slack=4,
        cancels=True,
    )


def _heads(draw: Draw) -> Case:
    dtype, heads = draw.dtype(), draw.between(1, 4)
    width = heads * draw.between(1, 5)
    batch, queries, keys = draw.between(1, 3), draw.between(1, 7), draw.between(1, 7)
    options: dict[str, Any] = {"batch_first": draw.chance(0.7), "bias": draw.chance(0.7)}
    if draw.chance(0.2):
        options["add_zero_attn"] = True
    if draw.chance(0.3):
        options |= {"kdim": draw.between(1, 5), "vdim": draw.between(1, 5)}
    call: dict[str, Any] = {"need_weights": draw.chance(0.5)}
    if call["need_weights"]:
        call["average_attn_weights"] = draw.chance(0.5)
    widths = [width, options.get("kdim", width), options.get("vdim", width)]
    lengths = [queries, keys, keys]
    shapes = [
        (batch, n, c) if options["batch_first"] else (n, batch, c)
        for n, c in zip(lengths, widths, strict=True)
    ]
    inputs = [Input(draw.values(s, dtype), draw.chance(0.8), draw.layout()) for s in shapes]
    masks: dict[str, Any] = {}
    if draw.chance(0.4):
        hidden = draw.stream.random((batch, keys)) < 0.4
        hidden[:, 0] = False
        masks["key_padding_mask"] = hidden
    if draw.chance(0.4):
        hidden = draw.stream.random((queries, keys)) < 0.4
        hidden[:, 0] = False
        masks["attn_mask"] = hidden
    module = nn.MultiheadAttention(width, heads, dtype=dtype, **options)
    names = [name for name, _ in module.named_parameters()]
    inputs += [Input(mask, False) for mask in masks.values()]
    inputs += [Input(draw.values(p.shape, dtype) / 2, parameter=True) for p in module.parameters()]

    def ours(q: Any, k: Any, v: Any, *rest: Any) -> Any:
        layer = nn.MultiheadAttention(width, heads, dtype=dtype, **options)
        fill(layer, names, rest[len(masks) :])
        given = dict(zip(masks, rest, strict=False))
        return [t for t in layer(q, k, v, **given, **call) if t is not None]

    def theirs(q: Any, k: Any, v: Any, *rest: Any) -> Any:
        t = torch()
        given = dict(zip(masks, rest, strict=False))
        values = dict(zip(names, rest[len(masks) :], strict=True))
        layer = t.nn.MultiheadAttention(width, heads, **options).to(q.dtype)
        found = t.func.functional_call(layer, values, (q, k, v), {**given, **call})
        return [t for t in found if t is not None]

    what = f"MultiheadAttention({width}, {heads}, {options})({call}, {sorted(masks)})"
    return Case(what, inputs, ours, theirs, slack=4, cancels=True)
