"""Weight norm and spectral norm beside PyTorch's: names, values, gradients, buffers."""

from __future__ import annotations

import copy
import operator

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.nn.utils import parametrizations

X = np.random.default_rng(0).standard_normal((3, 4)).astype("f4")
IMAGES = np.random.default_rng(0).standard_normal((2, 4, 5, 5)).astype("f4")
CASES = {
    "rows": ("weight_norm", "Linear", (4, 3), {}, X),
    "columns": ("weight_norm", "Linear", (4, 3), {"dim": 1}, X),
    "whole": ("weight_norm", "Linear", (4, 3), {"dim": None}, X),
    "bias": ("weight_norm", "Linear", (4, 3), {"name": "bias"}, X),
    "kernels": ("weight_norm", "Conv2d", (4, 3, 3), {}, IMAGES),
    "spectral": ("spectral_norm", "Linear", (4, 3), {}, X),
    "spectral of kernels": ("spectral_norm", "Conv2d", (4, 3, 3), {"eps": 1e-6}, IMAGES),
    "spectral, transposed": (
        "spectral_norm", "ConvTranspose2d", (4, 3, 3), {"n_power_iterations": 2}, IMAGES,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_equals_pytorch(case):
    torch = pytest.importorskip("torch")
    function, layer, sizes, options, x = CASES[case]
    theirs, ours = getattr(torch.nn, layer)(*sizes), getattr(nn, layer)(*sizes)
    getattr(torch.nn.utils.parametrizations, function)(theirs, **options)
    assert getattr(parametrizations, function)(ours, **options) is ours
    state = {key: value.numpy().copy() for key, value in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    for training in (True, True, False):
        ours.train(training), theirs.train(training)
        ours.zero_grad(), theirs.zero_grad()
        y, u = ours(nnx.tensor(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(y.detach().numpy(), u.detach().numpy(), rtol=1e-4, atol=1e-5)
        (y * y).sum().backward()
        (u * u).sum().backward()
        for (key, p), (name, q) in zip(
            ours.named_parameters(), theirs.named_parameters(), strict=True
        ):
            assert key == name
            np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-3, atol=1e-3, err_msg=key)
        for key, value in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[key], value.numpy(), rtol=1e-4, atol=1e-5)
    again = copy.deepcopy(ours)(nnx.tensor(x))
    np.testing.assert_array_equal(again.detach().numpy(), y.detach().numpy())
    name = options.get("name", "weight")
    assert (
        parametrizations.is_parametrized(ours, name)
        and type(ours).__name__ == f"Parametrized{layer}"
    )
    parametrizations.remove_parametrizations(ours, name)
    assert type(ours) is getattr(nn, layer) and not parametrizations.is_parametrized(ours)
    plain = ours(nnx.tensor(x)).detach().numpy()
    np.testing.assert_allclose(plain, y.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert sorted(ours.state_dict()) == ["bias", "weight"]


@pytest.mark.parametrize("function", ["weight_norm", "spectral_norm"])
def test_gradients_by_differences(function):
    layer = getattr(nn.utils, function)(nn.Linear(4, 3, dtype="float64")).eval()
    (source,) = layer.parametrizations.values()
    if function == "spectral_norm":  # its gradient is that of σ once u and v have arrived
        inner = getattr(source, "0")
        inner._iterate(source.original.data, 2000)

    def output(x, *values):
        for p, value in zip(source.parameters(), values, strict=True):
            p.data = value.data
        if function == "spectral_norm":
            inner._iterate(source.original.data, 2000)
        return layer(x)

    x = X.astype("f8")
    total = (output(nnx.Tensor(x), *source.parameters()) ** 2).sum()
    total.backward()
    rng = np.random.default_rng(4)
    for p in source.parameters():
        start, step = p.data.copy(), 1e-6 * rng.standard_normal(p.shape)
        ends = []
        for sign in (1, -1):
            p.data = start + sign * step
            ends.append(float((output(nnx.Tensor(x), *source.parameters()) ** 2).sum().detach()))
        p.data = start
        assert (ends[0] - ends[1]) / 2 == pytest.approx(float((p.grad * step).sum()), rel=1e-5)


def test_the_largest_singular_value_becomes_one():
    layer = nn.utils.spectral_norm(nn.Linear(6, 5))
    for _ in range(60):
        layer(nnx.tensor(np.ones((1, 6), "f4")))
    values = np.linalg.svd(layer.eval().weight.detach().numpy(), compute_uv=False)
    assert values[0] == pytest.approx(1, rel=1e-3)


def test_it_learns_and_several_names_go_together():
    layer = nn.utils.weight_norm(nn.utils.weight_norm(nn.Linear(4, 3)), "bias", dim=None)
    assert type(layer).__name__ == "ParametrizedLinear" and "ParametrizedLinear" in repr(layer)
    assert list(layer.state_dict()) == [
        f"parametrizations.{name}.original{k}" for name in ("weight", "bias") for k in (0, 1)
    ]
    optimizer = optim.SGD(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        layer.zero_grad()
        loss = (layer(nnx.tensor(X)) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    row = nn.Sequential(layer, nn.ReLU())  # not computed by one kernel, which would pass it over
    with nnx.no_grad():
        expected = nnx.relu(layer(nnx.tensor(X))).numpy()
        np.testing.assert_array_equal(row(nnx.tensor(X)).numpy(), expected)
    parametrizations.remove_parametrizations(layer, "weight")
    assert parametrizations.is_parametrized(layer, "bias")
    assert isinstance(layer.weight, nn.Parameter) and not isinstance(layer.bias, nn.Parameter)
    original = nn.utils.spectral_norm(nn.Linear(4, 3, dtype="float64"))
    held = original.parametrizations["weight"].original.data
    parametrizations.remove_parametrizations(original, "weight", leave_parametrized=False)
    np.testing.assert_array_equal(original.weight.data, held)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda layer: nn.utils.weight_norm(layer), ValueError, "weight is computed already"),
        (lambda layer: nn.utils.spectral_norm(layer, "w"), AttributeError, "no parameter 'w'"),
        (lambda layer: nn.utils.spectral_norm(layer, "bias"), ValueError, r"two axes .*\(3,\)"),
        (lambda layer: nn.utils.spectral_norm(nn.Linear(4, 3), n_power_iterations=0), ValueError,
         "must be positive"),
        (lambda layer: nn.utils.weight_norm(layer, "bias", 2), ValueError, "has no axis 2"),
        (lambda layer: setattr(layer, "weight", None), AttributeError, "set what it is computed"),
        (lambda layer: parametrizations.remove_parametrizations(layer, "bias"), ValueError,
         "bias is not computed"),
        (lambda layer: parametrizations.remove_parametrizations(layer, "weight", False), ValueError,
         "leave_parametrized must be True"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(nn.utils.weight_norm(nn.Linear(4, 3)))


@pytest.mark.filterwarnings("ignore:.*is deprecated in favor of:FutureWarning")
@pytest.mark.parametrize("function", ["weight_norm", "spectral_norm"])
def test_a_state_by_pytorchs_older_names_is_loaded(function):
    torch = pytest.importorskip("torch")
    older = getattr(torch.nn.utils, function)(torch.nn.Conv2d(4, 3, 3)).eval()
    theirs = torch.nn.Sequential(older, torch.nn.Flatten())
    ours = nn.Sequential(getattr(nn.utils, function)(nn.Conv2d(4, 3, 3)), nn.Flatten()).eval()
    state = {name: value.numpy().copy() for name, value in theirs.state_dict().items()}
    ours.check_state_dict(state)
    assert ours.load_state_dict(state) == ([], [])
    there = theirs(torch.tensor(IMAGES)).detach().numpy()
    np.testing.assert_allclose(ours(IMAGES).detach().numpy(), there, rtol=1e-5, atol=1e-5)
    state.pop("0.weight_v")
    with pytest.raises(ValueError, match=r"missing: 0\.parametrizations\.weight\.\S+$"):
        ours.load_state_dict(state)


@pytest.mark.parametrize("recording", [nnx.enable_grad, nnx.no_grad])
@pytest.mark.parametrize("function", ["weight_norm", "spectral_norm"])
def test_a_computed_weight_takes_no_change(function, recording):
    """It is made anew at each reading: what was changed would be lost, and nobody be told."""
    layer = getattr(nn.utils, function)(nn.Linear(4, 3)).eval()
    before = layer.weight.detach().numpy().copy()
    with recording():
        for change in (
            lambda: layer.weight.copy_(0.0),
            lambda: operator.setitem(layer.weight, 0, 0.0),
            lambda: layer.weight.requires_grad_(False),
            lambda: setattr(layer.weight, "requires_grad", False),
        ):
            with pytest.raises(RuntimeError, match="is computed anew at each reading"):
                change()
        mine = layer.weight.detach()
        mine[0] = 0.0  # a copy
    np.testing.assert_array_equal(layer.weight.detach().numpy(), before)
