"""Losses: values and gradients against PyTorch, finite differences, edges and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gradients import check_gradients

import nnx
from nnx import ops

RNG = np.random.default_rng(8)
X = RNG.standard_normal((6, 5))
T = RNG.standard_normal((6, 5))
P = RNG.uniform(0.05, 0.95, (6, 5))
Q = RNG.uniform(0.05, 0.95, (6, 5))
SIGNS = np.where(RNG.uniform(size=(6, 5)) < 0.5, 1.0, -1.0)
COUNTS = np.abs(3 * T)
NAMED = np.asarray(
    [[0, 2, -1, 1, 1], [4, 4, 3, -1, 0], [-1, 1, 2, 3, 4], [1, 0, 2, 4, 3], [3, -1, -1, -1, -1],
     [2, 1, 0, 3, -1]]
)  # fmt: skip
CLASSES = np.asarray([0, 4, 2, 2, 1, 3])
SOME_IGNORED = np.asarray([0, -100, 2, 2, -100, 3])
WEIGHT = np.asarray([0.5, 1.0, 2.0, 0.0, 1.5])
SHARES = P / P.sum(axis=1, keepdims=True)
DEEP = RNG.standard_normal((2, 5, 3, 2))
DEEP_CLASSES = RNG.integers(0, 5, (2, 3, 2))

# name -> [(input, target, keywords)]: the names and the meaning of keywords are PyTorch's.
CASES = {
    "mse_loss": [(X, T, {})],
    "l1_loss": [(X, T, {}), (X, np.where(T > 0, X, T), {})],
    "smooth_l1_loss": [(X, T, {}), (3 * X, T, {"beta": 0.5}), (X, T, {"beta": 0.0})],
    "huber_loss": [(X, T, {}), (3 * X, T, {"delta": 0.5})],
    "binary_cross_entropy": [(P, Q, {}), (P, np.round(Q), {"weight": WEIGHT})],
    "binary_cross_entropy_with_logits": [
        (3 * X, Q, {}),
        (3 * X, np.round(Q), {"weight": WEIGHT, "pos_weight": WEIGHT[::-1]}),
    ],
    "kl_div": [(np.log(P), Q, {}), (np.log(P), np.log(Q), {"log_target": True})],
    "poisson_nll_loss": [
        (X, COUNTS, {}),
        (X, COUNTS, {"full": True}),
        (P, COUNTS, {"log_input": False, "eps": 0.1}),
    ],
    "multilabel_margin_loss": [
        (X, NAMED, {}),
        (X[0], NAMED[0], {}),
        (X, np.full((6, 5), -1), {}),
    ],
    "multilabel_soft_margin_loss": [(3 * X, Q, {}), (3 * X, np.round(Q), {"weight": WEIGHT})],
    "soft_margin_loss": [(3 * X, SIGNS, {})],
    "hinge_embedding_loss": [(X, SIGNS, {}), (X, SIGNS, {"margin": 0.3})],
    "multi_margin_loss": [
        (X, CLASSES, {}),
        (X, CLASSES, {"p": 2, "margin": 0.7, "weight": WEIGHT}),
        (X[0], CLASSES[0], {"weight": WEIGHT}),
    ],
    "nll_loss": [
        (np.log(SHARES), CLASSES, {}),
        (np.log(SHARES), SOME_IGNORED, {"weight": WEIGHT}),
        (np.log(SHARES), CLASSES, {"ignore_index": 2}),
        (np.log(SHARES)[0], CLASSES[0], {}),
        (DEEP, DEEP_CLASSES, {"weight": WEIGHT}),
    ],
    "cross_entropy": [
        (X, CLASSES, {}),
        (X, SOME_IGNORED, {}),
        (X, SOME_IGNORED, {"weight": WEIGHT}),
        (X, CLASSES, {"ignore_index": 2}),
        (X, CLASSES, {"label_smoothing": 0.2}),
        (X, SOME_IGNORED, {"label_smoothing": 0.2, "weight": WEIGHT}),
        (X, SHARES, {}),
        (X, SHARES, {"label_smoothing": 0.2, "weight": WEIGHT}),
        (X[0], CLASSES[0], {}),
        (X[0], SHARES[0], {"weight": WEIGHT}),
        (DEEP, DEEP_CLASSES, {}),
        (DEEP, DEEP_CLASSES, {"weight": WEIGHT, "label_smoothing": 0.1}),
        (DEEP, np.moveaxis(SHARES[:, :3].repeat(5, 0).reshape(2, 3, 3, 5), -1, 1)[..., :2], {}),
    ],
}
TABLE = [
    pytest.param(name, *case, id=f"{name}-{k}")
    for name, cases in CASES.items()
    for k, case in enumerate(cases)
]


def on(backend, x):
    """An array of the test as a tensor of the library under test; integers stay integers."""
    return backend.tensor(x) if isinstance(x, np.ndarray) else x


def keywords_on(backend, keywords, dtype):
    return {
        k: nnx.Tensor(backend.asarray(v.astype(dtype))) if isinstance(v, np.ndarray) else v
        for k, v in keywords.items()
    }


def as_float(target, dtype):
    return target.astype(dtype) if target.dtype.kind == "f" else target


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # PyTorch's, about kl_div
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name, x, t, keywords", TABLE)
def test_equals_pytorch(backend, name, x, t, keywords, reduction):
    torch = pytest.importorskip("torch")
    dtype = "float32" if reduction == "none" or not backend.float64 else "float64"
    x, t = np.asarray(x, dtype), as_float(np.asarray(t), dtype)
    ours = nnx.Tensor(backend.strided(x), requires_grad=True)
    target = nnx.Tensor(backend.asarray(t))
    y = getattr(ops, name)(
        ours, target, reduction=reduction, **keywords_on(backend, keywords, dtype)
    )
    theirs = torch.tensor(x, requires_grad=True)
    expected = getattr(torch.nn.functional, name)(
        theirs,
        torch.tensor(t),
        reduction=reduction,
        **{
            k: torch.tensor(v.astype(dtype)) if isinstance(v, np.ndarray) else v
            for k, v in keywords.items()
        },
    )
    assert y.dtype == ours.dtype and y.shape == tuple(expected.shape)
    tolerance = (
        {"rtol": 2e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-12}
    )
    np.testing.assert_allclose(backend.to_numpy(y), expected.detach().numpy(), **tolerance)
    g = np.random.default_rng(1).standard_normal(tuple(expected.shape)).astype(dtype)
    y.backward(backend.asarray(g))
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(backend.to_numpy(ours.grad), theirs.grad.numpy(), **tolerance)
    np.testing.assert_array_equal(backend.to_numpy(ours), x)
    np.testing.assert_array_equal(backend.to_numpy(target), t)


@pytest.mark.parametrize("name, x, t, keywords", TABLE)
def test_gradient(backend, name, x, t, keywords):
    backend.skip_without_float64()
    loss, kw = getattr(ops, name), keywords_on(backend, keywords, "float64")
    t = np.asarray(t)
    if t.dtype.kind == "f" and name not in ("soft_margin_loss", "hinge_embedding_loss", "l1_loss"):
        check_gradients(lambda a, b: loss(a, b, **kw), x, t, wrap=backend.asarray)
        check_gradients(lambda a, b: loss(a, b, reduction="none", **kw), x, t, wrap=backend.asarray)
    elif name != "l1_loss":
        target = nnx.Tensor(backend.asarray(t))
        check_gradients(lambda a: loss(a, target, **kw), x, wrap=backend.asarray)


@pytest.mark.parametrize("squared", [False, True])
def test_hinge_loss(backend, squared):
    x, t = np.asarray([2.0, 0.5, -1.0, 0.25]), np.asarray([1.0, 1.0, 1.0, -1.0])
    short = np.asarray([0.0, 0.5, 2.0, 1.25])
    y = ops.hinge_loss(on(backend, x), on(backend, t), squared=squared, reduction="none")
    np.testing.assert_allclose(backend.to_numpy(y), short**2 / 2 if squared else short, rtol=1e-6)
    if backend.float64:
        target = on(backend, t)
        check_gradients(
            lambda a: ops.hinge_loss(a, target, squared=squared), x, wrap=backend.asarray
        )


def test_kl_div_batchmean(backend):
    x, t = on(backend, np.log(P)), on(backend, Q)
    mean = ops.kl_div(x, t, reduction="batchmean")
    np.testing.assert_allclose(float(mean), float(ops.kl_div(x, t, reduction="sum")) / 6, rtol=1e-5)


def test_kl_div_of_a_certain_target(backend):
    x = on(backend, np.log(np.asarray([0.25, 0.75])))
    y = ops.kl_div(x, on(backend, np.asarray([0.0, 1.0])), reduction="none")
    np.testing.assert_allclose(backend.to_numpy(y), [0, -math.log(0.75)], rtol=1e-6)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_all_targets_ignored_is_nan_with_no_gradient(backend, name, weight):
    x = backend.tensor(X.astype("float32"), requires_grad=True)
    t = nnx.Tensor(backend.asarray(np.full(6, -100)))
    w = None if weight is None else on(backend, weight.astype("float32"))
    y = getattr(ops, name)(x, t, weight=w)
    assert math.isnan(float(y.detach()))
    y.backward()
    np.testing.assert_array_equal(backend.to_numpy(x.grad), np.zeros_like(X))
    none = getattr(ops, name)(x, t, weight=w, reduction="none")
    np.testing.assert_array_equal(backend.to_numpy(none), np.zeros(6))


@pytest.mark.parametrize("classes", [3, 40])
def test_a_walk_back_from_the_mean_begins_with_1(backend, classes):
    """Where a backend keeps that 1, it may not be taken for the mean's own factor."""
    x = np.random.default_rng(0).standard_normal((5, classes)).astype("f4")
    gradients = []
    for given in ((), (backend.asarray(np.ones((), "f4")),)):
        logits = backend.tensor(x, requires_grad=True)
        ops.cross_entropy(logits, on(backend, np.arange(5) % classes)).backward(*given)
        gradients.append(backend.to_numpy(logits.grad))
    np.testing.assert_array_equal(*gradients)
    assert np.abs(gradients[0]).sum(axis=1).max() < 2 / 5


@pytest.mark.parametrize("reduction, expected", [("mean", np.nan), ("sum", 0), ("none", [0, 0])])
def test_there_may_be_no_class_where_no_target_counts(backend, reduction, expected):
    for rows in (0, 2):
        x = backend.tensor(np.zeros((rows, 0), "f4"), requires_grad=True)
        y = ops.cross_entropy(x, on(backend, np.full(rows, -100)), reduction=reduction)
        wanted = expected[:rows] if reduction == "none" else expected
        np.testing.assert_array_equal(backend.to_numpy(y), wanted)
        y.backward(backend.xp.ones_like(y.data))
        assert tuple(x.grad.shape) == (rows, 0)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_no_overflow_for_large_logits(backend, size):
    """Warnings are errors in this suite, so an overflow would fail here too."""
    x = np.asarray([[size, 0.0, -size], [size, size, size]], "float32")
    for loss, target in [
        (ops.cross_entropy, np.asarray([0, 2])),
        (ops.binary_cross_entropy_with_logits, np.asarray([[0, 1, 1], [1, 0, 1]], "float32")),
        (ops.soft_margin_loss, np.asarray([[-1, 1, 1], [1, -1, 1]], "float32")),
    ]:
        tensor = backend.tensor(x, requires_grad=True)
        y = loss(tensor, on(backend, target))
        y.backward()
        assert np.isfinite(backend.to_numpy(y)).all(), loss
        assert np.isfinite(backend.to_numpy(tensor.grad)).all(), loss
    p = ops.sigmoid(backend.tensor(x, requires_grad=True))
    p.retain_grad()
    y = ops.binary_cross_entropy(p, on(backend, np.asarray([[0, 1, 1], [1, 0, 1]], "float32")))
    y.backward()
    assert np.isfinite(backend.to_numpy(y)).all() and np.isfinite(backend.to_numpy(p.grad)).all()


SHAPED = [
    name
    for name in CASES
    if name not in ("cross_entropy", "nll_loss", "multi_margin_loss", "multilabel_margin_loss")
]


@pytest.mark.parametrize("name", [*SHAPED, "hinge_loss"])
def test_a_target_is_never_broadcast(name):
    x, t = nnx.Tensor(np.full((3, 2), 0.5, "f4")), nnx.Tensor(np.full((3, 1), 0.5, "f4"))
    with pytest.raises(ValueError, match=rf"{name}.*\(3, 2\).*\(3, 1\)"):
        getattr(ops, name)(x, t)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "multi_margin_loss"])
def test_errors_of_class_indices(name):
    loss = getattr(ops, name)
    x = nnx.Tensor(np.zeros((3, 2), "f4"))
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(3,\).*\(2,\)"):
        loss(x, nnx.Tensor(np.asarray([0, 1])))
    with pytest.raises(IndexError, match="target 2 is not one of the 2 classes"):
        loss(x, nnx.Tensor(np.asarray([0, 2, 1])))
    with pytest.raises(IndexError, match="target -1 is not one of"):
        loss(x, nnx.Tensor(np.asarray([0, 1, -1])))
    with pytest.raises(ValueError, match=r"weight.*\(2,\).*\(3,\)"):
        loss(x, nnx.Tensor(np.zeros(3, int)), weight=nnx.Tensor(np.ones(3, "f4")))
    with pytest.raises(TypeError, match="floating-point"):
        loss(nnx.Tensor(np.zeros((3, 2), int)), nnx.Tensor(np.zeros(3, int)))
    if name != "cross_entropy":
        with pytest.raises(TypeError, match="integers"):
            loss(x, nnx.Tensor(np.zeros(3, "f4")))


def test_other_errors():
    x, t = nnx.Tensor(np.full((3, 2), 0.5, "f4")), nnx.Tensor(np.full((3, 2), 0.5, "f4"))
    with pytest.raises(ValueError, match="reduction must be one of mean, sum, none"):
        ops.mse_loss(x, t, reduction="median")
    with pytest.raises(ValueError, match="batchmean"):
        ops.kl_div(x, t, reduction="median")
    with pytest.raises(ValueError, match="label_smoothing"):
        ops.cross_entropy(x, t, label_smoothing=1.5)
    with pytest.raises(ValueError, match="beta"):
        ops.smooth_l1_loss(x, t, beta=-1)
    with pytest.raises(ValueError, match="delta"):
        ops.huber_loss(x, t, delta=0)
    with pytest.raises(ValueError, match="p must be 1 or 2"):
        ops.multi_margin_loss(x, nnx.Tensor(np.zeros(3, int)), p=3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        ops.binary_cross_entropy(nnx.Tensor(np.full((3, 2), 1.5, "f4")), t)
    with pytest.raises(ValueError, match=r"weight.*\(3,\).*\(3, 2\)|weight"):
        ops.binary_cross_entropy(x, t, weight=nnx.Tensor(np.ones(3, "f4")))


def test_targets_take_the_inputs_dtype():
    x = nnx.Tensor(np.full((3, 2), 0.5, "f4"), requires_grad=True)
    for target in (np.zeros((3, 2)), np.zeros((3, 2), int), np.zeros((3, 2), bool)):
        y = ops.mse_loss(x, nnx.Tensor(target))
        y.backward()
        assert y.dtype == np.float32 and x.grad.dtype == np.float32
