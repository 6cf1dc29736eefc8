"""Sequential computes rows of layers together: nobody may see a difference but in time."""

import numpy as np
import pytest
from windows import integers

import nnx
from nnx import nn, ops
from nnx.nn import fusion

STACKS = {
    "conv relu": lambda: [nn.Conv2d(2, 8, 3, padding=1), nn.ReLU()],
    "conv relu pool": lambda: [nn.Conv2d(2, 8, 3), nn.ReLU(), nn.MaxPool2d(2)],
    "conv norm": lambda: [nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8)],
    "conv norm relu": lambda: [nn.Conv2d(2, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()],
    "conv norm relu pool": lambda: [
        nn.Conv2d(2, 8, (3, 2), stride=(1, 2), groups=2), nn.BatchNorm2d(8, momentum=None),
        nn.ReLU(), nn.MaxPool2d((2, 1)),
    ],
    "twice": lambda: [
        nn.Conv2d(2, 8, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 3, 3, padding=1), nn.BatchNorm2d(3, affine=False), nn.ReLU(),
    ],
    "other pools": lambda: [nn.Conv2d(2, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.ReLU()],
    "untracked": lambda: [
        nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.ReLU(),
    ],
}  # fmt: skip


def one_by_one(model, x):
    for layer in model:
        x = layer(x)
    return x


def everything(on, run, make, x, training):
    """Values, gradients and state after two batches."""
    nnx.manual_seed(0)
    model = nn.Sequential(*make())
    for name, p in model.named_parameters():  # γ of both signs, β away from zero
        p.data = on.asarray(np.random.default_rng(len(name)).standard_normal(p.shape))
    model.to(dtype=x.dtype)
    model(on.tensor(x))  # running statistics away from where they begin
    model.train(training)
    tensor = on.tensor(x, requires_grad=True)
    y = run(model, tensor)
    y.backward(on.asarray(np.random.default_rng(1).standard_normal(y.shape)))
    arrays = [y, tensor.grad, *(p.grad for p in model.parameters()), *model.state_dict().values()]
    return [on.to_numpy(a) for a in arrays]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stack", STACKS)
def test_a_row_of_layers_equals_the_layers_one_by_one(backend, stack, training):
    if backend.kind == "strict-no-float64":
        pytest.skip("nothing is fused here, and strict-device1 shows it")
    x = np.random.default_rng(2).standard_normal((5, 2, 8, 9))
    x = x.astype("float64" if backend.float64 else "float32")
    together = everything(backend, lambda m, x: m(x), STACKS[stack], x, training)
    apart = everything(backend, one_by_one, STACKS[stack], x, training)
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)
        assert a.dtype == b.dtype


@pytest.mark.parametrize("stack", STACKS)
def test_evaluation_without_gradients(stack):
    """Batch norm's running statistics become part of the convolution."""
    nnx.manual_seed(0)
    model = nn.Sequential(*STACKS[stack]())
    x = nnx.tensor(np.random.default_rng(2).standard_normal((5, 2, 8, 9)).astype("f4"))
    model(x)
    model.eval()
    with nnx.no_grad():
        y, expected = model(x), one_by_one(model, x)
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
    assert y.dtype == x.dtype


@pytest.fixture
def blocks(monkeypatch):
    """How many layers each fused block took."""
    counts = []

    def spy(*args, original=fusion._compute):
        found = original(*args)
        counts.append(0 if found is None else found[1])
        return found

    monkeypatch.setattr(fusion, "_compute", spy)
    return counts


def image(dtype="f4"):
    return nnx.tensor(integers(0, 2, 2, 8, 8).astype(dtype))


def test_what_is_fused(blocks):
    nn.Sequential(*STACKS["twice"]())(image())
    assert blocks == [3, 3]
    nn.Sequential(*STACKS["other pools"]())(image())
    assert blocks[2:] == [2]


def test_a_hook_sees_its_layer(blocks):
    model = nn.Sequential(*STACKS["conv norm relu pool"]())
    seen = []
    for layer in model:
        handle = layer.register_forward_hook(lambda m, inputs, y: seen.append((m, y.shape)))
        model(image())
        assert seen.pop()[0] is layer and not seen
        handle.remove()
    handle = model[2].register_forward_hook(lambda m, inputs, y: y * 0)
    assert not model(image()).detach().numpy().any()
    assert blocks == [2, 3, 2]  # what stands before the hook


def test_a_subclass_or_a_changed_forward_is_called(blocks):
    class Doubled(nn.ReLU):
        def forward(self, x):
            return super().forward(x) * 2

    conv = nn.Conv2d(2, 8, 3)
    model = nn.Sequential(conv, Doubled())
    expected = ops.relu(conv(image())).detach().numpy() * 2
    np.testing.assert_array_equal(model(image()).detach().numpy(), expected)
    plain = nn.ReLU()
    plain.forward = lambda x: x * 0
    assert not nn.Sequential(conv, plain)(image()).detach().numpy().any()
    assert blocks == []


def test_errors_are_those_of_the_layers():
    cases = [
        (nn.Sequential(nn.Conv2d(2, 8, 9), nn.ReLU()), r"conv2d: a window of \(9, 9\)"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), r"conv2d: x has 2 channels but"),
        (nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(6)), r"BatchNorm2d: x must be .*C = 6"),
        (nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.MaxPool2d(7)),
         r"max_pool2d: a window of \(7, 7\).*x has shape \(2, 8, 6, 6\)"),
    ]  # fmt: skip
    for model, message in cases:
        with pytest.raises(ValueError, match=message):
            model(image())
    with pytest.raises(TypeError, match="must have one dtype"):
        nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU())(image("f8"))


def test_gradients_stop_where_parameters_are_frozen():
    model = nn.Sequential(*STACKS["conv norm relu pool"]())
    model[0].requires_grad_(False)
    model(image()).backward(np.ones((2, 8, 3, 4), "f4"))
    assert model[0].weight.grad is None and model[0].bias.grad is None
    assert model[1].weight.grad is not None and model[1].bias.grad is not None


def test_checked_kernels_compare_the_block():
    with nnx.backends.kernels("check"):
        model = nn.Sequential(*STACKS["conv relu pool"]())
        for p in model.parameters():
            p.data = np.rint(p.data * 10)  # exact, so that no tie is broken by rounding
        model(image()).backward(np.ones((2, 8, 3, 3), "f4"))
    assert model[0].weight.grad is not None


def test_a_dense_layer_and_its_relu_are_one(backend, monkeypatch):
    """Values and gradients are those of the layers one by one; a hook keeps them apart."""
    calls = []
    whole = nnx.ops.linear_relu
    monkeypatch.setattr(nnx.ops, "linear_relu", lambda *args: calls.append(1) or whole(*args))
    model = nn.Sequential(
        nn.Linear(3, 40), nn.ReLU(), nn.Linear(40, 2, bias=False), nn.ReLU(), nn.ReLU()
    )
    rows = np.random.default_rng(0).standard_normal((2, 30, 3)).astype("f4")

    def run(forward):
        x = backend.tensor(rows, requires_grad=True)
        model.zero_grad()
        y = forward(x)
        (y * y).sum().backward()
        return [
            backend.to_numpy(a) for a in (y.data, x.grad, *(p.grad for p in model.parameters()))
        ]

    fused = run(model)
    assert len(calls) == 2
    apart = run(lambda x: one_by_one(model, x))
    assert len(calls) == 2
    for a, b in zip(fused, apart, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    seen = []
    handle = model[0].register_forward_hook(lambda m, inputs, y: seen.append(y))
    run(model)
    assert len(calls) == 3 and len(seen) == 1 and (backend.to_numpy(seen[0].data) < 0).any()
    handle.remove()
    model[1].register_forward_hook(lambda m, inputs, y: y * 0)
    assert (run(model)[0] == 0).all() and len(calls) == 4
