"""Module: names, order, sharing, buffers, hooks, modes, state; beside PyTorch where it is there."""

import copy
import importlib
import pkgutil

import numpy as np
import pytest

import nnx
from nnx import nn


class Block(nn.Module):
    """Parameters, a buffer and children, not in the order of their kinds."""

    def __init__(self, size=3):
        self.inner = nn.Linear(size, size)
        self.scale = nn.Parameter(nnx.ones((size,)))
        self.register_buffer("mean", nnx.zeros((size,)).data)
        self.register_buffer("scratch", nnx.zeros((2,)).data, persistent=False)
        self.register_buffer("nothing", None)
        self.norm = nn.BatchNorm1d(size)

    def forward(self, x):
        return self.norm(self.inner(x)) * self.scale


class Model(nn.Module):
    def __init__(self):
        self.first = Block()
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2, bias=False)])
        self.note = "not a parameter"
        self.numbers = [nn.Parameter(np.zeros(1, "f4"))]  # in a plain list: not found

    def forward(self, x):
        x = self.first(x)
        for layer in self.layers:
            x = layer(x)
        return x


NAMES = [
    "first.scale",
    "first.inner.weight",
    "first.inner.bias",
    "first.norm.weight",
    "first.norm.bias",
    "layers.0.weight",
    "layers.0.bias",
    "layers.2.weight",
]
STATE = [
    "first.scale",
    "first.mean",
    "first.inner.weight",
    "first.inner.bias",
    "first.norm.weight",
    "first.norm.bias",
    "first.norm.running_mean",
    "first.norm.running_var",
    "first.norm.num_batches_tracked",
    "layers.0.weight",
    "layers.0.bias",
    "layers.2.weight",
]


def test_names_and_their_order():
    model = Model()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert list(model.state_dict()) == STATE
    assert [n for n, _ in model.named_buffers()] == [
        "first.mean",
        "first.scratch",
        "first.norm.running_mean",
        "first.norm.running_var",
        "first.norm.num_batches_tracked",
    ]
    assert [n for n, _ in model.named_modules()] == [
        "",
        "first",
        "first.inner",
        "first.norm",
        "layers",
        "layers.0",
        "layers.1",
        "layers.2",
    ]
    assert [n for n, _ in model.named_children()] == ["first", "layers"]
    assert [n for n, _ in model.first.named_parameters("x", recurse=False)] == ["x.scale"]
    assert len(list(model.buffers(recurse=False))) == 0


def test_names_are_pytorchs():
    torch = pytest.importorskip("torch")

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(3, 3)
            self.scale = torch.nn.Parameter(torch.ones(3))
            self.register_buffer("mean", torch.zeros(3))
            self.register_buffer("scratch", torch.zeros(2), persistent=False)
            self.register_buffer("nothing", None)
            self.norm = torch.nn.BatchNorm1d(3)

    ours, theirs = Block(), Theirs()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        a, b = getattr(ours, name)(), getattr(theirs, name)()
        assert [n for n, _ in a] == [n for n, _ in b], name
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    np.testing.assert_array_equal(ours.inner.weight.data, theirs.inner.weight.detach().numpy())


def test_a_shared_parameter_counts_once_but_stands_under_each_name():
    class Tied(nn.Module):
        def __init__(self):
            self.embed = nn.Embedding(5, 3)
            self.out = nn.Linear(3, 5, bias=False)
            self.out.weight = self.embed.weight

    model = Tied()
    assert [n for n, _ in model.named_parameters()] == ["embed.weight"]
    assert [n for n, _ in model.named_parameters(remove_duplicate=False)] == [
        "embed.weight",
        "out.weight",
    ]
    assert list(model.state_dict()) == ["embed.weight", "out.weight"]
    new = np.arange(15, dtype="f4").reshape(5, 3)
    model.load_state_dict({"embed.weight": new, "out.weight": new})
    assert model.out.weight is model.embed.weight
    np.testing.assert_array_equal(model.embed.weight.data, new)


def test_a_shared_module_too():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert [n for n, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert len(list(model.modules())) == 3


def test_load_state_dict_copies_and_keeps_the_parameters(backend):
    model, other = Model(), Model()
    before = dict(model.named_parameters())
    state = {k: backend.to_numpy(v) + 1 for k, v in other.state_dict().items()}
    assert model.load_state_dict(state) == ([], [])
    for name, p in model.named_parameters():
        assert p is before[name] and type(p.data) is type(backend.asarray(0.0))
        np.testing.assert_array_equal(backend.to_numpy(p), state[name])
    state["first.mean"][:] = 9
    assert backend.to_numpy(model.first.mean).max() == 1  # a copy
    model.load_state_dict(other.state_dict())  # arrays of the library itself
    np.testing.assert_array_equal(
        backend.to_numpy(model.layers[2].weight), backend.to_numpy(other.layers[2].weight)
    )


def test_load_state_dict_keeps_the_dtype():
    layer = nn.Linear(2, 2)
    layer.load_state_dict({"weight": np.ones((2, 2)), "bias": nnx.tensor([1.0, 2.0])})
    assert layer.weight.dtype == layer.bias.dtype == np.float32


def test_load_state_dict_lists_everything_that_does_not_fit():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    state = model.state_dict()
    before = {k: v.copy() for k, v in state.items()}
    bad = {
        "0.weight": np.zeros((3, 2), "f4"),
        "0.bias": np.zeros(4, "f4"),
        "1.weight": np.zeros((3, 4), "f4"),
        "2.weight": np.zeros(1, "f4"),
        "old": np.zeros(1, "f4"),
    }
    with pytest.raises(ValueError) as error:
        model.load_state_dict(bad)
    message = str(error.value)
    for line in [
        "does not fit this Sequential",
        "shape: 0.bias has shape (3,) here, (4,) in the state",
        "shape: 1.weight has shape (4, 3) here, (3, 4) in the state",
        "missing: 1.bias",
        "unexpected: 2.weight",
        "unexpected: old",
    ]:
        assert line in message
    with pytest.raises(ValueError) as error:  # a wrong shape is always an error
        model.load_state_dict(bad, strict=False)
    assert "0.bias" in str(error.value) and "missing" not in str(error.value)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name], "something was changed")

    for wrong, hint in [
        ({f"module.{k}": v for k, v in state.items()},
         r"the state's names begin with 'module\.': \{name\.removeprefix\('module\.'\): value for"),
        ({"epoch": 3, "model": state}, r"state\['model'\] is a dict itself"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=rf"{hint}"):
            model.load_state_dict(wrong)
    inside = nn.Sequential({"net": model})
    with pytest.raises(
        ValueError, match=r"the model's names begin with 'net\.': \{'net\.' \+ name"
    ):
        inside.load_state_dict(state)
    with pytest.raises(ValueError) as error:
        model.load_state_dict({"elsewhere": np.ones(2)})
    assert "begin with" not in str(error.value) and "itself" not in str(error.value)

    good = {"0.bias": np.ones(3, "f4"), "old": np.zeros(1, "f4")}
    result = model.load_state_dict(good, strict=False)
    assert result.missing_keys == ["0.weight", "1.weight", "1.bias"]
    assert result.unexpected_keys == ["old"]
    assert (model[0].bias.data == 1).all()


def test_modes_reach_every_module():
    model = Model()
    assert model.training and model.first.norm.training
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model.first.train()
    assert model.first.norm.training and not model.layers.training
    assert model.train() is model and all(m.training for m in model.modules())


def test_apply_goes_inner_first_in_order():
    seen = []
    model = nn.Sequential(nn.Sequential(nn.Linear(1, 2), nn.ReLU()), nn.Linear(2, 3))
    assert model.apply(lambda m: seen.append(m)) is model
    assert seen == [model[0][0], model[0][1], model[0], model[1], model]


def test_freezing_layers():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    x = nnx.tensor(np.ones((5, 3), "f4"))
    model(x).sum().backward()
    assert model[0].weight.grad is None and model[2].weight.grad is not None
    opt = nnx.optim.AdamW(model.parameters())
    before = model[0].weight.data.copy()
    opt.step()
    np.testing.assert_array_equal(model[0].weight.data, before)
    model.requires_grad_()
    model.zero_grad()
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_to_another_backend_and_dtype():
    pytest.importorskip("array_api_strict")
    model = Model()
    opt = nnx.optim.SGD(model.parameters(), lr=0.1)
    before = {k: v.copy() for k, v in model.state_dict().items()}
    shared = model.first.inner.weight
    shared.grad = np.ones((3, 3), "f4")
    assert model.to("array_api_strict") is model
    assert model.first.inner.weight is shared
    arrays = [*model.state_dict().values(), model.first.scratch, shared.grad]
    assert {type(a).__module__.split(".")[0] for a in arrays} == {"array_api_strict"}
    opt.step()  # the parameters are the same objects
    model.to("numpy", dtype="float64")
    state = model.state_dict()
    assert state["first.inner.weight"].dtype == np.float64 and state["first.mean"].dtype == "f8"
    assert state["first.norm.num_batches_tracked"].dtype == np.int64
    np.testing.assert_allclose(state["first.inner.weight"], before["first.inner.weight"] - 0.1)


def test_hooks():
    layer = nn.Linear(2, 2)
    x = nnx.tensor(np.ones((1, 2), "f4"))
    plain = layer(x).detach().numpy()
    seen = []
    watch = layer.register_forward_hook(lambda m, inputs, y: seen.append((m, inputs, y)))
    double = layer.register_forward_hook(lambda m, inputs, y: y * 2)
    before = layer.register_forward_pre_hook(lambda m, inputs: (inputs[0] * 0,))
    np.testing.assert_allclose(layer(x).detach().numpy(), 2 * layer.bias.data[None], rtol=1e-6)
    assert seen[0][0] is layer and (seen[0][1][0].numpy() == 0).all()
    before.remove()
    double.remove()
    double.remove()  # twice does no harm
    np.testing.assert_array_equal(layer(x).detach().numpy(), plain)
    assert len(seen) == 2
    watch()
    layer(x)
    assert len(seen) == 2


def test_registering_by_name():
    model = nn.Module()
    model.register_parameter("w", nn.Parameter(np.ones(2, "f4")))
    model.add_module("layer", nn.ReLU())
    model.register_buffer("b", np.zeros(1, "f4"))
    model.register_buffer("b", np.ones(1, "f4"))  # replaced
    assert list(model.state_dict()) == ["w", "b"] and model.b[0] == 1
    for register in (model.register_parameter, model.add_module, model.register_buffer):
        for name in ("", "a.b", "forward"):
            with pytest.raises(KeyError, match=f"'{name}'"):
                register(name, None)


def test_finding_by_dotted_name():
    model = Model()
    assert model.get_submodule("first.norm") is model.first.norm
    assert model.get_submodule("") is model
    assert model.get_parameter("layers.0.bias") is model.layers[0].bias
    with pytest.raises(AttributeError, match=r"no module 'layers.9'.*has 0, 1, 2"):
        model.get_submodule("layers.9")
    with pytest.raises(AttributeError, match=r"no parameter 'first\.mean'"):
        model.get_parameter("first.mean")


def test_repr_is_a_tree():
    assert repr(Model()) == (
        "Model(\n"
        "  (first): Block(\n"
        "    (inner): Linear(in_features=3, out_features=3, bias=True)\n"
        "    (norm): BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, "
        "track_running_stats=True)\n"
        "  )\n"
        "  (layers): ModuleList(\n"
        "    (0): Linear(in_features=3, out_features=3, bias=True)\n"
        "    (1): ReLU()\n"
        "    (2): Linear(in_features=3, out_features=2, bias=False)\n"
        "  )\n"
        ")"
    )


def test_deep_copies_are_independent():
    model = Model()
    twin = copy.deepcopy(model)
    assert list(twin.state_dict()) == STATE
    twin.first.scale.data[:] = 7
    twin.first.mean[:] = 7
    twin.eval()
    assert model.first.scale.data.max() == 1 and model.first.mean.max() == 0 and model.training


def test_a_module_without_forward():
    with pytest.raises(NotImplementedError, match=r"Block2\.forward"):
        type("Block2", (nn.Module,), {})()(1)


# ---- what a name takes ----


def test_a_parameter_s_name_takes_a_parameter_or_none():
    layer = nn.Linear(2, 3)
    new, bias = nn.Parameter(np.ones((3, 2), "f4")), layer.bias
    for value in (nnx.ones((3, 2)), np.ones((3, 2), "f4"), nnx.ones((3, 2)) * new, 1.0, nn.ReLU()):
        with pytest.raises(TypeError, match=r"Linear\.weight is a parameter and takes a Parameter"):
            layer.weight = value
    with pytest.raises(TypeError, match=r"not Tensor of shape \(3, 2\): wrap it"):
        setattr(layer, "weight", nnx.ones((3, 2)))  # noqa: B010
    with pytest.raises(TypeError, match="is a parameter"):
        layer.register_parameter("weight", nnx.ones((3, 2)))
    layer.weight = new
    layer.bias = None
    with pytest.raises(TypeError, match=r"Linear\.bias is a parameter"):
        layer.bias = nnx.ones(3)  # PyTorch remembers too
    assert list(layer.state_dict()) == ["weight"] and layer.weight is new
    layer.bias = bias
    assert list(layer.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: nn.Linear(2, 2, bias=False), "bias"),
        (lambda: nn.Conv2d(2, 2, 1, bias=False), "bias"),
        (lambda: nn.Conv1d(2, 2, 1, bias=False), "bias"),
        (lambda: nn.ConvTranspose2d(2, 2, 1, bias=False), "bias"),
        (lambda: nn.BatchNorm1d(2, affine=False), "weight"),
        (lambda: nn.LayerNorm(2, elementwise_affine=False), "weight"),
        (lambda: nn.LayerNorm(2, bias=False), "bias"),
        (lambda: nn.GroupNorm(1, 2, affine=False), "bias"),
        (lambda: nn.RNNCell(2, 2, bias=False), "bias_ih"),
        (lambda: nn.LSTMCell(2, 2, bias=False), "bias_hh"),
        (lambda: nn.GRUCell(2, 2, bias=False), "bias_hh"),
    ],
)
def test_a_parameter_that_was_left_out_is_still_one(make, name):
    layer = make()
    with pytest.raises(TypeError, match=rf"\.{name} is a parameter"):
        setattr(layer, name, nnx.ones(2))
    setattr(layer, name, nn.Parameter(np.ones(2, "f4")))
    assert name in layer.state_dict()


def test_a_module_s_name_takes_a_module_or_none():
    model = Model()
    for value in (3, nnx.ones(2), lambda x: x):
        with pytest.raises(TypeError, match=r"Model\.first is a module and takes a Module or None"):
            model.first = value
    with pytest.raises(TypeError, match="is a module"):
        model.add_module("first", nnx.ones(2))
    model.first = None
    with pytest.raises(TypeError, match="is a module"):
        model.first = 3
    model.first = nn.Identity()
    assert [n for n, _ in model.named_children()] == ["first", "layers"]
    with pytest.raises(TypeError, match="expected a Module"):
        model.layers[0] = 3


def test_a_buffer_s_name_takes_an_array_or_none():
    norm = nn.BatchNorm1d(2)
    for value in (1.0, [0.0, 1.0], "mean"):
        with pytest.raises(TypeError, match=r"BatchNorm1d\.running_mean is a buffer and takes an"):
            norm.running_mean = value
        with pytest.raises(TypeError, match=r"BatchNorm1d\.other is a buffer"):
            norm.register_buffer("other", value)
    norm.running_mean = np.ones(2, "f4")
    assert "other" not in norm.state_dict()
    norm.running_mean = nnx.ones(2)  # a tensor gives its array, which the layer computes with
    assert type(norm.running_mean) is np.ndarray
    norm.eval()(nnx.ones((3, 2)))
    with pytest.raises(TypeError, match="on the tape, whose gradient would be lost"):
        norm.running_mean = nnx.ones(2, requires_grad=True)
    block = Block()
    block.register_buffer("mask", nnx.ones(2))
    block.mask = nnx.zeros(2)
    assert isinstance(block.mask, nnx.Tensor) and not block.state_dict()["mask"].any()
    norm.running_mean = nn.Parameter(np.ones(2, "f4"))  # as in PyTorch, a parameter from now on
    assert [n for n, _ in norm.named_buffers()] == ["running_var", "num_batches_tracked"]
    assert list(norm.state_dict()).count("running_mean") == 1


def test_what_is_deleted_is_gone():
    norm = nn.BatchNorm1d(2)
    del norm.weight, norm.running_mean
    assert list(norm.state_dict()) == ["bias", "running_var", "num_batches_tracked"]
    norm.weight = 3  # a name like any other
    model = Model()
    del model.first
    assert [n for n, _ in model.named_children()] == ["layers"]
    with pytest.raises(AttributeError):
        del model.first
    layer = nn.Linear(2, 2, bias=False)
    del layer.bias
    layer.bias = 3


def test_the_tutorials_loop_trains():
    """Parameters changed in place stay the module's and the optimizer's."""
    x, target = nnx.ones((4, 3)), nnx.zeros((4, 2))
    for change in ("-=", "*=", "[:]", "copy_", "attribute"):
        layer = nn.Linear(3, 2)
        weight, opt = layer.weight, nnx.optim.SGD(layer.parameters(), lr=0.1)
        losses = []
        for _ in range(5):
            loss = ((layer(x) - target) ** 2).mean()
            losses.append(loss.item())
            layer.zero_grad()
            loss.backward()
            with nnx.no_grad():
                for p in layer.parameters():
                    if change == "-=":
                        p -= 0.1 * p.grad
                    elif change == "*=":
                        p *= 0.5
                    elif change == "[:]":
                        p[:] = p - 0.1 * p.grad
                    elif change == "copy_":
                        p.copy_(p - 0.1 * p.grad)
                if change == "attribute":
                    layer.weight -= 0.1 * layer.weight.grad
                    layer.bias -= 0.1 * layer.bias.grad
        assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] / 2, change
        assert layer.weight is weight and opt.param_groups[0]["params"][0] is weight
        np.testing.assert_array_equal(layer.state_dict()["weight"], weight.data)
        assert weight.requires_grad and isinstance(layer.weight, nn.Parameter)
    with pytest.raises(RuntimeError, match="-=: a leaf that requires a gradient"):
        layer.weight -= 1.0


def test_a_list_of_parameters_holds_parameters():
    some = nn.ParameterList([nn.Parameter(np.ones(2, "f4"))])
    for put in (some.append, lambda p: some.__setitem__(0, p), lambda p: some.extend([p])):
        with pytest.raises(TypeError, match="ParameterList: expected a Parameter, got Tensor"):
            put(nnx.ones(2))
    with nnx.no_grad():
        some[0] -= 1.0
    assert len(some) == 1 and some[0].data.tolist() == [0, 0]
    some[0] = nn.Parameter(np.ones(3, "f4"))
    assert list(some.state_dict()) == ["0"] and some[0].shape == (3,)


def test_tied_parameters_stay_tied():
    model = Model()
    model.layers[2].weight = model.layers[0].weight
    twin = copy.deepcopy(model)
    assert twin.layers[2].weight is twin.layers[0].weight is not model.layers[0].weight
    with nnx.no_grad():
        twin.layers[0].weight *= 0.0
    assert not twin.layers[2].weight.data.any() and model.layers[2].weight.data.any()


def test_every_module_class_is_in_the_public_list():
    """A class that is left out cannot be found by those who read the list."""
    for info in pkgutil.iter_modules(nn.__path__):
        module = importlib.import_module(f"nnx.nn.{info.name}")
        for name, value in vars(module).items():
            own = isinstance(value, type) and value.__module__ == module.__name__
            if own and issubclass(value, nn.Module) and not name.startswith("_"):
                assert name in nn.__all__, f"nn.{name}"
                assert getattr(nn, name) is value
