"""What comes to a layer or a function: bare arrays, lists, arrays of the other byte order."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnx import nn, ops

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import functional, torch
from .modules import fill

FORMS = ("array", "list", "foreign", "tensor")


def door(draw: Draw) -> Case:
    return draw.choice([_layer, _function, _two, _indices, _targets])(draw)


def _data(draw: Draw, shape: Any, kind: str = "normal") -> Input:
    """Floats in any form; a list is float32."""
    form = draw.choice(FORMS)
    dtype = "float32" if form == "list" else draw.dtype()
    if form == "list":
        shape = tuple(max(1, n) for n in shape)  # a list of nothing has no second axis
    return Input(draw.values(shape, dtype, kind), layout=draw.layout(), form=form)


def _layer(draw: Draw) -> Case:
    """A layer with its parameters, and data in any form; float64 beside float32 is refused."""
    shapes: dict[str, tuple[tuple[int, ...], tuple[Any, ...]]] = {
        "Linear": ((draw.size(), 3), (3, 2)),
        "Conv2d": ((draw.size(), 2, 4, 5), (2, 3, 2)),
        "Conv1d": ((draw.size(), 2, 5), (2, 3, 2)),
        "LayerNorm": ((draw.size(), 3), (3,)),
        "GroupNorm": ((max(1, draw.size()), 4, 3), (2, 4)),
        "RNN": ((3, max(1, draw.size()), 2), (2, 3)),
        "GRU": ((3, max(1, draw.size()), 2), (2, 3)),
        "LSTM": ((3, max(1, draw.size()), 2), (2, 3)),
        "PReLU": ((draw.size(), 3), ()),
    }
    name = draw.choice(sorted(shapes))
    shape, sizes = shapes[name]
    x = _data(draw, shape)
    dtype = x.values.dtype.name
    if draw.chance(0.1):
        dtype = "float64" if dtype == "float32" else "float32"
    names = [n for n, _ in getattr(nn, name)(*sizes).named_parameters()]
    parameters = [
        Input(draw.values(p.shape, dtype), parameter=True)
        for p in getattr(nn, name)(*sizes).parameters()
    ]
    mixed = dtype != x.values.dtype.name

    def ours(x: Any, *weights: Any) -> Any:
        layer = getattr(nn, name)(*sizes)
        fill(layer, names, weights)
        return layer(x)

    def theirs(x: Any, *weights: Any) -> Any:
        t = torch()
        if mixed and name == "PReLU":
            raise TypeError("two dtypes")
        layer = getattr(t.nn, name)(*sizes).to(x.dtype)
        return t.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x,))

    return Case(f"{name}{sizes}", [x, *parameters], ours, theirs, slack=4, cancels=True)


def _function(draw: Draw) -> Case:
    name = draw.choice(["relu", "exp", "tanh", "sigmoid", "abs", "softmax", "sum", "mean"])
    x = _data(draw, draw.shape(1, 3))
    rest = (0,) if name == "softmax" else ()
    return Case(
        name,
        [x],
        lambda x: getattr(ops, name)(x, *rest),
        lambda x: getattr(torch(), name)(x, *rest),
    )


def _two(draw: Draw) -> Case:
    """A tensor beside something else."""
    name = draw.choice(["add", "multiply", "maximum", "matmul"])
    shape = (draw.size(), max(1, draw.size()))
    other = _data(draw, shape[::-1] if name == "matmul" else shape)
    shape = other.values.shape[::-1] if name == "matmul" else other.values.shape
    x = Input(draw.values(shape, other.values.dtype.name), layout=draw.layout())
    pair = [x, other] if draw.chance(0.7) else [other, x]
    return Case(name, pair, getattr(ops, name), lambda a, b: getattr(torch(), name)(a, b))


def _indices(draw: Draw) -> Case:
    rows, form = draw.between(1, 9), draw.choice(FORMS)
    shape = (max(1, draw.size()),)
    dtype = "int64" if form == "list" else draw.index_dtype(0, rows - 1)
    index = Input(draw.whole(shape, 0, rows, dtype), layout=draw.layout(), form=form)
    table = Input(draw.values((rows, 3), draw.dtype()), layout=draw.layout())
    name = draw.choice(["take", "embedding", "getitem"])

    def ours(x: Any, i: Any) -> Any:
        if name == "take":
            return ops.take(x, i, 0)
        return ops.embedding(x, i) if name == "embedding" else x[i]

    return Case(name, [table, index], ours, lambda x, i: x[i.to(torch().int64)])


def _targets(draw: Draw) -> Case:
    n, classes, form = max(1, draw.size()), draw.between(1, 9), draw.choice(FORMS)
    name = draw.choice(["cross_entropy", "mse_loss", "binary_cross_entropy_with_logits"])
    x = Input(draw.values((n, classes), draw.dtype()), layout=draw.layout())
    t: Any
    if name == "cross_entropy":
        dtype = "int64" if form == "list" else draw.index_dtype(0, classes - 1)
        t = draw.whole((n,), 0, classes, dtype)
    else:
        t = np.asarray(draw.whole((n, classes), 0, 2), draw.choice(["float32", "float64", "uint8"]))
    target = Input(t, False, draw.layout(), form=form)

    def theirs(x: Any, t: Any) -> Any:
        t = t.to(torch().int64 if name == "cross_entropy" else x.dtype)
        return getattr(functional(), name)(x, t)

    return Case(name, [x, target], getattr(ops, name), theirs, cancels=True)
