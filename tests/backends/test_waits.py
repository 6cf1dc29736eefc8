"""A training step waits for the device nowhere, whatever it is made of.

On CuPy's own arrays, where array-api-compat's and CuPy's waits count too: a boolean index, for
example, reads back how many places it has.
"""

from __future__ import annotations

import cupy_on_cpu
import numpy as np
import pytest

import nnx
from nnx import nn, ops, optim
from nnx.data import DataLoader
from nnx.train import Trainer
from tests.nn.test_loss import CASES as LOSSES
from tests.ops.test_every_operation import TABLE as OPERATIONS

RNG = np.random.default_rng(0)
ROWS, IMAGES, STEPS, VOLUMES = (6, 8), (4, 2, 9, 9), (7, 4, 5), (2, 2, 5, 6, 5)
WORDS = (7, 4, 8)
INDICES = RNG.integers(0, 5, (3, 4))
WITHOUT_ARRAYS = {
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterDict",
    "ParameterList",
}


class OfOne(nn.Module):
    """A layer of several inputs, given one and the same."""

    def __init__(self, layer, inputs=2):
        self.layer, self.inputs = layer, inputs

    def forward(self, x):
        return self.layer(*[x] * self.inputs)


class Unpooled(nn.Module):
    """What a pooling with its indices gave, put back."""

    def __init__(self, axes):
        self.layer = getattr(nn, f"MaxUnpool{axes}d")(2)

    def forward(self, pooled):
        return self.layer(*pooled)


# name in nn -> (layer, shape of its input or the input itself); elementwise layers are made alike
LAYERS = {
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(4), IMAGES),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d(4), IMAGES),
    "AvgPool1d": (lambda: nn.AvgPool1d(2), IMAGES[1:]),
    "AvgPool2d": (lambda: nn.AvgPool2d(2, padding=1), IMAGES),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(8), ROWS),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(2), IMAGES),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(2), VOLUMES),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(9, track_running_stats=True), IMAGES[1:]),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(2, affine=True), IMAGES),
    "InstanceNorm3d": (lambda: nn.InstanceNorm3d(2), VOLUMES),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(2), IMAGES),
    "RMSNorm": (lambda: nn.RMSNorm(8), ROWS),
    "Conv1d": (lambda: nn.Conv1d(9, 3, 2, padding_mode="reflect", padding=1), IMAGES[1:]),
    "Conv2d": (lambda: nn.Conv2d(2, 4, 3, groups=2), IMAGES),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2), IMAGES),
    "Dropout": (lambda: nn.Dropout(0.3), ROWS),
    "Dropout1d": (lambda: nn.Dropout1d(0.3), IMAGES[1:]),
    "Dropout2d": (lambda: nn.Dropout2d(0.3), IMAGES),
    "Dropout3d": (lambda: nn.Dropout3d(0.3), VOLUMES),
    "Softmax2d": (nn.Softmax2d, IMAGES),
    "Threshold": (lambda: nn.Threshold(0.5, 2.0), ROWS),
    "Bilinear": (lambda: OfOne(nn.Bilinear(8, 8, 3)), ROWS),
    "CosineSimilarity": (lambda: OfOne(nn.CosineSimilarity()), ROWS),
    "PairwiseDistance": (lambda: OfOne(nn.PairwiseDistance()), ROWS),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(5, 3, max_norm=1.0, mode="max"), INDICES),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), (2, 8, 3, 3)),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(3), IMAGES),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), IMAGES),
    "Unfold": (lambda: nn.Unfold(3), IMAGES),
    "Fold": (lambda: nn.Fold(4, 2), (2, 8, 9)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), IMAGES),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(12), IMAGES),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d(5), IMAGES),
    **{
        f"MaxUnpool{axes}d": (
            lambda a=axes: nn.Sequential(
                getattr(nn, f"MaxPool{a}d")(2, return_indices=True), Unpooled(a)
            ),
            shape,
        )
        for axes, shape in ((1, IMAGES[1:]), (2, IMAGES), (3, VOLUMES))
    },
    "Embedding": (lambda: nn.Embedding(5, 3), INDICES),
    "Flatten": (nn.Flatten, IMAGES),
    "GroupNorm": (lambda: nn.GroupNorm(2, 2), IMAGES),
    "GRU": (lambda: nn.GRU(5, 4, num_layers=2, bidirectional=True, dropout=0.2), STEPS),
    "LSTM": (lambda: nn.LSTM(5, 4, bidirectional=True, proj_size=2), STEPS),
    "RNN": (lambda: nn.RNN(5, 4, nonlinearity="relu"), STEPS),
    "GRUCell": (lambda: nn.GRUCell(8, 3), ROWS),
    "LSTMCell": (lambda: nn.LSTMCell(8, 3), ROWS),
    "RNNCell": (lambda: nn.RNNCell(8, 3), ROWS),
    "LayerNorm": (lambda: nn.LayerNorm(8), ROWS),
    "Linear": (lambda: nn.Linear(8, 3), ROWS),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), IMAGES[1:]),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, stride=2, padding=1), IMAGES),
    "Sequential": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()), IMAGES),
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(2), IMAGES),
    "Unflatten": (lambda: nn.Unflatten(1, (2, 4)), ROWS),
    "FractionalMaxPool2d": (lambda: nn.FractionalMaxPool2d(2, 3), IMAGES),
    "FractionalMaxPool3d": (lambda: nn.FractionalMaxPool3d(2, 3), VOLUMES),
}
LAYERS |= {  # families that there are in one, two and three dimensions
    f"{name}{axes}d": (
        lambda n=f"{name}{axes}d", a=arguments, c=x[1]: getattr(nn, n)(
            *[c if v == "C" else v for v in a]
        ),
        x,
    )
    for name, *arguments in [
        *[("AdaptiveAvgPool", 2), ("AdaptiveMaxPool", 2), ("AvgPool", 2), ("MaxPool", 2)],
        *[("CircularPad", 1), ("ReflectionPad", 1), ("ReplicationPad", 1), ("ZeroPad", 1)],
        *[("ConstantPad", 1, 0.5), ("LPPool", 2, 2), ("Conv", "C", 3, 2)],
        ("ConvTranspose", "C", 3, 2),
    ]
    for axes, x in ((1, IMAGES[1:]), (2, IMAGES), (3, VOLUMES))
    if f"{name}{axes}d" not in LAYERS
}
LAYERS |= {
    "LearnedPositionalEncoding": (lambda: nn.LearnedPositionalEncoding(8, 9), WORDS),
    "PositionalEncoding": (lambda: nn.PositionalEncoding(8), WORDS),
    "RotaryEmbedding": (lambda: nn.RotaryEmbedding(8), WORDS),
    "MultiheadAttention": (lambda: OfOne(nn.MultiheadAttention(8, 2), 3), WORDS),
    "Transformer": (lambda: OfOne(nn.Transformer(8, 2, 1, 1, 8)), WORDS),
    "TransformerDecoder": (
        lambda: OfOne(nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 8), 1)),
        WORDS,
    ),
    "TransformerDecoderLayer": (lambda: OfOne(nn.TransformerDecoderLayer(8, 2, 8)), WORDS),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8), 1),
        WORDS,
    ),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(8, 2, 8), WORDS),
}
LAYERS |= {
    name: (getattr(nn, name), ROWS)
    for name in nn.__all__
    if name not in LAYERS
    and name not in WITHOUT_ARRAYS
    and isinstance(getattr(nn, name), type)
    and not name.endswith("Loss")
}
OF_SEVERAL = [
    ("GaussianNLLLoss", 3), ("CosineEmbeddingLoss", 3), ("MarginRankingLoss", 3),
    ("TripletMarginLoss", 3), ("TripletMarginWithDistanceLoss", 3), ("LinearCrossEntropyLoss", 2),
]  # fmt: skip
OPTIMIZERS = [
    name
    for name in optim.__all__
    if isinstance(getattr(optim, name), type) and name not in ("Optimizer",)
]


READINGS = [
    float,
    bool,
    int,
    lambda x: x.tolist(),
    lambda x: x.get(),
    lambda x: x[x > 0],
    lambda x: x.nonzero(),
]


def read_or_sent(asked):
    return bool(asked.waits) or "array from host memory" in asked.sent


@pytest.mark.parametrize("function, arrays", OPERATIONS)
def test_operation(on_cupy, function, arrays):
    tensors = [on_cupy.tensor(np.asarray(a, "float32"), requires_grad=True) for a in arrays]
    with cupy_on_cpu.counting() as asked:
        results = function(*tensors)
        total = None
        for y in results if isinstance(results, tuple) else [results]:
            part = ops.sum(y)
            total = part if total is None else total + part
        total.backward()
    assert not asked.waits, str(asked)


@pytest.mark.parametrize("name", LAYERS)
def test_layer(on_cupy, name):
    make, given = LAYERS[name]
    layer = make()
    if isinstance(given, tuple):
        x = on_cupy.tensor(RNG.standard_normal(given).astype("float32"), requires_grad=True)
    else:
        x = on_cupy.tensor(given)
    layer(x)  # makes what is made once
    with cupy_on_cpu.counting() as asked:
        y = layer(x)
        while isinstance(y, tuple):
            y = y[0]
        ops.sum(y * y).backward()
    assert not read_or_sent(asked), str(asked)


@pytest.mark.parametrize("name, options, x, target", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_loss(on_cupy, name, options, x, target, reduction):
    options = {
        k: on_cupy.asarray(v) if isinstance(v, np.ndarray) else v for k, v in options.items()
    }
    loss = getattr(nn, name)(**options, reduction=reduction)
    given, wanted = on_cupy.tensor(x, requires_grad=True), on_cupy.tensor(target)
    with cupy_on_cpu.counting() as asked:
        ops.sum(loss(given, wanted)).backward()
    assert not read_or_sent(asked), str(asked)


@pytest.mark.parametrize("name, count", OF_SEVERAL)
def test_loss_of_several(on_cupy, name, count):
    given = [on_cupy.tensor(np.ones((6, 4), "f4") * (k + 1), requires_grad=True) for k in range(3)]
    if name == "CosineEmbeddingLoss":
        given[2] = on_cupy.tensor(np.ones(6, "f4"))
    loss = getattr(nn, name)(*([4, 4] if name == "LinearCrossEntropyLoss" else []))
    with cupy_on_cpu.counting() as asked:
        loss(*given[:count]).backward()
    assert not read_or_sent(asked), str(asked)


def test_no_loss_is_missing():
    """CTC's labels are looked at in host memory: they decide about shapes."""
    named = {name for name, *_ in [*LOSSES, *OF_SEVERAL]}
    others = {"HingeLoss", "CTCLoss"}
    assert {name for name in nn.__all__ if name.endswith("Loss")} - named == others


# A line search must look at the loss, and so waits for it.
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "LBFGS"])
def test_optimizer_and_clipping(on_cupy, name):
    p = [nn.Parameter(on_cupy.asarray(np.ones(s, "float32"))) for s in [(3, 4), (5,)]]
    optimizer = getattr(optim, name)(p, **({"lr": 0.1} if name == "SGD" else {}))
    with cupy_on_cpu.counting() as asked:
        for _ in range(2):
            ops.sum(p[0] * p[0]).backward()
            ops.sum(p[1] * 3).backward()
            for norm in (1, 2, 3, float("inf")):
                nn.utils.clip_grad_norm_(p, 1.0, norm)
            nn.utils.clip_grad_value_(p, 0.5)
            optimizer.step()
            optimizer.zero_grad()
    assert not read_or_sent(asked), str(asked)


def test_hinge_loss(on_cupy):
    x = on_cupy.tensor(np.ones((4, 3), "float32"), requires_grad=True)
    signs = on_cupy.tensor(np.sign(np.arange(12.0).reshape(4, 3) - 5.5))
    with cupy_on_cpu.counting() as asked:
        nn.HingeLoss()(x, signs).backward()
    assert not read_or_sent(asked), str(asked)


@pytest.mark.parametrize("steps", [8, 64])
def test_an_epoch_reads_its_figures_and_nothing_else(on_cupy, steps):
    """Waits do not grow with the number of steps."""
    nnx.manual_seed(0)
    x = on_cupy.asarray(RNG.standard_normal((4 * steps, 6)).astype("float32"))
    y = on_cupy.asarray(RNG.integers(0, 3, 4 * steps))
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Dropout(0.2), nn.Linear(8, 3))
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss(),
        optim.Adam(model.parameters()),
        metrics=["accuracy"],
        progress=False,
    )
    with cupy_on_cpu.counting() as asked:
        trainer.fit(DataLoader((x, y), batch_size=4), epochs=1)
    assert asked.waits.total() <= 10, str(asked)


@pytest.mark.parametrize("read", READINGS)
def test_waits_are_seen(on_cupy, read):
    x = on_cupy.asarray(np.asarray(1.0 if read in (float, bool, int) else [1.0], "float32"))
    with cupy_on_cpu.counting() as asked:
        read(x)
    assert asked.waits
