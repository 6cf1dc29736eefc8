"""Loss modules against PyTorch's: every option reaches the function, and weights are buffers."""

import numpy as np
import pytest

import nnx
from nnx import nn

rng = np.random.default_rng(0)
LOGITS = rng.standard_normal((6, 4)).astype("f4")
CLASSES = np.asarray([0, 3, 1, 1, 2, 0])
REAL = rng.standard_normal((6, 4)).astype("f4")
CHANCE = rng.uniform(0.05, 0.95, (6, 4)).astype("f4")
SIGNS = np.where(REAL > 0, 1, -1).astype("f4")
WEIGHT = np.asarray([0.5, 1.0, 2.0, 0.1], "f4")
LOG = np.log(np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True))

# module, options, input, target
CASES = [
    ("CrossEntropyLoss", {}, LOGITS, CLASSES),
    ("CrossEntropyLoss", {"weight": WEIGHT, "label_smoothing": 0.2}, LOGITS, CLASSES),
    ("CrossEntropyLoss", {"ignore_index": 1}, LOGITS, CLASSES),
    ("CrossEntropyLoss", {}, LOGITS, CHANCE),
    ("NLLLoss", {}, LOG, CLASSES),
    ("NLLLoss", {"weight": WEIGHT, "ignore_index": 0}, LOG, CLASSES),
    ("MSELoss", {}, LOGITS, REAL),
    ("L1Loss", {}, LOGITS, REAL),
    ("SmoothL1Loss", {}, LOGITS, REAL),
    ("SmoothL1Loss", {"beta": 0.3}, LOGITS, REAL),
    ("HuberLoss", {"delta": 0.4}, LOGITS, REAL),
    ("BCELoss", {}, CHANCE, CHANCE[::-1].copy()),
    ("BCELoss", {"weight": WEIGHT}, CHANCE, CHANCE[::-1].copy()),
    ("BCEWithLogitsLoss", {}, LOGITS, CHANCE),
    ("BCEWithLogitsLoss", {"weight": WEIGHT, "pos_weight": WEIGHT[::-1].copy()}, LOGITS, CHANCE),
    ("KLDivLoss", {}, LOG, CHANCE),
    ("KLDivLoss", {"log_target": True}, LOG, LOG[::-1].copy()),
    ("PoissonNLLLoss", {"full": True}, LOGITS, np.abs(3 * REAL)),
    ("PoissonNLLLoss", {"log_input": False, "eps": 0.1}, CHANCE, np.abs(3 * REAL)),
    ("MultiLabelMarginLoss", {}, LOGITS, np.tile([2, 0, -1, 1], (6, 1))),
    ("MultiLabelSoftMarginLoss", {"weight": WEIGHT}, LOGITS, CHANCE),
    ("HingeEmbeddingLoss", {"margin": 0.7}, LOGITS, SIGNS),
    ("SoftMarginLoss", {}, LOGITS, SIGNS),
    ("MultiMarginLoss", {"p": 2, "margin": 0.6, "weight": WEIGHT}, LOGITS, CLASSES),
]


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # PyTorch's KLDivLoss
@pytest.mark.parametrize("name, options, x, target", CASES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "batchmean"])
def test_losses_are_pytorchs(name, options, x, target, reduction):
    torch = pytest.importorskip("torch")
    if reduction == "batchmean" and name != "KLDivLoss":
        with pytest.raises(ValueError, match="reduction must be one of mean, sum, none"):
            getattr(nn, name)(**options, reduction=reduction)(nnx.tensor(x), nnx.tensor(target))
        return
    ours = getattr(nn, name)(**options, reduction=reduction)
    given = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    theirs = getattr(torch.nn, name)(**given, reduction=reduction)
    a, b = nnx.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, ty = ours(a, nnx.tensor(target)), theirs(b, torch.tensor(target))
    np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), rtol=2e-5, atol=1e-6)
    y.sum().backward()
    ty.sum().backward()
    np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=2e-5, atol=1e-6)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert f"reduction='{reduction}'" in repr(ours)


def test_hinge_loss_is_its_definition():
    x, t = nnx.tensor(LOGITS), nnx.tensor(SIGNS)
    short = np.maximum(0, 0.5 - SIGNS * LOGITS)
    assert nn.HingeLoss(0.5)(x, t).item() == pytest.approx(short.mean(), rel=1e-5)
    y = nn.HingeLoss(0.5, squared=True, reduction="sum")(x, t)
    assert y.item() == pytest.approx((short**2).sum() / 2, rel=1e-5)


def test_weights_move_with_the_loss(backend):
    loss = nn.CrossEntropyLoss([1.0, 2.0, 3.0, 4.0])  # a list, on the active backend
    with nnx.use_backend("numpy"):
        other = nn.CrossEntropyLoss(nnx.tensor(np.asarray([1.0, 2.0, 3.0, 4.0], "f4")))
    other.load_state_dict({"weight": backend.asarray(2 * np.asarray([1.0, 2, 3, 4], "f4"))})
    assert type(other.weight) is np.ndarray and other.weight[3] == 8
    x, t = backend.tensor(LOGITS), backend.tensor(CLASSES)
    z = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    w = np.asarray([1.0, 2, 3, 4])[CLASSES]
    expected = -(w * np.log(z[np.arange(6), CLASSES])).sum() / w.sum()
    assert loss(x, t).item() == pytest.approx(expected, rel=1e-5)


def test_no_silent_broadcast():
    for name in ("MSELoss", "L1Loss", "BCEWithLogitsLoss", "SmoothL1Loss", "SoftMarginLoss"):
        with pytest.raises(ValueError, match=r"input \(6, 4\), target \(6, 1\)"):
            getattr(nn, name)()(nnx.tensor(LOGITS), nnx.tensor(REAL[:, :1].copy()))


# ---- what a loss is given ----


@pytest.mark.parametrize("name", ["hinge_loss", "soft_margin_loss", "hinge_embedding_loss"])
def test_margin_losses_refuse_targets_of_0_and_1(name):
    """Class 0 would have no gradient, and nothing would say so."""
    loss = getattr(nnx.functional, name)
    x = nnx.tensor([0.5, -2.0, 1.0], requires_grad=True)
    loss(x, nnx.tensor([1.0, -1.0, 1.0])).backward()
    with pytest.raises(ValueError, match=rf"{name}: targets must be 1 or -1, but there is 0; "):
        loss(x, nnx.tensor([1.0, 0.0, 1.0]))


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_binary_cross_entropy_refuses_targets_of_minus_1(name):
    loss = getattr(nnx.functional, name)
    p = nnx.tensor([0.5, 0.25, 0.75])
    loss(p, nnx.tensor([1.0, 0.0, 0.3]))
    with pytest.raises(ValueError, match=rf"{name}: targets must be between 0 and 1.* is -1; "):
        loss(p, nnx.tensor([1.0, -1.0, 1.0]))


def test_probabilities_before_cross_entropy_are_warned_of_once():
    logits = nnx.tensor(np.random.default_rng(0).standard_normal((5, 3)).astype("f4"), None, True)
    targets = nnx.tensor(np.asarray([0, 1, 2, 0, 1]))
    loss = nn.CrossEntropyLoss()
    with pytest.warns(UserWarning, match="leave the Softmax layer out") as caught:
        loss(nnx.functional.softmax(logits), targets)
        loss(nnx.functional.softmax(logits), targets)
    assert len(caught) == 1 and caught[0].filename == __file__
    with pytest.warns(UserWarning, match="looks like probabilities"):
        nn.CrossEntropyLoss()(nnx.functional.softmax(logits).detach(), targets)  # by its values
    with pytest.warns(UserWarning, match="looks like probabilities") as caught:
        nnx.functional.cross_entropy(nnx.functional.softmax(logits), targets)
    assert caught[0].filename == __file__


def test_logits_are_not_warned_of():
    rng = np.random.default_rng(0)
    targets = nnx.tensor(np.asarray([0, 1, 2, 0, 1]))
    for logits in (rng.standard_normal((5, 3)), rng.random((5, 3)), np.zeros((5, 3))):
        nn.CrossEntropyLoss()(nnx.tensor(logits.astype("f4")), targets)
    log = nnx.functional.log_softmax(nnx.tensor(rng.standard_normal((5, 3)), None, True))
    nn.CrossEntropyLoss()(log, targets)
