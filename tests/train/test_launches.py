"""How much a training step asks of a device: launches, and nothing that waits.

On CuPy's own arrays, at full size; only shapes are computed.  A step that gains a launch fails
here, with the places of all of them in its message.
"""

from __future__ import annotations

import cupy_on_cpu
import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.train.capture import capture


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10)), (256, 784)


def lenet(norm=False):
    def block(inputs, outputs):
        between = [nn.BatchNorm2d(outputs)] if norm else []
        return [nn.Conv2d(inputs, outputs, 5), *between, nn.ReLU(), nn.MaxPool2d(2)]

    head = [nn.Flatten(), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*block(1, 32), *block(32, 64), *head), (256, 1, 28, 28)


MODELS = {
    "MLP": (mlp, 11),
    "LeNet": (lenet, 33),
    "LeNet with batch norm": (lambda: lenet(norm=True), 47),
}
LAYERS = {
    "GELU": (nn.GELU, (64, 100), 2),
    "GELU by tanh": (lambda: nn.GELU("tanh"), (64, 100), 2),
    "SiLU": (nn.SiLU, (64, 100), 2),
    "ELU": (nn.ELU, (64, 100), 2),
    "LeakyReLU": (nn.LeakyReLU, (64, 100), 2),
    "Sigmoid": (nn.Sigmoid, (64, 100), 2),
    "Tanh": (nn.Tanh, (64, 100), 2),
    "Softplus": (nn.Softplus, (64, 100), 4),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d(3), (4, 3, 8, 8), 3),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(3), (4, 3, 8, 8), 3),
}
RECURRENT = {
    "LSTM 3 x 128": (lambda: nn.LSTM(128, 128, num_layers=3), (64, 32, 128), 29),
    "LSTM 512": (lambda: nn.LSTM(512, 512), (256, 64, 512), 7),
    "LSTM 1024": (lambda: nn.LSTM(1024, 1024), (256, 64, 1024), 7),
    "GRU 512": (lambda: nn.GRU(512, 512), (256, 64, 512), 7),
    "GRU 512, reset before": (
        lambda: nn.GRU(512, 512, reset_after=False),
        (256, 64, 512),
        30,
    ),
    "RNN 512": (lambda: nn.RNN(512, 512), (256, 64, 512), 7),
    "BiLSTM 2 x 512": (
        lambda: nn.LSTM(512, 512, num_layers=2, bidirectional=True),
        (256, 64, 512),
        30,
    ),
    "BiGRU 2 x 512": (
        lambda: nn.GRU(512, 512, num_layers=2, bidirectional=True),
        (256, 64, 512),
        30,
    ),
    "BiRNN 2 x 512": (
        lambda: nn.RNN(512, 512, num_layers=2, bidirectional=True),
        (256, 64, 512),
        30,
    ),
    "BiGRU 3 x 32": (
        lambda: nn.GRU(32, 32, num_layers=3, bidirectional=True),
        (400, 16, 32),
        34,
    ),
    "BiRNN 32": (lambda: nn.RNN(32, 32, bidirectional=True), (20, 16, 32), 9),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step(on_cupy, name):
    """Forward, cross-entropy, backward, Adam."""
    make, most = MODELS[name]
    model, shape = make()
    optimizer, loss_of = optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    rng = np.random.default_rng(0)
    x = on_cupy.tensor(rng.standard_normal(shape).astype("float32"))
    y = on_cupy.tensor(rng.integers(0, 10, 256))
    with cupy_on_cpu.asked_only():
        for _ in range(2):  # the first makes what is made once
            with cupy_on_cpu.counting() as asked:
                loss_of(model(x), y).backward()
                optimizer.step()
                optimizer.zero_grad()
    assert asked.total <= most, str(asked)
    assert not asked.waits and not asked.sent, str(asked)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_there_and_back(on_cupy, name):
    make, shape, most = LAYERS[name]
    layer = make()
    x = on_cupy.tensor(np.ones(shape, "float32"), requires_grad=True)
    with cupy_on_cpu.asked_only():
        for _ in range(2):
            layer.zero_grad()
            x.grad = None
            with cupy_on_cpu.counting() as asked:
                y = layer(x)
                y.backward(y.data)
    assert asked.total <= most, str(asked)
    assert not asked.waits and not asked.sent, str(asked)


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_layer_there_and_back(on_cupy, name):
    make, shape, most = RECURRENT[name]
    layer = make()
    x = on_cupy.tensor(np.ones(shape, "float32"))
    with cupy_on_cpu.asked_only():
        for _ in range(2):
            layer.zero_grad()
            with cupy_on_cpu.counting() as asked:
                y = layer(x)[0]
                y.backward(y.data)
    assert asked.total <= most, str(asked)
    assert not asked.waits and not asked.sent, str(asked)


def test_a_replay_is_one_launch_and_two_copies_in_and_one_out(on_cupy):
    model, _ = mlp()
    x = on_cupy.tensor(np.ones((8, 784), "float32"))
    y = on_cupy.tensor(np.zeros(8, "int64"))

    optimizer = optim.Adam(model.parameters())

    def step(x, y):
        loss = nnx.ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    replayed = capture(step, model, optimizer, warmup=1)
    for _ in range(3):
        with cupy_on_cpu.counting() as asked:
            replayed(x, y)
    assert asked.launches["graph"] == 1 and asked.total == 4, str(asked)


HALF = {
    "MLP": (mlp, 27),
    "LeNet": (lenet, 59),
    "LeNet with batch norm": (lambda: lenet(norm=True), 73),
}


@pytest.mark.parametrize("name", HALF)
def test_a_training_step_in_float16(on_cupy, name):
    """With what casts the weights, once each, and the gradients, and with the scaled loss."""
    make, most = HALF[name]
    model, shape = make()
    optimizer, loss_of = optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    precision = nnx.amp.Precision("float16")
    rng = np.random.default_rng(0)
    x = on_cupy.tensor(rng.standard_normal(shape).astype("float32"))
    y = on_cupy.tensor(rng.integers(0, 10, 256))
    with cupy_on_cpu.asked_only():
        for _ in range(2):
            with cupy_on_cpu.counting() as asked:
                with precision.autocast():
                    loss = loss_of(model(x), y)
                precision.backward(loss)
                precision.step(optimizer)
                optimizer.zero_grad()
    assert asked.total <= most, str(asked)
    assert not asked.waits and not asked.sent, str(asked)
