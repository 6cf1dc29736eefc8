"""A batch of no samples goes through every layer, and its gradients are zeros."""

import numpy as np
import pytest

from nnx import nn

LAYERS = {
    "Linear": (lambda: nn.Linear(3, 4), (0, 3)),
    "Linear and ReLU": (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU()), (0, 3)),
    "Conv1d": (lambda: nn.Conv1d(3, 4, 2), (0, 3, 5)),
    "Conv2d": (lambda: nn.Conv2d(4, 4, 2, groups=2), (0, 4, 5, 5)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 2, groups=4), (0, 4, 5, 5)),
    "block": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.MaxPool2d(2)), (0, 3, 5, 5),
    ),
    "block with norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.ReLU()), (0, 3, 5, 5),
    ),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 4, 2), (0, 3, 5, 5)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (0, 3, 4, 4)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (0, 3, 4, 4)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), (0, 3)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (0, 3, 4, 4)),
    "BatchNorm2d of no pixels": (lambda: nn.BatchNorm2d(3), (2, 3, 0, 4)),
    "BatchNorm2d untracked": (lambda: nn.BatchNorm2d(3, track_running_stats=False), (0, 3, 4, 4)),
    "LayerNorm": (lambda: nn.LayerNorm(3), (0, 3)),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(3), (0, 3, 2, 2, 2)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(3, affine=True), (0, 3, 4, 4)),
    "RMSNorm": (lambda: nn.RMSNorm(3), (0, 3)),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(2), (0, 3, 4)),
    "Conv3d": (lambda: nn.Conv3d(3, 4, 2), (0, 3, 3, 3, 3)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(3, 4, 2), (0, 3, 2, 2, 2)),
    "MaxPool3d": (lambda: nn.MaxPool3d(2), (0, 3, 4, 4, 4)),
    "AvgPool3d": (lambda: nn.AvgPool3d(2), (0, 3, 4, 4, 4)),
    "AdaptiveAvgPool3d": (lambda: nn.AdaptiveAvgPool3d(3), (0, 3, 4, 4, 4)),
    "AdaptiveMaxPool3d": (lambda: nn.AdaptiveMaxPool3d(3), (0, 3, 4, 4, 4)),
    "LPPool2d": (lambda: nn.LPPool2d(2, 2), (0, 3, 4, 4)),
    "FractionalMaxPool2d": (lambda: nn.FractionalMaxPool2d(2, 2), (0, 3, 4, 4)),
    "ReflectionPad2d": (lambda: nn.ReflectionPad2d(1), (0, 3, 4, 4)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (0, 4, 3)),
    "RNN": (lambda: nn.RNN(3, 4, num_layers=2), (5, 0, 3)),
    "RNN without bias": (lambda: nn.RNN(3, 4, bias=False, bidirectional=True), (5, 0, 3)),
    "LSTM": (lambda: nn.LSTM(3, 4, bidirectional=True), (5, 0, 3)),
    "LSTM with projection": (lambda: nn.LSTM(3, 4, proj_size=2), (5, 0, 3)),
    "GRU": (lambda: nn.GRU(3, 4, num_layers=2), (5, 0, 3)),
    "GRU with reset before": (lambda: nn.GRU(3, 4, reset_after=False), (5, 0, 3)),
    "LSTMCell": (lambda: nn.LSTMCell(3, 4), (0, 3)),
    "GELU": (lambda: nn.GELU(), (0, 3)),
    "Softmax": (lambda: nn.Softmax(), (0, 3)),
}  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_an_empty_batch(backend, name, training):
    make, shape = LAYERS[name]
    layer = make()
    layer.train(training)
    before = {key: backend.to_numpy(value) for key, value in layer.state_dict().items()}
    x = backend.tensor(np.zeros(shape, "f4"), requires_grad=True)
    y = layer(x)
    y = y[0] if isinstance(y, tuple) else y
    assert y.size == 0 and y.ndim >= 2
    (y * y).sum().backward()
    assert tuple(x.grad.shape) == shape
    for p in layer.parameters():
        assert not backend.to_numpy(p.grad).any() and tuple(p.grad.shape) == p.shape
    for key, value in layer.state_dict().items():
        # The batch is counted, as PyTorch counts it; the averages have nothing to learn from it.
        counted = training and key.endswith("num_batches_tracked")
        np.testing.assert_array_equal(backend.to_numpy(value), before[key] + counted, key)
