"""Initial values: bounds and spreads by the formulas, and the same bits on every backend."""

import math

import numpy as np
import pytest

import nnx
from nnx import nn
from nnx.nn import init

CONV = (8, 6, 5, 3)  # fan_in 90, fan_out 120


@pytest.fixture(autouse=True)
def seed():
    nnx.manual_seed(3)


def filled(rule, shape, *args, dtype="float32", **kwargs):
    p = nn.Parameter(np.zeros(shape, dtype))
    assert rule(p, *args, **kwargs) is p
    assert p.data.dtype == dtype and p.shape == shape
    return p.data.astype("float64")


def assert_uniform(x, low, high):
    """Inside the bounds, near both ends, and of the right mean and variance."""
    n, width = x.size, high - low
    assert x.min() >= np.float32(low) and x.max() < np.float32(high)
    assert x.min() < low + width * 20 / n and x.max() > high - width * 20 / n
    assert abs(x.mean() - (low + high) / 2) < 5 * width / math.sqrt(12 * n)
    assert abs(x.var() / (width**2 / 12) - 1) < 5 * math.sqrt(0.8 / n)


def assert_normal(x, mean, std):
    n = x.size
    assert abs(x.mean() - mean) < 5 * std / math.sqrt(n)
    assert abs(x.var() / std**2 - 1) < 5 * math.sqrt(2 / n)
    z = (x - mean) / std
    for k, share in [(1, 0.682689), (2, 0.954500)]:
        assert abs((np.abs(z) < k).mean() - share) < 5 * math.sqrt(share * (1 - share) / n)


def test_uniform_and_normal():
    assert_uniform(filled(init.uniform_, (200, 50), -2, 5), -2, 5)
    assert_normal(filled(init.normal_, (200, 50), 1.5, 0.2), 1.5, 0.2)
    assert_normal(filled(init.normal_, (200, 50), dtype="float64"), 0, 1)


def test_constants():
    assert (filled(init.constant_, (3, 4), 2.5) == 2.5).all()
    assert (filled(init.zeros_, (3,)) == 0).all()
    assert (filled(init.ones_, ()) == 1).all()
    np.testing.assert_array_equal(filled(init.eye_, (2, 3)), np.eye(2, 3))


def test_truncated_normal():
    x = filled(init.trunc_normal_, (200, 50), 1.0, 2.0, 0.0, 3.0)
    assert x.min() >= 0 and x.max() <= 3
    # the mean and variance of N(1, 4) given 0 <= x <= 3, from the density on a fine grid
    t = np.linspace(0, 3, 100001)
    density = np.exp(-((t - 1) ** 2) / 8)
    mean = (t * density).sum() / density.sum()
    var = ((t - mean) ** 2 * density).sum() / density.sum()
    assert abs(x.mean() - mean) < 5 * math.sqrt(var / x.size)
    assert abs(x.var() / var - 1) < 5 * math.sqrt(2 / x.size)


@pytest.mark.parametrize("shape, fan_in, fan_out", [((40, 90), 90, 40), (CONV, 90, 120)])
@pytest.mark.parametrize("gain", [1.0, 5 / 3])
def test_xavier(shape, fan_in, fan_out, gain):
    assert init.fans(nn.Parameter(np.zeros(shape, "f4"))) == (fan_in, fan_out)
    bound = gain * math.sqrt(6 / (fan_in + fan_out))
    assert_uniform(filled(init.xavier_uniform_, shape, gain), -bound, bound)
    assert_normal(filled(init.xavier_normal_, shape, gain), 0, bound / math.sqrt(3))


@pytest.mark.parametrize("shape, fan_in, fan_out", [((40, 90), 90, 40), (CONV, 90, 120)])
@pytest.mark.parametrize(
    "nonlinearity, a, gain",
    [
        ("relu", 0.0, math.sqrt(2)),
        ("leaky_relu", 0.5, math.sqrt(2 / 1.25)),
        ("tanh", 0.0, 5 / 3),
    ],
)
def test_kaiming(shape, fan_in, fan_out, nonlinearity, a, gain):
    for mode, fan in [("fan_in", fan_in), ("fan_out", fan_out)]:
        bound = gain * math.sqrt(3 / fan)
        options = {"mode": mode, "a": a, "nonlinearity": nonlinearity}
        assert_uniform(filled(init.kaiming_uniform_, shape, **options), -bound, bound)
        assert_normal(filled(init.kaiming_normal_, shape, **options), 0, gain / math.sqrt(fan))


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (4, 2, 3), (6, 1, 2, 2)])
def test_orthogonal(shape):
    x = filled(init.orthogonal_, shape, 2.0, dtype="float64").reshape(shape[0], -1)
    square = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    np.testing.assert_allclose(square, 4 * np.eye(len(square)), atol=1e-12)


def test_orthogonal_takes_every_sign():
    """QR alone would always give R's diagonal, and so Q's first entries, the same signs."""
    corner = [filled(init.orthogonal_, (3, 3))[0, 0] for _ in range(40)]
    assert 5 < sum(c > 0 for c in corner) < 35


GAINS = [("linear", None), ("conv2d", None), ("sigmoid", None), ("tanh", None), ("relu", None)]
GAINS += [("leaky_relu", None), ("leaky_relu", 0.2), ("selu", None)]


@pytest.mark.parametrize("nonlinearity, param", GAINS)
def test_gains_are_pytorchs(nonlinearity, param):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init.calculate_gain(nonlinearity, param)
    assert init.calculate_gain(nonlinearity, param) == theirs


class Recorder(nnx.random.Generator):
    """Remembers the numbers it was asked to draw with."""

    def uniform(self, shape, low, high, dtype, like):
        self.asked = low, high
        return like

    def normal(self, shape, mean, std, dtype):
        self.asked = mean, std
        return np.zeros(shape, dtype)


@pytest.mark.parametrize("shape", [(40, 90), CONV, (7, 1)])
@pytest.mark.parametrize(
    "name, options",
    [
        ("xavier_uniform_", {"gain": 5 / 3}),
        ("xavier_normal_", {"gain": 5 / 3}),
        ("kaiming_uniform_", {"a": math.sqrt(5)}),
        ("kaiming_uniform_", {"nonlinearity": "relu", "mode": "fan_out"}),
        ("kaiming_normal_", {"a": 0.1}),
        ("kaiming_normal_", {"nonlinearity": "tanh", "mode": "fan_out"}),
    ],
)
def test_bounds_and_spreads_are_pytorchs_exactly(shape, name, options):
    torch = pytest.importorskip("torch")

    class Spy(torch.Tensor):
        def uniform_(self, low, high, generator=None):
            self.asked = low, high

        def normal_(self, mean, std, generator=None):
            self.asked = mean, std

    spy, recorder = torch.zeros(shape).as_subclass(Spy), Recorder()
    getattr(torch.nn.init, name)(spy, **options)
    getattr(init, name)(nn.Parameter(np.zeros(shape, "f4")), **options, generator=recorder)
    assert recorder.asked == pytest.approx(spy.asked, rel=1e-15, abs=0)


def test_the_same_bits_on_every_backend(backend):
    """Weights, whole layers and each rule: what NumPy gets from this seed, all libraries get."""
    rules = [init.normal_, init.trunc_normal_, init.xavier_uniform_, init.kaiming_normal_]
    rules += [init.kaiming_uniform_, init.xavier_normal_]
    if backend.float64:
        rules += [init.orthogonal_]

    def draw():
        nnx.manual_seed(11)
        layer = nn.Linear(7, 5)
        return [layer.weight, layer.bias, *(rule(nn.Linear(7, 5).weight) for rule in rules)]

    here = draw()
    with nnx.use_backend("numpy"):
        numpys = draw()
    for a, b in zip(here, numpys, strict=True):
        assert type(a.data) is type(backend.asarray(0.0)) and a.data.device == here[0].data.device
        np.testing.assert_array_equal(backend.to_numpy(a), b.data)


def test_a_generator_of_ones_own():
    from nnx.random import Generator

    a = filled(init.normal_, (4,), generator=Generator(5))
    b = filled(init.normal_, (4,), generator=Generator(5))
    assert (a == b).all() and (filled(init.normal_, (4,)) != a).any()


@pytest.mark.parametrize(
    "rule, shape, kwargs, message",
    [
        (init.xavier_uniform_, (3,), {}, r"\(out, in, \*window\); shape \(3,\)"),
        (init.kaiming_normal_, (3, 2), {"mode": "fan"}, '"fan_in" or "fan_out", got \'fan\''),
        (init.kaiming_normal_, (3, 2), {"nonlinearity": "sine"}, "unknown nonlinearity 'sine'"),
        (init.orthogonal_, (3,), {}, r"two axes or more; shape \(3,\)"),
        (init.eye_, (3,), {}, r"must be a matrix; shape \(3,\)"),
    ],
)
def test_errors(rule, shape, kwargs, message):
    with pytest.raises(ValueError, match=message):
        filled(rule, shape, **kwargs)


RULES = [
    *[init.uniform_, init.normal_, init.trunc_normal_, init.zeros_, init.ones_, init.eye_],
    *[init.xavier_uniform_, init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_],
    *[init.orthogonal_, lambda w: init.constant_(w, 2.0)],
]


@pytest.mark.parametrize("rule", RULES)
def test_what_keeps_no_values_is_refused(rule):
    """An array, what was computed, and a weight that is computed anew at each reading."""
    layer = nn.Linear(3, 2)
    with pytest.raises(TypeError, match=r"^\w+_: .* not its array, layer\.weight\.data$"):
        rule(layer.weight.data)
    for recording in (nnx.enable_grad, nnx.no_grad):
        with recording():
            parts = [
                layer.weight.T,
                layer.weight[:1],
                layer.weight * 2,
                *nnx.split(layer.weight, 2),
            ]
            for part in parts:
                with pytest.raises(RuntimeError, match=r"^\w+_: .* they would be lost"):
                    rule(part)
        for norm in (nn.utils.spectral_norm, nn.utils.weight_norm):
            for frozen in (False, True):
                normed = norm(nn.Linear(3, 2)).requires_grad_(not frozen)
                with recording(), pytest.raises(RuntimeError, match=r"^\w+_: .* would be lost"):
                    rule(normed.weight)
    before = normed.weight.detach().numpy().copy()
    rule(normed.parametrizations.weight.original0)
    assert not np.array_equal(before, normed.weight.detach().numpy())
