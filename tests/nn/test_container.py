"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from collections import OrderedDict

import numpy as np
import pytest

import nnx
from nnx import nn


def numbered(n):
    return [nn.Linear(k + 1, k + 2) for k in range(n)]


def names(module):
    return [name for name, _ in module.named_children()]


def test_sequential_applies_in_order(backend):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x = backend.tensor(np.ones((5, 3), "f4"))
    y = model[2](model[1](model[0](x)))
    np.testing.assert_array_equal(backend.to_numpy(model(x).detach()), backend.to_numpy(y.detach()))
    assert [n for n, _ in model.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_sequential_with_names():
    layers = numbered(2)
    model = nn.Sequential(OrderedDict([("hidden", layers[0]), ("out", layers[1])]))
    assert names(model) == ["hidden", "out"] and model.out is layers[1] and model[0] is layers[0]
    assert next(iter(model.state_dict())) == "hidden.weight"


def test_slices_share_the_modules():
    layers = numbered(4)
    model = nn.Sequential(*layers)
    part = model[1:3]
    assert isinstance(part, nn.Sequential) and list(part) == layers[1:3]
    assert names(part) == ["1", "2"]  # as in PyTorch
    assert model[-1] is layers[3] and len(model) == 4 and list(model[::2]) == layers[::2]
    part.append(layers[0])  # under a name that is free
    assert list(part) == [layers[1], layers[2], layers[0]]
    with pytest.raises(IndexError):
        model[4]


@pytest.mark.parametrize("kind", ["Sequential", "ModuleList"])
def test_changing_a_list_of_modules(kind):
    a, b, c, d = numbered(4)
    model = nn.Sequential(a, b) if kind == "Sequential" else nn.ModuleList([a, b])
    assert model.append(c) is model and model.extend([d]) is model
    assert list(model) == [a, b, c, d] and names(model) == ["0", "1", "2", "3"]
    model[1] = d
    assert list(model) == [a, d, c, d] and names(model) == ["0", "1", "2", "3"]
    model[-1] = b
    assert list(model) == [a, d, c, b]
    del model[0]
    assert list(model) == [d, c, b] and names(model) == ["0", "1", "2"]
    del model[1:]
    assert list(model) == [d]
    model.insert(0, a)
    assert list(model) == [a, d] and names(model) == ["0", "1"]
    with pytest.raises(TypeError, match=rf"{kind}: expected a Module, got int: 3"):
        model.append(3)


def test_a_list_is_numbered_anew_when_cut():
    layers = numbered(4)
    part = nn.ModuleList(layers)[2:]
    assert isinstance(part, nn.ModuleList) and names(part) == ["0", "1"]
    assert list(part) == layers[2:]


def test_module_dict():
    a, b, c = numbered(3)
    model = nn.ModuleDict({"left": a, "right": b})
    model["middle"] = c
    assert model["left"] is a and "right" in model and "up" not in model and len(model) == 3
    assert list(model) == list(model.keys()) == ["left", "right", "middle"]
    assert list(model.values()) == [a, b, c] and dict(model.items())["middle"] is c
    model.update({"left": c})
    assert model["left"] is c and len(model) == 3
    del model["left"]
    assert names(model) == ["right", "middle"]
    with pytest.raises(KeyError):
        del model["left"]
    with pytest.raises(KeyError, match="'keys' is taken"):
        model["keys"] = a


def test_parameter_list():
    ps = nn.ParameterList([nn.Parameter(np.zeros(k, "f4")) for k in (1, 2)])
    ps.append(nn.Parameter(np.ones(3, "f4")))
    model = nn.Module()
    model.ps = ps
    assert list(model.state_dict()) == ["ps.0", "ps.1", "ps.2"]
    assert len(ps) == 3 and ps[2].shape == (3,) and [p.shape for p in ps] == [(1,), (2,), (3,)]
    assert "(1,), (2,), (3,)" in repr(ps)


def test_parameter_dict_is_a_dictionary_and_pytorchs():
    torch = pytest.importorskip("torch")

    def steps(nn, parameter):
        kept = parameter(2)
        d = nn.ParameterDict({"left": kept, "right": parameter(3)})
        model = nn.Module()
        model.d = d
        d["middle"] = parameter(1)
        d.update({"left": parameter(4), "last": kept})
        yield list(d), [tuple(p.shape) for p in d.values()], "left" in d, "weight" in d, len(d)
        yield [(name, tuple(p.shape)) for name, p in model.named_parameters()]
        yield tuple(d.pop("right").shape), list(d.keys()), d.get("right") is None
        yield d.setdefault("last", parameter(9)) is kept, d.popitem()[0]
        del d["middle"]
        yield [(name, tuple(p.shape)) for name, p in d.items()]
        d["same"] = d["left"]
        yield list(model.state_dict()), len(list(model.parameters())), len(d)
        d.clear()
        yield len(d), list(model.state_dict())

    ours = list(steps(nn, lambda n: nn.Parameter(np.zeros(n, "f4"))))
    theirs = list(steps(torch.nn, lambda n: torch.nn.Parameter(torch.zeros(n))))
    assert ours == theirs


def test_parameter_dict_refuses_what_is_none():
    d = nn.ParameterDict({"w": nn.Parameter(np.ones(2, "f4"))})
    assert "w: (2,)" in repr(d) and d == d and d != nn.ParameterDict(d) and hash(d)
    with pytest.raises(TypeError, match="ParameterDict: expected a Parameter, got Tensor"):
        d["v"] = nnx.zeros(3)
    with pytest.raises(KeyError, match="'items' is taken"):
        d["items"] = d["w"]
    with pytest.raises(KeyError, match="no_such"):
        d["no_such"]
    layers = nn.ModuleDict({"a": nn.Linear(2, 2)})
    assert layers.pop("a") is not None and len(layers) == 0 and layers.get("a") is None


def test_an_empty_sequential_passes_on():
    x = nnx.tensor([1.0])
    assert nn.Sequential()(x) is x
