"""Models of Keras's beside the same ones of nnx.

`PYTHONPATH=. python tests/support/keras_models.py` records what Keras computes, for where it is not
installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import nnx
from nnx import nn

RECORDED = Path(__file__).parents[1] / "interop" / "recorded-keras.npz"


NORM = {"eps": 1e-3, "momentum": 0.01}

# name -> (Keras's layers, ours, the shape of an example without the batch)
CASES = {
    "dense": (
        lambda K: [K.Dense(4, activation="tanh"), K.Dense(2, use_bias=False)],
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2, bias=False)),
        (3,),
    ),
    "image": (
        lambda K: [
            K.Conv2D(4, (3, 2), activation="relu"),
            K.BatchNormalization(),
            K.MaxPooling2D(2),
            K.Conv2D(4, 2, groups=2, use_bias=False),
            K.Dropout(0.5),
            K.Flatten(),
            K.Dense(3),
            K.Dense(2),
        ],
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, (3, 2)),
            nn.ReLU(),
            nn.BatchNorm2d(4, **NORM),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 2, groups=2, bias=False),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(24, 3),
            nn.Linear(3, 2),
        ),
        (2, 8, 9),
    ),
    "image, transposed": (
        lambda K: [
            K.DepthwiseConv2D(2, depth_multiplier=2),
            K.Conv2DTranspose(3, 3, strides=2),
            K.PReLU(shared_axes=[1, 2]),
            K.GroupNormalization(3),
            K.GlobalAveragePooling2D(),
            K.Dense(2),
        ],
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 2, groups=2),
            nn.ConvTranspose2d(4, 3, 3, 2),
            nn.PReLU(3),
            nn.GroupNorm(3, 3, eps=1e-3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(3, 2),
        ),
        (2, 4, 5),
    ),
    "sequence": (
        lambda K: [K.Conv1D(4, 2), K.LayerNormalization(), K.Flatten(), K.Dense(2)],
        lambda: nn.Sequential(nn.Conv1d(3, 4, 2), Last(), nn.Flatten(), nn.Linear(20, 2)),
        (3, 6),
    ),
    "lstm": (
        lambda K: [K.LSTM(4, return_sequences=True), K.LSTM(4, return_sequences=True), K.Dense(2)],
        lambda: nn.Sequential(First(nn.LSTM(3, 4, 2, batch_first=True)), nn.Linear(4, 2)),
        (5, 3),
    ),
    "gru": (
        lambda K: [K.GRU(4, return_sequences=True), K.Dense(2)],
        lambda: nn.Sequential(First(nn.GRU(3, 4, batch_first=True)), nn.Linear(4, 2)),
        (5, 3),
    ),
    "gru, reset before": (
        lambda K: [K.GRU(4, return_sequences=True, reset_after=False), K.Dense(2)],
        lambda: nn.Sequential(
            First(nn.GRU(3, 4, batch_first=True, reset_after=False)), nn.Linear(4, 2)
        ),
        (5, 3),
    ),
    "bidirectional": (
        lambda K: [
            K.Bidirectional(K.GRU(4, return_sequences=True)),
            K.Bidirectional(K.LSTM(2, return_sequences=True)),
            K.SimpleRNN(3, return_sequences=True),
        ],
        lambda: nn.Sequential(
            First(nn.GRU(3, 4, batch_first=True, bidirectional=True)),
            First(nn.LSTM(8, 2, batch_first=True, bidirectional=True)),
            First(nn.RNN(4, 3, batch_first=True)),
        ),
        (5, 3),
    ),
    "words": (
        lambda K: [K.Embedding(7, 3), K.LSTM(4, return_sequences=True, use_bias=False)],
        lambda: nn.Sequential(
            nn.Embedding(7, 3), First(nn.LSTM(3, 4, batch_first=True, bias=False))
        ),
        (5,),
    ),
}


class First(nn.Sequential):
    """The sequence that a recurrent layer gives, without its last state."""

    def forward(self, x):
        return super().forward(x)[0]


class Last(nn.LayerNorm):
    """Keras normalises the channels, which are last there."""

    def __init__(self):
        super().__init__(4, eps=1e-3)

    def forward(self, x):
        return nnx.matrix_transpose(super().forward(nnx.matrix_transpose(x)))


def example(name):
    shape = CASES[name][2]
    rng = np.random.default_rng(sum(map(ord, name)))
    if name == "words":
        return rng.integers(0, 7, (2, *shape))
    return rng.standard_normal((2, *shape)).astype("float32")


def is_image(x):
    return x.ndim == 4 or (x.ndim == 3 and x.shape[1:] == (3, 6))


def theirs(name):
    """Keras's model with random weights, none of which is zero."""
    import keras

    x = example(name)
    shape = (*x.shape[2:], x.shape[1]) if is_image(x) else x.shape[1:]
    dtype = "int32" if name == "words" else "float32"
    model = keras.Sequential(
        [keras.layers.Input(shape, dtype=dtype), *CASES[name][0](keras.layers)]
    )
    rng = np.random.default_rng(1)
    weights = []
    for values, weight in zip(model.get_weights(), model.weights, strict=True):
        is_variance = "variance" in weight.path
        weights.append(rng.random(values.shape) + 0.5 if is_variance else
                       rng.standard_normal(values.shape) / 2)  # fmt: skip
    model.set_weights(weights)
    return model


def output(model, x):
    """What Keras's model computes, for an example in our order of axes."""
    x = np.moveaxis(x, 1, -1) if is_image(x) else x
    return np.asarray(model(x, training=False).detach().numpy())


def record():
    kept = {}
    for name in CASES:
        model = theirs(name)
        for k, values in enumerate(model.get_weights()):
            kept[f"{name}/{k:02}"] = values
        kept[f"{name}/y"] = output(model, example(name))
    nnx.save(kept, RECORDED.with_name("all.npz"))
    RECORDED.with_name("all.npz").replace(RECORDED)


if __name__ == "__main__":
    record()
