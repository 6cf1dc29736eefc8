"""Activations compiled by numba: one pass over the numbers, float32.

One thread computes, as in `linear.py` and for its reason: these layers stand between products whose
threads are BLAS's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...typing import Array
from ..cpu.activation import NumpyActivation
from ..cpu.memory import empty
from ..flush import flushing
from . import thresholds

_NOTHING = np.empty(0, np.float32)  # in place of a derivative that is not wanted
_FLOAT = np.dtype(np.float32)

_loops: Any = None


class JitActivation(NumpyActivation):
    def tanh(self, x: Array) -> Array:
        return each("tanh", x) if takes_quick(x) else super().tanh(x)

    def tanh_backward(self, g: Array, y: Array) -> Array:
        if not takes_quick(g, y):
            return super().tanh_backward(g, y)
        return each("tanh_backward", g, y)

    def sigmoid(self, x: Array) -> Array:
        return each("sigmoid", x) if takes(x) else super().sigmoid(x)

    def sigmoid_backward(self, g: Array, y: Array) -> Array:
        if not takes_quick(g, y):
            return super().sigmoid_backward(g, y)
        return each("sigmoid_backward", g, y)

    def softplus(self, x: Array) -> Array:
        return each("softplus", x) if takes(x) else super().softplus(x)

    def erf(self, x: Array) -> Array:
        return each("erf", x) if takes(x) else super().erf(x)

    def silu(self, x: Array, slope: bool) -> tuple[Array, Array | None]:
        return with_slope("silu", x, slope) if takes(x) else super().silu(x, slope)

    def leaky_relu(self, x: Array, a: float, slope: bool) -> tuple[Array, Array | None]:
        if not takes(x):
            return super().leaky_relu(x, a, slope)
        return with_slope("leaky_relu", x, slope, a)

    def hardtanh_backward(self, g: Array, y: Array, low: float, high: float) -> Array:
        if not takes(g, y):
            return super().hardtanh_backward(g, y, low, high)
        gx = empty(y.shape, np.float32)
        bounds = np.float32(low), np.float32(high)
        loops().hardtanh_backward(g.reshape(-1), y.reshape(-1), *bounds, gx.reshape(-1))
        return gx

    def elu(
        self, x: Array, alpha: float, scale: float, width: float, slope: bool
    ) -> tuple[Array, Array | None]:
        if not takes(x):
            return super().elu(x, alpha, scale, width, slope)
        return with_slope("elu", x, slope, alpha, scale, width)

    def gelu(self, x: Array, approximate: str, slope: bool) -> tuple[Array, Array | None]:
        if not takes(x):
            return super().gelu(x, approximate, slope)
        return with_slope("gelu_by_tanh" if approximate == "tanh" else "gelu", x, slope)

    def softmax(self, x: Array, axis: int) -> Array:
        return rows("softmax", x) if takes(x, axis=axis) else super().softmax(x, axis)

    def softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        if not takes(g, y, axis=axis):
            return super().softmax_backward(g, y, axis)
        return rows("softmax_backward", g, y)

    def log_softmax(self, x: Array, axis: int) -> Array:
        return rows("log_softmax", x) if takes(x, axis=axis) else super().log_softmax(x, axis)

    def log_softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        if not takes(g, y, axis=axis):
            return super().log_softmax_backward(g, y, axis)
        return rows("log_softmax_backward", g, y)


def takes(*arrays: Array, axis: int = -1) -> bool:
    """Whether compiled loops take these arrays, along the last axis, and are worth it."""
    first = arrays[0]
    return (
        first.size >= thresholds.ACTIVATION
        and axis in (-1, first.ndim - 1)
        and all([a.dtype is _FLOAT or a.dtype == _FLOAT for a in arrays])
        and all([a.flags.c_contiguous for a in arrays])
    )


def takes_quick(*arrays: Array) -> bool:
    """Likewise, where NumPy has a quick loop of its own, or few."""
    return arrays[0].size >= thresholds.ACTIVATION_QUICK and takes(*arrays)


def loops() -> Any:
    """The compiled loops: numba is imported when they are first wanted."""
    global _loops
    if _loops is None:
        from .loops import activation as _loops
    return _loops


@flushing
def each(name: str, *arrays: Array) -> Array:
    """What a loop over vectors makes of arrays of one shape."""
    y = empty(arrays[0].shape, np.float32)
    getattr(loops(), name)(*[a.reshape(-1) for a in arrays], y.reshape(-1))
    return y


@flushing
def with_slope(name: str, x: Array, slope: bool, *numbers: float) -> tuple[Array, Array | None]:
    """Likewise, and the derivative where it is wanted."""
    y = empty(x.shape, np.float32)
    d = empty(x.shape, np.float32) if slope else None
    out = _NOTHING if d is None else d.reshape(-1)
    getattr(loops(), name)(x.reshape(-1), *numbers, y.reshape(-1), out)
    return y, d


@flushing
def rows(name: str, *arrays: Array) -> Array:
    """What a loop over the rows of matrices makes of arrays of one shape."""
    shape = arrays[0].shape
    y = empty(shape, np.float32)
    getattr(loops(), name)(*[a.reshape(-1, shape[-1]) for a in arrays], y.reshape(-1, shape[-1]))
    return y
