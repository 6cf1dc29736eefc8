"""Sequential computes rows of layers together: nobody may see a difference but in time."""

from types import SimpleNamespace

import numpy as np
import pytest
from windows import integers

import nnx
from nnx import nn, ops
from nnx.backends import Backend, override
from nnx.backends.numpy import NumpyBackend
from nnx.nn import fusion


def paused(norm):
    norm.track_running_stats = False
    return norm


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
    "untracked later": lambda: [nn.Conv2d(2, 8, 3), paused(nn.BatchNorm2d(8)), nn.ReLU()],
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


class Halved(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * 0.5


class Shifted(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x) + 1


class Leaky(nn.ReLU):
    def forward(self, x):
        return ops.leaky_relu(x, 0.3)


class Smallest(nn.MaxPool2d):
    def forward(self, x):
        return -super().forward(-x)


def hooked(layer):
    layer.register_forward_hook(lambda module, inputs, y: y * 2)
    return layer


def replaced(layer):
    original = layer.forward
    layer.forward = lambda x: original(x) * 0.5
    return layer


def frozen(layer, but=()):
    for name, p in layer.named_parameters():
        p.requires_grad = name in but
    return layer


CONV, NORM, RELU, POOL = (
    lambda: nn.Conv2d(2, 4, 3), lambda: nn.BatchNorm2d(4), nn.ReLU, lambda: nn.MaxPool2d(2),
)  # fmt: skip
ALL = (1, 1, 1)  # norm, ReLU, pool
# What stands in the way of a whole block, alone: the layers, and which of them a block took.
GUARDS = {
    "nothing": (lambda: [CONV(), NORM(), RELU(), POOL()], ALL),
    "a subclass of Conv2d": (lambda: [Halved(2, 4, 3), NORM(), RELU(), POOL()], None),
    "a hook on the convolution": (lambda: [hooked(CONV()), NORM(), RELU(), POOL()], None),
    "a convolution's own forward": (lambda: [replaced(CONV()), NORM(), RELU(), POOL()], None),
    "pads that are not zeros": (
        lambda: [nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), NORM(), RELU(), POOL()],
        None,
    ),
    "a subclass of BatchNorm2d": (lambda: [CONV(), Shifted(4), RELU(), POOL()], None),
    "a hook on the norm": (lambda: [CONV(), hooked(NORM()), RELU(), POOL()], None),
    "a subclass of ReLU": (lambda: [CONV(), NORM(), Leaky(), POOL()], (1, 0, 0)),
    "a hook on the ReLU": (lambda: [CONV(), NORM(), hooked(RELU()), POOL()], (1, 0, 0)),
    "no ReLU": (lambda: [CONV(), NORM(), POOL()], (1, 0, 0)),
    "neither norm nor ReLU": (lambda: [CONV(), POOL()], None),
    "a subclass of MaxPool2d": (lambda: [CONV(), NORM(), RELU(), Smallest(2)], (1, 1, 0)),
    "a hook on the pool": (lambda: [CONV(), NORM(), RELU(), hooked(POOL())], (1, 1, 0)),
    "a pool of means": (lambda: [CONV(), NORM(), RELU(), nn.AvgPool2d(2)], (1, 1, 0)),
    "ceil_mode": (lambda: [CONV(), NORM(), RELU(), nn.MaxPool2d(4, ceil_mode=True)], (1, 1, 0)),
    "padding": (lambda: [CONV(), NORM(), RELU(), nn.MaxPool2d(2, padding=1)], (1, 1, 0)),
    "stride": (lambda: [CONV(), NORM(), RELU(), nn.MaxPool2d(2, stride=1)], (1, 1, 0)),
    "dilation": (lambda: [CONV(), NORM(), RELU(), nn.MaxPool2d(2, dilation=2)], (1, 1, 0)),
    "channels that only the pool reads": (lambda: [CONV(), POOL(), NORM(), RELU()], None),
    "an eps of its own": (lambda: [CONV(), nn.BatchNorm2d(4, eps=0.3), RELU(), POOL()], ALL),
}


@pytest.fixture
def taken(monkeypatch):
    """Of each fused block, whether it had a norm, a ReLU and a pool."""
    found = []

    def spy(*args, whole=ops.conv_block2d):
        found.append((int(args[9] is not None), int(args[10]), int(args[11] is not None)))
        return whole(*args)

    monkeypatch.setattr(ops, "conv_block2d", spy)
    return found


@pytest.mark.parametrize("kernels", ["numpy", "portable"])
@pytest.mark.parametrize("guard", GUARDS)
def test_each_reason_not_to_fuse_alone(taken, guard, kernels):
    """Values, gradients and state are those of the layers one by one, and the block took no more
    than it may; where the backend has no such kernel, nothing."""
    make, expected = GUARDS[guard]
    x = np.random.default_rng(2).standard_normal((5, 2, 8, 9)).astype("f4")
    kernel = NumpyBackend() if kernels == "numpy" else Backend(np, "numpy")
    with override(np.ndarray, kernel):
        on = SimpleNamespace(
            asarray=lambda a: np.asarray(a, "f4"),
            to_numpy=lambda a: np.array(getattr(a, "data", a)),
            tensor=nnx.Tensor,
        )
        together = everything(on, lambda m, x: m(x), make, x, True)
        fused = [*taken]
        apart = everything(on, one_by_one, make, x, True)
    assert fused == ([] if expected is None or kernels == "portable" else [expected] * 2)
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_a_pool_that_returns_indices_is_left_out(taken):
    model = nn.Sequential(CONV(), RELU(), nn.MaxPool2d(2, return_indices=True))
    with nnx.no_grad():
        (y, places), (expected, at) = model(image()), one_by_one(model, image())
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(places.numpy(), at.numpy())
    assert taken == [(0, 1, 0)]


# What may learn in evaluation: then the running statistics cannot become part of the weight.
LEARNERS = {
    "nothing": ((), (), False, True),
    "the input": ((), (), True, False),
    "the convolution's weight": (("weight",), (), False, False),
    "the convolution's bias": (("bias",), (), False, False),
    "the norm's weight": ((), ("weight",), False, False),
    "the norm's bias": ((), ("bias",), False, False),
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_in_evaluation_a_block_is_folded_where_nothing_learns(taken, learner):
    of_conv, of_norm, x_learns, folded = LEARNERS[learner]
    nnx.manual_seed(0)
    norm = NORM()
    nn.init.normal_(norm.weight)  # as a trained norm's: away from where they begin
    nn.init.normal_(norm.bias)
    model = nn.Sequential(frozen(CONV(), of_conv), frozen(norm, of_norm), RELU(), POOL())
    model.train()
    model(image())
    model.eval()
    taken.clear()
    found = []
    for run in (lambda x: model(x), lambda x: one_by_one(model, x)):
        x = nnx.tensor(image().data, requires_grad=x_learns)
        model.zero_grad()
        y = run(x)
        if not folded:
            y.backward(np.ones(y.shape, "f4"))
        gradients = [t.grad for t in (x, *model.parameters()) if t.requires_grad]
        found.append([y.detach().numpy(), *gradients])
    assert taken == ([(0, 1, 1)] if folded else [])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    taken.clear()
    with nnx.no_grad():  # then nothing learns
        np.testing.assert_allclose(model(x).numpy(), found[1][0], rtol=1e-4, atol=1e-4)
    assert taken == [(0, 1, 1)]


def test_evaluation_without_relu_or_statistics_is_that_of_the_layers(taken):
    for layers in (
        [CONV(), NORM()],
        [CONV(), nn.BatchNorm2d(4, track_running_stats=False), RELU()],
    ):
        model = nn.Sequential(*layers)
        model(image())
        model.eval()
        with nnx.no_grad():
            y, expected = model(image()), one_by_one(model, image())
        np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


def outcome(run):
    """The values, or the error."""
    try:
        return run().detach().numpy()
    except Exception as error:
        return type(error), str(error)


STRANGE = {
    "one value a channel": ([nn.Conv2d(2, 4, 8), NORM(), RELU()], lambda: image()[:1]),
    "no image": ([CONV(), NORM(), RELU()], lambda: image()[:0]),
    "a convolution that does not fit": ([nn.Conv2d(2, 4, 9), NORM(), RELU()], image),
    "a pool too high": ([CONV(), RELU(), nn.MaxPool2d((7, 1))], image),
    "a pool too wide": ([CONV(), RELU(), nn.MaxPool2d((1, 7))], image),
    "a norm of another width": ([CONV(), nn.BatchNorm2d(3), RELU()], image),
    "a norm of another dtype": ([CONV(), nn.BatchNorm2d(4, dtype="float64"), RELU()], image),
    "a weight of another dtype": (
        [CONV(), nn.BatchNorm2d(4, track_running_stats=False, dtype="float64"), RELU()], image,
    ),
    "a weight of another dtype, alone": (
        [CONV(), nn.BatchNorm2d(4, bias=False, track_running_stats=False, dtype="float64"), RELU()],
        image,
    ),
    "statistics of another dtype": (
        [CONV(), nn.BatchNorm2d(4, affine=False, dtype="float64"), RELU()], image,
    ),
    "an image alone": ([CONV(), RELU(), POOL()], lambda: image()[0]),
    "an array": ([CONV(), RELU(), POOL()], lambda: image().data),
    "a list": ([CONV(), RELU(), POOL()], lambda: image().data.tolist()),
}  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", STRANGE)
def test_what_is_strange_ends_as_with_the_layers(name, training):
    layers, x = STRANGE[name]
    model = nn.Sequential(*layers).train(training)
    with nnx.no_grad():
        got, expected = outcome(lambda: model(x())), outcome(lambda: one_by_one(model, x()))
    if isinstance(expected, tuple):
        assert got == expected
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
        assert got.dtype == expected.dtype


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


@pytest.mark.parametrize(
    "make, fused",
    [
        (lambda: [nn.Linear(3, 4), nn.ReLU()], 1),
        (lambda: [nn.Linear(3, 4), Leaky()], 0),
        (lambda: [replaced(nn.Linear(3, 4)), nn.ReLU()], 0),
        (lambda: [nn.Linear(3, 4), replaced(nn.ReLU())], 0),
        (lambda: [nn.ReLU(), nn.Linear(3, 4)], 0),
    ],
)
def test_each_reason_not_to_fuse_a_dense_layer_alone(monkeypatch, make, fused):
    calls = []
    whole = nnx.ops.linear_relu
    monkeypatch.setattr(nnx.ops, "linear_relu", lambda *args: calls.append(1) or whole(*args))
    model, x = nn.Sequential(*make()), nnx.tensor(integers(0, 5, 3).astype("f4"))
    with nnx.no_grad():
        np.testing.assert_allclose(model(x).numpy(), one_by_one(model, x).numpy(), rtol=1e-5)
    assert len(calls) == fused
