"""Losses of pairs, of likelihoods, of several labels, and of sequences without alignment."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnx import ops

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import functional, torch
from .functions import named


def more_losses(draw: Draw) -> Case:
    kinds = [_ranking, _cosine, _triplet, _distance, _likelihood, _labels, _label_lists, _ctc]
    return draw.choice(kinds)(draw)


def _reduction(draw: Draw) -> dict[str, Any]:
    return {"reduction": draw.choice(["mean", "sum", "none"])}


def _signs(draw: Draw, shape: Any, dtype: str) -> Input:
    signs = 2 * draw.whole(shape, 0, 2) - 1
    return Input(signs.astype(draw.choice([dtype, "int8", "int64"])), False, draw.layout())


def _ranking(draw: Draw) -> Case:
    dtype, shape = draw.dtype(), draw.shape(1)
    options = _reduction(draw)
    if draw.chance(0.5):
        options["margin"] = draw.choice([0.5, -0.25, 2.0])
    pair = [Input(draw.values(shape, dtype, "lattice"), layout=draw.layout()) for _ in range(2)]
    exact = options["reduction"] == "none"
    return named("margin_ranking_loss", options, [*pair, _signs(draw, shape, dtype)], exact=exact)


def _cosine(draw: Draw) -> Case:
    dtype = draw.dtype()
    lead, width = draw.choice([(), (max(1, draw.size()),)]), draw.size(20, empty=False)
    options = _reduction(draw)
    if draw.chance(0.5):
        options["margin"] = draw.choice([0.25, -0.5])
    pair = [Input(draw.values((*lead, width), dtype), layout=draw.layout()) for _ in range(2)]
    return named(
        "cosine_embedding_loss", options, [*pair, _signs(draw, lead, dtype)], slack=16, cancels=True
    )


def _power(draw: Draw) -> dict[str, Any]:
    return {"p": draw.choice([1.0, 2.0, 2.0, 3.0, 0.5])} if draw.chance(0.6) else {}


def _triplet(draw: Draw) -> Case:
    dtype, lead, width = draw.dtype(), draw.shape(1, 2), draw.size(20, empty=False)
    options = _reduction(draw) | _power(draw)
    options["swap"] = draw.chance(0.4)
    if draw.chance(0.5):
        options["margin"] = draw.choice([0.3, 4.0])
    three = [Input(draw.values((*lead, width), dtype), layout=draw.layout()) for _ in range(3)]
    # with p < 1 the slope has a pole where two numbers meet
    return named("triplet_margin_loss", options, three, slack=16, cancels=True)


def _distance(draw: Draw) -> Case:
    dtype, lead, width = draw.dtype(), draw.shape(0, 2), draw.size(20, empty=False)
    options = _power(draw)
    keep = draw.chance(0.3)
    pair = [Input(draw.values((*lead, width), dtype), layout=draw.layout()) for _ in range(2)]
    return Case(
        f"pairwise_distance({options}, {keep})",
        pair,
        lambda a, b: ops.pairwise_distance(a, b, keepdims=keep, **options),
        lambda a, b: functional().pairwise_distance(a, b, keepdim=keep, **options),
        slack=16,
    )


def _likelihood(draw: Draw) -> Case:
    dtype, shape = draw.dtype(), draw.shape(1)
    options = _reduction(draw) | {"full": draw.chance(0.4)}
    if draw.chance(0.5):
        x = Input(draw.values(shape, dtype), layout=draw.layout())
        t = Input(draw.values(shape, dtype), draw.chance(0.5), draw.layout())
        size = draw.choice([shape, (*shape[:-1], 1)])
        var = Input(draw.values(size, dtype, "positive"), draw.chance(0.8), draw.layout())
        return named("gaussian_nll_loss", options, [x, t, var], slack=4)
    options["log_input"] = draw.chance(0.6)
    values = draw.values(shape, dtype, "normal" if options["log_input"] else "positive")
    t = Input(draw.whole(shape, 0, 9).astype(dtype), False, draw.layout())
    return named("poisson_nll_loss", options, [Input(values, layout=draw.layout()), t], slack=4)


def _labels(draw: Draw) -> Case:
    dtype, lead, classes = draw.dtype(), draw.shape(1, 2), draw.size(20, empty=False)
    options = _reduction(draw)
    shape = (*lead, classes)
    x = draw.values(shape, dtype) * draw.choice([1, 30])
    t = draw.whole(shape, 0, 2).astype(dtype)
    inputs = [Input(x.astype(dtype), layout=draw.layout()), Input(t, False, draw.layout())]
    if draw.chance(0.4):
        inputs.append(Input(draw.values((classes,), dtype, "positive"), False))
    return named("multilabel_soft_margin_loss", options, inputs)


def _label_lists(draw: Draw) -> Case:
    dtype, classes = draw.dtype(), draw.size(20, empty=False)
    shape = draw.choice([(classes,), (max(1, draw.size()), classes)])
    t = np.full(shape, -1, "int64")
    for row in t.reshape(-1, classes):
        count = int(draw.stream.integers(0, classes + 1))
        row[:count] = draw.stream.permutation(classes)[:count]
        if count + 1 < classes:  # what stands behind the first -1 does not count
            row[count + 1 :] = draw.stream.integers(0, classes, classes - count - 1)
    inputs = [Input(draw.values(shape, dtype, "lattice"), layout=draw.layout()), Input(t, False)]
    return named("multilabel_margin_loss", _reduction(draw), inputs)


def _ctc(draw: Draw) -> Case:
    dtype, steps = draw.dtype(), draw.size(20, empty=False)
    n, classes = draw.between(1, 4), draw.between(2, 6)
    longest = draw.between(1, 6)
    blank = draw.between(0, classes - 1)
    options = _reduction(draw) | {"blank": blank, "zero_infinity": draw.chance(0.4)}
    logits = draw.values((steps, n, classes), dtype)
    others = [c for c in range(classes) if c != blank]
    rows = draw.stream.choice(others, (n, longest))
    lengths = draw.whole((n,), 0 if draw.chance(0.3) else 1, longest + 1)
    times = draw.whole((n,), 1, steps + 1)
    if draw.chance(0.3):  # one row after the other
        rows = np.concatenate([row[:k] for row, k in zip(rows, lengths, strict=True)])

    def of(log_softmax: Any, module: Any, x: Any, target: Any) -> Any:
        return module.ctc_loss(log_softmax(x), target, times.tolist(), lengths.tolist(), **options)

    return Case(
        f"ctc_loss({options}) {times.tolist()} {lengths.tolist()}",
        [Input(logits, layout=draw.layout()), Input(np.asarray(rows, "int64"), False)],
        lambda x, t: of(lambda x: ops.log_softmax(x, axis=-1), ops, x, t),
        lambda x, t: of(lambda x: torch().log_softmax(x, -1), functional(), x, t),
        slack=16,
        cancels=True,
    )
