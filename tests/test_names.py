"""Names that people bring from PyTorch: the error says what is meant, and some of them work."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import numpy as np
import pytest

import nnx
from nnx import nn, ops, optim
from nnx.names import ARGUMENTS, FUNCTIONS, METHODS, MODULE_NAMES, PLACES, present

X = nnx.ones((2, 3))


def found(place):
    """What `nnx.a.b` stands for."""
    value = nnx
    for part in place.split(".")[1:]:
        value = getattr(value, part)
    return value


def test_what_is_named_is_there():
    """Every name that an error gives, as methods, attributes and functions."""
    for theirs, ours in FUNCTIONS.items():
        assert callable(found(f"nnx.{ours}")), ours
        assert not hasattr(nnx, theirs) or theirs in ("outer",), f"{theirs} is there"
    for theirs, text in METHODS.items():
        assert not hasattr(nnx.Tensor, theirs), f"{theirs} is there"
        for name in re.findall(r"\bx\.(\w+)", text):
            assert hasattr(nnx.Tensor, name) or name in nnx.autograd.Node.__slots__, name
        for name in re.findall(r"\bnnx\.[\w.]*\w", text):
            assert callable(found(name)), name
    for theirs, text in PLACES.items():
        room, _, name = theirs.rpartition(".")
        with pytest.raises(AttributeError, match=re.escape(f"{name!r}; here: {text}")):
            getattr(found(room), name)
        for place in re.findall(r"\bnnx\.[\w.]*\w", text):
            assert found(place)
    for theirs, text in MODULE_NAMES.items():
        assert not hasattr(nn.Module, theirs) and "model.to(" in text


@pytest.mark.parametrize(
    "name, words",
    [
        ("view", r"x\.reshape\(\*shape\)"),
        ("unsqueeze", r"x\.expand_dims\(\.\.\.\)"),
        ("relu", r"nnx\.relu\(x, \.\.\.\)"),
        ("cuda", r'x\.to\("cupy"\)'),
        ("cpu", r'x\.to\("numpy"\)'),
        ("permute", r"x\.permute_dims\(\.\.\.\)"),
        ("add_", r"x = nnx\.add\(x, \.\.\.\)"),
        ("gather", r"nnx\.take_along_axis\(x"),
        ("inverse", r"nnx\.linalg\.inv\(x"),
        ("masked_select", r"x\[\.\.\.\]"),
        ("float", r'x\.astype\("float32"\)'),
        ("numel", r"x\.size"),
    ],
)
def test_a_method_of_pytorchs_names_ours(name, words):
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'; here: {words}") as error:
        getattr(X, name)
    assert error.value.name == name and not hasattr(X, name) and name not in dir(X)


def test_what_nobody_has_is_no_more_than_said():
    for name in ("nosuchthing", "__nothing__", "_x"):
        with pytest.raises(AttributeError) as error:
            getattr(X, name)
        assert str(error.value) == f"'Tensor' object has no attribute '{name}'"


def test_the_size_is_no_method():
    with pytest.raises(TypeError, match=r"x\.size is the number of elements, 6; .*x\.shape, a tup"):
        X.size()
    with pytest.raises(TypeError, match=r"the shape is x\.shape\[-1\]"):
        X.size(-1)
    assert X.size == 6 and isinstance(X.size, int) and f"{X.size}" == "6"
    assert (X * X.size).tolist() == [[6.0] * 3] * 2


def test_arguments_of_pytorchs_name_ours():
    """Of every operation and method that has such an argument, before anything is computed."""
    tried = 0
    for place in (ops, nnx.linalg, nnx.Tensor):
        names = (
            place.__all__ if place is not nnx.Tensor else [n for n in present(place) if n[0] != "_"]
        )
        for name in names:
            function = getattr(place, name)
            if not inspect.isfunction(function):
                continue
            taken = inspect.signature(function).parameters
            for theirs, ours in ARGUMENTS.items():
                if ours in ("axis", "keepdims") and ours in taken and theirs not in taken:
                    with pytest.raises(TypeError, match=f"{name}: the argument is {ours}=, not"):
                        function(X, **{theirs: 0})
                    tried += 1
    assert tried > 100
    with pytest.raises(TypeError, match="unexpected keyword argument 'nosuch'"):
        nnx.softmax(X, nosuch=1)
    with pytest.raises(TypeError, match="needs a Tensor"):  # the operation's own errors stay
        nnx.softmax(None, axis=1)


def test_a_function_of_pytorchs_names_ours():
    for place in (nnx, nnx.functional):
        with pytest.raises(AttributeError, match=r"no attribute 'cat'; here: nnx\.concat"):
            _ = place.cat
        with pytest.raises(AttributeError, match=r"no attribute 'nosuch'$"):
            _ = place.nosuch


def test_an_error_that_names_ours_adds_no_name_that_is_spelt_alike():
    """Python looks through `obj` for one: `view` was answered by "Did you mean: 'name'?"."""
    for call in (lambda: X.view(2), lambda: nnx.cat, lambda: nn.init.normal, lambda: X.shap):
        with pytest.raises(AttributeError) as error:
            call()
        assert ("here: " in str(error.value)) == (error.value.obj is None)


def test_functional_is_where_pytorch_has_it():
    import nnx.nn.functional as F

    assert nn.functional is F and F.conv2d is nnx.functional.conv2d and F.__all__ == ops.__all__
    with pytest.raises(AttributeError, match=r"here: nnx\.concat"):
        _ = F.cat


def test_lengths_come_in_one_shape():
    for make in (nnx.zeros, nnx.ones, nnx.empty):
        with pytest.raises(TypeError, match=rf"{make.__name__}: .*{make.__name__}\(\(2, 3\)\)"):
            make(2, 3)
        assert make(2, bool).shape == (2,)


def test_operations_are_found_where_they_are_defined():
    """Pickle and copy look there, and find the same."""
    for function in (ops.softmax, ops.sum, nnx.linalg.vecdot, ops.exp):
        assert pickle.loads(pickle.dumps(function)) is function is copy.deepcopy(function)
    assert nnx.linalg.vecdot is ops.vecdot is nnx.functional.vecdot


# ---- what works ----


@pytest.mark.parametrize(
    "change", [lambda m: m.double(), lambda m: m.to("float64"), lambda m: m.to(np.float64),
               lambda m: m.to(nnx.float64), lambda m: m.to(dtype="float64"),
               lambda m: m.to(np.dtype("f8")), lambda m: m.to("numpy", "float64")]
)  # fmt: skip
def test_the_dtype_of_a_model(change):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    model(nnx.ones((4, 3))).sum().backward()
    assert change(model) is model
    for p in model.parameters():
        assert p.dtype == np.float64 and p.grad.dtype == np.float64
    assert model[1].running_mean.dtype == np.float64
    assert model[1].num_batches_tracked.dtype == np.int64
    assert model.float()[0].weight.dtype == np.float32


def test_what_is_no_place_for_a_model():
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="floating-point dtype, and int64 is none"):
        model.to("int64")
    with pytest.raises(ValueError, match='"cuda" cannot be used: a backend is a library'):
        model.to("cuda")
    with pytest.raises(AttributeError, match=r"'Linear'.*'cuda'; here: model\.to\(\"cupy\"\)"):
        model.cuda()
    with pytest.raises(AttributeError, match=r"'Linear' object has no attribute 'nosuch'$"):
        _ = model.nosuch
    assert getattr(model, "nosuch", None) is None


def test_a_device_is_a_backend():
    for thing in (X, nn.Linear(2, 2)):
        with pytest.raises(TypeError, match=r"to: the argument is backend=, not device="):
            thing.to(device="cuda")
        with pytest.raises(ValueError, match='"cuda:0" cannot be used: a backend is a library'):
            thing.to("cuda:0")
        assert thing.to("numpy") is thing
    assert nnx.tensor([1.0], device="numpy").device == "cpu"
    with pytest.raises(ValueError, match="tensor: device 'cuda': a tensor lies where"):
        nnx.tensor([1.0], device="cuda")


def test_the_dtype_of_a_tensor(backend):
    backend.skip_without_float64()
    x = backend.tensor(np.ones(2, "f4"), requires_grad=True)
    for dtype in ("float64", np.float64, nnx.float64, backend.xp.float64):
        assert x.to(dtype).dtype == backend.xp.float64
    x.to("float64").sum().backward()
    assert x.grad.dtype == backend.xp.float32
    moved = x.to("numpy", "float64")
    assert moved.dtype == np.float64 and type(moved.data) is np.ndarray


def test_gradients_are_forgotten_or_zeros():
    model = nn.Linear(2, 2, bias=False)
    sgd = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for place in (model, sgd):
        place.zero_grad(set_to_none=False)
        assert model.weight.grad is None  # there was none
        model(nnx.ones((1, 2))).sum().backward()
        place.zero_grad(set_to_none=False)
        np.testing.assert_array_equal(model.weight.grad, np.zeros((2, 2)))
        place.zero_grad(set_to_none=True)
        assert model.weight.grad is None


@pytest.mark.parametrize("name", ["foreach", "fused", "capturable", "differentiable"])
def test_how_pytorch_runs_is_refused_with_the_reason(name):
    for kind in (optim.SGD, optim.Adam, optim.LBFGS, optim.RMSprop):
        with pytest.raises(TypeError, match=f"{kind.__name__}: {name} says how PyTorch runs"):
            kind(nn.Linear(2, 2).parameters(), lr=0.1, **{name: True})


def test_a_loaders_arguments_of_pytorchs_are_answered():
    for name, value in {
        "pin_memory": True,
        "collate_fn": None,
        "persistent_workers": False,
    }.items():
        with pytest.raises(TypeError, match=rf"^DataLoader: .* argument {name}=; here: "):
            nnx.data.DataLoader(np.zeros((4, 2)), batch_size=2, **{name: value})
    with pytest.raises(TypeError, match="unexpected keyword argument 'nosuch'"):
        nnx.data.DataLoader(np.zeros((4, 2)), nosuch=1)


def test_a_trainers_arguments_of_others_are_answered():
    layer = nn.Linear(2, 1)
    parts = (layer, nn.MSELoss(), optim.SGD(layer.parameters()))
    for name in ("scheduler", "max_epochs", "gradient_clip_val"):
        with pytest.raises(TypeError, match=rf"^Trainer: .* argument {name}=; here: "):
            nnx.Trainer(*parts, **{name: 1})
    for name in ("mode", "restore_best_weights"):
        with pytest.raises(TypeError, match=rf"^EarlyStopping: .* argument {name}=; here: "):
            nnx.train.EarlyStopping(3, **{name: "max"})

    class Own(nnx.Trainer):
        def __init__(self, *args, scheduler):
            super().__init__(*args)
            self.scheduler = scheduler

    assert Own(*parts, scheduler=3).scheduler == 3
    for make in (nnx.Trainer, nnx.train.EarlyStopping):
        with pytest.raises(TypeError, match="unexpected keyword argument 'nosuch'"):
            make(*(parts if make is nnx.Trainer else ()), nosuch=1)


def test_what_stands_in_the_place_of_parameters_or_a_function():
    layer = nn.Linear(3, 1)
    with pytest.raises(TypeError, match=r"^SGD: .*model\.parameters\(\), not the model, Linear$"):
        optim.SGD(layer)
    with pytest.raises(TypeError, match=r"^grad: needs a function.*nnx\.grad\(lambda x:"):
        nnx.grad(layer(X).sum(), X)
    with pytest.raises(ValueError, match=r"scalar tensor, got \(2, 1\); \.sum\(\)"):
        nnx.grad(layer, X)
    with pytest.raises(TypeError, match=r"^backward: create_graph=True .*nnx\.grad\(f, x\)"):
        layer(X).sum().backward(create_graph=True)
    layer(X).sum().backward(create_graph=False)
    assert layer.weight.grad.shape == (1, 3)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4)])
def test_classes_that_are_floats_are_told_from_probabilities(shape):
    target = np.zeros((*shape[: len(shape) > 1], *shape[2:]), "float32")
    with pytest.raises(ValueError, match=r'class indices are integers, target\.astype\("int64"\)'):
        nnx.functional.cross_entropy(nnx.ones(shape), target)
    nnx.functional.cross_entropy(nnx.ones(shape), target.astype("int64"))
