"""Products: matmul, dense layers, einsum, tensordot, vecdot."""

from __future__ import annotations

from typing import Any

from nnx import ops

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import functional, torch


def product(draw: Draw) -> Case:
    return draw.choice([_matmul, _linear, _linear, _einsum, _einsum, _tensordot, _vecdot])(draw)


def _inputs(draw: Draw, *shapes: Any) -> list[Input]:
    dtype = draw.dtype()
    kind = draw.choice(["normal", "lattice"])
    return [Input(draw.values(s, dtype, kind), draw.chance(0.85), draw.layout()) for s in shapes]


def _matmul(draw: Draw) -> Case:
    i, j, k = draw.size(70), draw.size(70), draw.size(70)
    stack = draw.shape(0, 2, 5)
    a, b = draw.smaller(stack), draw.smaller(stack)
    inner = j + 1 if draw.chance(0.03) else j
    first = (j,) if draw.chance(0.15) else (*a, i, j)
    second = (inner,) if draw.chance(0.15) else (*b, inner, k)
    return Case(
        "matmul",
        _inputs(draw, first, second),
        ops.matmul,
        lambda a, b: torch().matmul(a, b),
    )


def _linear(draw: Draw) -> Case:
    rows, d, o = draw.shape(0, 3), draw.size(130), draw.size(130)
    bias = draw.chance(0.7)
    relu = draw.chance(0.4)
    wrong = d + 1 if draw.chance(0.03) else d
    shapes = [(*rows, d), (o, wrong)] + ([(o,)] if bias else [])

    def theirs(*xs: Any) -> Any:
        y = functional().linear(*xs)
        return y.relu() if relu else y

    return Case(
        "linear_relu" if relu else "linear",
        _inputs(draw, *shapes),
        ops.linear_relu if relu else ops.linear,
        theirs,
    )


def _einsum(draw: Draw) -> Case:
    """Random subscripts: each operand some letters, the result some of all."""
    letters = "abcde"
    lengths = {c: draw.size(6) for c in letters}
    count = draw.between(1, 3)
    terms = ["".join(draw.choice(letters) for _ in range(draw.between(1, 3))) for _ in range(count)]
    if draw.chance(0.8):  # an index twice in one operand: its diagonal
        terms = ["".join(dict.fromkeys(t)) for t in terms]
    seen = sorted(set("".join(terms)))
    out = "".join(c for c in draw.rng.permutation(seen) if draw.chance(0.5))
    lead: tuple[int, ...] = ()
    dots = ""
    if draw.chance(0.2):
        lead, dots = draw.shape(1, 2, 5), "..."
    spec = ",".join(dots + t for t in terms)
    if draw.chance(0.85):
        spec += "->" + dots + out
    shapes = [(*draw.smaller(lead), *[lengths[c] for c in t]) for t in terms]
    return Case(
        f"einsum({spec!r})",
        _inputs(draw, *shapes),
        lambda *xs: ops.einsum(spec, *xs),
        lambda *xs: torch().einsum(spec, *xs),
        slack=2,
    )


def _tensordot(draw: Draw) -> Case:
    shared = draw.between(0, 2)
    mid = draw.shape(shared, shared)
    a, b = draw.shape(0, 2) + mid, mid + draw.shape(0, 2)
    return Case(
        f"tensordot(axes={shared})",
        _inputs(draw, a, b),
        lambda a, b: ops.tensordot(a, b, shared),
        lambda a, b: torch().tensordot(a, b, shared),
    )


def _vecdot(draw: Draw) -> Case:
    shape = draw.shape(1, 3)
    axis = draw.choice([-1, -1, -len(shape)])
    other = shape
    return Case(
        f"vecdot(axis={axis})",
        _inputs(draw, shape, other),
        lambda a, b: ops.vecdot(a, b, axis=axis),
        lambda a, b: torch().linalg.vecdot(a, b, dim=axis),
    )
