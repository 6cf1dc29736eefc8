"""What is exported in the tests of `nnx.onnx`: models, and the arrays that they are called with.

Each case is (make the model, arrays for n examples); a pair of a name and a case stands in `LAYERS`
for every layer of `nnx.nn`, and in `MODELS` for what people write themselves.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np

import nnx
from nnx import nn

RNG = np.random.default_rng(8)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype("float32")


def rows(*shape: int) -> Any:
    """(n, *shape)."""
    return lambda n: (normal(n, *shape),)


def steps(*shape: int) -> Any:
    """(T, n, ...) with T in front."""
    return lambda n: (normal(shape[0], n, *shape[1:]),)


def whole(n: int, most: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, most, (n, *shape))


def lengths(n: int, most: int) -> np.ndarray:
    return np.resize(np.arange(most, 0, -1), n)


def beyond(n: int, most: int) -> np.ndarray:
    """Where sequences have ended: bool (n, most)."""
    return np.arange(most) >= lengths(n, most)[:, None]


def with_lengths(layer: Any, batch_first: bool) -> Any:
    def make(n: int) -> tuple[Any, ...]:
        x = normal(n, 5, 3) if batch_first else normal(5, n, 3)
        return x, None, lengths(n, 5)

    return lambda: layer(3, 4, 2, bidirectional=True, batch_first=batch_first), make


def with_states(layer: Any) -> Any:
    def make(n: int) -> tuple[Any, ...]:
        h = normal(4, n, 4)
        return normal(5, n, 3), (h, normal(4, n, 4)) if layer is nn.LSTM else h

    return lambda: layer(3, 4, 2, bidirectional=True), make


def trained(model: nn.Module, *arrays: np.ndarray) -> nn.Module:
    """With running statistics that are not those of the start."""
    model.train()
    model(*[nnx.Tensor(a) for a in arrays])
    return model


def targets(n: int) -> tuple[np.ndarray, np.ndarray]:
    return normal(n, 4), whole(n, 4)


def signs(n: int) -> tuple[np.ndarray, np.ndarray]:
    return normal(n, 4), np.sign(normal(n, 4))


def probabilities(n: int) -> tuple[np.ndarray, np.ndarray]:
    return 1 / (1 + np.exp(-normal(n, 4))), (normal(n, 4) > 0).astype("float32")


LAYERS: dict[str, tuple[Any, Any]] = {
    "Linear": (lambda: nn.Linear(5, 4), rows(5)),
    "Linear of rows": (lambda: nn.Linear(5, 4, bias=False), rows(6, 5)),
    "Conv1d": (lambda: nn.Conv1d(3, 4, 3, stride=2, padding=1, dilation=2), rows(3, 12)),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, padding=((0, 1), (2, 0)), groups=2), rows(4, 6, 7)),
    "Conv2d reflect": (
        lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        rows(3, 5, 6),
    ),
    "ConvTranspose2d": (
        lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1),
        rows(3, 5, 6),
    ),
    "ConvTranspose2d groups": (
        lambda: nn.ConvTranspose2d(4, 4, 3, stride=3, padding=1, groups=2, dilation=2),
        rows(4, 5, 6),
    ),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), rows(3, 8)),
    "MaxPool2d": (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), rows(3, 8, 8)),
    "MaxPool2d indices": (lambda: nn.MaxPool2d(3, 2, 1, return_indices=True), rows(3, 8, 9)),
    "AvgPool1d": (lambda: nn.AvgPool1d(2, 1), rows(3, 8)),
    "AvgPool2d": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True), rows(3, 8, 8)),
    "AvgPool2d inside": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), rows(3, 8, 8)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((3, 2)), rows(3, 8, 7)),
    "AdaptiveMaxPool2d": (lambda: nn.AdaptiveMaxPool2d((3, 2), return_indices=True), rows(3, 8, 7)),
    "BatchNorm1d": (lambda: trained(nn.BatchNorm1d(4), normal(9, 4)), rows(4)),
    "BatchNorm2d": (lambda: trained(nn.BatchNorm2d(4), normal(9, 4, 2, 2)), rows(4, 3, 3)),
    "BatchNorm2d plain": (
        lambda: nn.BatchNorm2d(4, affine=False, track_running_stats=False),
        rows(4, 3, 3),
    ),
    "SyncBatchNorm": (lambda: trained(nn.SyncBatchNorm(4), normal(9, 4, 2, 2)), rows(4, 3, 3)),
    "BatchNorm3d": (lambda: trained(nn.BatchNorm3d(4), normal(9, 4, 2, 2, 2)), rows(4, 2, 3, 2)),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(4), rows(4, 5)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4, affine=True), rows(4, 3, 5)),
    "InstanceNorm3d": (
        lambda: trained(nn.InstanceNorm3d(4, track_running_stats=True), normal(2, 4, 2, 2, 3)),
        rows(4, 3, 2, 2),
    ),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3, 0.1), rows(5, 3, 2)),
    "RMSNorm": (lambda: nn.RMSNorm((3, 4)), rows(2, 3, 4)),
    "LayerNorm": (lambda: nn.LayerNorm((4, 3)), rows(2, 4, 3)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), rows(4, 3, 2)),
    "Embedding": (lambda: nn.Embedding(10, 4), lambda n: (whole(n, 10, 3),)),
    "Flatten": (lambda: nn.Flatten(), rows(3, 2)),
    "Unflatten": (lambda: nn.Unflatten(1, (2, 3)), rows(6)),
    "PReLU channels": (lambda: nn.PReLU(3), rows(3, 2)),
    "GELU tanh": (lambda: nn.GELU("tanh"), rows(4)),
    "Softplus threshold": (lambda: nn.Softplus(2.0, 1.0), rows(4)),
    "RNNCell": (lambda: nn.RNNCell(3, 4), rows(3)),
    "LSTMCell": (lambda: nn.LSTMCell(3, 4), rows(3)),
    "GRUCell": (lambda: nn.GRUCell(3, 4), lambda n: (normal(n, 3), normal(n, 4))),
    "GRU reset before": (lambda: nn.GRU(3, 4, reset_after=False), steps(5, 3)),
    "RNN relu": (lambda: nn.RNN(3, 4, nonlinearity="relu"), steps(5, 3)),
    "LSTM projected": (
        lambda: nn.LSTM(3, 4, proj_size=2, bidirectional=True),
        lambda n: (normal(3, n, 3), None, lengths(n, 3)),
    ),
    "Conv3d": (lambda: nn.Conv3d(4, 6, (2, 1, 3), padding=1, stride=2, groups=2), rows(4, 4, 5, 3)),
    "ConvTranspose1d": (
        lambda: nn.ConvTranspose1d(3, 4, 3, stride=2, output_padding=1),
        rows(3, 6),
    ),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(3, 4, 2, stride=2, padding=1), rows(3, 4, 5, 3)),
    "MaxPool3d": (lambda: nn.MaxPool3d(2, return_indices=True), rows(3, 4, 5, 6)),
    "AvgPool3d": (lambda: nn.AvgPool3d(3, 2, 1, ceil_mode=True), rows(3, 4, 5, 6)),
    "AdaptiveAvgPool1d": (lambda: nn.AdaptiveAvgPool1d(4), rows(3, 9)),
    "AdaptiveAvgPool3d": (lambda: nn.AdaptiveAvgPool3d((2, 3, None)), rows(3, 4, 5, 6)),
    "AdaptiveMaxPool1d": (lambda: nn.AdaptiveMaxPool1d(4, return_indices=True), rows(3, 9)),
    "AdaptiveMaxPool3d": (lambda: nn.AdaptiveMaxPool3d((2, 3, 3)), rows(3, 4, 5, 6)),
    "ConstantPad2d negative": (lambda: nn.ConstantPad2d((-1, 2, 0, -1), 1.5), rows(3, 5, 6)),
    "Bilinear": (lambda: nn.Bilinear(3, 4, 5), lambda n: (normal(n, 3), normal(n, 4))),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(10, 4), lambda n: (whole(n, 10, 3),)),
    "CosineSimilarity": (
        lambda: nn.CosineSimilarity(),
        lambda n: (normal(n, 4), normal(n, 4)),
    ),
    "PairwiseDistance": (
        lambda: nn.PairwiseDistance(),
        lambda n: (normal(n, 4), normal(n, 4)),
    ),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), rows(3, 4, 5)),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(scale_factor=2), rows(3, 4, 5)),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d((7, 9)), rows(3, 4, 5)),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), rows(8, 3, 2)),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), rows(2, 4, 6)),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), rows(6, 3, 2)),
    "Unfold": (lambda: nn.Unfold((2, 3), padding=1), rows(3, 4, 5)),
    "Fold": (lambda: nn.Fold((4, 5), (2, 3)), rows(12, 9)),
    "MultiheadAttention": (
        lambda: nn.MultiheadAttention(8, 2),
        lambda n: (normal(5, n, 8), normal(6, n, 8), normal(6, n, 8)),
    ),
    "MultiheadAttention masked": (
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        lambda n: (normal(n, 5, 8), normal(n, 6, 8), normal(n, 6, 8), beyond(n, 6)),
    ),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, activation="gelu"),
        steps(5, 8),
    ),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
        lambda n: (normal(n, 5, 8), None, beyond(n, 5)),
    ),
    "TransformerDecoderLayer": (
        lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True),
        lambda n: (normal(n, 5, 8), normal(n, 6, 8)),
    ),
    "TransformerDecoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2),
        lambda n: (normal(5, n, 8), normal(6, n, 8)),
    ),
    "Transformer": (
        lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
        lambda n: (normal(n, 5, 8), normal(n, 6, 8)),
    ),
    "PositionalEncoding": (lambda: nn.PositionalEncoding(8, batch_first=True), rows(5, 8)),
    "LearnedPositionalEncoding": (
        lambda: nn.LearnedPositionalEncoding(8, 9, batch_first=True),
        rows(5, 8),
    ),
    "RotaryEmbedding": (lambda: nn.RotaryEmbedding(8), rows(2, 5, 8)),
    "CrossEntropyLoss": (lambda: nn.CrossEntropyLoss(label_smoothing=0.1), targets),
    "NLLLoss": (lambda: nn.NLLLoss(), targets),
    "MultiMarginLoss": (lambda: nn.MultiMarginLoss(), targets),
    "BCELoss": (lambda: nn.BCELoss(), probabilities),
    "BCEWithLogitsLoss": (lambda: nn.BCEWithLogitsLoss(), probabilities),
    "LinearCrossEntropyLoss": (
        lambda: nn.LinearCrossEntropyLoss(4, 5),
        lambda n: (normal(n, 4), whole(n, 5)),
    ),
    "CosineEmbeddingLoss": (
        lambda: nn.CosineEmbeddingLoss(),
        lambda n: (normal(n, 4), normal(n, 4), np.sign(normal(n))),
    ),
    "GaussianNLLLoss": (
        lambda: nn.GaussianNLLLoss(),
        lambda n: (normal(n, 4), normal(n, 4), np.abs(normal(n, 4))),
    ),
    "MarginRankingLoss": (
        lambda: nn.MarginRankingLoss(),
        lambda n: (normal(n), normal(n), np.sign(normal(n))),
    ),
    "MultiLabelMarginLoss": (
        lambda: nn.MultiLabelMarginLoss(),
        lambda n: (normal(n, 4), np.resize([[3, 0, -1, 1], [1, -1, 2, 3]], (n, 4))),
    ),
    "MultiLabelSoftMarginLoss": (lambda: nn.MultiLabelSoftMarginLoss(), probabilities),
    "PoissonNLLLoss": (lambda: nn.PoissonNLLLoss(), probabilities),
    "TripletMarginLoss": (
        lambda: nn.TripletMarginLoss(swap=True),
        lambda n: (normal(n, 4), normal(n, 4), normal(n, 4)),
    ),
    "TripletMarginWithDistanceLoss": (
        lambda: nn.TripletMarginWithDistanceLoss(),
        lambda n: (normal(n, 4), normal(n, 4), normal(n, 4)),
    ),
    "KLDivLoss": (lambda: nn.KLDivLoss(), lambda n: (normal(n, 4), np.abs(normal(n, 4)))),
}


def in_axes(name: str, axes: int, *arguments: Any) -> tuple[Any, Any]:
    """The layer of this name for one axis, two or three."""
    layer = getattr(nn, f"{name}{axes}d")
    return lambda: layer(*arguments), rows(*(3, 4, 5, 3)[: axes + 1])


for _axes in (1, 2, 3):
    for _name, *_arguments in (
        *(("CircularPad", 1), ("ReflectionPad", 1), ("ReplicationPad", 1), ("ZeroPad", 1)),
        *(("ConstantPad", 2, 0.5), ("LPPool", 2, 2)),
    ):
        LAYERS[f"{_name}{_axes}d"] = in_axes(_name, _axes, *_arguments)


def without_arguments() -> dict[str, Any]:
    """Activations and dropouts that are made without arguments, by name."""
    found = {}
    for name in nn.__all__:
        layer = getattr(nn, name)
        if re.search(
            r"nn\.(activation|piecewise|dropout|flatten)", getattr(layer, "__module__", "")
        ):
            options = inspect.signature(layer).parameters.values()
            if all(p.default is not p.empty or p.kind > 1 for p in options):
                found[name] = layer
    return found


def unpooled(axes: int) -> tuple[Any, Any]:
    pool, unpool = getattr(nn, f"MaxPool{axes}d"), getattr(nn, f"MaxUnpool{axes}d")

    class Unpooled(nn.Module):
        """What a pooling took, where it stood."""

        def __init__(self) -> None:
            self.pool, self.unpool = pool(2, return_indices=True), unpool(2)

        def forward(self, x: nnx.Tensor) -> nnx.Tensor:
            return self.unpool(*self.pool(x))

    return Unpooled, rows(*(3, 4, 6, 2)[: axes + 1])


for _axes in (1, 2, 3):
    LAYERS[f"MaxUnpool{_axes}d"] = unpooled(_axes)

SHAPES = {"1d": (4, 3), "2d": (4, 3, 3), "3d": (4, 2, 3, 3)}
LAYERS |= {
    name: (layer, rows(*SHAPES.get(name[-2:], (2, 6))))
    for name, layer in without_arguments().items()
}
LAYERS |= {
    "Threshold": (lambda: nn.Threshold(0.1, 20.0), rows(2, 5)),
    "Softmax2d": (lambda: nn.Softmax2d(), rows(3, 2, 2)),
}
for _name in ("MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss"):
    LAYERS[_name] = (getattr(nn, _name), lambda n: (normal(n, 4), normal(n, 4)))
for _name in ("HingeEmbeddingLoss", "HingeLoss", "SoftMarginLoss"):
    LAYERS[_name] = (getattr(nn, _name), signs)
for _kind in (nn.RNN, nn.LSTM, nn.GRU):
    for _first in (False, True):
        for _both in (False, True):
            _label = f"{_kind.__name__} first={_first} both={_both}"
            LAYERS[_label] = (
                lambda k=_kind, f=_first, b=_both: k(3, 4, 2, batch_first=f, bidirectional=b),
                rows(5, 3) if _first else steps(5, 3),
            )
        LAYERS[f"{_kind.__name__} lengths first={_first}"] = with_lengths(_kind, _first)
    LAYERS[f"{_kind.__name__} states"] = with_states(_kind)
    LAYERS[f"{_kind.__name__}"] = (lambda k=_kind: k(3, 4, bias=False), steps(4, 3))

REFERENCE_LACKS = {"RNN relu"}  # it knows no ReLU in an RNN


# What cannot be written, and what the error says.
REFUSED: dict[str, tuple[Any, Any, str]] = {
    "FractionalMaxPool2d": (
        lambda: nn.FractionalMaxPool2d(2, output_size=3),
        rows(3, 7, 7),
        "it draws random numbers",
    ),
    "FractionalMaxPool3d": (
        lambda: nn.FractionalMaxPool3d(2, output_size=3),
        rows(3, 7, 7, 7),
        "it draws random numbers",
    ),
    "CTCLoss": (
        lambda: nn.CTCLoss(),
        lambda n: (
            np.log(np.full((6, n, 4), 0.25, "float32")),
            whole(n, 3, 3) + 1,
            np.resize([6, 5], n),
            np.resize([2, 3], n),
        ),
        "it looks at the values",
    ),
}


class Residual(nn.Module):
    """Own forward code: sums of branches, parameters between layers, lengths of the batch."""

    def __init__(self) -> None:
        self.first = nn.Linear(4, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
        self.scale = nn.Parameter(np.float32([2.0]))
        self.register_buffer("shift", np.arange(4, dtype="float32"))

    def forward(self, x: nnx.Tensor) -> dict[str, nnx.Tensor]:
        y = x
        for block in self.blocks:
            y = nnx.relu(block(y)) + y
        both = nnx.concat([x, y], axis=0)[x.shape[0] :]
        z = nnx.zeros((x.shape[0], 4)) + nnx.full((4,), 0.5)
        rows = (both * self.scale + self.shift - z).reshape((-1, 2, 2)).mean(axis=(1, 2))
        return {"rows": rows, "columns": self.first(x).T, "share": x / x.shape[0]}


class Cube(nnx.Function):
    """An own Function: y = x³."""

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * x * x

    def backward(self, g: Any) -> Any:
        return g * self.x * self.x * 3


class Own(nn.Module):
    def forward(self, x: nnx.Tensor) -> nnx.Tensor:
        return Cube()(x)


class Unrolled(nn.Module):
    """A loop over time."""

    def __init__(self) -> None:
        self.cell = nn.LSTMCell(3, 4)

    def forward(self, x: nnx.Tensor) -> nnx.Tensor:
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return state[0]


class TimeFirst(nn.Module):
    """Words (T, N): the batch is axis 1."""

    def __init__(self) -> None:
        self.table, self.layer, self.out = nn.Embedding(9, 4), nn.LSTM(4, 3), nn.Linear(3, 2)

    def forward(self, words: nnx.Tensor) -> nnx.Tensor:
        return self.out(self.layer(self.table(words))[0][-1])


class Masked(nn.Module):
    """An input without a batch, beside one with it."""

    def __init__(self) -> None:
        self.query = nn.Linear(4, 4)

    def forward(self, x: nnx.Tensor, mask: nnx.Tensor) -> nnx.Tensor:
        return nnx.softmax(self.query(x) @ nnx.matrix_transpose(x) + mask, axis=-1) @ x


class Looking(nn.Module):
    """`scaled_dot_product_attention` with everything that it takes."""

    def forward(self, q: nnx.Tensor, k: nnx.Tensor, v: nnx.Tensor, mask: nnx.Tensor) -> nnx.Tensor:
        attend = nnx.functional.scaled_dot_product_attention
        return attend(q, k, v, mask) + attend(q, k, v, is_causal=True)


def convolutional() -> nn.Module:
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(), nn.Linear(64, 5)),
    )
    return trained(model, normal(6, 3, 8, 8))


def shared() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def blind() -> np.ndarray:
    """A mask of whose queries one may look nowhere."""
    mask = RNG.random((5, 6)) > 0.4
    mask[2] = False
    return mask


MODELS: dict[str, tuple[Any, Any]] = {
    "convolutional": (convolutional, rows(3, 8, 8)),
    "shared": (shared, rows(4)),
    "Residual": (Residual, rows(4)),
    "Own": (Own, rows(4)),
    "Unrolled": (Unrolled, rows(3, 3)),
    "TimeFirst": (TimeFirst, lambda n: (whole(5, 9, n),)),
    "Masked": (Masked, lambda n: (normal(n, 5, 4), normal(5, 5))),
    "Looking": (
        Looking,
        lambda n: (normal(n, 2, 5, 4), normal(n, 2, 6, 4), normal(n, 2, 6, 3), blind()),
    ),
    "weight norm": (lambda: nn.utils.weight_norm(nn.Linear(4, 3)), rows(4)),
    "spectral norm": (
        lambda: trained(nn.utils.spectral_norm(nn.Linear(4, 3)), normal(2, 4)),
        rows(4),
    ),
    "masks without a batch": (
        lambda: nn.TransformerDecoderLayer(8, 2, 16),
        lambda n: (
            *(normal(5, n, 8), normal(6, n, 8), np.tri(5, dtype=bool) == 0),
            *(np.zeros((5, 6), bool), beyond(n, 5), beyond(n, 6)),
        ),
    ),
    "nothing": (lambda: nn.Sequential(), rows(3)),
    "float64": (
        lambda: nn.Sequential(nn.Linear(4, 3, dtype="float64"), nn.Tanh()),
        lambda n: (normal(n, 4).astype("float64"),),
    ),
}
