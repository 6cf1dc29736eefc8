"""Steps that take a closure, L-BFGS above all."""

import numpy as np
import pytest

import nnx
from nnx import nn, optim


def least_squares(seed=0):
    """A loss of two parameters with one minimum, and what computes it again."""
    rng = np.random.default_rng(seed)
    x, y = nnx.Tensor(rng.standard_normal((30, 4))), nnx.Tensor(rng.standard_normal((30, 3)))
    w, b = nn.Parameter(np.zeros((4, 3))), nn.Parameter(np.zeros(3))

    def loss():
        return ((x @ w + b - y) ** 2).mean()

    return (w, b), loss


def closure_of(opt, loss):
    def closure():
        opt.zero_grad()
        value = loss()
        value.backward()
        return value

    return closure


def test_a_closure_is_called_first_and_its_loss_returned():
    params, loss = least_squares()
    opt = optim.SGD(params, lr=0.1)
    before = loss().item()
    with nnx.no_grad():
        assert opt.step(closure_of(opt, loss)).item() == before
    assert loss().item() < before
    assert opt.step() is None


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_finds_the_minimum_on_every_backend(backend, search):
    backend.skip_without_float64()
    params, loss = least_squares()
    opt = optim.LBFGS(params, line_search_fn=search, tolerance_grad=1e-10, tolerance_change=0.0)
    for _ in range(5):
        opt.step(closure_of(opt, loss))
    loss().backward()
    assert max(float(np.abs(p.grad).max()) for p in params) < 1e-8
    exact = [p.data.copy() for p in params]

    rng = np.random.default_rng(0)
    x, y = (backend.tensor(rng.standard_normal(shape)) for shape in ((30, 4), (30, 3)))
    w = nn.Parameter(backend.asarray(np.zeros((4, 3))))
    b = nn.Parameter(backend.asarray(np.zeros(3)))
    opt = optim.LBFGS([w, b], line_search_fn=search, tolerance_grad=1e-10, tolerance_change=0.0)
    for _ in range(5):
        opt.step(closure_of(opt, lambda: ((x @ w + b - y) ** 2).mean()))
    for p, q in zip((w, b), exact, strict=True):
        np.testing.assert_allclose(backend.to_numpy(p.data), q, atol=1e-8)


def test_lbfgs_goes_on_from_its_state(tmp_path):
    """Three steps equal one, a file, and two more in other objects."""
    options = {"max_iter": 3, "line_search_fn": "strong_wolfe", "history_size": 4}
    params, loss = least_squares()
    whole = optim.LBFGS(params, **options)
    for _ in range(3):
        whole.step(closure_of(whole, loss))

    first, loss = least_squares()
    opt = optim.LBFGS(first, **options)
    opt.step(closure_of(opt, loss))
    nnx.io.save_state(tmp_path / "state", {"optimizer": opt.state_dict()})
    state = nnx.io.load_state(tmp_path / "state")[0]["optimizer"]

    second, loss = least_squares()
    for p, q in zip(second, first, strict=True):
        p.data = q.data.copy()
    again = optim.LBFGS(second, **options)
    again.load_state_dict(state)
    for _ in range(2):
        again.step(closure_of(again, loss))
    for p, q in zip(second, params, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_lbfgs_says_what_it_needs():
    params, _ = least_squares()
    with pytest.raises(TypeError, match="needs a closure"):
        optim.LBFGS(params).step()
    with pytest.raises(ValueError, match="all parameters must be in one group"):
        optim.LBFGS([{"params": [p]} for p in params])
    with pytest.raises(ValueError, match='must be "strong_wolfe" or None'):
        optim.LBFGS(params, line_search_fn="armijo")
    opt = optim.LBFGS(params)
    opt.step(closure_of(opt, lambda: (params[0] ** 2 + params[0]).sum()))
    other = optim.LBFGS([nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros(2))])
    with pytest.raises(ValueError, match=r"d has the shape \(15,\), .* have 4 elements"):
        other.load_state_dict(opt.state_dict())


def test_lbfgs_keeps_a_scalar_an_array():
    p = nn.Parameter(np.asarray(0.7, "f4"))
    opt = optim.LBFGS([p])

    def closure():
        opt.zero_grad()
        loss = (p - 2.0) ** 2
        loss.backward()
        return loss

    opt.step(closure)
    assert type(p.data) is np.ndarray and abs(float(p.data) - 2) < 1e-3


def test_lbfgs_refuses_parameters_in_16_bits_before_anything_happens():
    model = nn.Linear(3, 1)
    opt = optim.LBFGS(model.parameters())

    def never():
        raise AssertionError("the loss was computed")

    model.to(dtype="float16")
    before = model.weight.data.copy()
    with pytest.raises(ValueError, match=r"in float32 or float64, one of shape .* is in float16"):
        opt.step(never)
    with pytest.raises(ValueError, match=r"inside of nnx\.autocast"):
        optim.LBFGS(model.parameters())
    with pytest.raises(RuntimeError, match=r"GradScaler\.step: LBFGS computes the loss again"):
        nnx.amp.GradScaler().step(opt)
    np.testing.assert_array_equal(model.weight.data, before)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_takes_a_loss_that_is_computed_in_16_bits(search):
    """To about the digits that float16 has: what the loss rounds away, its gradient does too."""
    exact, loss = least_squares()
    opt = optim.LBFGS(exact, line_search_fn=search)
    for _ in range(5):
        opt.step(closure_of(opt, loss))

    rng = np.random.default_rng(0)
    x, y = (nnx.tensor(rng.standard_normal(n).astype("float32")) for n in ((30, 4), (30, 3)))
    w, b = nn.Parameter(np.zeros((4, 3), "float32")), nn.Parameter(np.zeros(3, "float32"))

    def low():
        with nnx.autocast("float16"):
            return nnx.ops.mse_loss(x @ w + b, y)

    opt = optim.LBFGS([w, b], line_search_fn=search)
    for _ in range(5):
        opt.step(closure_of(opt, low))
    for p, q in zip((w, b), exact, strict=True):
        assert p.data.dtype == np.float32
        np.testing.assert_allclose(p.data, q.data, atol=2e-3)
