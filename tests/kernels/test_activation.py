"""kernels/activation.cu against the portable formulas; how exact both are, over all numbers, is
held by tests/backends/test_precision.py."""

from __future__ import annotations

import numpy as np
import pytest

# exp, log1p and erf of a GPU are exact to 2 units in the last place, the twins' erf to 1e-7.
RTOL = {"float32": 2e-6, "float64": 1e-14}
CALLS = {
    "sigmoid": lambda b, x: (b.sigmoid(x), b.sigmoid_backward(x, b.sigmoid(x))),
    "softplus": lambda b, x: b.softplus(x),
    "error_function": lambda b, x: b.erf(x),
    "tanh_backward": lambda b, x: b.tanh_backward(x, b.tanh(x)),
    "gelu": lambda b, x: (b.gelu(x, "none", True), b.gelu(x, "none", False)),
    "gelu by tanh": lambda b, x: (b.gelu(x, "tanh", True), b.gelu(x, "tanh", False)),
    "silu": lambda b, x: (b.silu(x, True), b.silu(x, False)),
    "elu": lambda b, x: (b.elu(x, 1.7, 1.1, 0.8, True), b.elu(x, 1.7, 1.1, 0.8, False)),
    "leaky_relu": lambda b, x: (b.leaky_relu(x, 0.1, True), b.leaky_relu(x, 0.1, False)),
}


@pytest.mark.kernels(
    "sigmoid",
    "softplus",
    "error_function",
    "sigmoid_backward",
    "tanh_backward",
    "gelu",
    "silu",
    "elu",
    "leaky_relu",
)
def test_every_activation(cuda, real):
    rng = np.random.default_rng(0)
    for shape in [(), (0, 3), (1,), (33, 31), (257,)]:
        x = (4 * rng.standard_normal(shape)).astype(real)
        for call in CALLS.values():
            cuda.agree(call, x, rtol=RTOL[real])


@pytest.mark.parametrize("name", CALLS)
def test_nan_and_the_ends(cuda, real, name):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 100.0, -100.0], real)
    with np.errstate(all="ignore"):
        cuda.agree(CALLS[name], x, rtol=RTOL[real], layouts=("contiguous",))


@pytest.mark.in_half(
    "sigmoid",
    "softplus",
    "error_function",
    "sigmoid_backward",
    "tanh_backward",
    "gelu",
    "silu",
    "elu",
    "leaky_relu",
)
def test_every_activation_in_half(cuda):
    rng = np.random.default_rng(0)
    for shape in [(), (0, 3), (33, 31)]:
        x, y = (4 * rng.standard_normal(shape)).astype("float16"), rng.random(shape, "float32")
        for name, call in CALLS.items():
            if "backward" not in name and name != "sigmoid":  # which would round in between
                cuda.agree(call, x, rtol=2e-6)
        cuda.agree(lambda b, x: b.sigmoid(x), x, rtol=2e-6)
        y = y.astype("float16")
        cuda.agree(
            lambda b, g, y: (b.sigmoid_backward(g, y), b.tanh_backward(g, y)), x, y, rtol=1e-7
        )


def test_the_ends_in_half(cuda):
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 65504, -65504, 6e-8, -6e-8, 6.1e-5], "float16")
    with np.errstate(all="ignore"):
        for name, call in CALLS.items():
            if "sigmoid" not in name and name != "tanh_backward":
                cuda.agree(call, x, rtol=2e-6, layouts=("contiguous",))
