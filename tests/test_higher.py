"""Gradients of gradients: against PyTorch's and differences, and where they could go astray."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
import nnx.functional as F
from nnx import nn, optim
from nnx.backends import dtype_name


def rng(seed=0):
    return np.random.default_rng(seed)


def double(model):
    return model.to(dtype="float64")


LAYERS = {  # name -> (a model, made of nnx.nn or of torch.nn; the input's shape)
    "dense": (lambda n: n.Sequential(n.Linear(4, 5), n.Tanh(), n.Linear(5, 1)), (3, 4)),
    "relu": (lambda n: n.Sequential(n.Linear(4, 5), n.ReLU(), n.Linear(5, 1)), (3, 4)),
    "conv2d": (
        lambda n: n.Sequential(
            n.Conv2d(2, 3, 3, padding=1, stride=2), n.LeakyReLU(0.2), n.Conv2d(3, 2, 2), n.Flatten()
        ),
        (2, 2, 6, 6),
    ),
    "conv1d": (lambda n: n.Sequential(n.Conv1d(2, 3, 3, dilation=2), n.ELU()), (2, 2, 9)),
    "depthwise": (lambda n: n.Sequential(n.Conv2d(4, 4, 3, groups=4), n.SiLU()), (2, 4, 5, 5)),
    "conv_transpose2d": (
        lambda n: n.Sequential(n.ConvTranspose2d(2, 3, 3, stride=2), n.Tanh()),
        (2, 2, 4, 4),
    ),
    "pools": (
        lambda n: n.Sequential(n.Conv2d(2, 3, 3), n.Sigmoid(), n.MaxPool2d(2), n.AvgPool2d(2)),
        (2, 2, 8, 8),
    ),
    "batch_norm": (
        lambda n: n.Sequential(n.Conv2d(2, 3, 3), n.BatchNorm2d(3), n.ReLU(), n.MaxPool2d(2)),
        (3, 2, 6, 6),
    ),
    "layer_norm": (lambda n: n.Sequential(n.Linear(4, 5), n.LayerNorm(5), n.GELU()), (6, 4)),
    "group_norm": (lambda n: n.Sequential(n.GroupNorm(2, 4), n.Softplus()), (3, 4, 5)),
    "softmax": (lambda n: n.Sequential(n.Linear(4, 5), n.LogSoftmax(1)), (6, 4)),
    "RNN": (lambda n: n.RNN(3, 4), (5, 2, 3)),
    "LSTM": (lambda n: n.LSTM(3, 4, num_layers=2), (5, 2, 3)),
    "GRU": (lambda n: n.GRU(3, 4, bidirectional=True), (5, 2, 3)),
    "attention": (lambda n: n.TransformerEncoderLayer(4, 2, 8, dropout=0.0), (5, 2, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_penalty_on_the_gradient_is_pytorchs(name):
    """√(|∂(y³)/∂x|² + 1), differentiated by the input and by every parameter."""
    torch = pytest.importorskip("torch")
    make, shape = LAYERS[name]
    ours, theirs = double(make(nn)), make(torch.nn).double()
    theirs.load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in ours.state_dict().items()})
    x = nnx.tensor(rng().standard_normal(shape), requires_grad=True)
    t = torch.tensor(x.data, requires_grad=True)

    def first(y):
        return y[0] if isinstance(y, tuple) else y

    slope = nnx.grad(lambda x: (first(ours(x)) ** 3).sum(), x)
    (((slope**2).sum() + 1) ** 0.5).backward()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        y = first(theirs(t))  # its attention in blocks has no second derivative
    (wanted,) = torch.autograd.grad((y**3).sum(), t, create_graph=True)
    (((wanted**2).sum() + 1) ** 0.5).backward()
    np.testing.assert_allclose(slope.detach().numpy(), wanted.detach().numpy(), atol=1e-11)
    np.testing.assert_allclose(x.grad, t.grad.numpy(), atol=1e-11)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        if other.grad is None:
            assert mine.grad is None or not mine.grad.any()
        else:
            np.testing.assert_allclose(mine.grad, other.grad.numpy(), atol=1e-11)


def test_derivatives_of_any_order(backend):
    """The n-th derivative of exp(2x) is 2ⁿ exp(2x), on every library."""

    def derivative(f):
        return lambda x: nnx.grad(f, x)

    f, x = lambda x: nnx.exp(2 * x), nnx.tensor(0.25)
    for n in range(1, 4):
        f = derivative(f)
        assert float(f(x)) == pytest.approx(2**n * np.exp(0.5), rel=1e-5)
        assert type(f(x).data) is type(x.data)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse_loss", "binary_cross_entropy_with_logits"])
def test_the_gradient_is_that_of_backward_and_its_own_derivative_that_of_differences(loss):
    """gradcheck goes through `grad`; by an input and by parameters at once."""
    layer = nn.Linear(3, 4, dtype="float64")
    y = {
        "cross_entropy": rng(1).integers(0, 4, 5),
        "mse_loss": rng(1).standard_normal((5, 4)),
        "binary_cross_entropy_with_logits": rng(1).random((5, 4)),
    }[loss]
    x = nnx.tensor(rng(2).standard_normal((5, 3)), requires_grad=True)

    def value(x):
        return getattr(F, loss)(nnx.tanh(layer(x)), y)

    dx, dw, db = nnx.grad(value, x, parameters=layer.parameters())
    value(x).backward()
    for made, plain in ((dx, x.grad), (dw, layer.weight.grad), (db, layer.bias.grad)):
        np.testing.assert_allclose(made.detach().numpy(), plain, rtol=1e-12, atol=1e-15)

    def sizes(x):
        return sum(((g**2).sum() for g in nnx.grad(value, x, parameters=layer.parameters())), 0.0)

    assert nnx.gradcheck(sizes, x, parameters=layer.parameters())


PLACES = np.array([[0, 2], [1, 1], [3, 0], [2, 3]])
FUNCTIONS = {  # of x (4, 4), positive
    "take_along_axis": lambda x: nnx.take_along_axis(x, PLACES, axis=1),
    "embedding": lambda x: F.embedding(x, PLACES),
    "topk": lambda x: F.topk(x, 2)[0],
    "scatter_add": lambda x: F.scatter_add(x * 0, PLACES, x[:, :2], axis=1),
    "interpolate": lambda x: F.interpolate(x[None, None], scale_factor=2, mode="bilinear"),
    "conv3d": lambda x: F.conv3d(x.reshape(1, 1, 4, 2, 2), rng(8).random((2, 1, 2, 1, 2))),
    "rms_norm": lambda x: F.rms_norm(x, (4,)),
    "instance_norm": lambda x: F.instance_norm(x[None]),
    "cumulative_prod": lambda x: F.cumulative_prod(x, axis=0),
    "solve": lambda x: nnx.linalg.solve(x + 4 * np.eye(4), x[:, :1]),
    "cholesky": lambda x: nnx.linalg.cholesky(x @ x.T + 4 * np.eye(4)),
    "eigvalsh": lambda x: nnx.linalg.eigvalsh(x + x.T + np.diag([0.0, 3.0, 6.0, 9.0])),
    "einsum": lambda x: nnx.einsum("ij,jk,ki->i", x, x, x),
    "where": lambda x: nnx.where(x > 0.5, x**3, nnx.sin(x)),
    "ctc": lambda x: F.ctc_loss(F.log_softmax(x[:, None], axis=2), [[1, 2]], [4], [2]),
    "attention": lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_second_derivative_is_that_of_differences(name):
    x = nnx.tensor(0.2 + 0.6 * rng(7).random((4, 4)), requires_grad=True)

    def value(x):
        return (FUNCTIONS[name](x) ** 3).sum()

    slope = nnx.grad(value, x)
    value(x).backward()
    np.testing.assert_allclose(slope.detach().numpy(), x.grad, rtol=1e-9, atol=1e-12)
    assert nnx.gradcheck(lambda x: (nnx.grad(value, x) ** 2).sum(), x, tolerance=1e-5)


def test_hessian_times_vector_is_the_matrix_of_differences():
    x, v = rng(3).standard_normal(4), rng(4).standard_normal(4)

    def f(x):
        return (nnx.sin(x) * x[1]).sum() + nnx.prod(x)

    def slope(at):
        at = nnx.tensor(at, requires_grad=True)
        f(at).backward()
        return at.grad

    h = 1e-6
    rows = [(slope(x + h * e) - slope(x - h * e)) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(nnx.hvp(f, x, v).numpy(), np.stack(rows) @ v, rtol=1e-7)
    flat = nnx.hvp(lambda x: (3 * x).sum(), x, v)
    assert not flat.numpy().any()


def test_dropout_draws_once_and_norms_keep_arrays():
    model = double(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)))
    twin = double(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)))
    twin.load_state_dict(model.state_dict())
    x = rng(5).standard_normal((8, 4))
    nnx.manual_seed(7)
    slope = nnx.grad(lambda x: (model(x) ** 2).sum(), x)
    nnx.manual_seed(7)
    leaf = nnx.tensor(x, requires_grad=True)
    (twin(leaf) ** 2).sum().backward()
    np.testing.assert_allclose(slope.detach().numpy(), leaf.grad, rtol=1e-10, atol=1e-12)
    for mine, other in zip(model.buffers(), twin.buffers(), strict=True):
        assert type(mine) is np.ndarray
        np.testing.assert_allclose(mine, other, rtol=1e-12)


def test_a_critic_with_a_gradient_penalty_trains():
    """WGAN-GP's critic on two clouds: it tells them apart, and its slope comes to 1."""
    nnx.manual_seed(0)
    critic = nn.Sequential(nn.Linear(2, 16), nn.Softplus(), nn.Linear(16, 1))
    adam = optim.Adam(critic.parameters(), lr=2e-2)
    draw = rng(6)
    for _ in range(60):
        real = draw.standard_normal((32, 2)).astype("float32") + 2
        made = draw.standard_normal((32, 2)).astype("float32") - 2
        between = real + draw.random((32, 1)).astype("float32") * (made - real)
        slope = nnx.grad(lambda x: critic(x).sum(), between)
        penalty = (((slope**2).sum(axis=1) ** 0.5 - 1) ** 2).mean()
        assert dtype_name(penalty.dtype) == "float32"
        loss = critic(made).mean() - critic(real).mean() + 10 * penalty
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert (critic(real).mean() - critic(made).mean()).item() > 2
    assert penalty.item() < 0.15


def test_what_it_does_not_depend_on_and_what_is_refused():
    x, k = np.ones(3), np.arange(3)
    dx, dk = nnx.grad(lambda x, k: (x * 2).sum(), x, k)
    assert dx.tolist() == [2, 2, 2] and dk is None
    assert nnx.grad(lambda x: nnx.tensor(1.0), x) is None
    with pytest.raises(ValueError, match=r"must return a scalar tensor, got \(3,\)"):
        nnx.grad(lambda x: x * 2, x)
    with pytest.raises(ValueError, match="must return a scalar tensor, got int"):
        nnx.grad(lambda x: 3, x)
    with pytest.raises(TypeError, match="give the inputs"):
        nnx.grad(lambda: 3)
    with pytest.raises(ValueError, match=r"v must have x's shape; v \(2,\), x \(3,\)"):
        nnx.hvp(lambda x: x.sum(), x, np.ones(2))
    plain = nnx.tensor(x)
    with nnx.no_grad():
        assert not nnx.grad(lambda x: (x**2).sum(), plain).requires_grad
    assert not hasattr(plain, "tensor") and type(plain.data) is np.ndarray
