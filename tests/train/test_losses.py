"""Several losses: their weighted sum is trained, and each is told of by its name."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnx
from nnx import nn, ops, optim
from nnx.data import DataLoader
from nnx.parallel import DataParallel
from nnx.train import (
    Checkpoint,
    CSVLog,
    EarlyStopping,
    LearningCurve,
    Losses,
    NonFinite,
    Trainer,
    find_lr,
)

RNG = np.random.default_rng(5)
X = RNG.standard_normal((50, 6)).astype(np.float32)
Y = RNG.standard_normal((50, 3)).astype(np.float32)
WEIGHTS = {"near": 1.0, "far": 0.25}


def near(output, target):
    return ops.mean((output - target) * (output - target))


def far(output, target):
    return ops.mean(ops.abs(output - target))


def both(output, target):
    return {"near": near(output, target), "far": far(output, target)}


def alone(output, target):
    """The same sum as one loss."""
    return near(output, target) + far(output, target) * 0.25


def trainer(loss, seed=7, **options):
    nnx.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
    wrap = options.pop("wrap", lambda model: model)
    options = {"progress": False, "metrics": ["mae"], **options}
    return Trainer(wrap(model), loss, optim.Adam(model.parameters(), lr=0.01), **options)


def loader(*arrays):
    return DataLoader(arrays or (X, Y), batch_size=8, shuffle=True, seed=3)


def fitted(t, epochs=1):
    t = t if isinstance(t, Trainer) else trainer(t)
    nnx.manual_seed(11)  # what dropout draws
    t.fit(loader(), (X[:20], Y[:20]), epochs=epochs)
    return t


def same(a, b):
    for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


@pytest.mark.parametrize(
    "loss",
    [
        Losses({"near": nn.MSELoss(), "far": nn.L1Loss()}, {"far": 0.25}),
        Losses(both, WEIGHTS),
        lambda y, t: {"near": near(y, t), "far": far(y, t) * 0.25},
    ],
    ids=["of two", "of a function", "a function"],
)
def test_the_sum_is_trained_and_each_is_told(loss, tmp_path):
    one = fitted(trainer(alone), 3)
    several = fitted(trainer(loss, callbacks=[CSVLog(tmp_path / "h.csv")]), 3)
    assert several.history.step_losses == pytest.approx(one.history.step_losses, rel=1e-6)
    row = several.history.rows[-1]
    assert list(row)[:4] == ["epoch", "loss", "near", "far"] and "val_near" in row
    weight = 0.25 if isinstance(loss, Losses) else 1.0
    for begin in ("", "val_"):
        total = row[f"{begin}near"] + weight * row[f"{begin}far"]
        assert row[f"{begin}loss"] == pytest.approx(total, rel=1e-6)
    values = several.evaluate((X, Y))
    assert list(values) == ["loss", "near", "far", "mae"]
    assert weight * values["far"] == pytest.approx(0.25 * values["mae"])
    assert (tmp_path / "h.csv").read_text().startswith("epoch,loss,near,far,")


def test_tuples_have_names_too():
    from typing import NamedTuple

    class Two(NamedTuple):
        first: nnx.Tensor
        second: nnx.Tensor

    for make, names in ((Two, ["first", "second"]), (lambda *x: x, ["loss_1", "loss_2"])):
        t = trainer(lambda y, u, make=make: make(near(y, u), far(y, u)))
        t.fit(loader(), epochs=1)
        assert list(t.history.rows[0])[2:4] == names


def test_outputs_by_name_go_to_their_own_losses():
    class Heads(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, x):
            return {"a": self.a(x), "b": self.b(x)}

    model = Heads()
    t = Trainer(model, {"a": near, "b": far}, optim.SGD(model.parameters(), lr=0.1), progress=False)
    t.fit((X, Y), epochs=1)
    values = t.evaluate((X, Y))
    with nnx.no_grad():
        y = model(nnx.tensor(X))
    assert values["a"] == pytest.approx(near(y["a"], nnx.tensor(Y)).item(), rel=1e-5)
    assert values["b"] == pytest.approx(far(y["b"], nnx.tensor(Y)).item(), rel=1e-5)


@pytest.mark.parametrize("every", [None, 5])
def test_a_resumed_run_has_them_too(tmp_path, every):
    whole = trainer(Losses(both, WEIGHTS), callbacks=[Checkpoint(tmp_path / "w", "val_far")])
    whole.fit(loader(), (X, Y), epochs=3)

    class Cut(Checkpoint):
        def _step(self, t):
            super()._step(t)
            if every and t.step == 10:  # in the second epoch
                raise KeyboardInterrupt

    first = trainer(Losses(both, WEIGHTS), callbacks=[Cut(tmp_path / "r", "val_far", every)])
    if every:
        with pytest.raises(KeyboardInterrupt):
            first.fit(loader(), (X, Y), epochs=3)
    else:
        first.fit(loader(), (X, Y), epochs=2)
    again = trainer(Losses(both, WEIGHTS), callbacks=[Cut(tmp_path / "r", "val_far")])
    again.load(tmp_path / "r" / "last.safetensors")
    again.fit(loader(), (X, Y), epochs=3 - again.epoch)
    same(whole, again)
    for a, b in zip(whole.history.rows, again.history.rows, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    other = trainer({"near": near}, callbacks=[Cut(tmp_path / "r", "val_near")])
    with pytest.raises(ValueError, match=r"with the losses near, far, this trainer has near"):
        other.load(tmp_path / "r" / "last.safetensors")


def test_parts_have_shares_of_their_own():
    """Of a loss that ignores some targets the mean is over others than of the one beside it."""
    labels = RNG.integers(0, 3, 50)
    labels[RNG.permutation(50)[:20]] = -100
    some = nn.CrossEntropyLoss(weight=np.array([1.0, 3.0, 0.5], np.float32))
    given = []
    for accumulate in (1, 3):
        loss = Losses({"kind": some, "size": lambda y, t: ops.mean(y * y)}, {"size": 0.1})
        t = trainer(loss, accumulate=accumulate, metrics=[])
        t.model[2].p = 0.0
        t.fit(loader(X, labels), epochs=2)
        given.append(t)
    for name in ("loss", "kind", "size"):
        np.testing.assert_allclose(given[0].history[name], given[1].history[name], rtol=1e-5)


def test_sample_weights_count_in_each():
    w = RNG.integers(0, 3, 50).astype(np.float32)
    loss = Losses({"near": nn.MSELoss(), "far": nn.L1Loss()}, {"far": 0.25})
    per = Losses(
        lambda y, t: {"near": (y - t) * (y - t), "far": ops.abs(y - t)}, {"near": 1, "far": 0.25}
    )
    one, other = trainer(loss), trainer(per)
    for t in (one, other):
        nnx.manual_seed(1)
        t.fit((X, Y), epochs=2, sample_weight=w)
    for name in ("near", "far"):
        np.testing.assert_allclose(one.history[name], other.history[name], rtol=1e-6)
    repeated = np.repeat(np.arange(50), w.astype(int))
    weighted = trainer(loss, weighted=True).evaluate((X, Y, w))
    assert weighted["far"] == pytest.approx(
        trainer(loss).evaluate((X[repeated], Y[repeated]))["far"]
    )


def test_parts_of_several_ranks_add_up():
    plain = trainer(Losses({"near": nn.MSELoss(), "far": nn.L1Loss()}, {"far": 0.25}))
    for module in plain.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    shared = trainer(
        Losses({"near": nn.MSELoss(), "far": nn.L1Loss()}, {"far": 0.25}),
        wrap=lambda model: DataParallel(model, parts=4),
    )
    for module in shared.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for t in (plain, shared):
        t.fit(loader(), (X, Y), epochs=2)
    for name in ("loss", "near", "far", "val_loss", "val_far"):
        np.testing.assert_allclose(plain.history[name], shared.history[name], rtol=1e-5)
    weighted = nn.CrossEntropyLoss(weight=np.ones(3, np.float32) * 2)
    with pytest.raises(ValueError, match="each must be a mean in which every target counts alike"):
        trainer({"a": weighted, "b": far}, wrap=lambda model: DataParallel(model, parts=4))
    ignoring = trainer(
        {"a": nn.CrossEntropyLoss(), "b": lambda y, t: ops.mean(y * y)},
        wrap=lambda model: DataParallel(model, parts=4),
        metrics=[],
    )
    with pytest.raises(ValueError, match="some targets do not count for the loss 'a'"):
        ignoring.fit((X, np.full(50, -100)), epochs=1)


def test_a_finder_of_rates_leaves_them_alone():
    t = trainer(both)
    t.fit(loader(), epochs=1)
    before = [mean.compute() for mean in t.running_terms.values()]
    find_lr(t, loader(), steps=5)
    assert [mean.compute() for mean in t.running_terms.values()] == before


def test_they_are_shown_and_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    t = trainer(both, progress=True, metrics=[], callbacks=[LearningCurve(tmp_path / "c.svg")])
    t.fit(loader(), (X, Y), epochs=2)
    drawn = (tmp_path / "c.svg").read_text()
    assert 'id="axes_3"' in drawn and 'id="axes_4"' not in drawn
    line = capsys.readouterr().out.splitlines()[-1]
    row = t.history.rows[-1]
    assert f"loss {row['loss']:.4f}  near {row['near']:.4f}  far {row['far']:.4f}" in line
    assert f"validation {row['val_loss']:.4f} {row['val_near']:.4f} {row['val_far']:.4f}" in line


def test_a_callback_may_watch_one_whose_name_is_known():
    stop = EarlyStopping(patience=1, monitor="val_far", min_delta=1e9)
    t = trainer(Losses(both, WEIGHTS), callbacks=[stop])
    t.fit(loader(), (X, Y), epochs=9)
    assert t.epoch == 2 and t.stopped == "val_far has not improved for 1 epochs"
    with pytest.raises(ValueError, match=r"watches 'val_far'.* train\.Losses\(function"):
        trainer(both, callbacks=[EarlyStopping(monitor="val_far")])


def test_the_one_that_is_not_finite_is_named():
    def bad(y, t):
        return {"near": near(y, t), "far": ops.log(far(y, y) - 1)}

    with pytest.raises(NonFinite, match="so it is the loss 'far' itself"):
        trainer(bad).fit(loader(), epochs=1)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Losses({}), ValueError, "there is no loss"),
        (lambda: Losses(both), ValueError, "give the weights of all that the function gives"),
        (lambda: Losses({"a": 3}), TypeError, "called with output and target; got 3"),
        (lambda: Losses({"a": near}, {"b": 1}), ValueError, "weights of b, but the losses are a"),
        (lambda: Losses({"a": near}, {"a": math.nan}), ValueError, "must be finite"),
        (lambda: trainer({"loss": near}), ValueError, "cannot be called 'loss', the history has"),
        (lambda: trainer({"val_x": near}), ValueError, "cannot be called 'val_x'"),
        (lambda: trainer({3: near}), ValueError, "cannot be called 3, it is no text"),
        (
            lambda: trainer({"mae": near}),
            ValueError,
            "cannot be called 'mae', a metric has it",
        ),
        (lambda: fitted(lambda y, t: {}), ValueError, "the loss is empty"),
        (lambda: fitted(lambda y, t: {"lr": near(y, t)}), ValueError, "cannot be called 'lr'"),
        (lambda: fitted(lambda y, t: {"a": 3.0}), TypeError, "the loss 'a' must be a Tensor"),
        (lambda: fitted(lambda y, t: {"a": y}), ValueError, r"the loss 'a' has shape \(8, 3\)"),
        (lambda: fitted(Losses(both, {"near": 1})), ValueError, "but the function gives near, far"),
        (lambda: fitted(Losses(near, {"near": 1})), ValueError, "the function gives one loss"),
    ],
)
def test_what_makes_no_sense_is_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_losses_that_change_their_names_are_refused():
    calls = []

    def moody(y, t):
        calls.append(1)
        return {"near": near(y, t)} if len(calls) < 3 else near(y, t)

    with pytest.raises(ValueError, match=r"losses of this batch are one without a name; .* near"):
        fitted(moody)
