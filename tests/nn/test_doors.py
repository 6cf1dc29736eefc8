"""What a layer takes: one rule for arrays and lists, and one for dtypes, at every door."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import data, nn, ops, optim

RNG = np.random.default_rng(2)


def numbers(*shape):
    return RNG.standard_normal(shape).astype("float32")


P = RNG.uniform(0.1, 0.9, (4, 3)).astype("float32")
SIGNS = np.asarray([[1, -1, 1]] * 4, "float32")
IMAGES, SEQUENCES, ROWS = numbers(2, 4, 6, 6), numbers(2, 4, 7), numbers(5, 4)
VOLUMES = numbers(2, 4, 3, 4, 3)
BY_AXES = {1: SEQUENCES, 2: IMAGES, 3: VOLUMES}
LABELS = np.asarray([0, 2, 1, 2])
PLACES = np.asarray([0, 3, 4])
NAMED = np.asarray([[0, 2, -1], [1, -1, -1], [-1, 0, 0], [2, 1, 0]])
COUNTS = [np.asarray([3, 2]), np.asarray([1, 1])]
SEQUENCE = numbers(3, 2, 4)


def encoder_layer():
    return nn.TransformerEncoderLayer(4, 2, 8, 0.0)


def decoder_layer():
    return nn.TransformerDecoderLayer(4, 2, 8, 0.0)


# name -> (the layer, what it is given)
LAYERS = {
    **{
        f"{name}{axes}d": (lambda n=f"{name}{axes}d", a=given: getattr(nn, n)(*a), [x])
        for name, given in {
            "AdaptiveAvgPool": (2,),
            "AdaptiveMaxPool": (2,),
            "AvgPool": (2,),
            "MaxPool": (2,),
            "CircularPad": (1,),
            "ConstantPad": (1, 0.5),
            "ReflectionPad": (1,),
            "ReplicationPad": (1,),
            "ZeroPad": (1,),
            "Conv": (4, 3, 2),
            "ConvTranspose": (4, 3, 2),
            "LPPool": (2, 2),
        }.items()
        for axes, x in BY_AXES.items()
    },
    "FractionalMaxPool2d": (
        lambda: nn.FractionalMaxPool2d(2, 3, _random_samples=np.full((2, 4, 2), 0.5, "f4")),
        [IMAGES],
    ),
    "FractionalMaxPool3d": (
        lambda: nn.FractionalMaxPool3d(2, 2, _random_samples=np.full((2, 4, 3), 0.5, "f4")),
        [VOLUMES],
    ),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), [ROWS]),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), [IMAGES]),
    "BatchNorm3d": (lambda: nn.BatchNorm3d(4), [VOLUMES]),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(4, affine=True), [SEQUENCES]),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4, affine=True), [IMAGES]),
    "InstanceNorm3d": (lambda: nn.InstanceNorm3d(4, affine=True), [VOLUMES]),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(2), [IMAGES]),
    "RMSNorm": (lambda: nn.RMSNorm(4), [ROWS]),
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(4), [IMAGES]),
    "Dropout": (lambda: nn.Dropout(0.0), [ROWS]),
    "Dropout1d": (lambda: nn.Dropout1d(0.0), [SEQUENCES]),
    "Dropout2d": (lambda: nn.Dropout2d(0.0), [IMAGES]),
    "Dropout3d": (lambda: nn.Dropout3d(0.0), [VOLUMES]),
    "AlphaDropout": (lambda: nn.AlphaDropout(0.0), [ROWS]),
    "FeatureAlphaDropout": (lambda: nn.FeatureAlphaDropout(0.0), [ROWS]),
    "RReLU": (lambda: nn.RReLU().eval(), [ROWS]),
    "Threshold": (lambda: nn.Threshold(0.5, 2.0), [ROWS]),
    "Softmax2d": (lambda: nn.Softmax2d(), [IMAGES]),
    "Embedding": (lambda: nn.Embedding(3, 4), [LABELS]),
    "Flatten": (lambda: nn.Flatten(), [IMAGES]),
    "Unflatten": (lambda: nn.Unflatten(1, (2, 2)), [ROWS]),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), [IMAGES]),
    "LayerNorm": (lambda: nn.LayerNorm(4), [ROWS]),
    "Bilinear": (lambda: nn.Bilinear(4, 2, 3), [ROWS, numbers(5, 2)]),
    "CosineSimilarity": (lambda: nn.CosineSimilarity(), [ROWS, ROWS[::-1]]),
    "PairwiseDistance": (lambda: nn.PairwiseDistance(), [ROWS, ROWS[::-1]]),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(3, 4), [LABELS.reshape(2, 2)]),
    "Upsample": (lambda: nn.Upsample(scale_factor=2), [IMAGES]),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(3), [IMAGES]),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d(9), [IMAGES]),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), [IMAGES]),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), [IMAGES]),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), [IMAGES]),
    "Unfold": (lambda: nn.Unfold(2), [IMAGES]),
    "Fold": (lambda: nn.Fold(3, 2), [numbers(2, 4, 4)]),
    "MaxUnpool1d": (lambda: nn.MaxUnpool1d(2), [numbers(1, 1, 3), PLACES.reshape(1, 1, 3)]),
    "MaxUnpool2d": (lambda: nn.MaxUnpool2d(2), [numbers(1, 1, 1, 3), PLACES.reshape(1, 1, 1, 3)]),
    "MaxUnpool3d": (lambda: nn.MaxUnpool3d(2), [numbers(1, 1, 1, 3), PLACES.reshape(1, 1, 1, 3)]),
    "Linear": (lambda: nn.Linear(4, 3), [ROWS]),
    "PReLU": (lambda: nn.PReLU(4), [ROWS]),
    "RNN": (lambda: nn.RNN(4, 3), [numbers(3, 2, 4), numbers(1, 2, 3)]),
    "GRU": (lambda: nn.GRU(4, 3), [numbers(3, 2, 4), numbers(1, 2, 3)]),
    "LSTM": (lambda: nn.LSTM(4, 3), [numbers(3, 2, 4), [numbers(1, 2, 3), numbers(1, 2, 3)]]),
    "RNNCell": (lambda: nn.RNNCell(4, 3), [ROWS, numbers(5, 3)]),
    "GRUCell": (lambda: nn.GRUCell(4, 3), [ROWS, numbers(5, 3)]),
    "LSTMCell": (lambda: nn.LSTMCell(4, 3), [ROWS, [numbers(5, 3), numbers(5, 3)]]),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2), [SEQUENCE, SEQUENCE, SEQUENCE]),
    "TransformerEncoderLayer": (lambda: encoder_layer(), [SEQUENCE]),
    "TransformerDecoderLayer": (lambda: decoder_layer(), [SEQUENCE, SEQUENCE]),
    "TransformerEncoder": (lambda: nn.TransformerEncoder(encoder_layer(), 2), [SEQUENCE]),
    "TransformerDecoder": (lambda: nn.TransformerDecoder(decoder_layer(), 2), [SEQUENCE, SEQUENCE]),
    "Transformer": (lambda: nn.Transformer(4, 2, 1, 1, 8, 0.0), [SEQUENCE, SEQUENCE]),
    "PositionalEncoding": (lambda: nn.PositionalEncoding(4), [SEQUENCE]),
    "LearnedPositionalEncoding": (lambda: nn.LearnedPositionalEncoding(4, 5), [SEQUENCE]),
    "RotaryEmbedding": (lambda: nn.RotaryEmbedding(4), [SEQUENCE]),
    "Sequential": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), [ROWS]),
    "BCELoss": (lambda: nn.BCELoss([1.0, 2.0, 3.0]), [P, P]),
    "BCEWithLogitsLoss": (lambda: nn.BCEWithLogitsLoss(pos_weight=[1.0, 2.0, 3.0]), [P, P]),
    "CrossEntropyLoss": (lambda: nn.CrossEntropyLoss([1.0, 2.0, 3.0]), [P, LABELS]),
    "NLLLoss": (lambda: nn.NLLLoss([1.0, 2.0, 3.0]), [P, LABELS]),
    "MultiMarginLoss": (lambda: nn.MultiMarginLoss(weight=[1.0, 2.0, 3.0]), [P, LABELS]),
    "LinearCrossEntropyLoss": (lambda: nn.LinearCrossEntropyLoss(3, 3), [P, P[::-1]]),
    "PoissonNLLLoss": (lambda: nn.PoissonNLLLoss(), [P, P]),
    "GaussianNLLLoss": (lambda: nn.GaussianNLLLoss(), [P, P, P]),
    "MarginRankingLoss": (lambda: nn.MarginRankingLoss(), [P, P, SIGNS]),
    "MultiLabelMarginLoss": (lambda: nn.MultiLabelMarginLoss(), [P, NAMED]),
    "MultiLabelSoftMarginLoss": (lambda: nn.MultiLabelSoftMarginLoss([1.0, 2.0, 3.0]), [P, P]),
    "CosineEmbeddingLoss": (lambda: nn.CosineEmbeddingLoss(), [P, P[::-1], SIGNS[:, 0]]),
    "TripletMarginLoss": (lambda: nn.TripletMarginLoss(), [P, P, P[::-1]]),
    "TripletMarginWithDistanceLoss": (
        lambda: nn.TripletMarginWithDistanceLoss(),
        [P, P, P[::-1]],
    ),
    "CTCLoss": (lambda: nn.CTCLoss(), [numbers(3, 2, 4), LABELS[:2, None] + 1, *COUNTS]),
    "HingeEmbeddingLoss": (lambda: nn.HingeEmbeddingLoss(), [P, SIGNS]),
    "HingeLoss": (lambda: nn.HingeLoss(), [P, SIGNS]),
    "SoftMarginLoss": (lambda: nn.SoftMarginLoss(), [P, SIGNS]),
    "HuberLoss": (lambda: nn.HuberLoss(), [P, P[::-1]]),
    "KLDivLoss": (lambda: nn.KLDivLoss(), [P, P[::-1]]),
    "L1Loss": (lambda: nn.L1Loss(), [P, P[::-1]]),
    "MSELoss": (lambda: nn.MSELoss(), [P, P[::-1]]),
    "SmoothL1Loss": (lambda: nn.SmoothL1Loss(), [P, P[::-1]]),
    **{
        name: (getattr(nn, name), [ROWS])
        for name in "CELU ELU GELU Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish ReLU ReLU6 SELU "
        "SiLU Sigmoid Softmax Softplus Softsign Tanh GLU Hardshrink Hardsigmoid Hardswish Softmin "
        "Softshrink Tanhshrink".split()
    },
}
HOLDERS = {
    "Module",
    "ModuleDict",
    "ModuleList",
    "ParameterDict",
    "ParameterList",
    "Identity",
}  # they compute nothing
WITH_WEIGHTS = [
    name
    for name, (make, _) in LAYERS.items()
    if list(make().parameters()) and "Embedding" not in name
]


def test_every_layer_is_here():
    classes = {n for n in nn.__all__ if isinstance(getattr(nn, n), type)} - {"Parameter"}
    assert classes - HOLDERS == set(LAYERS)


WITH_PARAMETERS = [name for name, (make, _) in LAYERS.items() if list(make().parameters())]


@pytest.mark.parametrize("name", WITH_PARAMETERS)
def test_whatever_learns_begins_anew(name):
    """`if hasattr(layer, "reset_parameters")`, as people write it, passes over none."""
    layer = LAYERS[name][0]()
    fresh = {key: np.array(values) for key, values in layer.state_dict().items()}
    for module in layer.modules():
        for parameter in module.parameters(recurse=False):
            parameter.data = np.full_like(parameter.data, np.nan)
        for key, values in module.named_buffers(recurse=False):
            if key.startswith("running"):
                setattr(module, key, np.full_like(values, np.nan))
    for module in layer.modules():
        if list(module.parameters(recurse=False)):
            module.reset_parameters()
    for key, values in layer.state_dict().items():
        assert np.isfinite(values).all() and values.dtype == fresh[key].dtype, key
        if "Norm" in name:
            np.testing.assert_array_equal(values, fresh[key])


def flat(results):
    if isinstance(results, tuple | list):
        return [r for part in results for r in flat(part)]
    return [results]


def nested(given, function):
    return [nested(g, function) if isinstance(g, list) else function(g) for g in given]


@pytest.mark.parametrize("name", LAYERS)
def test_arrays_and_lists_are_tensors(name):
    make, given = LAYERS[name]
    layer = make()
    expected = flat(layer(*nested(given, nnx.Tensor)))
    for convert in (lambda a: a, lambda a: a.tolist()):
        results = flat(layer(*nested(given, convert)))
        for y, e in zip(results, expected, strict=True):
            assert isinstance(y, nnx.Tensor) and y.dtype == e.dtype, name
            np.testing.assert_array_equal(y.detach().numpy(), e.detach().numpy())


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_no_tensor(name):
    make, given = LAYERS[name]
    layer = make()
    for wrong in (None, "text", 3.0, {"a": 1}, [["a"]], [[1.0], [1.0, 2.0]]):
        with pytest.raises(TypeError, match=r"needs a Tensor"):
            layer(wrong, *nested(given[1:], nnx.Tensor))


@pytest.mark.parametrize("name", WITH_WEIGHTS)
@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "int32", "uint8", "bool"])
def test_data_in_another_dtype_than_the_weights(name, dtype):
    """At the door of the forward, and with the remedy; not in backward, and not in float64."""
    make, given = LAYERS[name]
    layer = make()
    x = np.abs(given[0]).astype(dtype)
    with pytest.raises(TypeError, match=rf"must have one dtype; x is {dtype}, .*float32") as error:
        layer(nnx.Tensor(x), *nested(given[1:], nnx.Tensor))
    message = str(error.value)
    assert 'x.astype("float32")' in message and 'dtype="float32" in DataLoader' in message
    assert ("module.to" in message) == dtype.startswith("float")
    layer(nnx.Tensor(x).astype("float32"), *nested(given[1:], nnx.Tensor))  # the remedy
    if dtype == "float64":
        y = flat(make().to(dtype="float64")(*nested(given, lambda a: nnx.Tensor(a.astype(dtype)))))
        assert all(part.dtype == np.float64 for part in y)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"])
def test_a_state_in_another_dtype(name):
    make, given = LAYERS[name]
    states = nested(given[1:], lambda a: nnx.Tensor(a.astype("float64")))
    with pytest.raises(TypeError, match=rf"{name}: .* must have one dtype.* float64"):
        make()(nnx.Tensor(given[0]), *states)
    if name.startswith("LSTM"):
        (h, c) = given[1]
        with pytest.raises(TypeError, match=rf"{name}: .* must have one dtype.* float64"):
            make()(nnx.Tensor(given[0]), (nnx.Tensor(h), nnx.Tensor(c.astype("float64"))))


def test_statistics_in_another_dtype():
    for layer in (nn.BatchNorm1d(4, affine=False), nn.BatchNorm1d(4, affine=False).eval()):
        with pytest.raises(TypeError, match="x is float64, running_mean float32"):
            layer(nnx.Tensor(ROWS.astype("float64")))
        assert layer.running_mean.dtype == np.float32


@pytest.mark.parametrize("training", [True, False])
def test_statistics_in_another_dtype_in_a_fused_row(training):
    norm = nn.BatchNorm2d(3, affine=False).to(dtype="float64")
    row = nn.Sequential(nn.Conv2d(4, 3, 3), norm, nn.ReLU()).train(training)
    with nnx.no_grad(), pytest.raises(TypeError, match="x is float32, running_mean float64"):
        row(nnx.Tensor(IMAGES))


@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm", "BatchNorm1d", "AvgPool2d"])
def test_integers_where_there_are_no_weights(name):
    layer, x = {
        "LayerNorm": (nn.LayerNorm(4, elementwise_affine=False), ROWS),
        "GroupNorm": (nn.GroupNorm(2, 4, affine=False), ROWS),
        "BatchNorm1d": (nn.BatchNorm1d(4, affine=False, track_running_stats=False), ROWS),
        "AvgPool2d": (nn.AvgPool2d(2), IMAGES),
    }[name]
    with pytest.raises(TypeError, match="x must be of a floating-point dtype, not int64"):
        layer(nnx.Tensor(x.astype("int64")))


def test_the_functions_of_recurrent_layers():
    x, h = numbers(3, 2, 4), numbers(1, 2, 3)
    for name, gates in (("rnn", 1), ("gru", 3), ("lstm", 4)):
        w = (numbers(gates * 3, 4), numbers(gates * 3, 3), numbers(gates * 3), numbers(gates * 3))
        function = getattr(ops, name)
        expected = function(
            nnx.Tensor(x), [tuple(None if a is None else nnx.Tensor(a) for a in w)], nnx.Tensor(h)
        )
        lists = tuple(None if a is None else a.tolist() for a in w)
        for y, e in zip(function(x.tolist(), [lists], h.tolist()), expected, strict=True):
            np.testing.assert_array_equal(y.numpy(), e.numpy())
        for bad in (
            lambda: function(x.astype("f8"), [w], h),  # noqa: B023
            lambda: function(x, [w], h.astype("f8")),  # noqa: B023
            lambda: function(x, [(w[0], w[1].astype("f8"), *w[2:])], h),  # noqa: B023
        ):
            with pytest.raises(TypeError, match=f"{name}: .* must have one dtype.*float64"):
                bad()
    z, c = numbers(2, 12), numbers(2, 3)
    with pytest.raises(TypeError, match="lstm_cell: z and c must have one dtype"):
        ops.lstm_cell(z, c.astype("f8"))
    with pytest.raises(TypeError, match="gru_cell: x, u and h must have one dtype"):
        ops.gru_cell(z[:, :9], z[:, :9], c.astype("f8"))


def test_arrays_of_two_libraries():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match="arrays of two libraries"):
        nn.Linear(4, 3)(nnx.Tensor(strict.asarray(ROWS.tolist(), dtype=strict.float32)))


# ---- training on what scikit-learn gives: float64 and int64 ----

X64, Y64 = RNG.standard_normal((20, 4)), RNG.integers(0, 3, 20)


def trainer(**options):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    loss, optimizer = nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1)
    return nnx.Trainer(model, loss, optimizer, progress=False, **options)


def test_the_trainer_refuses_and_says_how():
    for call in (
        lambda t: t.fit(data.DataLoader((X64, Y64), batch_size=5)),
        lambda t: t.evaluate((X64, Y64)),
        lambda t: t.predict(X64),
    ):
        with pytest.raises(TypeError, match='dtype="float32" in DataLoader or Trainer'):
            call(trainer())


@pytest.mark.parametrize("dtype", ["float32", ("float32", None), np.float32])
def test_the_trainer_casts(dtype):
    t = trainer(dtype=dtype)
    t.fit(data.DataLoader((X64, Y64), batch_size=5), (X64, Y64), epochs=2)
    assert t.evaluate((X64, Y64))["loss"] < 2
    assert t.predict(X64).dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in t.model.parameters())


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_loader_casts(shuffle):
    loader = data.DataLoader((X64, Y64), batch_size=8, shuffle=shuffle, seed=1, dtype="float32")
    plain = data.DataLoader((X64, Y64), batch_size=8, shuffle=shuffle, seed=1)
    for (x, y), (x64, y64) in zip(loader, plain, strict=True):
        assert x.dtype == np.float32 and y.dtype == y64.dtype
        np.testing.assert_array_equal(x.numpy(), x64.numpy().astype("float32"))
    trainer().fit(loader)
    pixels = data.DataLoader((np.arange(12).reshape(4, 3), np.arange(4)), dtype=("float32", None))
    x, y = next(iter(pixels))
    assert x.dtype == np.float32 and y.dtype == int  # of the platform
    with pytest.raises(ValueError, match=r"DataLoader: dtype .* each of the 2 arrays .*; got 3"):
        next(iter(data.DataLoader((X64, Y64), dtype=("float32", None, None))))


def test_predict_of_lists():
    with pytest.raises(TypeError, match=r"predict: the inputs must be an array .* not float"):
        trainer().predict([1.0, 2.0])
