"""Layers to be explained, and a reader who calculates what is printed once more."""

from __future__ import annotations

import math
import re

import numpy as np

import nnx
from nnx import nn

RNG = np.random.default_rng(3)


def numbers(*shape):
    return np.round(RNG.standard_normal(shape), 2)


X23, X34, IMAGE, LINE = numbers(2, 3), numbers(3, 4), numbers(2, 2, 4, 5), numbers(2, 2, 7)
STEPS, T23 = numbers(3, 2, 3), np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
UNIT = np.array([[0.2, 0.7, 0.1], [0.9, 0.4, 0.5]])


def made(layer, *inputs):
    """A case: how the layer is made, and what it is called with."""
    return layer, inputs


def normal(layer):
    """A layer with a scale and a shift that are not 1 and 0."""

    def make():
        made = layer()
        with nnx.no_grad():
            for p, ends in ((made.weight, (0.5, 1.5)), (made.bias, (-1.0, 1.0))):
                p.copy_(np.linspace(*ends, p.size).reshape(p.shape).astype("float32"))
        return made

    return make


KINDS = {
    "linear": made(lambda: nn.Linear(3, 2), X23),
    "linear without bias, more axes": made(lambda: nn.Linear(5, 2, bias=False), IMAGE),
    "conv1d": made(lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2), LINE),
    "conv2d": made(lambda: nn.Conv2d(2, 2, 2, padding=1, dilation=2), IMAGE),
    "conv2d of one image": made(lambda: nn.Conv2d(2, 1, (1, 2), stride=(2, 1)), IMAGE[0]),
    "conv3d": made(lambda: nn.Conv3d(1, 1, 2), numbers(1, 1, 2, 3, 2)),
    "max_pool": made(lambda: nn.MaxPool2d(2, stride=1, padding=1), IMAGE),
    "max_pool with ties": made(lambda: nn.MaxPool2d(2, ceil_mode=True), np.zeros((1, 3, 3))),
    "avg_pool": made(lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), IMAGE),
    "avg_pool of pixels": made(lambda: nn.AvgPool1d(3, 2, 1, count_include_pad=False), LINE),
    "adaptive": made(lambda: nn.AdaptiveAvgPool2d((2, 3)), IMAGE),
    "batch_norm": made(normal(lambda: nn.BatchNorm1d(3)), numbers(4, 3)),
    "batch_norm of images": made(normal(lambda: nn.BatchNorm2d(2, momentum=None)), IMAGE),
    "batch_norm in evaluation": made(normal(lambda: nn.BatchNorm1d(3).eval()), numbers(4, 3)),
    "layer_norm": made(normal(lambda: nn.LayerNorm((2, 3))), numbers(2, 2, 3)),
    "group_norm": made(normal(lambda: nn.GroupNorm(2, 4)), numbers(2, 4, 2)),
    "instance_norm": made(lambda: nn.InstanceNorm1d(2), LINE),
    "dropout": made(lambda: nn.Dropout(0.4), X34),
    "dropout2d": made(lambda: nn.Dropout2d(0.4), IMAGE),
    "dropout in evaluation": made(lambda: nn.Dropout(0.4).eval(), X23),
    "flatten": made(nn.Flatten, IMAGE),
    "unflatten": made(lambda: nn.Unflatten(1, (2, 2)), X34),
    "embedding": made(lambda: nn.Embedding(4, 2), np.array([[1, 3, 1]])),
    "embedding with padding": made(lambda: nn.Embedding(4, 2, 1), np.array([1, 3, 1])),
    "rnn": made(lambda: nn.RNN(3, 2), STEPS),
    "rnn with relu": made(
        lambda: nn.RNN(3, 2, nonlinearity="relu", bias=False, batch_first=True), STEPS
    ),
    "rnn of one step": made(lambda: nn.RNN(3, 2), STEPS[:1], numbers(1, 2, 2)),
    "lstm": made(lambda: nn.LSTM(3, 2), STEPS),
    "lstm of one sequence": made(lambda: nn.LSTM(3, 2), STEPS[:, 0]),
    "lstm from a state": made(
        lambda: nn.LSTM(3, 2), STEPS[:1], (numbers(1, 2, 2), numbers(1, 2, 2))
    ),
    "gru": made(lambda: nn.GRU(3, 2), STEPS),
    "gru from a state": made(lambda: nn.GRU(3, 2), STEPS, numbers(1, 2, 2)),
    "gru, reset before, from a state": made(
        lambda: nn.GRU(3, 2, reset_after=False), STEPS[:, 0], numbers(1, 2)
    ),
    "gru, reset before": made(lambda: nn.GRU(3, 2, reset_after=False), STEPS),
    "birnn of two layers": made(lambda: nn.RNN(3, 2, 2, bidirectional=True), STEPS),
    "bigru": made(
        lambda: nn.GRU(3, 2, bias=False, reset_after=False, bidirectional=True, batch_first=True),
        STEPS,
    ),
    "lstm of two layers": made(lambda: nn.LSTM(3, 2, 2, dropout=0.5).eval(), STEPS[:2, 0]),
    "softmax": made(nn.Softmax, X23),
    "softmax of columns": made(lambda: nn.Softmax(0), X23),
    "log_softmax": made(nn.LogSoftmax, X23),
    "cross_entropy": made(nn.CrossEntropyLoss, X23, np.array([2, 0])),
    "cross_entropy of one": made(nn.CrossEntropyLoss, X23[0], np.array(1)),
    "cross_entropy, none": made(
        lambda: nn.CrossEntropyLoss(reduction="none"), X23, np.array([2, 0])
    ),
    "cross_entropy, weights": made(
        lambda: nn.CrossEntropyLoss([1.0, 2.0, 0.5]), numbers(3, 3), np.array([2, -100, 1])
    ),
    "cross_entropy, one-hot": made(nn.CrossEntropyLoss, X23, np.eye(3)[[2, 0]]),
    "cross_entropy, smoothed": made(
        lambda: nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum"), X23, np.array([2, 0])
    ),
    "nll": made(nn.NLLLoss, -UNIT, np.array([2, 0])),
    "mse": made(nn.MSELoss, X23, T23),
    "mse, none": made(lambda: nn.MSELoss(reduction="none"), X23, T23),
    "l1": made(lambda: nn.L1Loss(reduction="sum"), X23, T23),
    "smooth_l1": made(lambda: nn.SmoothL1Loss(beta=0.7), X23, T23),
    "huber": made(lambda: nn.HuberLoss(delta=0.7), X23, T23),
    "bce": made(nn.BCELoss, UNIT, T23),
    "bce of logits": made(nn.BCEWithLogitsLoss, X23, T23),
    "soft_margin": made(nn.SoftMarginLoss, X23, 2 * T23 - 1),
    "sequential": made(
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2)), X23
    ),
    "an image to classes": made(
        lambda: nn.Sequential(
            nn.Conv2d(2, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 3)
        ),
        IMAGE,
    ),
    "no derivation": made(lambda: nn.Bilinear(3, 3, 2), X23, numbers(2, 3)),
}


def called_with(name, dtype="float64", backend=None):
    """The layer and the inputs of a case, in a dtype; on a backend, where one is given."""
    layer, inputs = KINDS[name]
    state = nnx.random.default_generator().state()
    nnx.manual_seed(0)
    model = layer().to(dtype=dtype)
    nnx.random.default_generator().set_state(state)

    def ready(a):
        if isinstance(a, tuple):
            return tuple(map(ready, a))
        a = a.astype(dtype) if a.dtype.kind == "f" else a
        return a if backend is None else backend.asarray(a)

    return model, [ready(a) for a in inputs]


# ---- the reader ----

KNOWN = {
    "exp": math.exp,
    "log": math.log,
    "log1p": math.log1p,
    "tanh": math.tanh,
    "sqrt": math.sqrt,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "erf": math.erf,
    "sin": math.sin,
    "cos": math.cos,
    "abs": abs,
    "max": max,
    "min": min,
    "__builtins__": {},
}


def calculated(text: str) -> float:
    """What a line of numbers comes to, read as it is printed."""
    text = text.replace("·", "*").replace("²", "**2").replace("√", "sqrt").replace("σ", "sigmoid")
    text = text.replace("log(1 + ", "log1p(")
    text = re.sub(r"\|([^|]*)\|", r"abs(\1)", text)
    return float(eval(text, dict(KNOWN)))


__all__ = ["KINDS", "calculated", "called_with", "nnx", "numbers"]
