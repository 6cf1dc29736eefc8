"""Convolution, pooling, batch norm and blocks of them: each set of kernels, and PyTorch.

    python -m pytest benchmarks/test_conv.py --benchmark-only --benchmark-group-by=group

Batches of 32, in the sizes of the textbook's network (Xu, table 5.3); forward, and forward with all
gradients.  Images are laid out as the layer before would hand them over: channels last, but for the
portable kernels and PyTorch.  The sets take turns in no way here: on a machine that does other
things as well, `nnx bench conv` and `python -m benchmarks.compare` are steadier.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnx
from benchmarks.compare import THREADS
from benchmarks.sets import LIBRARIES, computing_with
from nnx import nn
from nnx.bench.conv import laid_out_as

BATCH = 32
LAYERS = {  # what is built from nnx.nn or torch.nn, and the channels and size of its images
    "conv 1-32": (lambda nn: nn.Conv2d(1, 32, 5, padding=2), 1, 28),
    "conv 32-64": (lambda nn: nn.Conv2d(32, 64, 5, padding=2), 32, 14),
    "max pool": (lambda nn: nn.MaxPool2d(2), 32, 28),
    "batch norm": (lambda nn: nn.BatchNorm2d(32), 32, 28),
    "conv, ReLU, max pool": (lambda nn: nn.Sequential(*block(nn)), 32, 14),
    "conv, batch norm, ReLU, max pool": (lambda nn: nn.Sequential(*block(nn, True)), 32, 14),
}


def block(nn: Any, norm: bool = False) -> list[Any]:
    layers = [nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    if norm:
        layers.insert(1, nn.BatchNorm2d(64))
    return layers


@pytest.fixture(params=LIBRARIES)
def library(request):
    """nn, how an array becomes a tensor, and a gradient one for y; are images channels last?"""
    if request.param == "torch":
        torch = pytest.importorskip("torch")
        torch.set_num_threads(THREADS)
        yield torch.nn, torch.tensor, lambda g, y: torch.tensor(g), False
        return
    with computing_with(request.param):
        last = request.param != "portable"
        yield nn, nnx.Tensor, lambda g, y: laid_out_as(y.data, g), last


@pytest.mark.parametrize("with_backward", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(benchmark, name, library, with_backward):
    nn, tensor, gradient, channels_last = library
    build, channels, size = LAYERS[name]
    layer = build(nn)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, channels, size, size)).astype("float32")
    if channels_last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    x = tensor(x, requires_grad=channels > 1)
    y = layer(x)
    g = gradient(rng.standard_normal(tuple(y.shape)).astype("float32"), y)

    def run():
        y = layer(x)
        if with_backward:
            for leaf in (x, *layer.parameters()):
                leaf.grad = None
            y.backward(g)
        return y

    benchmark.group = f"{name}, {'forward and backward' if with_backward else 'forward'}"
    assert tuple(benchmark(run).shape) == g.shape
    assert (x.grad is not None) == (with_backward and channels > 1)
