"""Linear, Flatten, Unflatten, Identity, Dropout and the activation modules."""

import math

import numpy as np
import pytest

import nnx
from nnx import nn

X = np.random.default_rng(0).standard_normal((3, 4, 5)).astype("f4") * 3


def test_linear_is_pytorchs(backend):
    torch = pytest.importorskip("torch")
    ours, theirs = nn.Linear(5, 2), torch.nn.Linear(5, 2)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = backend.tensor(X, requires_grad=True)
    tx = torch.tensor(X, requires_grad=True)
    y, ty = ours(x), theirs(tx)
    np.testing.assert_allclose(
        backend.to_numpy(y.detach()), ty.detach().numpy(), rtol=1e-5, atol=1e-5
    )
    (y * y).sum().backward()
    (ty * ty).sum().backward()
    for a, b in [(x, tx), (ours.weight, theirs.weight), (ours.bias, theirs.bias)]:
        np.testing.assert_allclose(backend.to_numpy(a.grad), b.grad.numpy(), rtol=1e-4, atol=1e-4)


def test_linear_starts_from_pytorchs_distribution():
    """U(±1/√in) for weight and bias; the seed decides, and no two layers are alike."""
    nnx.manual_seed(0)
    layer = nn.Linear(50, 400)
    bound = 1 / math.sqrt(50)
    for x in (layer.weight.data, layer.bias.data):
        assert x.min() >= -bound and x.max() < bound
        assert x.min() < -0.97 * bound and x.max() > 0.97 * bound
    w = layer.weight.data
    assert abs(w.var() / (bound**2 / 3) - 1) < 0.05 and abs(w.mean()) < 0.02 * bound
    other = nn.Linear(50, 400).weight.data
    assert (other != w).any()
    nnx.manual_seed(0)
    np.testing.assert_array_equal(nn.Linear(50, 400).weight.data, w)
    layer.reset_parameters()
    assert (layer.weight.data != w).any()


def test_linear_without_bias_and_in_float64():
    layer = nn.Linear(3, 2, bias=False, dtype="float64")
    assert layer.bias is None and list(layer.state_dict()) == ["weight"]
    assert layer.weight.dtype == np.float64
    with pytest.raises(ValueError, match="must be positive; got 0 and 2"):
        nn.Linear(0, 2)


def test_flatten_and_back(backend):
    x = backend.tensor(X)
    assert nn.Flatten()(x).shape == (3, 20)
    assert nn.Flatten(0)(x).shape == (60,)
    assert nn.Flatten(0, 1)(x).shape == (12, 5)
    assert nn.Flatten(-2, -1)(x).shape == (3, 20)
    for split in [(4, 5), (-1, 5), (2, 2, -1)]:
        y = nn.Unflatten(1, split)(nn.Flatten()(x))
        assert y.shape[0] == 3 and len(y.shape) == 1 + len(split)
        np.testing.assert_array_equal(backend.to_numpy(y).reshape(X.shape), X)
    assert nn.Unflatten(-1, (5, 1))(x).shape == (3, 4, 5, 1)
    with pytest.raises(ValueError, match=r"start_dim 1 to end_dim -1 .* shape \(7,\)"):
        nn.Flatten()(backend.tensor(np.zeros(7, "f4")))
    with pytest.raises(ValueError, match=r"axis 1 of an input of shape \(3, 4, 5\).*\(3, -1\)"):
        nn.Unflatten(1, (3, -1))(x)


def test_identity():
    x = nnx.tensor(X)
    assert nn.Identity()(x) is x and nn.Identity(54, bias=True)(x) is x


def test_dropout_drops_in_training_only(backend):
    nnx.manual_seed(0)
    layer = nn.Dropout(0.25)
    x = backend.tensor(np.ones((100, 100), "f4"))
    y = backend.to_numpy(layer(x))
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 1e4)
    assert (backend.to_numpy(layer(x)) != y).any()  # another mask
    assert layer.eval()(x) is x
    with pytest.raises(ValueError, match=r"p must be between 0 and 1, got 1\.5"):
        nn.Dropout(1.5)


def test_dropout2d_drops_whole_maps(backend):
    x = backend.tensor(np.ones((40, 25, 2, 3), "float32"), requires_grad=True)
    layer = nn.Dropout2d(0.25)
    assert layer.eval()(x) is x
    y = layer.train()(x)
    values = backend.to_numpy(y.detach())
    maps = values[:, :, 0, 0]
    np.testing.assert_array_equal(values, np.broadcast_to(maps[:, :, None, None], values.shape))
    kept = maps > 0
    np.testing.assert_allclose(maps[kept], 1 / 0.75, rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 0.06  # four standard deviations of 1,000 draws
    assert kept.any(axis=1).all() and not kept.all()
    y.sum().backward()
    np.testing.assert_array_equal(backend.to_numpy(x.grad), values)  # the input was 1 everywhere
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\); x has shape \(2, 3\)"):
        layer(backend.tensor(np.ones((2, 3), "float32")))
    with pytest.raises(ValueError, match="Dropout2d: p must be between 0 and 1, got -1"):
        nn.Dropout2d(-1)


ACTIVATIONS = [
    ("ReLU", {}),
    ("ReLU6", {}),
    ("LeakyReLU", {}),
    ("LeakyReLU", {"negative_slope": 0.3}),
    ("PReLU", {}),
    ("PReLU", {"num_parameters": 4, "init": 0.1}),
    ("ELU", {}),
    ("ELU", {"alpha": 0.5}),
    ("SELU", {}),
    ("CELU", {"alpha": 0.5}),
    ("GELU", {}),
    ("GELU", {"approximate": "tanh"}),
    ("SiLU", {}),
    ("Mish", {}),
    ("Softsign", {}),
    ("Softplus", {}),
    ("Softplus", {"beta": 2.0}),
    ("Sigmoid", {}),
    ("LogSigmoid", {}),
    ("Tanh", {}),
    ("Hardtanh", {}),
    ("Hardtanh", {"min_val": -2.0, "max_val": 0.5}),
    *[(name, {}) for name in ("Hardswish", "Hardsigmoid", "Tanhshrink", "Hardshrink", "GELU")],
    ("Hardshrink", {"lambd": 1.25}),
    ("Softshrink", {"lambd": 1.25}),
    ("Threshold", {"threshold": 0.5, "value": -2.0}),
    ("Softmin", {"dim": 1}),
    ("Softmax2d", {}),
    ("Softmax", {"dim": 1}),
    ("Softmax", {"dim": -1}),
    ("LogSoftmax", {"dim": 0}),
]


@pytest.mark.parametrize("name, options", ACTIVATIONS)
def test_activations_are_pytorchs(backend, name, options):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x, tx = backend.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    y, ty = ours(x), theirs(tx)
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(backend.to_numpy(y.detach()), ty.detach().numpy(), **close)
    (y * backend.tensor(X[::-1].copy())).sum().backward()
    (ty * torch.tensor(X[::-1].copy())).sum().backward()
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(backend.to_numpy(x.grad), tx.grad.numpy(), **close)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(backend.to_numpy(p.grad), q.grad.numpy(), **close)
    for value in options.values():
        assert str(value) in repr(ours) or name == "PReLU"


WITH_INPLACE = "ReLU ReLU6 SELU SiLU Mish LeakyReLU ELU CELU Hardtanh Hardswish Hardsigmoid RReLU"


@pytest.mark.parametrize("name", [*WITH_INPLACE.split(), "Dropout", "Dropout2d", "AlphaDropout"])
def test_inplace_is_taken_and_means_nothing(name):
    torch = pytest.importorskip("torch")
    first = {"LeakyReLU": [0.2], "ELU": [0.7], "CELU": [0.7], "Hardtanh": [-1.0, 0.5]}.get(name, [])
    theirs = getattr(torch.nn, name)(*first, inplace=True).eval()
    x, host = nnx.tensor(X[:, :4, :4, None]), X[:, :4, :4, None].copy()
    first = {"RReLU": [1 / 8, 1 / 3], "Dropout": [0.5], "Dropout2d": [0.5]}.get(name, first)
    first = [0.5] if name == "AlphaDropout" else first
    for ours in (getattr(nn, name)(*first, inplace=True), getattr(nn, name)(*first, True)):
        y = ours.eval()(x)
        np.testing.assert_array_equal(x.numpy(), host)
        np.testing.assert_allclose(y.numpy(), theirs(torch.tensor(host)), rtol=1e-5, atol=1e-6)


def test_glu_and_rrelu():
    torch = pytest.importorskip("torch")
    y = nn.GLU(1)(nnx.tensor(X))
    np.testing.assert_allclose(y.numpy(), torch.nn.GLU(1)(torch.tensor(X)), rtol=1e-5, atol=1e-6)
    layer = nn.RReLU(0.1, 0.3)
    first, second = layer(nnx.tensor(X)).numpy(), layer(nnx.tensor(X)).numpy()
    assert (first != second).any() and (first[X > 0] == X[X > 0]).all()
    assert "lower=0.1, upper=0.3" in repr(layer) and "dim=1" in repr(nn.GLU(1))
    with pytest.raises(ValueError, match="RReLU: lower must not be above upper"):
        nn.RReLU(0.3, 0.1)
    with pytest.raises(ValueError, match=r"Softmax2d: x must be \(N, C, H, W\)"):
        nn.Softmax2d()(nnx.tensor(X[0]))


def test_prelu_at_zero_and_of_wrong_channels():
    torch = pytest.importorskip("torch")
    ours, theirs = nn.PReLU(), torch.nn.PReLU()
    x, tx = nnx.tensor([0.0, -0.0], requires_grad=True), torch.zeros(2, requires_grad=True)
    ours(x).sum().backward()
    theirs(tx).sum().backward()
    np.testing.assert_array_equal(x.grad, tx.grad.numpy())
    with pytest.raises(ValueError, match=r"4 channels; x has shape \(3, 5\)"):
        nn.PReLU(4)(nnx.tensor(np.zeros((3, 5), "f4")))


def test_bilinear_is_pytorchs(backend):
    torch = pytest.importorskip("torch")
    ours, theirs = nn.Bilinear(5, 4, 3), torch.nn.Bilinear(5, 4, 3)
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    a, b = X[:, :, :5], X[:, :, 1:5]
    x, y = (backend.tensor(v, requires_grad=True) for v in (a, b))
    u, v = (torch.tensor(w, requires_grad=True) for w in (a, b))
    z, expected = ours(x, y), theirs(u, v)
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(backend.to_numpy(z.detach()), expected.detach().numpy(), **close)
    (z * z).sum().backward()
    (expected * expected).sum().backward()
    for p, q in [(x, u), (y, v), (ours.weight, theirs.weight), (ours.bias, theirs.bias)]:
        np.testing.assert_allclose(backend.to_numpy(p.grad), q.grad.numpy(), rtol=1e-3, atol=1e-2)
    assert nn.Bilinear(5, 4, 3, bias=False).bias is None
    bound = 1 / math.sqrt(5)
    drawn = np.abs(backend.to_numpy(nn.Bilinear(5, 40, 30).weight.data))
    assert 0.9 * bound < drawn.max() <= bound
    for call, message in (
        (lambda: nn.Bilinear(0, 4, 3), "must be positive; got 0, 4 and 3"),
        (lambda: ours(y, x), r"bilinear: x1 must be \(..., I\) and x2 \(..., J\)"),
        (lambda: ours(x, y[:1]), "bilinear: x1 and x2 must have the same leading axes"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


REARRANGED = [
    ("Upsample", {"scale_factor": 2}, (2, 3, 5)),
    ("Upsample", {"size": (5, 7), "mode": "bicubic", "align_corners": True}, (2, 3, 4, 4)),
    ("UpsamplingNearest2d", {"scale_factor": (2, 3)}, (2, 3, 4, 4)),
    ("UpsamplingBilinear2d", {"size": 7}, (2, 3, 4, 4)),
    ("PixelShuffle", {"upscale_factor": 2}, (2, 8, 3, 2)),
    ("PixelUnshuffle", {"downscale_factor": 2}, (8, 4, 6)),
    ("ChannelShuffle", {"groups": 3}, (2, 6, 3)),
    (
        "Unfold",
        {"kernel_size": (2, 3), "dilation": (2, 1), "padding": 1, "stride": 2},
        (2, 3, 5, 6),
    ),
    ("Fold", {"output_size": (4, 5), "kernel_size": (2, 3), "padding": (0, 1)}, (2, 12, 15)),
    ("CosineSimilarity", {"dim": -1}, (2, 3, 4)),
    ("PairwiseDistance", {"p": 1.0, "keepdim": True}, (2, 3, 4)),
]


@pytest.mark.parametrize("name, options, shape", REARRANGED)
def test_layers_without_parameters_are_pytorchs(name, options, shape):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    host = np.random.default_rng(0).standard_normal(shape).astype("f4")
    count = 2 if name in ("CosineSimilarity", "PairwiseDistance") else 1
    y = ours(*[nnx.tensor(host[::s].copy()) for s in (1, -1)[:count]])
    expected = theirs(*[torch.tensor(host[::s].copy()) for s in (1, -1)[:count]])
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
    for key in options:
        assert key in repr(ours) or key == "align_corners"


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_recurrent_layers_take_pytorchs_device_and_dtype(name):
    layer = getattr(nn, name)(3, 4, device="cpu", dtype="float64")
    assert {str(p.dtype) for p in layer.parameters()} == {"float64"}
    assert {str(p.dtype) for p in getattr(nn, name)(3, 4, dtype=None).parameters()} == {"float32"}
    with pytest.raises(ValueError, match="device='cuda:0': a layer is made where"):
        getattr(nn, name)(3, 4, device="cuda:0")
