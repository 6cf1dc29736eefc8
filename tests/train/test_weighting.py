"""Sample weights: an example of weight k is one that is there k times."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.data import DataLoader
from nnx.parallel import DataParallel
from nnx.train.weighting import weighted_loss

N, D, C = 24, 5, 3


def data(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D))
    return x, rng.integers(0, C, N), rng.normal(size=(N, 2)), rng.integers(0, 4, N)


def trainer(loss, outputs, lr=0.1, cls=nnx.Trainer, **options):
    nnx.manual_seed(3)
    model = nn.Linear(D, outputs, dtype="float64")
    return cls(model, loss, optim.SGD(model.parameters(), lr=lr), progress=False, **options)


LOSSES = {
    "cross entropy": (nn.CrossEntropyLoss(), C, "t"),
    "with class weights": (nn.CrossEntropyLoss(weight=np.array([1.0, 3.0, 0.5])), C, "t"),
    "with ignored": (nn.CrossEntropyLoss(ignore_index=1), C, "t"),
    "sum": (nn.CrossEntropyLoss(reduction="sum"), C, "t"),
    "squares": (nn.MSELoss(), 2, "y"),
    "huber": (nn.HuberLoss(), 2, "y"),
    "batchmean": (nn.KLDivLoss(reduction="batchmean"), 2, "p"),
    "a function": (lambda o, y: ((o - y) ** 2).sum(axis=1), 2, "y"),
}


def targets(kind):
    _, t, y, _ = data()
    return {"t": t, "y": y, "p": np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)}[kind]


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "a function"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_weight_is_how_often_an_example_is_there(name, accumulate):
    loss, outputs, kind = LOSSES[name]
    (x, _, _, w), y = data(), targets(kind)
    weighted = trainer(loss, outputs, accumulate=accumulate)
    weighted.fit((x, y), epochs=2, batch_size=N, sample_weight=w)
    repeated = trainer(loss, outputs)
    twice = np.repeat(np.arange(N), w)
    repeated.fit((x[twice], y[twice]), epochs=2, batch_size=len(twice))
    np.testing.assert_allclose(
        weighted.model.weight.detach().numpy(),
        repeated.model.weight.detach().numpy(),
        rtol=1e-9,
        atol=1e-12,
    )
    np.testing.assert_allclose(weighted.history["loss"], repeated.history["loss"], rtol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_its_gradient(name):
    loss, outputs, kind = LOSSES[name]
    w = nnx.tensor(data()[3].astype(np.float64))
    y = nnx.tensor(targets(kind))
    output = nnx.tensor(np.random.default_rng(8).normal(size=(N, outputs)), requires_grad=True)
    assert nnx.gradcheck(lambda o: weighted_loss(loss, o, y, w), output)


def test_the_mean_of_an_epoch_counts_the_weights_of_its_batches():
    x, t, _, w = data()
    loader = DataLoader((x, t, w.astype(np.float64)), batch_size=7)
    one = trainer(nn.CrossEntropyLoss(), C, lr=0.0, weighted=True)
    one.fit(loader, loader, epochs=1)
    each = nn.CrossEntropyLoss(reduction="none")(one.model(nnx.tensor(x)), t).detach().numpy()
    mean = (each * w).sum() / w.sum()
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(one.history[name], [mean], rtol=1e-12)
    assert one.evaluate(loader)["loss"] == pytest.approx(mean, rel=1e-12)
    assert one.predict(loader).shape == (N, C)
    plain = trainer(nn.CrossEntropyLoss(), C, lr=0.0)
    plain.fit((x, t), (x, t), sample_weight=w, batch_size=7)
    np.testing.assert_allclose(plain.history["loss"], [mean], rtol=1e-12)
    np.testing.assert_allclose(plain.history["val_loss"], [each.mean()], rtol=1e-12)


def test_a_batch_of_weight_zero_changes_nothing():
    x, t, _, _ = data()
    w = np.r_[np.zeros(8), np.ones(N - 8)]
    loader = DataLoader((x, t, w), batch_size=8)
    with_zeros = trainer(nn.CrossEntropyLoss(), C, weighted=True)
    with_zeros.fit(loader)
    without = trainer(nn.CrossEntropyLoss(), C)
    without.fit(DataLoader((x[8:], t[8:]), batch_size=8))
    np.testing.assert_allclose(
        with_zeros.model.weight.detach().numpy(), without.model.weight.detach().numpy(), rtol=1e-12
    )
    np.testing.assert_allclose(with_zeros.history["loss"], without.history["loss"], rtol=1e-12)


def test_a_run_with_weights_resumes_equal(tmp_path):
    x, t, _, w = data()
    loader = lambda: DataLoader((x, t, w + 0.25), batch_size=7, shuffle=True, seed=1)  # noqa: E731
    whole = trainer(nn.CrossEntropyLoss(), C, weighted=True)
    whole.fit(loader(), epochs=3)
    saved = nnx.train.Checkpoint(tmp_path, every_steps=5)
    first = trainer(nn.CrossEntropyLoss(), C, weighted=True, callbacks=[saved])
    first.fit(loader(), epochs=1)
    first.save(tmp_path / "a.safetensors")
    again = trainer(
        nn.CrossEntropyLoss(), C, weighted=True, callbacks=[nnx.train.Checkpoint(tmp_path / "b")]
    )
    again.load(tmp_path / "a.safetensors")
    again.fit(loader(), epochs=2)
    assert (
        again.model.weight.detach().numpy().tobytes()
        == whole.model.weight.detach().numpy().tobytes()
    )
    assert again.history["loss"] == whole.history["loss"]


class Own(nnx.Trainer):
    def compute(self, batch):
        x, t = batch
        output = self.model(x)
        return self.loss(output, t), output, t


def test_what_does_not_go_is_refused_with_its_reason():
    x, t, _, w = data()
    fits = trainer(nn.CrossEntropyLoss(), C)
    loader = DataLoader((x, t), batch_size=4)
    for error, match, weights, train in (
        (TypeError, "put the weights into the data set", w, loader),
        (
            ValueError,
            r"one number for each of the 24 examples; it has shape \(3,\)",
            [1, 2, 3],
            (x, t),
        ),
        (ValueError, "at least 0; the least is -1", w - 1.0, (x, t)),
        (ValueError, "finite", np.full(N, np.nan), (x, t)),
        (ValueError, "every sample_weight is 0", np.zeros(N), (x, t)),
    ):
        with pytest.raises(error, match=match):
            fits.fit(train, sample_weight=weights)
    with pytest.raises(ValueError, match="hold the weights themselves"):
        trainer(nn.CrossEntropyLoss(), C, weighted=True).fit((x, t), sample_weight=w)
    with pytest.raises(ValueError, match=r"Own\.compute says what the loss is"):
        trainer(nn.CrossEntropyLoss(), C, cls=Own).fit((x, t), sample_weight=w)
    with pytest.raises(ValueError, match="at least three arrays; this one has 2"):
        trainer(nn.CrossEntropyLoss(), C, weighted=True).fit((x, t))
    with pytest.raises(ValueError, match="a loss for each of the 24 examples"):
        trainer(lambda o, y: ((o - y) ** 2).mean(), C).fit(
            (x, np.zeros((N, C))), sample_weight=w, batch_size=N
        )


def test_weights_with_several_ranks_are_refused_with_their_reason():
    x, t, _, w = data()
    for options, given in (({"weighted": True}, {}), ({}, {"sample_weight": w})):
        with pytest.raises(ValueError, match=r"weights do not go with a DataParallel model: its"):
            model = DataParallel(nn.Linear(D, C, dtype="float64"), parts=2)
            optimizer = optim.SGD(model.parameters(), lr=0.1)
            made = nnx.Trainer(model, nn.CrossEntropyLoss(), optimizer, progress=False, **options)
            made.fit((x, t), **given)
