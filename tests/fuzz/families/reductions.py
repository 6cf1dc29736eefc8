"""Many numbers to fewer: sums, means, variances, extremes, norms, softmax, sums so far."""

from __future__ import annotations

import math
from typing import Any

from nnx import ops

from ..case import Case, Input
from ..draw import INTEGERS, Draw
from ..pytorch import torch


def reduction(draw: Draw) -> Case:
    return draw.choice(
        [_several_axes, _several_axes, _extreme, _vector_norm, _softmax, _so_far, _of_integers]
    )(draw)


def _shape(draw: Draw, least: int = 0) -> tuple[int, ...]:
    shape = draw.shape(least, 4)
    if draw.chance(0.04) and draw.cap is None:
        shape = (*shape[:1], draw.choice([130, 257, 1025, 5000]))
    return shape


def _several_axes(draw: Draw) -> Case:
    name = draw.choice(["sum", "mean", "var", "std", "prod", "logsumexp"])
    shape = _shape(draw)
    x = draw.values(shape, draw.dtype(), "positive" if name == "prod" else "normal")
    axis = draw.axes(len(shape))
    keepdims = draw.chance(0.4)
    options: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    if name in ("var", "std"):
        options["correction"] = draw.choice([0, 1])

    def theirs(x: Any) -> Any:
        t = torch()
        axes = tuple(range(x.ndim)) if axis is None else axis
        if name == "logsumexp":
            return t.logsumexp(x, axes, keepdim=keepdims)
        if name in ("var", "std"):
            f = getattr(t, name)
            return f(x, axes, correction=options["correction"], keepdim=keepdims)
        if name == "prod":  # PyTorch's takes one axis
            one = (axes,) if isinstance(axes, int) else axes
            if any(not -x.ndim <= k < x.ndim for k in one):
                raise IndexError("axis")
            for k in sorted((k % x.ndim for k in one), reverse=True):
                x = t.prod(x, k, keepdim=keepdims)
            return x
        return getattr(t, name)(x, axes, keepdim=keepdims) if axes != () else x * 1

    return Case(
        f"{name}({options})",
        [Input(x, layout=draw.layout())],
        lambda x: getattr(ops, name)(x, **options),
        theirs,
        ours_may_refuse=name in ("var", "std"),  # of fewer values than the correction takes off
    )


def _extreme(draw: Draw) -> Case:
    name = draw.choice(["max", "min", "argmax", "argmin", "argsort", "any", "all"])
    shape = _shape(draw, 1 if name.startswith("arg") else 0)
    kind = draw.choice(["normal", "lattice"])
    x: Any = draw.values(shape, draw.dtype(), kind)
    if name in ("any", "all"):
        x = draw.whole(shape, 0, 2, "bool")
    axis = draw.axes(len(shape)) if not name.startswith("arg") else None
    if name.startswith("arg") and (draw.chance(0.8) or name == "argsort"):
        axis = draw.axis(len(shape))
    keepdims = draw.chance(0.4)
    descending = draw.chance(0.5)

    def ours(x: Any) -> Any:
        if name == "argsort":
            return ops.argsort(x, axis, descending)
        return getattr(ops, name)(x, axis=axis, keepdims=keepdims)

    def theirs(x: Any) -> Any:
        t = torch()
        axes = tuple(range(x.ndim)) if axis is None else axis
        if name == "argsort":
            return t.argsort(x, dim=axis, descending=descending, stable=True)
        if name.startswith("arg"):  # PyTorch does not promise the first of equal ones; NumPy does
            flat = x.reshape(-1) if axis is None else x
            if flat.shape[0 if axis is None else axis] == 0:
                raise IndexError("empty")
            best = (t.amax if name == "argmax" else t.amin)(flat, axis or 0, keepdim=True)
            first = (flat == best).to(t.uint8).argmax(dim=axis or 0, keepdim=True)
            if axis is None:
                return first.reshape((1,) * x.ndim) if keepdims else first.reshape(())
            return first if keepdims else first.squeeze(axis)
        if name in ("any", "all"):
            return getattr(t, name)(x, axes, keepdim=keepdims) if axes != () else x
        if isinstance(axis, int):  # the gradient goes to the first of the largest
            return getattr(t, name)(x, axis, keepdim=keepdims).values
        return getattr(t, "a" + name)(x, axes, keepdim=keepdims)  # and here to all of them

    says = f"{name}(axis={axis}, keepdims={keepdims}, descending={descending})"
    return Case(says, [Input(x, layout=draw.layout())], ours, theirs, exact=True)


def _vector_norm(draw: Draw) -> Case:
    shape = _shape(draw)
    order = draw.choice([2, 1, 0, 3, 0.5, math.inf, -math.inf, 2.5])
    axis, keepdims = draw.axes(len(shape)), draw.chance(0.4)
    x = draw.values(shape, draw.dtype(), draw.choice(["normal", "wide"]))
    return Case(
        f"norm({order}, axis={axis}, keepdims={keepdims})",
        [Input(x, layout=draw.layout())],
        lambda x: ops.norm(x, order, axis=axis, keepdims=keepdims),
        lambda x: torch().linalg.vector_norm(x, order, dim=axis, keepdim=keepdims),
    )


def _softmax(draw: Draw) -> Case:
    name = draw.choice(["softmax", "log_softmax"])
    shape = _shape(draw)
    shape = shape or (1,)
    axis = draw.axis(len(shape))
    x = draw.values(shape, draw.dtype(), draw.choice(["normal", "wide", "lattice"]))
    return Case(
        f"{name}(axis={axis})",
        [Input(x, layout=draw.layout())],
        lambda x: getattr(ops, name)(x, axis),
        lambda x: getattr(torch(), name)(x, axis),
        cancels=True,
    )


def _so_far(draw: Draw) -> Case:
    shape = _shape(draw, 1)
    axis = draw.axis(len(shape))
    x = draw.values(shape, draw.dtype())
    first = draw.chance(0.3)

    def theirs(x: Any) -> Any:
        y = torch().cumsum(x, axis)
        if first:
            y = torch().cat([torch().zeros_like(y.narrow(axis, 0, 1)), y], axis)
        return y

    if first and 0 in shape:
        first = False
    return Case(
        f"cumulative_sum(axis={axis}, include_initial={first})",
        [Input(x, layout=draw.layout())],
        lambda x: ops.cumulative_sum(x, axis, include_initial=first),
        theirs,
    )


def _of_integers(draw: Draw) -> Case:
    """Sums of small integers do not overflow; booleans are counted."""
    name = draw.choice(["sum", "max", "min", "prod"])
    dtype = draw.choice(INTEGERS[:5])
    shape = draw.shape(1, 3, 300)
    high = 3 if name == "prod" else 120
    x = draw.whole(shape, 1, high, dtype)
    axis = draw.axes(len(shape))

    def theirs(x: Any) -> Any:
        t = torch()
        axes = tuple(range(x.ndim)) if axis is None else axis
        if name == "sum":
            return t.sum(x, axes)
        if name == "prod":
            one = (axes,) if isinstance(axes, int) else axes
            if any(not -x.ndim <= k < x.ndim for k in one):
                raise IndexError("axis")
            for k in sorted((k % x.ndim for k in one), reverse=True):
                x = t.prod(x, k)
            return x
        return getattr(t, "a" + name)(x, axes)

    return Case(
        f"{name}(axis={axis}) of integers",
        [Input(x, False, draw.layout())],
        lambda x: getattr(ops, name)(x, axis=axis),
        theirs,
        exact=True,
        same_dtype=dtype != "uint8",  # PyTorch adds unsigned numbers up in int64
    )
