"""Multiply-adds: each operation's by its definition, PyTorch's own counter, and known networks."""

import importlib
import inspect
import itertools
import math
import pkgutil
import re

import numpy as np
import pytest

import nnx
from nnx import nn, ops
from nnx.autograd import Function, watching_calls

RNG = np.random.default_rng(0)


def counted(compute, *shapes, needs=None):
    """Those of a forward and of a backward of `compute`, of tensors of these shapes."""
    needs = needs or [True] * len(shapes)
    xs = [nnx.tensor(RNG.normal(size=s).astype("f4")) for s in shapes]
    for x, need in zip(xs, needs, strict=True):
        x.requires_grad = need
    found = [0, 0]

    def watch(function, compute, arrays):
        y = compute(*arrays)
        if compute.__name__ == "forward":
            for k, n in enumerate(function.multiply_adds(*arrays)):
                found[k] += n
        return y

    with watching_calls(watch):
        y = compute(*xs)
        if True in needs:
            y.sum().backward()
    return tuple(found)


# (what, shapes of the inputs, multiply-adds of the forward, those of the backward over them)
# where every input's gradient is wanted: of a product of two inputs twice as many.
CASES = {
    "matmul": (ops.matmul, [(3, 4), (4, 5)], 3 * 4 * 5, 2),
    "of stacks": (ops.matmul, [(2, 1, 3, 4), (6, 4, 5)], 2 * 6 * 3 * 4 * 5, 2),
    "vectors": (ops.matmul, [(4,), (4,)], 4, 2),
    "vector and matrix": (ops.matmul, [(4,), (4, 5)], 4 * 5, 2),
    "matrix and vector": (ops.matmul, [(3, 4), (4,)], 3 * 4, 2),
    "linear": (ops.linear, [(2, 3, 4), (5, 4), (5,)], 2 * 3 * 4 * 5, 2),
    "linear_relu": (ops.linear_relu, [(6, 4), (5, 4)], 6 * 4 * 5, 2),
    "bilinear": (ops.bilinear, [(6, 3), (6, 4), (5, 3, 4)], 6 * 3 * 4 * 5, 2),
    "einsum": (
        lambda a, b: ops.einsum("bij,bkj->bik", a, b), [(2, 3, 4), (2, 5, 4)], 2 * 3 * 4 * 5, 2,
    ),
    "einsum that adds nothing": (
        lambda a, b: ops.einsum("i,j->ij", a, b), [(3,), (4,)], 0, 2,
    ),
    "tensordot": (lambda a, b: ops.tensordot(a, b, 2), [(2, 3, 4), (3, 4, 5)], 2 * 3 * 4 * 5, 2),
    "conv1d": (
        lambda x, w: ops.conv1d(x, w, stride=2), [(2, 3, 11), (4, 3, 3)], 2 * 4 * 5 * 3 * 3, 2,
    ),
    "conv2d": (
        lambda x, w: ops.conv2d(x, w, padding=1, dilation=2, groups=2),
        [(2, 4, 9, 7), (6, 2, 3, 3)], 2 * 6 * (7 * 5) * 2 * 9, 2,
    ),
    "conv3d": (ops.conv3d, [(2, 3, 4, 5, 6), (4, 3, 2, 3, 3)], 2 * 4 * (3 * 3 * 4) * 3 * 18, 2),
    "conv_transpose2d": (
        lambda x, w: ops.conv_transpose2d(x, w, stride=2, groups=2),
        [(2, 4, 3, 5), (4, 3, 2, 2)], (2 * 4 * 15) * 3 * 4, 2,
    ),
    "conv_transpose1d": (ops.conv_transpose1d, [(2, 4, 5), (4, 3, 2)], (2 * 4 * 5) * 3 * 2, 2),
    "layer_norm": (lambda x: ops.layer_norm(x, (4,)), [(3, 4)], 2 * 12, 1),
    "group_norm": (lambda x: ops.group_norm(x, 2), [(3, 4, 5)], 2 * 60, 1),
    "rms_norm": (lambda x: ops.rms_norm(x, (4,)), [(3, 4)], 12, 2),
    "bilinear interpolation": (
        lambda x: ops.interpolate(x, scale_factor=2, mode="bilinear"),
        [(1, 2, 3, 4)], 2 * (6 * 4) * 2 + 2 * (6 * 8) * 2, 1,
    ),
    "relu": (ops.relu, [(3, 4)], 0, 1),
    "a product number by number": (ops.multiply, [(3, 4), (3, 4)], 0, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_by_the_definition(name):
    compute, shapes, forward, times = CASES[name]
    assert counted(compute, *shapes) == (forward, times * forward)
    assert counted(compute, *shapes, needs=[False] * len(shapes)) == (forward, 0)


def test_attention():
    def attend(q, k, v):
        return ops.scaled_dot_product_attention(q, k, v)

    shapes = (2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 4)
    scores, sums = 6 * 5 * 7 * 8, 6 * 5 * 7 * 4
    assert counted(attend, *shapes) == (scores + sums, 2 * scores + 2 * sums)
    only_values = counted(attend, *shapes, needs=[False, False, True])
    assert only_values == (scores + sums, sums)


def test_only_gradients_that_are_wanted():
    shapes = (6, 4), (5, 4)
    assert counted(ops.linear, *shapes, needs=[False, True]) == (120, 120)
    assert counted(ops.conv2d, (1, 1, 4, 4), (2, 1, 3, 3), needs=[False, True]) == (72, 72)


@pytest.mark.parametrize(("cell", "gates"), [(nn.RNN, 1), (nn.LSTM, 4), (nn.GRU, 3)])
@pytest.mark.parametrize("two", [False, True])
def test_recurrent_layers(cell, gates, two):
    t, n, d, h = 5, 2, 3, 4
    layer = cell(d, h, num_layers=2, bidirectional=two)
    ways = 2 if two else 1
    first, second = gates * h * (d + h), gates * h * (ways * h + h)  # of a step, a row, a direction
    result = nnx.summary(layer, (t, n, d))
    forward = t * n * ways * (first + second)
    assert result.multiply_adds == forward
    # On the way back twice as many, but the first layer's input wants no gradient.
    assert result.training_multiply_adds == 3 * forward - t * n * ways * gates * h * d


def test_a_projected_lstm():
    result = nnx.summary(nn.LSTM(3, 4, proj_size=2), (5, 6, 3), memory=False)
    assert result.multiply_adds == 30 * (16 * 3 + 16 * 2 + 2 * 4)


def test_cells_count_as_layers_do():
    for cell, layer in ((nn.RNNCell, nn.RNN), (nn.LSTMCell, nn.LSTM), (nn.GRUCell, nn.GRU)):
        one = nnx.summary(cell(3, 4), (2, 3), memory=False)
        assert one.multiply_adds == nnx.summary(layer(3, 4), (1, 2, 3), memory=False).multiply_adds


@pytest.mark.parametrize("fused", [True, False])
def test_batch_norm_by_its_mode(fused):
    """In training it computes its statistics; together with a convolution as alone."""
    layers = [nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    if not fused:
        layers.insert(1, nn.Identity())
    values, product = 2 * 4 * 36, 2 * 4 * 36 * 9
    result = nnx.summary(nn.Sequential(*layers), (2, 1, 8, 8))
    assert result.multiply_adds == product + values
    assert result.training_multiply_adds == 2 * product + 4 * values


def test_whatever_multiplies_matrices_counts():
    """Every Function whose source has a product, but decompositions and what only copies."""
    for module in pkgutil.walk_packages(nnx.ops.__path__, "nnx.ops."):
        importlib.import_module(module.name)
    left, silent = [Function], set()
    product = re.compile(
        r" @ |contract\(|backend\.\w*(linear|conv|attention|lstm|gru|rnn|norm)\w*\("
    )
    while left:
        for kind in left.pop().__subclasses__():
            left.append(kind)
            counts = kind.multiply_adds is not Function.multiply_adds
            if kind.__module__.startswith("nnx.ops.") and not counts:
                silent |= {kind} if product.search(inspect.getsource(kind)) else set()
    cells = {"GRUCell", "GRUReset", "GRUUpdate", "LSTMCell"}  # number by number
    assert {k.__name__ for k in silent if not k.__module__.startswith("nnx.ops.linalg.")} <= cells


# ---- where they are counted ----


class Free(Function):
    """A function of a user's own."""

    def forward(self, a, b):
        return self.backend.xp.sum(a * b)

    def multiply_adds(self, a, b):
        return self.of_product(math.prod(a.shape))


def test_what_is_computed_between_layers_counts_where_it_is_called():
    class Inner(nn.Module):
        def __init__(self):
            self.proj = nn.Linear(4, 4, bias=False)

        def forward(self, x):
            y = self.proj(x)
            return nnx.matmul(y, y.T)  # (3, 4) x (4, 3)

    class Outer(nn.Module):
        def __init__(self):
            self.inner = Inner()
            self.again = self.inner

        def forward(self, x):
            with nnx.no_grad():  # what is off the tape is computed all the same
                side = nnx.einsum("ij,jk->ik", x, nnx.ones((4, 2)))
            return self.inner(x) + self.again(x) + side.sum() + Free()(x, x)

    result = nnx.summary(Outer(), (3, 4))
    assert [(r.name, r.layer, r.multiply_adds) for r in result.rows] == [
        ("inner.proj", "Linear", 48),
        ("inner", "Inner", 36),
        ("inner.proj", "Linear", 48),
        ("inner", "Inner", 36),
        ("", "Outer", 3 * 4 * 2 + 12),
    ]
    assert result.multiply_adds == 2 * (48 + 36) + 24 + 12


def test_a_module_that_is_made_on_the_way_counts_where_it_is_used():
    class Makes(nn.Module):
        def forward(self, x):
            return nn.Linear(4, 5)(x)

    assert nnx.summary(Makes(), (3, 4), memory=False).rows[0].multiply_adds == 60


# ---- counted elsewhere ----


def test_lenet():
    """117,600 + 240,000 of the convolutions, 48,000 + 10,080 + 840 of the dense layers."""
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    assert nnx.summary(model, (1, 1, 28, 28), memory=False).multiply_adds == 416_520
    assert nnx.summary(model, (7, 1, 28, 28), memory=False).multiply_adds == 7 * 416_520


def residual_18():
    """ResNet-18 (He et al. 2016), table 1."""

    def conv(i, o, k, s):
        return nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o)

    class Block(nn.Module):
        def __init__(self, i, o, s):
            self.main = nn.Sequential(*conv(i, o, 3, s), nn.ReLU(), *conv(o, o, 3, 1))
            self.short = nn.Sequential(*conv(i, o, 1, s)) if s > 1 else nn.Identity()

        def forward(self, x):
            return nnx.relu(self.main(x) + self.short(x))

    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    blocks = [Block(i, o, 1 if i == o else 2) for i, o in itertools.pairwise(widths)]
    return nn.Sequential(
        *conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000),
    )  # fmt: skip


def test_resnet_18_has_1_81_billion():
    """Its convolutions and dense layer 1,814,073,344; 2,483,712 numbers pass its batch norms."""
    result = nnx.summary(residual_18(), (1, 3, 224, 224), memory=False)
    assert result.parameters == 11_689_512
    by_kind = {"Conv2d": 0, "Linear": 0, "BatchNorm2d": 0}
    for row in result.rows:
        if row.multiply_adds:
            by_kind[row.layer] += row.multiply_adds
    assert by_kind["Conv2d"] + by_kind["Linear"] == 1_814_073_344
    side = 224 // 2
    norms = 64 * side**2  # behind the first convolution, and then stage by stage
    for width, area, count in ((64, 56, 4), (128, 28, 5), (256, 14, 5), (512, 7, 5)):
        norms += width * area**2 * count
    assert by_kind["BatchNorm2d"] == norms
    assert result.multiply_adds == 1_814_073_344 + norms


# A model, of our layers or PyTorch's, and the shape of its input.  (With groups PyTorch counts a
# weight's gradient as often as there are groups.)
TORCHS = {
    "conv": (
        lambda m: m.Sequential(
            m.Conv2d(3, 8, 3, 2, 1), m.ReLU(), m.Conv2d(8, 8, 3, dilation=2), m.Flatten(),
            m.Linear(8 * 4 * 4, 7),
        ),
        (2, 3, 16, 16),
    ),
    "transposed": (
        lambda m: m.Sequential(m.ConvTranspose2d(3, 6, 4, 2, 1), m.Tanh(), m.Conv2d(6, 2, 1)),
        (2, 3, 5, 6),
    ),
    "one dimension": (
        lambda m: m.Sequential(m.Conv1d(3, 6, 5, 2, 2), m.ELU(), m.ConvTranspose1d(6, 2, 3)),
        (2, 3, 20),
    ),
    "dense": (
        lambda m: m.Sequential(m.Linear(6, 9), m.ReLU(), m.Linear(9, 4, bias=False)), (5, 3, 6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHS)
def test_as_pytorch_counts(name):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    make, shape = TORCHS[name]
    result = nnx.summary(make(nn), shape)
    model = make(torch.nn)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(torch.zeros(shape))
    with FlopCounterMode(display=False) as both:
        model(torch.zeros(shape)).sum().backward()
    assert 2 * result.multiply_adds == forward.get_total_flops()
    assert 2 * result.training_multiply_adds == both.get_total_flops()
