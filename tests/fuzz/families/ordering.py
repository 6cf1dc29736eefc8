"""Order, running sums and products, places that are named; functions of numbers; matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnx import linalg, ops

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import functional, torch

NUMBERS = {
    "tan": "unit", "asin": "unit", "acos": "unit", "atan": "wide", "sinh": "normal",
    "cosh": "normal", "asinh": "wide", "atanh": "unit", "erfinv": "unit", "round": "normal",
    "signbit": "special",
}  # fmt: skip
PAIRS = {"atan2": "normal", "hypot": "wide", "remainder": "lattice", "floor_divide": "lattice"}
PAIRS |= {"copysign": "lattice"}


def ordering(draw: Draw) -> Case:
    kinds = [_numbers, _pairs, _sort, _running, _places, _triangle, _matrix, _distances]
    return draw.choice(kinds)(draw)


def _numbers(draw: Draw) -> Case:
    name = draw.choice(sorted(NUMBERS))
    x = draw.values(draw.shape(), draw.dtype(), NUMBERS[name])
    return Case(
        name,
        [Input(x, name != "signbit", draw.layout())],
        getattr(ops, name),
        lambda x: getattr(torch(), name)(x),
        slack=4,
    )


def _pairs(draw: Draw) -> Case:
    name = draw.choice(sorted(PAIRS))
    shape, dtype = draw.shape(), draw.dtype()
    a, b = (draw.values(s, dtype, PAIRS[name]) for s in (shape, draw.smaller(shape)))
    if name in ("remainder", "floor_divide"):
        b = np.where(b == 0, np.asarray(0.75, dtype), b)
    if name == "copysign":
        b = np.where(b == 0, np.asarray(draw.choice([0.0, -0.0]), dtype), b)
    return Case(
        name,
        [Input(a, name != "floor_divide", draw.layout()), Input(b, False, draw.layout())]
        if name in ("remainder", "floor_divide", "copysign")
        else [Input(a, layout=draw.layout()), Input(b, layout=draw.layout())],
        getattr(ops, name),
        lambda a, b: getattr(torch(), name)(a, b),
        slack=4,
    )


def _distinct(draw: Draw, shape: Any, dtype: str) -> Any:
    """Which of two equals comes first, PyTorch does not say."""
    count = int(np.prod(shape, dtype=int))
    return (draw.stream.permutation(count).reshape(shape) / 8 - count / 16).astype(dtype)


def _sort(draw: Draw) -> Case:
    shape, dtype = draw.shape(1), draw.dtype()
    axis = draw.axis(len(shape))
    x = Input(_distinct(draw, shape, dtype), layout=draw.layout())
    if draw.chance(0.4) and axis < len(shape):
        k, largest = draw.between(0, shape[axis]), draw.chance(0.6)
        return Case(
            f"topk({k}, {axis}, {largest})",
            [x],
            lambda x: tuple(ops.topk(x, k, axis=axis, largest=largest)),
            lambda x: tuple(torch().topk(x, k, dim=axis, largest=largest)),
            exact=True,
        )
    descending = draw.chance(0.5)
    name = draw.choice(["sort", "argsort"])
    x.grad = x.grad and name == "sort"

    def theirs(x: Any) -> Any:
        found = torch().sort(x, dim=axis, descending=descending, stable=True)
        return found[0] if name == "sort" else found[1]

    what = f"{name}({axis}, {descending})"
    f = getattr(ops, name)
    return Case(what, [x], lambda x: f(x, axis=axis, descending=descending), theirs, exact=True)


def _running(draw: Draw) -> Case:
    name = draw.choice(["cumulative_sum", "cumulative_prod", "logcumsumexp", "diff"])
    shape = draw.shape(1)
    axis = draw.axis(len(shape))
    kind = "lattice" if name in ("cumulative_prod", "diff") else "normal"
    x = Input(draw.values(shape, draw.dtype(), kind), layout=draw.layout())
    if name == "diff":
        n = draw.between(0, 3)
        return Case(
            f"diff({axis}, {n})",
            [x],
            lambda x: ops.diff(x, axis=axis, n=n),
            lambda x: torch().diff(x, n=n, dim=axis),
            exact=True,
            ours_may_refuse=n == 0,  # an axis that is not there
        )
    theirs = {"cumulative_sum": "cumsum", "cumulative_prod": "cumprod"}.get(name, name)
    return Case(
        f"{name}({axis})",
        [x],
        lambda x: getattr(ops, name)(x, axis=axis),
        lambda x: getattr(torch(), theirs)(x, dim=axis),
        cancels=True,
        slack=8,
    )


def _places(draw: Draw) -> Case:
    name = draw.choice(["take_along_axis", "scatter_add", "scatter", "masked_fill"])
    dtype, shape = draw.dtype(), draw.shape(1, 3, 9)
    x = Input(draw.values(shape, dtype, "lattice"), layout=draw.layout())
    if name == "masked_fill":
        mask = Input(draw.stream.random(draw.smaller(shape)) < 0.5, False)
        value = draw.choice([0, -1.5, float("-inf")])
        return Case(
            f"masked_fill({value})",
            [x, mask],
            lambda x, m: ops.masked_fill(x, m, value),
            lambda x, m: x.masked_fill(m, value),
            exact=True,
        )
    axis = draw.between(-len(shape), len(shape) - 1)
    length = shape[axis]
    wanted = list(shape)
    wanted[axis] = draw.between(0, 9) if name != "scatter" else draw.between(0, length)
    if length == 0:
        wanted[axis] = 0
    places = draw.whole(wanted, 0, max(1, length))
    if name == "scatter":  # no place twice: which value stays is nobody's promise
        order = np.argsort(draw.stream.random(shape), axis=axis)
        places = np.take(order, np.arange(wanted[axis]), axis=axis)
    inputs = [x, Input(places, False)]
    if name != "take_along_axis":
        inputs.append(Input(draw.values(wanted, dtype, "lattice"), layout=draw.layout()))
    theirs = {"take_along_axis": "gather"}.get(name, name)
    return Case(
        f"{name}({axis})",
        inputs,
        lambda x, i, *v: getattr(ops, name)(x, i, *v, axis=axis),
        lambda x, i, *v: getattr(torch(), theirs)(x, axis, i, *v),
        exact=True,
    )


def _triangle(draw: Draw) -> Case:
    name, k = draw.choice(["tril", "triu", "diagonal"]), draw.between(-3, 3)
    x = Input(draw.values(draw.shape(2, 4, 7), draw.dtype()), layout=draw.layout())
    if name == "diagonal":
        return Case(
            f"diagonal({k})",
            [x],
            lambda x: ops.diagonal(x, offset=k),
            lambda x: torch().diagonal(x, offset=k, dim1=-2, dim2=-1),
            exact=True,
        )
    f = getattr(ops, name)
    return Case(
        f"{name}({k})", [x], lambda x: f(x, k=k), lambda x: getattr(torch(), name)(x, k), exact=True
    )


def _matrix(draw: Draw) -> Case:
    """Well-conditioned ones: what is lost by others is nobody's fault."""
    name = draw.choice(["solve", "inv", "det", "slogdet", "cholesky", "matrix_power", "pinv"])
    dtype, lead, n = draw.dtype(), draw.shape(0, 2, 3), draw.between(1, 5)
    a = draw.values((*lead, n, n), dtype) / n + 2 * np.eye(n, dtype=dtype)
    if name == "cholesky":
        a = a @ np.swapaxes(a, -1, -2)
    inputs = [Input(a.astype(dtype), layout=draw.layout())]
    more: tuple[Any, ...] = ()
    if name == "solve":
        inputs.append(Input(draw.values((*lead, n, draw.between(1, 4)), dtype)))
    if name == "matrix_power":
        more = (draw.between(-2, 4),)

    def symmetric(x: Any) -> Any:
        return (x + x.mT) / 2 if name == "cholesky" else x

    def ours(x: Any, *rest: Any) -> Any:
        y = getattr(linalg, name)(symmetric(x), *rest, *more)
        return tuple(y) if name == "slogdet" else y

    def theirs(x: Any, *rest: Any) -> Any:
        y = getattr(torch().linalg, name)(symmetric(x), *rest, *more)
        return tuple(y) if name == "slogdet" else y

    return Case(f"linalg.{name}{more}", inputs, ours, theirs, slack=64, cancels=True)


def _distances(draw: Draw) -> Case:
    dtype, lead, width = draw.dtype(), draw.shape(0, 2, 4), draw.size(9, empty=False)
    name = draw.choice(["cdist", "cosine_similarity", "normalize"])
    if name == "cdist":
        p = draw.choice([1.0, 2.0, 3.0, float("inf")])
        shapes = [(*lead, draw.between(1, 6), width) for _ in range(2)]
        inputs = [Input(draw.values(s, dtype), layout=draw.layout()) for s in shapes]
        return Case(
            f"cdist({p})",
            inputs,
            lambda a, b: ops.cdist(a, b, p=p),
            lambda a, b: torch().cdist(a, b, p, "donot_use_mm_for_euclid_dist"),
            slack=8,
        )
    shape = (*lead, width)
    axis = draw.between(-len(shape), len(shape) - 1)
    if name == "normalize":
        p = draw.choice([1.0, 2.0, 3.0])
        x = Input(draw.values(shape, dtype), layout=draw.layout())
        return Case(
            f"normalize({p}, {axis})",
            [x],
            lambda x: ops.normalize(x, p=p, axis=axis),
            lambda x: functional().normalize(x, p=p, dim=axis),
            slack=8,
            cancels=True,
        )
    inputs = [Input(draw.values(s, dtype), layout=draw.layout()) for s in (shape, shape)]
    return Case(
        f"cosine_similarity({axis})",
        inputs,
        lambda a, b: ops.cosine_similarity(a, b, axis=axis),
        lambda a, b: functional().cosine_similarity(a, b, dim=axis),
        slack=8,
        cancels=True,
    )
