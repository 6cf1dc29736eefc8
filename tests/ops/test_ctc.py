"""CTC against PyTorch, and against its definition: all ways of saying a sequence, one by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from gradients import check_gradients

import nnx
from nnx import ops

RNG = np.random.default_rng(1)
T, N, C = 6, 4, 4
SCORES = 2 * RNG.standard_normal((T, N, C))
LOG_PROBS = SCORES - np.log(np.exp(SCORES).sum(-1, keepdims=True))
TARGETS = np.asarray([[1, 2, 3], [2, 2, 1], [3, 1, 1], [1, 1, 1]])
STEPS, LABELS = [6, 6, 4, 5], [3, 2, 1, 0]
IN_A_ROW = np.asarray([1, 2, 3, 2, 2, 3])


def said(way, blank):
    """What a way says: repeats dropped, then blanks."""
    return [c for c, _ in itertools.groupby(way) if c != blank]


def definition(y, targets, steps, labels, blank=0):
    losses = []
    for n in range(y.shape[1]):
        wanted = list(targets[n][: labels[n]])
        ways = itertools.product(range(y.shape[2]), repeat=steps[n])
        total = sum(
            math.exp(sum(y[t, n, c] for t, c in enumerate(way)))
            for way in ways
            if said(way, blank) == wanted
        )
        losses.append(-math.log(total) if total else math.inf)
    return np.asarray(losses)


@pytest.mark.parametrize("blank", [0, 3])
def test_is_its_definition(backend, blank):
    targets = TARGETS if blank == 0 else TARGETS - 1
    y = ops.ctc_loss(
        backend.tensor(LOG_PROBS.astype("f4")),
        backend.tensor(targets),
        STEPS,
        LABELS,
        blank,
        "none",
    )
    expected = definition(LOG_PROBS, targets, STEPS, LABELS, blank)
    np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=1e-4)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("targets", ["padded", "in a row"])
def test_equals_pytorch(backend, targets, reduction):
    """Through the log-softmax: PyTorch's gradient by its result leaves out what that takes away."""
    torch = pytest.importorskip("torch")
    given = TARGETS if targets == "padded" else IN_A_ROW
    dtype = "float64" if backend.float64 else "float32"
    x = nnx.Tensor(backend.strided(SCORES.astype(dtype)), requires_grad=True)
    t = torch.tensor(SCORES.astype(dtype), requires_grad=True)
    lengths = [nnx.Tensor(backend.asarray(np.asarray(a))) for a in (STEPS, LABELS)]
    y = ops.ctc_loss(
        ops.log_softmax(x), nnx.Tensor(backend.asarray(given)), *lengths, reduction=reduction
    )
    u = torch.nn.functional.ctc_loss(
        t.log_softmax(-1), torch.tensor(given), torch.tensor(STEPS), torch.tensor(LABELS),
        reduction=reduction,
    )  # fmt: skip
    rtol = 1e-9 if backend.float64 else 1e-4
    np.testing.assert_allclose(backend.to_numpy(y), u.detach().numpy(), rtol=rtol)
    assert y.shape == tuple(u.shape) and y.dtype == x.dtype
    g = RNG.uniform(0.5, 2, y.shape).astype(dtype)
    y.backward(backend.asarray(g))
    u.backward(torch.tensor(g))
    np.testing.assert_allclose(backend.to_numpy(x.grad), t.grad.numpy(), rtol=rtol, atol=1e-6)


def test_gradient(backend):
    """ctc_loss by finite differences, of the log-probabilities themselves."""
    backend.skip_without_float64()
    targets = nnx.Tensor(backend.asarray(TARGETS))
    for reduction in ("mean", "none"):
        check_gradients(
            lambda y, how=reduction: ops.ctc_loss(y, targets, STEPS, LABELS, reduction=how),
            LOG_PROBS, wrap=backend.asarray,
        )  # fmt: skip


def test_one_sequence_without_a_batch(backend):
    y = backend.tensor(LOG_PROBS[:, 0].astype("f4"))
    for how, shape in (("none", ()), ("mean", ())):
        loss = ops.ctc_loss(y, backend.tensor(TARGETS[0]), 6, 3, reduction=how)
        expected = definition(LOG_PROBS, TARGETS, [6] * 4, [3] * 4)[0] / (3 if how == "mean" else 1)
        assert loss.shape == shape
        np.testing.assert_allclose(backend.to_numpy(loss), expected, rtol=1e-4)


def test_steps_that_do_not_suffice(backend):
    """Infinite, with NaN for a gradient; or both 0."""
    y = backend.tensor(LOG_PROBS[:3, :2].astype("f4"), requires_grad=True)
    targets = backend.tensor(np.asarray([[1, 1], [1, 2]]))
    loss = ops.ctc_loss(y, targets, [2, 2], [2, 2], reduction="none")
    assert backend.to_numpy(loss)[0] == math.inf and np.isfinite(backend.to_numpy(loss)[1])
    loss.backward(backend.xp.ones_like(loss.data))
    gradient = backend.to_numpy(y.grad)
    assert np.isnan(gradient[:2, 0]).any() and np.isfinite(gradient[:, 1]).all()
    assert not gradient[2].any()  # behind the end of both
    y.grad = None
    total = ops.ctc_loss(y, targets, [2, 2], [2, 2], reduction="sum", zero_infinity=True)
    np.testing.assert_allclose(float(total.detach()), backend.to_numpy(loss)[1], rtol=1e-5)
    total.backward()
    gradient = backend.to_numpy(y.grad)
    assert not gradient[:, 0].any() and gradient[:2, 1].any() and not gradient[2].any()


def test_nothing_to_say(backend):
    """No label: blanks alone; and no step for it."""
    y = backend.tensor(LOG_PROBS.astype("f4"), requires_grad=True)
    nothing = backend.tensor(np.zeros((N, 0), "i8"))
    loss = ops.ctc_loss(y, nothing, [6, 3, 1, 0], [0] * 4, reduction="none")
    expected = [-LOG_PROBS[:s, n, 0].sum() for n, s in enumerate([6, 3, 1, 0])]
    np.testing.assert_allclose(backend.to_numpy(loss), expected, rtol=1e-5, atol=1e-7)
    loss.sum().backward()
    wanted = np.zeros((T, N, C))
    for n, s in enumerate([6, 3, 1, 0]):
        wanted[:s, n, 0] = -1
    np.testing.assert_allclose(backend.to_numpy(y.grad), wanted, rtol=1e-5, atol=1e-6)


def test_a_thousand_steps():
    """Probabilities far below the smallest float32."""
    y = np.full((1000, 1, 40), -math.log(40), "f4")
    loss = ops.ctc_loss(nnx.Tensor(y, True), np.arange(1, 40)[None], [1000], [39], reduction="sum")
    assert 3000 < loss.item() < 3700
    loss.backward()


def test_what_does_not_fit():
    y = nnx.Tensor(LOG_PROBS)
    with pytest.raises(ValueError, match=r"input_lengths must be 4 integers from 0 to 6.*\[7, 6"):
        ops.ctc_loss(y, TARGETS, [7, 6, 6, 6], LABELS)
    with pytest.raises(ValueError, match=r"target_lengths must be 4 integers from 0 to 3"):
        ops.ctc_loss(y, TARGETS, STEPS, [4, 1, 1, 1])
    with pytest.raises(
        ValueError, match=r"add up to, 6; they are 5; target_lengths \[3, 2, 1, 0\]"
    ):
        ops.ctc_loss(y, IN_A_ROW[:5], STEPS, LABELS)
    with pytest.raises(ValueError, match=r"targets must be \(N, S\), with N = 4.*\(3, 3\)"):
        ops.ctc_loss(y, TARGETS[:3], STEPS, LABELS)
    with pytest.raises(IndexError, match="target 9 is not one of the 4 classes"):
        ops.ctc_loss(y, np.where(TARGETS == 3, 9, TARGETS), STEPS, LABELS)
    with pytest.raises(IndexError, match="the blank 4 is not one of the 4 classes"):
        ops.ctc_loss(y, TARGETS, STEPS, LABELS, blank=4)
    with pytest.raises(TypeError, match="targets must be integers, not float64"):
        ops.ctc_loss(y, TARGETS * 1.0, STEPS, LABELS)
    with pytest.raises(ValueError, match=r"log_probs must be \(T, N, C\) or \(T, C\).*\(4,\)"):
        ops.ctc_loss(nnx.Tensor(LOG_PROBS[0, 0]), TARGETS, STEPS, LABELS)
