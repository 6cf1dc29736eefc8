"""Derivatives element by element: by differences, and by one backward for each output.

Slow, and clear: for learning what a gradient is, and for finding which element of one is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .autograd import Node, backward, no_grad
from .backends import Array, backend_of, dtype_name
from .tensor import Tensor


def numerical_gradient(
    function: Callable[[Any], Any], x: Any, eps: float | None = None, at: Any = None
) -> Array:
    """The gradient of a function that gives one number, by central differences.

        ∂f/∂x_k ≈ (f(x + ε e_k) - f(x - ε e_k)) / (2 ε)

    for one element k after the other (Saito 4.1): two calls of f for each.  The error is of the
    order of ε² for the formula and of u/ε for rounding, with u the dtype's precision, so ε is u^⅓
    times max(1, |x_k|) unless it is given.  Saito's h is 1e-4.

        nnx.numerical_gradient(lambda x: x[0] ** 2 + x[1] ** 2, np.array([3.0, 4.0]))   # [6, 8]

    Args:
        function: takes what `x` is, an array or a tensor (off the tape), and returns one number:
            a tensor or an array of one element, or a Python number.
        x: an array or tensor in floating point, of any shape and library; it is not written.
        eps: ε, the same for all elements.
        at: flat indices, to look only at these elements; the others are 0 in the result.

    Returns:
        an array of x's shape, dtype and library.

    Raises:
        TypeError: x is not in floating point.
        ValueError: the function's result has more than one element.
    """
    array = x.data if isinstance(x, Node) else x
    home = backend_of(array)
    name = dtype_name(array.dtype)
    if not home.is_float(array.dtype):
        raise TypeError(
            f"numerical_gradient: x must be in floating point, its dtype is {name}; "
            "use x.astype(float)"
        )
    values = np.array(home.to_numpy(array))  # a copy
    flat = values.reshape(-1)
    gradient = np.zeros(flat.shape, np.float64)
    smallest = float(home.xp.finfo(array.dtype).eps) ** (1 / 3)

    def value() -> float:
        given = home.xp.asarray(home.from_numpy(values.copy()), device=array.device)
        with no_grad():
            y = function(Tensor(given) if isinstance(x, Node) else given)
        y = y.data if isinstance(y, Node) else y
        shape = tuple(getattr(y, "shape", ()))
        if int(np.prod(shape)) != 1:
            raise ValueError(
                "numerical_gradient: the function must return one number, but its result has the "
                f"shape {shape}; x has shape {values.shape}"
            )
        return float(home.xp.reshape(y, ()) if shape else y)

    for k in range(flat.size) if at is None else at:
        before = flat[k]
        step = eps if eps is not None else smallest * max(1.0, abs(float(before)))
        flat[k] = before + step
        high, there = value(), float(flat[k])
        flat[k] = before - step
        low, here = value(), float(flat[k])
        flat[k] = before
        gradient[k] = (high - low) / (there - here)  # the step as it was rounded
    found = gradient.reshape(values.shape).astype(values.dtype)
    return home.xp.asarray(home.from_numpy(found), device=array.device)


def jacobian(function: Callable[..., Any], inputs: Any) -> Any:
    """All derivatives of the outputs by the inputs: J[o, i] = ∂y_o / ∂x_i (Xu, appendix C).

    One backward for each element of the outputs, whose cotangent is 1 there and 0 elsewhere.  The
    numerator's layout: the output's axes first, then the input's.

        nnx.jacobian(lambda x: A @ x, x)     # A

    Args:
        function: takes tensors, returns a tensor or several.
        inputs: an array or tensor in floating point, or a tuple of them.

    Returns:
        an array of shape (*y.shape, *x.shape); for a tuple of inputs a tuple of them, and for
        several outputs a tuple with one of these for each.  The `.grad` of what the function uses
        besides its inputs stays as it is.

    Raises:
        TypeError: an input is not in floating point, or what the function returns is no tensor.
    """
    several = isinstance(inputs, tuple | list)
    leaves = [
        Tensor(x.data if isinstance(x, Node) else x, requires_grad=True)
        for x in (inputs if several else (inputs,))
    ]
    outputs = function(*leaves)
    many = isinstance(outputs, tuple | list)
    found = []
    for y in outputs if many else (outputs,):
        if not isinstance(y, Node):
            raise TypeError(f"jacobian: the function must return tensors, got {type(y).__name__}")
        rows = _rows(y, leaves)
        found.append(rows if several else rows[0])
    return tuple(found) if many else found[0]


def _rows(y: Node, leaves: list[Tensor]) -> tuple[Array, ...]:
    """The Jacobian of one output by each leaf; zeros where it does not depend on one."""
    xp = backend_of(y.data).xp
    shape = tuple(y.data.shape)
    size = int(np.prod(shape))
    parts: list[list[Array]] = [[] for _ in leaves]
    for k in range(size):
        got: dict[int, Array] = {}

        def take(leaf: Any, g: Array, got: dict[int, Array] = got) -> None:
            got[id(leaf)] = got[id(leaf)] + g if id(leaf) in got else g

        if y.requires_grad:
            u = xp.zeros((size,), dtype=y.data.dtype, device=y.data.device)
            u[k] = 1.0
            backward(y, xp.reshape(u, shape), retain_graph=True, take=take)
        for part, leaf in zip(parts, leaves, strict=True):
            part.append(got.get(id(leaf), xp.zeros_like(leaf.data)))
    return tuple(
        xp.reshape(xp.stack(part), (*shape, *leaf.shape))
        if size
        else xp.zeros((*shape, *leaf.shape), dtype=leaf.dtype, device=leaf.device)
        for part, leaf in zip(parts, leaves, strict=True)
    )
