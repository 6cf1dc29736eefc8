"""Losses of more than an input and a target: against PyTorch, by differences, errors."""

from __future__ import annotations

import numpy as np
import pytest
from gradients import check_gradients
from pytorch import assert_same

import nnx
from nnx import nn, ops

RNG = np.random.default_rng(2)
A, B, C = (RNG.standard_normal((6, 5)) for _ in range(3))
V = RNG.uniform(0.1, 2, (6, 5))
SIGNS = np.where(RNG.uniform(size=6) < 0.5, 1, -1)
EACH = np.where(RNG.uniform(size=(6, 5)) < 0.5, 1.0, -1.0)

# name -> [(operands with a gradient, target or None, keywords)]
CASES = {
    "gaussian_nll_loss": [
        ([A, B, V], None, {}),
        ([A, B, V[:, :1]], None, {"full": True}),
        ([A, B, V[:, 0]], None, {"eps": 0.5}),
        ([A[:, 0], B[:, 0], V[:, 0]], None, {}),
    ],
    "cosine_embedding_loss": [
        ([A, B], SIGNS, {}),
        ([A, B], SIGNS, {"margin": -0.3}),
        ([A[0], B[0]], SIGNS[0], {}),
    ],
    "margin_ranking_loss": [([A, B], EACH, {}), ([A, B], EACH, {"margin": 0.5})],
    "triplet_margin_loss": [
        ([A, B, C], None, {}),
        ([A, B, C], None, {"margin": 0.5, "p": 1.0, "swap": True}),
        ([A[0], B[0], C[0]], None, {"p": 3.0, "eps": 0.1}),
    ],
    "triplet_margin_with_distance_loss": [([A, B, C], None, {"swap": True})],
    "pairwise_distance": [([A, B], None, {}), ([A, B[:1]], None, {"p": 1.0})],
}
TABLE = [
    pytest.param(name, *case, id=f"{name}-{k}")
    for name, cases in CASES.items()
    for k, case in enumerate(cases)
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name, arrays, target, keywords", TABLE)
def test_equals_pytorch(backend, name, arrays, target, keywords, reduction):
    torch = pytest.importorskip("torch")
    if name != "pairwise_distance":
        keywords = {**keywords, "reduction": reduction}
    of = getattr(torch.nn.functional, name)

    def ours(*xs):
        t = () if target is None else (nnx.Tensor(backend.asarray(np.asarray(target))),)
        return getattr(ops, name)(*xs, *t, **keywords)

    def theirs(*xs):
        return of(*xs, *(() if target is None else (torch.tensor(target),)), **keywords)

    assert_same(backend, ours, theirs, *arrays, rtol=1e-9 if backend.float64 else 2e-5)


@pytest.mark.parametrize("name, arrays, target, keywords", TABLE)
def test_gradient(backend, name, arrays, target, keywords):
    """Not where a variance is held: there the gradient is of what it would be else."""
    backend.skip_without_float64()
    if keywords.get("eps") == 0.5:
        return
    t = () if target is None else (nnx.Tensor(backend.asarray(np.asarray(target))),)
    check_gradients(
        lambda *xs: getattr(ops, name)(*xs, *t, **keywords), *arrays, wrap=backend.asarray
    )


MODULES = [
    ("GaussianNLLLoss", {"full": True, "eps": 0.3}, [A, B, V]),
    ("CosineEmbeddingLoss", {"margin": 0.2}, [A, B, SIGNS]),
    ("MarginRankingLoss", {"margin": 0.2}, [A, B, EACH]),
    ("TripletMarginLoss", {"margin": 0.7, "p": 1.5, "eps": 0.01, "swap": True}, [A, B, C]),
    ("TripletMarginWithDistanceLoss", {"margin": 0.7, "swap": True}, [A, B, C]),
]


@pytest.mark.parametrize("name, options, arrays", MODULES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_modules_are_pytorchs(name, options, arrays, reduction):
    torch = pytest.importorskip("torch")
    ours = getattr(nn, name)(**options, reduction=reduction)
    theirs = getattr(torch.nn, name)(**options, reduction=reduction)
    y, u = ours(*map(nnx.Tensor, arrays)), theirs(*map(torch.tensor, arrays))
    np.testing.assert_allclose(y.numpy(), u.numpy(), rtol=1e-9)
    assert f"reduction='{reduction}'" in repr(ours)


def test_a_distance_of_ones_own():
    def largest(a, b):
        return ops.max(ops.abs(a - b), axis=-1)

    loss = nn.TripletMarginWithDistanceLoss(distance_function=largest, margin=0.5, reduction="none")
    a, b, c = map(nnx.Tensor, (A, B, C))
    expected = np.maximum(0, np.abs(A - B).max(1) - np.abs(A - C).max(1) + 0.5)
    np.testing.assert_allclose(loss(a, b, c).numpy(), expected)


def test_a_dense_layer_with_its_loss_is_pytorchs():
    torch = pytest.importorskip("torch")
    options = {"out_features": (2,), "bias": True, "label_smoothing": 0.1, "ignore_index": 1}
    theirs = torch.nn.LinearCrossEntropyLoss(5, 3, **options).double()
    ours = nn.LinearCrossEntropyLoss(5, 3, **options, dtype="float64")
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    t = RNG.integers(0, 3, (6, 2))
    y, u = ours(nnx.Tensor(A), t), theirs(torch.tensor(A), torch.tensor(t))
    np.testing.assert_allclose(y.item(), u.item(), rtol=1e-9)
    y.backward()
    u.backward()
    np.testing.assert_allclose(
        ours.linear.weight.grad, theirs.linear.weight.grad.numpy(), atol=1e-10
    )


def test_variances_that_are_none():
    a, b = nnx.Tensor(A), nnx.Tensor(B)
    with pytest.raises(ValueError, match="must not be negative, but there is -1"):
        ops.gaussian_nll_loss(a, b, nnx.Tensor(np.where(V > 1, -1.0, V)))
    with pytest.raises(ValueError, match=r"input \(6, 5\), var \(3, 5\)"):
        ops.gaussian_nll_loss(a, b, nnx.Tensor(V[:3]))
    with pytest.raises(ValueError, match=r"input \(6, 5\), var \(1, 1\)"):
        ops.gaussian_nll_loss(a, b, nnx.Tensor(V[:1, :1]))
    with pytest.raises(ValueError, match="eps must be positive, got 0"):
        ops.gaussian_nll_loss(a, b, nnx.Tensor(V), eps=0)
    one = ops.gaussian_nll_loss(a, b, 0.5).item()
    assert one == pytest.approx(
        ops.gaussian_nll_loss(a, b, nnx.Tensor(np.full((6, 5), 0.5))).item()
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda a: ops.triplet_margin_loss(a, a, a, margin=0), "margin must be positive, got 0"),
        (lambda a: ops.triplet_margin_loss(a, a, a[:3]), r"input \(6, 5\), target \(3, 5\)"),
        (lambda a: ops.margin_ranking_loss(a, a, a[:, :1]), r"input \(6, 5\), target \(6, 1\)"),
        (lambda a: ops.cosine_embedding_loss(a, a, a), r"inputs \(6, 5\), target \(6, 5\)"),
        (lambda a: ops.multilabel_margin_loss(a, np.zeros((6, 4), int)), r"target \(6, 4\)"),
    ],
)
def test_what_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call(nnx.Tensor(A))


def test_labels_that_are_no_classes():
    a = nnx.Tensor(A)
    with pytest.raises(IndexError, match="target 5 is not one of the 5 classes, nor -1"):
        ops.multilabel_margin_loss(a, np.full((6, 5), 5))
    with pytest.raises(TypeError, match="must be of integers, not float64"):
        ops.multilabel_margin_loss(a, A)
