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

from .autograd import enable_grad
from .backends import Array, backend_of, dtype_name
from .derivatives import numerical_gradient
from .ops import multiply, sum
from .tensor import Tensor

MOST = 4096  # elements that are looked at one by one when something is wrong


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
        nnx.gradcheck(f, (x, y))                        # PyTorch's form: the inputs in a tuple

    Args:
        function: takes tensors, returns a tensor or several, and always the same values for the
            same inputs (fix the seed of anything random inside).
        inputs: float64 tensors or arrays, all of which are differentiated; other things (arrays of
            integers, numbers) are passed on as they are.
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
            all inputs together, for each alone, and for the element that is most wrong.
        TypeError: an input is of another floating-point dtype (differences of float32 numbers are
            mostly rounding), or there is nothing to differentiate.
    """
    if len(inputs) == 1 and isinstance(inputs[0], tuple | list):
        inputs = tuple(inputs[0])
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
        self.given = [x.data if isinstance(x, Tensor) else x for x in inputs]
        self.places = [k for k, x in enumerate(self.given) if _is_float(x)]  # differentiated
        self.count = len(self.places)
        self.arrays = [*(self.given[k] for k in self.places), *(p.data for p in parameters)]
        if not self.arrays:
            raise TypeError(
                "gradcheck: there is no float64 array or tensor to differentiate by among the "
                f"inputs, {', '.join(type(x).__name__ for x in inputs) or 'none'}; "
                "use gradcheck(f, x, y) or gradcheck(f, (x, y))"
            )
        self.home = backend_of(*self.arrays)
        for k, array in enumerate(self.arrays):
            if dtype_name(array.dtype) != "float64":
                raise TypeError(
                    f"gradcheck: {self.name(k)} must be float64, not {dtype_name(array.dtype)}: "
                    "differences of float32 numbers are mostly rounding"
                )

    def name(self, k: int) -> str:
        if k < self.count:
            return f"input {self.places[k]}"
        return f"parameter {k - self.count}"

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
        inputs = [Tensor(x) if hasattr(x, "dtype") else x for x in self.given]
        for place, leaf in zip(self.places, leaves, strict=False):
            inputs[place] = leaf
        ys = self.function(*inputs)
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
        gradients, us = self.gradients(lambda ys: [self.random(rng, y.data) for y in ys])
        pairs = zip(gradients, vs, strict=True)
        return [0.0 if g is None else self.dot(g, v) for g, v in pairs], us

    def gradients(
        self, cotangents: Callable[[list[Tensor]], list[Array]]
    ) -> tuple[list[Array | None], list[Array]]:
        """J^T u for each input, None where no output depends on it, and the u."""
        grads = [p.grad for p in self.parameters]
        for p in self.parameters:
            p.grad = None
        try:
            leaves, ys = self.outputs(self.arrays)
            us = cotangents(ys)
            total = sum(multiply(ys[0], Tensor(us[0])))
            for y, u in zip(ys[1:], us[1:], strict=True):
                total = total + sum(multiply(y, Tensor(u)))  # one backward through all outputs
            total.backward()
            return [x.grad for x in leaves], us
        finally:
            for p, grad in zip(self.parameters, grads, strict=True):
                p.grad = grad

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
        """The two numbers for everything together, for each input alone, and for one element."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        lines = [
            f"gradcheck of {name}: backward gives {np.sum(exact):.9g}, finite differences "
            f"{numeric:.9g}; for each alone:"
        ]
        off = []
        for k, x in enumerate(self.arrays):
            alone = [v if j == k else self.home.xp.zeros_like(v) for j, v in enumerate(vs)]
            differences = self.by_differences(alone, us)
            off.append(abs(exact[k] - differences))
            lines.append(
                f"  {self.name(k)} of shape {tuple(x.shape)}: backward {exact[k]:.9g}, "
                f"differences {differences:.9g}"
            )
        k = int(np.argmax(np.nan_to_num(off, nan=np.inf)))
        at, one, other = self.worst_element(k, us)
        lines.append(
            f"  most wrong in {self.name(k)} is element {at}: backward {one:.9g}, "
            f"differences {other:.9g}"
        )
        return "\n".join(lines)

    def worst_element(self, k: int, us: list[Array]) -> tuple[tuple[int, ...], float, float]:
        """Where J^T u and the differences of u . f differ most, among at most `MOST` elements of
        input k, spread evenly; and both numbers there."""
        gradient = self.gradients(lambda ys: us)[0][k]
        x = self.arrays[k]
        shape = tuple(x.shape)
        size = int(np.prod(shape))
        looked_at = np.unique(np.linspace(0, size - 1, min(size, MOST)).astype(int))

        def along(moved: Array) -> float:
            arrays = [moved if j == k else a for j, a in enumerate(self.arrays)]
            with enable_grad():  # `outputs` are known by being on the tape
                ys = self.outputs(arrays)[1]
            return float(np.sum([self.dot(y.data, u) for y, u in zip(ys, us, strict=True)]))

        try:
            numeric = numerical_gradient(along, x, self.eps, looked_at)
        finally:
            for leaf, array in zip(self.parameters, self.arrays[self.count :], strict=True):
                leaf.data = array
        theirs = self.home.to_numpy(numeric).reshape(-1)
        ours = np.zeros(size)
        if gradient is not None:
            ours = self.home.to_numpy(gradient).reshape(-1)
        off = np.nan_to_num(np.abs(ours - theirs)[looked_at], nan=np.inf)
        worst = int(looked_at[int(np.argmax(off))])
        at = tuple(int(i) for i in np.unravel_index(worst, shape)) if shape else ()
        return at, float(ours[worst]), float(theirs[worst])


def _is_float(x: Any) -> bool:
    """Whether x is an array in floating point: what is differentiated."""
    return hasattr(x, "shape") and hasattr(x, "dtype") and backend_of(x).is_float(x.dtype)
