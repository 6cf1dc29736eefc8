"""Hooks on gradients: of tensors, of leaves, of modules."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import nnx
from nnx import nn
from nnx.autograd import backward, hooks


def leaf(values):
    return nnx.tensor(np.array(values), requires_grad=True)


def test_a_leafs_hook_gets_the_whole_gradient_once():
    """x is used twice; the hook sees the sum, and what it returns is what `.grad` becomes."""
    x, seen = leaf([1.0, 2.0]), []
    x.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: 10 * g)
    (x * x + x).sum().backward()
    assert seen == [[3.0, 5.0]] and x.grad.tolist() == [30.0, 50.0]


def test_what_was_in_grad_is_added_to_and_not_seen_again():
    x = leaf([1.0])
    (2 * x).sum().backward()
    hook = x.register_hook(lambda g: -g)
    (3 * x).sum().backward()
    assert x.grad.tolist() == [2 - 3]
    hook.remove()
    hook.remove()
    x.sum().backward()
    assert x.grad.tolist() == [2 - 3 + 1]


def test_a_hook_in_the_middle_changes_all_that_lies_behind(backend):
    x = nnx.tensor([1.0, 2.0], requires_grad=True)
    y, z = x * 2, x * 3
    y.register_hook(lambda g: 0 * g)
    y.retain_grad()
    (y * z).sum().backward()
    assert [float(g) for g in x.grad] == [3 * 2 * 1.0, 3 * 2 * 2.0], "only z's way is left"
    assert [float(g) for g in y.grad] == [0.0, 0.0], "what is kept is what the hook made"


def test_hooks_that_are_not_needed_cost_nothing_and_keep_nothing():
    x = leaf([1.0])
    x.register_hook(lambda g: None)
    key = id(x)
    assert key in hooks._of_leaves
    del x
    gc.collect()
    assert key not in hooks._of_leaves


def test_leaves_without_hooks_are_as_where_there_is_none():
    """A hook somewhere else makes no copy of their gradients."""
    elsewhere, x = leaf([1.0]), leaf([1.0, 2.0])
    elsewhere.register_hook(lambda g: None)
    made = []

    class Kept(nnx.Function):
        def forward(self, x):
            return x * 1.0

        def backward(self, g):
            made.append(id(fresh := g * 2.0))
            return fresh

    Kept()(x).sum().backward()
    assert id(x.grad) == made[0] and x.grad.tolist() == [2.0, 2.0]


def test_what_a_hook_may_not_do():
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g[:1])
    with pytest.raises(ValueError, match=r"it got \(2,\) float64 and returned \(1,\) float64"):
        x.sum().backward()
    with pytest.raises(RuntimeError, match=r"requires no gradient \(shape \(2,\)\)"):
        nnx.tensor([1.0, 2.0]).register_hook(print)
    with pytest.raises(RuntimeError, match="for several ranks"):
        backward(x.sum(), None, take=lambda leaf, g: None)


def test_a_tensor_changed_in_place_keeps_the_hooks_of_its_old_self():
    x, seen = leaf([1.0]), []
    y = x * 2
    y.register_hook(lambda g: seen.append(g.tolist()))
    y *= 5
    y.sum().backward()
    assert seen == [[5.0]] and x.grad.tolist() == [10.0]


def test_a_modules_hook_sees_both_ends_as_pytorchs():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).standard_normal((2, 3)).astype("float32")
    ours, theirs, seen = nn.Linear(3, 2), torch.nn.Linear(3, 2), {}
    theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})
    ours.register_full_backward_hook(lambda m, gi, go: seen.update(ours=(gi, go)))
    theirs.register_full_backward_hook(lambda m, gi, go: seen.update(theirs=(gi, go)))
    x = nnx.tensor(values, requires_grad=True)
    t = torch.tensor(values, requires_grad=True)
    (ours(x) ** 2).sum().backward()
    (theirs(t) ** 2).sum().backward()
    for mine, other in zip(seen["ours"], seen["theirs"], strict=True):
        np.testing.assert_allclose(mine[0], other[0].numpy(), rtol=1e-5, atol=1e-6)


def test_a_modules_hook_may_change_the_gradient_of_its_inputs():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    hook = model[1].register_full_backward_hook(lambda m, gi, go: (0 * gi[0],))
    x = nnx.tensor(np.ones((2, 3), "float32"))
    model(x).sum().backward()
    assert not model[0].weight.grad.any() and model[2].weight.grad is not None
    hook.remove()
    model.zero_grad()
    model(x).sum().backward()
    plain = model[0].weight.grad
    assert plain.any()


def test_without_a_gradient_for_the_inputs_it_is_called_all_the_same():
    layer, seen = nn.Linear(3, 2), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].shape)))
    layer(np.ones((4, 3), "float32")).sum().backward()
    assert seen == [((None,), (4, 2))] and layer.weight.grad.any()
    with nnx.no_grad():
        layer(np.ones((4, 3), "float32"))
    assert len(seen) == 1
