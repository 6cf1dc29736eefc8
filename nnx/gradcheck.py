"""Is a backward the derivative of its forward?  Finite differences, for tests and for learning.

For a function f with Jacobian J, random directions v in its inputs and random cotangents u in its
outputs,

    u . (J v)       from central differences  (f(x + e v) - f(x - e v)) / (2 e)
    (J^T u) . v     from backward

must be the same number.  One such number sees every entry of J, where a check of entries one by
one takes as many calls of f as there are inputs.  The random u matters: u = 1, which is what
summing the output amounts to, cannot see mistakes that cancel in the sum (a softmax has
J^T 1 = 0, so any multiple of the right gradient would pass).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .backends import Array, backend_of, dtype_name
from .ops import multiply, sum
from .tensor import Tensor


class GradientError(AssertionError):
    """A backward that is not the derivative of its forward."""


def gradcheck(
    function: Callable[..., Any],
    *inputs: Any,
    parameters: Iterable[Tensor] = (),
    eps: float = 1e-6,
    tolerance: float = 1e-6,
    directions: int = 3,
    seed: int = 0,
) -> bool:
    """Check the gradients of `function(*inputs)` against finite differences.

        nnx.gradcheck(nnx.functional.softmax, np.random.randn(3, 4))
        nnx.gradcheck(model, x, parameters=model.parameters())

    Args:
        function: takes tensors, returns a tensor or several, and always the same values for the
            same inputs (fix the seed of anything random inside).
        inputs: float64 tensors or arrays, all of which are differentiated.
        parameters: further float64 tensors that the function uses and that are to be checked; what
            they hold is put back at the end, their `.grad` too.
        eps: the step, along directions whose components are of size 1.
        tolerance: the largest difference between the two numbers, relative to their size if that
            is above 1.
        directions: how many random directions to try.
        seed: of the random directions.

    Returns:
        True, so that it can stand in an assert.

    Raises:
        GradientError: backward disagrees with the differences; the message has both numbers, for
            all inputs together and for each alone.
        TypeError: an input is not float64: differences of float32 numbers are mostly rounding.
    """
    check = _Check(function, inputs, list(parameters), eps)
    rng = np.random.default_rng(seed)
    for _ in range(directions):
        vs = [check.random(rng, x) for x in check.arrays]
        exact, us = check.by_backward(vs, rng)
        numeric = check.by_differences(vs, us)
        if not abs(numeric - np.sum(exact)) <= tolerance * max(1.0, abs(numeric)):
            raise GradientError(check.explain(vs, us, exact, numeric))
    return True


class _Check:
    """One function at one point: everything it depends on, inputs first, as a list of arrays."""

    def __init__(
        self, function: Callable[..., Any], inputs: Any, parameters: list[Tensor], eps: float
    ) -> None:
        self.function, self.parameters, self.eps = function, parameters, eps
        self.count = len(inputs)
        self.arrays = [x.data if isinstance(x, Tensor) else x for x in (*inputs, *parameters)]
        self.home = backend_of(*self.arrays)
        for k, array in enumerate(self.arrays):
            if dtype_name(array.dtype) != "float64":
                raise TypeError(
                    f"gradcheck: {self.name(k)} must be float64, not {dtype_name(array.dtype)}: "
                    "differences of float32 numbers are mostly rounding"
                )

    def name(self, k: int) -> str:
        return f"input {k}" if k < self.count else f"parameter {k - self.count}"

    def random(self, rng: np.random.Generator, like: Array) -> Array:
        values = rng.standard_normal(tuple(like.shape)).astype(dtype_name(like.dtype))
        return self.home.xp.asarray(self.home.from_numpy(values), device=like.device)

    def dot(self, a: Array, b: Array) -> float:
        return float(self.home.xp.sum(a * b))

    def outputs(self, arrays: list[Array]) -> tuple[list[Tensor], list[Tensor]]:
        """Leaves that hold these arrays, and those outputs of the function that depend on them."""
        leaves = [Tensor(x, requires_grad=True) for x in arrays[: self.count]] + self.parameters
        for leaf, array in zip(self.parameters, arrays[self.count :], strict=True):
            leaf.data = array
        ys = self.function(*leaves[: self.count])
        found = [
            y
            for y in (ys if isinstance(ys, tuple | list) else [ys])
            if isinstance(y, Tensor) and y.requires_grad
        ]
        if not found:
            raise GradientError("gradcheck: no output of the function depends on what is checked")
        return leaves, found

    def by_backward(
        self, vs: list[Array], rng: np.random.Generator
    ) -> tuple[list[float], list[Array]]:
        """(J^T u) . v for each input, and the random u: one array per output."""
        grads = [p.grad for p in self.parameters]
        for p in self.parameters:
            p.grad = None
        try:
            leaves, ys = self.outputs(self.arrays)
            us = [self.random(rng, y.data) for y in ys]
            total = sum(multiply(ys[0], Tensor(us[0])))
            for y, u in zip(ys[1:], us[1:], strict=True):
                total = total + sum(multiply(y, Tensor(u)))  # one backward through all outputs
            total.backward()
            pairs = zip(leaves, vs, strict=True)
            exact = [0.0 if x.grad is None else self.dot(x.grad, v) for x, v in pairs]
        finally:
            for p, grad in zip(self.parameters, grads, strict=True):
                p.grad = grad
        return exact, us

    def by_differences(self, vs: list[Array], us: list[Array]) -> float:
        """u . (f(x + e v) - f(x - e v)) / (2 e), added up over the outputs."""
        ends = []
        try:
            for step in (self.eps, -self.eps):
                moved = [x + step * v for x, v in zip(self.arrays, vs, strict=True)]
                ends.append([y.data for y in self.outputs(moved)[1]])
        finally:
            for leaf, array in zip(self.parameters, self.arrays[self.count :], strict=True):
                leaf.data = array
        slopes = [(b - a) / (2 * self.eps) for b, a in zip(*ends, strict=True)]
        return float(np.sum([self.dot(s, u) for s, u in zip(slopes, us, strict=True)]))

    def explain(self, vs: list[Array], us: list[Array], exact: list[float], numeric: float) -> str:
        """The two numbers for everything together, then for each input alone."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        lines = [
            f"gradcheck of {name}: backward gives {np.sum(exact):.9g}, finite differences "
            f"{numeric:.9g}; for each alone:"
        ]
        for k, x in enumerate(self.arrays):
            alone = [v if j == k else self.home.xp.zeros_like(v) for j, v in enumerate(vs)]
            lines.append(
                f"  {self.name(k)} of shape {tuple(x.shape)}: backward {exact[k]:.9g}, "
                f"differences {self.by_differences(alone, us):.9g}"
            )
        return "\n".join(lines)
