"""Normalisation: by batch (in training and evaluation, with its statistics), layer and group."""

from __future__ import annotations

from typing import Any

from nnx import nn, ops

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import functional, torch


def norm(draw: Draw) -> Case:
    return draw.choice([_batch_norm, _batch_norm, _layer_norm, _group_norm])(draw)


def _input(draw: Draw, shape: Any, dtype: str, kind: str = "normal") -> Input:
    return Input(draw.values(shape, dtype, kind), draw.chance(0.9), draw.layout())


def _batch_norm(draw: Draw) -> Case:
    """A module with its buffers, called once or twice; all statistics are compared."""
    ndim = draw.choice([2, 3, 4, 4])
    dtype = draw.dtype()
    shape = (draw.size(), draw.size(20), *[draw.size(9) for _ in range(ndim - 2)])
    features = max(shape[1], 1)
    shape = (shape[0], features, *shape[2:])
    affine, track, training = draw.chance(0.8), draw.chance(0.8), draw.chance(0.6)
    momentum = draw.choice([0.1, 0.1, 0.5, None, 1.0])
    eps = draw.choice([1e-5, 1e-3])
    twice = draw.chance(0.3)
    inputs = [_input(draw, shape, dtype)]
    if affine:
        inputs += [
            Input(draw.values((features,), dtype), draw.chance(0.9), parameter=True)
            for _ in range(2)
        ]
    if track:
        inputs += [
            Input(draw.values((features,), dtype, kind), form="array")
            for kind in ("normal", "positive")
        ]
    options: dict[str, Any] = {
        "eps": eps, "momentum": momentum, "affine": affine, "track_running_stats": track
    }  # fmt: skip

    def ours(x: Any, *rest: Any) -> Any:
        layer = (nn.BatchNorm2d if ndim == 4 else nn.BatchNorm1d)(features, **options)
        layer.train(training)
        rest_ = list(rest)
        if affine:
            layer.weight, layer.bias = rest_[:2]
            rest_ = rest_[2:]
        if track:
            layer.running_mean, layer.running_var = rest_
        y = layer(x)
        if twice:
            y = y + layer(x * 2)
        return (y, layer.running_mean, layer.running_var) if track else y

    def theirs(x: Any, *rest: Any) -> Any:
        t = torch()
        layer = (t.nn.BatchNorm2d if ndim == 4 else t.nn.BatchNorm1d)(features, **options)
        layer = layer.to(x.dtype).train(training)
        names = (["weight", "bias"] if affine else []) + (
            ["running_mean", "running_var"] if track else []
        )
        state = {name: r.clone() for name, r in zip(names, rest, strict=True)}
        call = t.func.functional_call
        y = call(layer, state, (x,))
        if twice:
            # the second call goes on from the first one's statistics, and counts them
            if track and training:
                layer.num_batches_tracked.fill_(1)
            y = y + call(layer, state, (x * 2,))
        if not track:
            return y
        return y, state["running_mean"].detach(), state["running_var"].detach()

    says = f"BatchNorm({options}, training={training}, {'twice' if twice else 'once'})"
    few = 0 in shape  # nothing to take the statistics of: PyTorch's are NaN
    return Case(says, inputs, ours, theirs, slack=4, cancels=True, ours_may_refuse=few)


def _layer_norm(draw: Draw) -> Case:
    dtype = draw.dtype()
    shape = draw.shape(1, 4, 70)
    last = draw.between(1, len(shape))
    inner = shape[len(shape) - last :]
    affine = draw.choice([0, 1, 2])  # nothing, a weight, and a bias
    eps = draw.choice([1e-5, 1e-2])
    inputs = [_input(draw, shape, dtype), *[_input(draw, inner, dtype) for _ in range(affine)]]
    return Case(
        f"layer_norm({inner}, eps={eps})",
        inputs,
        lambda x, *more: ops.layer_norm(x, inner, *more, eps=eps),
        lambda x, *more: functional().layer_norm(x, inner, *more, eps=eps),
        ours_may_refuse=0 in inner,  # there is no mean of nothing
        slack=4,
        cancels=True,
    )


def _group_norm(draw: Draw) -> Case:
    dtype = draw.dtype()
    groups, each = draw.choice([1, 1, 2, 3]), max(1, draw.size(9))
    shape = (draw.size(), groups * each, *draw.shape(0, 2, 9))
    affine = draw.choice([0, 2])
    eps = draw.choice([1e-5, 1e-2])
    shape = (shape[0], shape[1], *(max(n, 1) for n in shape[2:]))
    inputs = [
        _input(draw, shape, dtype), *[_input(draw, (shape[1],), dtype) for _ in range(affine)]
    ]  # fmt: skip
    return Case(
        f"group_norm({groups}, eps={eps})",
        inputs,
        lambda x, *more: ops.group_norm(x, groups, *more, eps=eps),
        lambda x, *more: functional().group_norm(x, groups, *more, eps=eps),
        ours_may_accept=True,  # PyTorch refuses one value, for batch norm's reasons
        slack=4,
        cancels=True,
    )
