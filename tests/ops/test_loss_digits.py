"""What losses must not lose: digits where the answer is right, and terms that have no share."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gradients import check_gradients

import nnx
from nnx import ops

FAR = np.concatenate([[0.0], np.geomspace(1e-6, 86, 60)])
FAR = np.concatenate([-FAR[:0:-1], FAR]).astype("float32")


def softplus(x):
    """log(1 + e^x), in float64, from NumPy's own function for it."""
    return np.logaddexp(0.0, np.asarray(x, "float64"))


def sigmoid(x):
    return np.exp(-softplus(-np.asarray(x, "float64")))


@pytest.mark.parametrize("target", [0.0, 1.0, 0.25, 0.999])
@pytest.mark.parametrize("q", [None, 3.0, 0.01])
def test_bce_with_logits_to_the_last_digits(backend, target, q):
    """In float32 against float64: the loss of either class, and both gradients."""
    x = backend.tensor(FAR, requires_grad=True)
    t = backend.tensor(np.full_like(FAR, target), requires_grad=True)
    weight = None if q is None else backend.asarray(np.full_like(FAR, q))
    y = ops.binary_cross_entropy_with_logits(x, t, reduction="none", pos_weight=weight)
    y.sum().backward()
    t64, q64 = np.float64(np.float32(target)), np.float64(np.float32(1.0 if q is None else q))
    yes, no = q64 * t64, 1 - t64
    exact = yes * softplus(-FAR) + no * softplus(FAR)
    np.testing.assert_allclose(backend.to_numpy(y.detach()), exact, rtol=1e-6, atol=1e-43)
    # dx = no σ(x) - yes σ(-x): a difference, so its error is held against the two terms
    parts = no * sigmoid(FAR), yes * sigmoid(-FAR)
    error = np.abs(backend.to_numpy(x.grad) - (parts[0] - parts[1]))
    assert (error <= 1e-6 * (parts[0] + parts[1]) + 1e-44).all()
    slope = q64 * softplus(-FAR) - softplus(FAR)
    terms = q64 * softplus(-FAR) + softplus(FAR)
    assert (np.abs(backend.to_numpy(t.grad) - slope) <= 5e-7 * terms).all()


def test_bce_with_logits_where_it_was_zero():
    y = ops.binary_cross_entropy_with_logits(nnx.tensor([16.0]), nnx.tensor([1.0]))
    assert float(y) == pytest.approx(1.1253516e-7, rel=1e-6)


def test_bce_of_small_probabilities(backend):
    """log(1 - p) of a p that 1 - p rounds away."""
    p = np.asarray([1e-30, 1e-12, 1e-8, 1e-4, 0.3, 0.999], "float32")
    for target in (0.0, 1.0):
        y = ops.binary_cross_entropy(
            backend.tensor(p), backend.tensor(np.full_like(p, target)), reduction="none"
        )
        wide = p.astype("float64")
        exact = -np.log(wide) if target else -np.log1p(-wide)
        np.testing.assert_allclose(backend.to_numpy(y), exact, rtol=1e-6, atol=0)


def test_bce_of_certainty_costs_100(backend):
    p, t = np.asarray([0.0, 1.0, 0.0, 1.0], "float32"), np.asarray([1, 0, 0, 1], "float32")
    x = backend.tensor(p, requires_grad=True)
    y = ops.binary_cross_entropy(x, backend.tensor(t), reduction="none")
    np.testing.assert_array_equal(backend.to_numpy(y.detach()), [100, 100, 0, 0])
    y.sum().backward()
    assert np.isfinite(backend.to_numpy(x.grad)).all()


def test_soft_margin_to_the_last_digits(backend):
    for sign in (1.0, -1.0):
        x = backend.tensor(FAR, requires_grad=True)
        y = ops.soft_margin_loss(x, backend.tensor(np.full_like(FAR, sign)), reduction="none")
        y.sum().backward()
        np.testing.assert_allclose(
            backend.to_numpy(y.detach()), softplus(-sign * FAR), rtol=1e-6, atol=0
        )
        np.testing.assert_allclose(
            backend.to_numpy(x.grad), -sign * sigmoid(-sign * FAR), rtol=1e-6, atol=1e-44
        )


# ---- what has no share adds nothing, though its logarithm be infinite ----

Z = np.asarray([[0.5, -np.inf, 1.5], [-np.inf, 0.25, 0.0]], "float32")
SURE = np.asarray([[0.3, 0.0, 0.7], [0.0, 1.0, 0.0]], "float32")


def by_hand(z, q, weight):
    """-Σ w q log p over the classes that have a share, and its gradient w.r.t. z: p Σ w q - w q."""
    z, a = z.astype("float64"), q.astype("float64") * weight
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    losses = [
        -sum(w * math.log(r) for w, r in zip(*row, strict=True) if w)
        for row in zip(a, p, strict=True)
    ]
    return np.asarray(losses), p * a.sum(1, keepdims=True) - a


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.5], [1.0, 0.0, 0.5]], ids=str)
@pytest.mark.parametrize("kind", ["classes", "shares", "ignored"])
def test_a_class_that_is_impossible_and_not_asked_for(backend, kind, weight):
    x = backend.tensor(Z, requires_grad=True)
    q = np.eye(3)[[2, 1]] if kind != "shares" else SURE
    target = {"classes": [2, 1], "ignored": [2, -100], "shares": SURE}[kind]
    w = None if weight is None else backend.asarray(np.asarray(weight, "float32"))
    y = ops.cross_entropy(x, backend.tensor(np.asarray(target)), weight=w, reduction="none")
    losses, gradient = by_hand(Z, q, np.ones(3) if weight is None else np.asarray(weight))
    if kind == "ignored":
        losses[1], gradient[1] = 0, 0
    np.testing.assert_allclose(backend.to_numpy(y.detach()), losses, rtol=2e-6, atol=1e-7)
    y.sum().backward()
    np.testing.assert_allclose(backend.to_numpy(x.grad), gradient, rtol=2e-6, atol=1e-7)
    mean = ops.cross_entropy(x.detach(), backend.tensor(np.asarray(target)), weight=w)
    assert math.isfinite(float(mean))


def test_an_impossible_class_whose_weight_is_0(backend):
    x = backend.tensor(Z, requires_grad=True)
    labels = backend.tensor(np.asarray([1, 1]))
    weight = backend.asarray(np.asarray([1.0, 0.0, 1.0], "float32"))
    for loss in (ops.cross_entropy, ops.nll_loss):
        y = loss(x, labels, weight=weight, reduction="none")
        np.testing.assert_array_equal(backend.to_numpy(y.detach()), [0, 0])


def test_bce_with_logits_that_are_infinite(backend):
    x = backend.tensor(
        np.asarray([-np.inf, np.inf, -np.inf, np.inf], "float32"), requires_grad=True
    )
    t = backend.tensor(np.asarray([0, 1, 1, 0], "float32"))
    y = ops.binary_cross_entropy_with_logits(x, t, reduction="none")
    np.testing.assert_array_equal(backend.to_numpy(y.detach()), [0, 0, np.inf, np.inf])
    y.backward(backend.asarray(np.ones(4, "float32")))
    np.testing.assert_array_equal(backend.to_numpy(x.grad), [0, 0, -1, 1])


@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div_where_the_target_is_0(backend, log_target):
    """Value, both gradients: a term without a share is 0, whatever the other probability."""
    with np.errstate(divide="ignore"):
        x = np.log(np.asarray([0.25, 0.0, 0.75], "float32"))
        t = np.asarray([0.0, 0.0, 1.0], "float32")
        u = np.log(t) if log_target else t
    ours, target = backend.tensor(x, requires_grad=True), backend.tensor(u, requires_grad=True)
    y = ops.kl_div(ours, target, reduction="none", log_target=log_target)
    y.sum().backward()
    np.testing.assert_allclose(backend.to_numpy(y.detach()), [0, 0, -math.log(0.75)], rtol=1e-6)
    np.testing.assert_allclose(backend.to_numpy(ours.grad), [0, 0, -1], rtol=1e-6)
    wanted = [0, 0, 1 - math.log(0.75)]
    np.testing.assert_allclose(backend.to_numpy(target.grad), wanted, rtol=1e-6)


def test_kl_div_of_a_target_that_a_softmax_rounds_to_0(backend):
    """The gradient that the choice at 0 is made for: dL/du of t = softmax(u) goes to 0 there."""
    x = backend.tensor(np.log(np.asarray([[0.2, 0.8]], "float32")))
    gradients = []
    for u in (-60.0, -200.0):  # t is 9e-27, and then 0
        logits = backend.tensor(np.asarray([[u, 0.0]], "float32"), requires_grad=True)
        ops.kl_div(x, ops.softmax(logits), reduction="sum").backward()
        gradients.append(backend.to_numpy(logits.grad))
    assert np.isfinite(gradients[1]).all() and gradients[1][0, 0] == 0
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-20)


def test_kl_div_of_a_target_below_0_that_nothing_depends_on(backend):
    """As in PyTorch: the loss is NaN; its gradient too, but 0 where the loss does not count."""
    x = backend.tensor(np.asarray([-2, -1, np.nan], "float32"), requires_grad=True)
    t = backend.tensor(np.asarray([-1, -1, -1], "float32"), requires_grad=True)
    with np.errstate(invalid="ignore"):
        ops.kl_div(x, t, reduction="none").backward(backend.asarray(np.asarray([0, 1, 0], "f4")))
    np.testing.assert_array_equal(backend.to_numpy(t.grad), [0, np.nan, np.nan])
    np.testing.assert_array_equal(backend.to_numpy(x.grad), [0, 1, 0])
    never = np.asarray([-np.inf], "float32")  # a logarithm below 0 is no such target
    u = backend.tensor(never, requires_grad=True)
    y = ops.kl_div(backend.tensor(never), u, reduction="none", log_target=True)
    y.backward(backend.asarray(np.zeros(1, "f4")))
    assert backend.to_numpy(u.grad) == 0


def test_kl_div_beside_0(backend):
    backend.skip_without_float64()
    x, t = np.log([0.25, 0.5, 0.25]), np.asarray([1e-3, 0.2, 0.799])
    check_gradients(lambda a, b: ops.kl_div(a, b, reduction="sum"), x, t, wrap=backend.asarray)
