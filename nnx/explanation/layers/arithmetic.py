"""Operations of two operands: what the nodes of a computation graph do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import ops
from ..arrays import Named
from ..expression import Expr, Num, call, total
from ..writer import Index, Writer
from .linear import shape


@dataclass(frozen=True)
class Pair:
    """An operation of two numbers, as it is written, and its derivative by each."""

    formula: str
    slopes: tuple[str, str]
    y: Callable[[Num, Num], Expr]
    by_a: Callable[[Num, Num], Expr]
    by_b: Callable[[Num, Num], Expr]


ONE = Num(1.0)
PAIRS: dict[Any, Pair] = {
    ops.add: Pair(
        "y = a + b", ("da = g", "db = g"), lambda a, b: a + b, lambda a, b: ONE, lambda a, b: ONE
    ),
    ops.subtract: Pair(
        "y = a - b", ("da = g", "db = -g"), lambda a, b: a - b, lambda a, b: ONE, lambda a, b: -ONE
    ),
    ops.multiply: Pair(
        "y = a b", ("da = g b", "db = g a"), lambda a, b: a * b, lambda a, b: b, lambda a, b: a
    ),
    ops.divide: Pair(
        "y = a / b",
        ("da = g / b", "db = -g a / b²"),
        lambda a, b: a / b,
        lambda a, b: 1.0 / b,
        lambda a, b: -(a / call("square", b)),
    ),
}


def operands(w: Writer) -> tuple[Named, Named]:
    """Both, a number as an array without axes."""
    a, b = (Named(name, x) for name, x in zip("ab", w.measured.inputs, strict=True))
    return a, b


def arithmetic(w: Writer) -> None:
    """y = f(a, b), number by number, broadcast."""
    m = w.measured
    pair = PAIRS[m.layer]
    a, b = operands(w)

    def from_y(x: Named, at: Index) -> Num:
        """The operand's number that was stretched to this place of y."""
        own = at[len(at) - x.array.ndim :]
        return x[tuple(0 if n == 1 else k for k, n in zip(own, x.shape, strict=True))]

    def gradient(x: Named, slope: Callable[[Num, Num], Expr]) -> Callable[[Index], Expr]:
        of: dict[Index, list[Index]] = {}
        for at in np.ndindex(m.y.shape):
            own = at[len(at) - x.array.ndim :]
            key = tuple(0 if n == 1 else k for k, n in zip(own, x.shape, strict=True))
            of.setdefault(key, []).append(at)
        return lambda at: total([g[k] * slope(from_y(a, k), from_y(b, k)) for k in of[at]])

    w.forward(a, b)
    w.derive(
        "y",
        m.y,
        lambda at: pair.y(from_y(a, at), from_y(b, at)),
        pair.formula,
        f"{shape(a)}, {shape(b)} -> {shape(m.y)}",
        "nnx.ops.arithmetic",
    )
    g = w.backward()
    if a.shape != m.y.shape or b.shape != m.y.shape:
        w.say("broadcast")
    for k, x, slope in ((0, a, pair.by_a), (1, b, pair.by_b)):
        if k in m.gradients:
            formula, moved = pair.slopes[k], f"{shape(g)} -> {shape(x)}"
            of_x = gradient(x, slope)
            w.derive(f"d{x.name}", m.gradients[k], of_x, formula, moved, "nnx.ops.arithmetic", k)
    w.check([("da", 0, "a"), ("db", 1, "b")])


def matmul(w: Writer) -> None:
    """y = a b of two matrices."""
    m = w.measured
    a, b = operands(w)
    (rows, inner), columns = a.shape, b.shape[1]
    w.forward(a, b)
    w.derive(
        "y",
        m.y,
        lambda at: total([a[at[0], j] * b[j, at[1]] for j in range(inner)]),
        "y[i, k] = Σ_j a[i, j] b[j, k]",
        f"{shape(a)} {shape(b)} -> {shape(m.y)}",
        "nnx.ops.linear.MatMul",
    )
    g = w.backward()
    if 0 in m.gradients:
        w.derive(
            "da",
            m.gradients[0],
            lambda at: total([g[at[0], k] * b[at[1], k] for k in range(columns)]),
            "da[i, j] = Σ_k g[i, k] b[j, k]",
            f"da = g bᵀ:  {shape(g)} {shape(b.array.T)} -> {shape(a)}",
            "nnx.ops.linear.MatMul",
            key=0,
        )
    if 1 in m.gradients:
        w.derive(
            "db",
            m.gradients[1],
            lambda at: total([a[i, at[0]] * g[i, at[1]] for i in range(rows)]),
            "db[j, k] = Σ_i a[i, j] g[i, k]",
            f"db = aᵀ g:  {shape(a.array.T)} {shape(g)} -> {shape(b)}",
            "nnx.ops.linear.MatMul",
            key=1,
        )
    w.check([("da", 0, "a"), ("db", 1, "b")])


def are_numbers(layer: Any, inputs: list[Any]) -> bool:
    """Whether there are two operands, each of floating-point numbers or a number."""
    return len(inputs) == 2 and all(isinstance(x, int | float | np.ndarray) for x in inputs)


def are_matrices(layer: Any, inputs: list[Any]) -> bool:
    """Whether both are matrices, not stacks or vectors."""
    return len(inputs) == 2 and all(np.ndim(x) == 2 for x in inputs)
