"""Random programs of ten operations: values are used again, seen through views, broadcast.

What a program does is decided while it runs, by a stream of its own and the shapes it meets; both
libraries meet the same shapes and so run the same program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nnx
from nnx import ops

from ..case import Case, Input
from ..draw import Draw, elements
from ..pytorch import torch

STEPS = 10
LEAVES = 3


def program(draw: Draw) -> Case:
    shape, dtype = draw.shape(1, 3, 9), draw.dtype()
    shape = tuple(max(n, 1) for n in shape)
    leaves = [
        Input(draw.values(s, dtype), draw.chance(0.9), draw.layout())
        for s in (shape, draw.smaller(shape), shape[-1:])
    ]
    seed = draw.between(0, 10**6)
    says = ["?"]  # filled in when the program has run

    def run(library: Any, *values: Any) -> Any:
        y, says[0] = _run(library, seed, list(values))
        return y

    case = Case(
        "", leaves, lambda *xs: run(Ours, *xs), lambda *xs: run(Theirs, *xs), slack=8, cancels=True
    )
    case.says = _Later(says)  # type: ignore[assignment]
    return case


class _Later(str):
    """What a program did, which is known once it has run."""

    def __new__(cls, says: list[str]) -> _Later:
        self = super().__new__(cls, "a program")
        self.says = says  # type: ignore[attr-defined]
        return self

    def __format__(self, spec: str) -> str:
        return str(self.says[0])  # type: ignore[attr-defined]


class Ours:
    """The operations of a program by nnx's names."""

    tanh, sigmoid, sin, relu, abs = ops.tanh, ops.sigmoid, ops.sin, ops.relu, ops.abs
    softmax, cumsum, flip, permute = ops.softmax, ops.cumulative_sum, ops.flip, ops.permute_dims
    maximum, minimum, broadcast_to, where = ops.maximum, ops.minimum, ops.broadcast_to, ops.where
    logsumexp, matmul, concat, stack, unstack = (
        ops.logsumexp, ops.matmul, ops.concat, ops.stack, ops.unstack
    )  # fmt: skip

    @staticmethod
    def detach(x: Any) -> Any:
        return x.detach()

    @staticmethod
    def sum(x: Any, axis: int, keep: bool) -> Any:
        return x.sum(axis=axis, keepdims=keep)

    @staticmethod
    def mean(x: Any, axis: int, keep: bool) -> Any:
        return x.mean(axis=axis, keepdims=keep)

    @staticmethod
    def max(x: Any, axis: int, keep: bool) -> Any:
        return x.max(axis=axis, keepdims=keep)

    @staticmethod
    def unsqueeze(x: Any, axis: int) -> Any:
        return ops.expand_dims(x, axis)


class Theirs:
    """The same in PyTorch."""

    tanh = staticmethod(lambda x: x.tanh())
    sigmoid = staticmethod(lambda x: x.sigmoid())
    sin = staticmethod(lambda x: x.sin())
    relu = staticmethod(lambda x: x.relu())
    abs = staticmethod(lambda x: x.abs())
    softmax = staticmethod(lambda x, axis: x.softmax(axis))
    logsumexp = staticmethod(lambda x, axis: x.logsumexp(axis))
    cumsum = staticmethod(lambda x, axis: x.cumsum(axis))
    flip = staticmethod(lambda x, axis: x.flip(axis))
    permute = staticmethod(lambda x, order: x.permute(order))
    maximum = staticmethod(lambda a, b: torch().maximum(a, b))
    minimum = staticmethod(lambda a, b: torch().minimum(a, b))
    broadcast_to = staticmethod(lambda x, shape: torch().broadcast_to(x, shape))
    where = staticmethod(lambda m, a, b: torch().where(m, a, b))
    matmul = staticmethod(lambda a, b: torch().matmul(a, b))
    concat = staticmethod(lambda xs, axis: torch().cat(xs, axis))
    stack = staticmethod(lambda xs, axis: torch().stack(xs, axis))
    unstack = staticmethod(lambda x, axis: torch().unbind(x, axis))
    detach = staticmethod(lambda x: x.detach())
    sum = staticmethod(lambda x, axis, keep: x.sum(axis, keepdim=keep))
    mean = staticmethod(lambda x, axis, keep: x.mean(axis, keepdim=keep))
    max = staticmethod(lambda x, axis, keep: x.max(axis, keepdim=keep).values)
    unsqueeze = staticmethod(lambda x, axis: x.unsqueeze(axis))


def _in_place(lib: Any, values: list[Any], a: int) -> Any:
    """Change a leaf in place where nothing is recorded; what was computed from it stays.

    In PyTorch the change is part of the record: a constant, which no gradient sees.  (Changed in
    place, a leaf that some backward needs would be an error there.)
    """
    if lib is Ours:
        with nnx.no_grad():
            values[a] *= 1
            values[a] += 0.5
    else:
        values[a] = values[a] + 0.5
    return values[a] * 1


def _run(lib: Any, seed: int, values: list[Any]) -> tuple[list[Any], str]:
    """Ten steps; the results of the last three, and what was done."""
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(STEPS):
        name = STEP_NAMES[int(rng.integers(len(STEP_NAMES)))]
        a = int(rng.integers(len(values)))
        b = int(rng.integers(max(0, len(values) - 3), len(values)))
        if name == "in place":
            y = _in_place(lib, values, a % LEAVES)
        else:
            y = STEPS_BY_NAME[name](lib, values[a], values[b], rng)
        if y is None or elements(y.shape) > 2000:  # it does not suit these shapes
            y, name = values[a] * 0.5, "half"
        said.append(f"v{len(values)} = {name}(v{a}, v{b})")
        values.append(y)
    return values[-3:], "; ".join(said)


def _axis(x: Any, rng: Any) -> int:
    return int(rng.integers(-len(x.shape), len(x.shape)))


def _fit(a: Any, b: Any) -> bool:
    """Whether two shapes broadcast."""
    pairs = zip(reversed(a.shape), reversed(b.shape), strict=False)
    return all(m == n or 1 in (m, n) for m, n in pairs)


Step = Callable[[Any, Any, Any, Any], Any]


def _of_axis(f: Callable[[Any, Any, int], Any]) -> Step:
    """A step of the first operand and an axis of it."""

    def step(lib: Any, a: Any, b: Any, rng: Any) -> Any:
        return f(lib, a, _axis(a, rng)) if len(a.shape) and 0 not in a.shape else None

    return step


def _of_two(f: Callable[[Any, Any, Any], Any]) -> Step:
    return lambda lib, a, b, rng: f(lib, a, b) if _fit(a, b) else None


def _sliced(lib: Any, a: Any, b: Any, rng: Any) -> Any:
    if not len(a.shape):
        return None
    start, step = int(rng.integers(0, 2)), int(rng.integers(1, 3))
    return a[start::step] if a.shape[0] > start else None


def _cross(lib: Any, a: Any, b: Any, rng: Any) -> Any:
    """a a^T of the rows of a."""
    if len(a.shape) < 2 or 0 in a.shape:
        return None
    rows = a.reshape((a.shape[0], -1))
    return lib.matmul(rows, lib.permute(rows, (1, 0))) * (1 / rows.shape[1])


def _transposed(lib: Any, a: Any, b: Any, rng: Any) -> Any:
    order = tuple(int(k) for k in rng.permutation(len(a.shape)))
    return lib.permute(a, order) if order else None


def _joined(lib: Any, a: Any, b: Any, rng: Any) -> Any:
    if a.shape != b.shape or not len(a.shape):
        return None
    return lib.concat((a, b, a), -1)


def _stacked(lib: Any, a: Any, b: Any, rng: Any) -> Any:
    return lib.stack((b, a), 0) if a.shape == b.shape and len(a.shape) < 4 else None


STEPS_BY_NAME: dict[str, Step] = {
    "tanh": lambda lib, a, b, rng: lib.tanh(a),
    "sigmoid": lambda lib, a, b, rng: lib.sigmoid(a),
    "sin": lambda lib, a, b, rng: lib.sin(a),
    "relu": lambda lib, a, b, rng: lib.relu(a),
    "abs": lambda lib, a, b, rng: lib.abs(a),
    "minus": lambda lib, a, b, rng: -a,
    "square": lambda lib, a, b, rng: lib.tanh(a) * lib.tanh(a),
    "one minus": lambda lib, a, b, rng: 1 - a,
    "detached": lambda lib, a, b, rng: a + lib.detach(a) * 0.5,
    "flat": lambda lib, a, b, rng: a.reshape((-1,)),
    "add": _of_two(lambda lib, a, b: a + b),
    "subtract": _of_two(lambda lib, a, b: a - b),
    "multiply": _of_two(lambda lib, a, b: lib.tanh(a) * b),
    "divide": _of_two(lambda lib, a, b: a / (1.5 + lib.sigmoid(b))),
    "maximum": _of_two(lambda lib, a, b: lib.maximum(a, b)),
    "minimum": _of_two(lambda lib, a, b: lib.minimum(a, b)),
    "where": _of_two(lambda lib, a, b: lib.where(a > b, a * 0.5, b)),
    "sum": _of_axis(lambda lib, a, axis: lib.sum(a, axis, axis % 2 == 0)),
    "mean": _of_axis(lambda lib, a, axis: lib.mean(a, axis, axis % 2 == 0)),
    "max": _of_axis(lambda lib, a, axis: lib.max(a, axis, axis % 2 == 0)),
    "softmax": _of_axis(lambda lib, a, axis: lib.softmax(a, axis)),
    "logsumexp": _of_axis(lambda lib, a, axis: lib.logsumexp(a, axis)),
    "cumsum": _of_axis(lambda lib, a, axis: lib.cumsum(a, axis)),
    "flip": _of_axis(lambda lib, a, axis: lib.flip(a, axis)),
    "unsqueeze": _of_axis(lambda lib, a, axis: lib.unsqueeze(a, axis)),
    "unstack": _of_axis(lambda lib, a, axis: lib.unstack(a, axis)[0]),
    "broadcast": lambda lib, a, b, rng: lib.broadcast_to(a, (2, *a.shape)),
    "sliced": _sliced,
    "cross": _cross,
    "transposed": _transposed,
    "joined": _joined,
    "stacked": _stacked,
}
STEP_NAMES = sorted([*STEPS_BY_NAME, "in place"])
