"""One hash on 1 to 8 ranks: every layer, every optimizer, and the Trainer with all it keeps."""

from __future__ import annotations

import copy
import gc
import inspect
import threading
import time

import numpy as np
import pytest
from parallel_helpers import digest, on_ranks

import nnx
from nnx import nn, ops, optim, parallel
from nnx.data import DataLoader
from nnx.nn import Module
from nnx.parallel import DataParallel, LocalWorld
from nnx.train import Checkpoint, ClipGradNorm, EarlyStopping, Schedule, Trainer

RANKS = (1, 2, 4, 8)


class Last(Module):
    """The last step of a recurrent layer's output."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x):
        y = self.layer(x)[0]
        return y[:, -1, :]


def dense(*middle, width=6):
    return nn.Sequential(nn.Linear(5, 6), *middle, nn.Linear(width, 3))


def image(*middle, channels=4):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), *middle, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(channels, 3),
    )  # fmt: skip


POINTS, IMAGES, SERIES, WORDS, LINES = (5,), (1, 8, 8), (7, 5), "words", (5, 9)

# Every layer with parameters, buffers, draws, or a kernel of its own: (input, how to make it).
LAYERS = {
    "Linear": (POINTS, dense),
    "Dropout": (POINTS, lambda: dense(nn.Dropout(0.4))),
    "BatchNorm1d": (POINTS, lambda: dense(nn.BatchNorm1d(6))),
    "SyncBatchNorm": (POINTS, lambda: dense(nn.SyncBatchNorm(6), nn.Dropout(0.2))),
    "LayerNorm": (POINTS, lambda: dense(nn.LayerNorm(6))),
    "BatchNorm2d": (IMAGES, lambda: image(nn.BatchNorm2d(4), nn.ReLU())),
    "BatchNorm2d-mean": (IMAGES, lambda: image(nn.BatchNorm2d(4, momentum=None), nn.ReLU())),
    "SyncBatchNorm-images": (IMAGES, lambda: image(nn.SyncBatchNorm(4), nn.ReLU())),
    "GroupNorm": (IMAGES, lambda: image(nn.GroupNorm(2, 4))),
    "Dropout2d": (IMAGES, lambda: image(nn.Dropout2d(0.4))),
    "Conv2d": (IMAGES, lambda: image(nn.ReLU(), nn.Conv2d(4, 2, 3, stride=2), channels=2)),
    "Conv2d-depthwise": (IMAGES, lambda: image(nn.Conv2d(4, 4, 3, groups=4))),
    "MaxPool2d": (IMAGES, lambda: image(nn.MaxPool2d(2))),
    "AvgPool2d": (IMAGES, lambda: image(nn.AvgPool2d(2))),
    "RNN": (SERIES, lambda: nn.Sequential(
        Last(nn.RNN(5, 6, num_layers=2, batch_first=True)), nn.Linear(6, 3))),
    "LSTM": (SERIES, lambda: nn.Sequential(
        Last(nn.LSTM(5, 6, num_layers=2, batch_first=True, dropout=0.3)), nn.Linear(6, 3))),
    "GRU": (SERIES, lambda: nn.Sequential(
        Last(nn.GRU(5, 6, batch_first=True, bidirectional=True)), nn.Linear(12, 3))),
    "Embedding": (WORDS, lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(28, 3))),
}  # fmt: skip


def batches_for(shape, steps=4, sizes=(16, 11, 3, 9), seed=0):
    """Batches whose sizes do not divide, one of them smaller than the number of parts."""
    rng = np.random.default_rng(seed)
    for k in range(steps):
        n = sizes[k % len(sizes)]
        if shape == WORDS:
            x = rng.integers(0, 9, (n, 7))
        else:
            x = rng.standard_normal((n, *shape)).astype(np.float32)
        yield nnx.tensor(x), nnx.tensor(rng.integers(0, 3, n))


def trained(shape, make, optimizer=lambda p: optim.SGD(p, lr=0.1), sizes=(16, 11, 3, 9), parts=8):
    """The hash of weights, buffers, optimizer state and losses after a few steps."""
    nnx.manual_seed(5)
    model = DataParallel(make(), parts=parts, bucket_bytes=200)
    opt, loss, losses = optimizer(model.parameters()), nn.CrossEntropyLoss(), []

    def compute(batch):
        x, target = batch
        y = model(x)
        return loss(y, target), y, target

    for batch in batches_for(shape, sizes=sizes):
        losses.append(float(model.backward(compute, batch).loss))
        opt.step()
    return digest(model.state_dict(), opt.state_dict(), losses)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_gives_one_hash(name):
    shape, make = LAYERS[name]
    sizes = (32, 27, 17) if name in ("BatchNorm1d", "BatchNorm2d") else (16, 11, 3, 9)
    if name == "BatchNorm1d":
        sizes = (32, 27, 17)  # a part of one example has no variance
    assert len({on_ranks(n, trained, shape, make, sizes=sizes) for n in (*RANKS, 3, 5, 7)}) == 1


OPTIMIZERS = sorted(
    name
    for name, kind in vars(optim).items()
    if inspect.isclass(kind) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer
)


OPTIMIZERS.remove("LBFGS")  # its step computes the loss again, itself: it takes a closure


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_gives_one_hash(name):
    make = getattr(optim, name)
    hashes = {on_ranks(n, trained, POINTS, dense, lambda p: make(p, lr=0.02)) for n in RANKS}
    assert len(hashes) == 1


def test_more_parts_are_another_sum_of_the_same_numbers():
    """The hash belongs to the parts: a test that it is not blind."""
    assert on_ranks(1, trained, POINTS, dense, parts=8) != on_ranks(
        1, trained, POINTS, dense, parts=2
    )


def gradients(model, loss, batch):
    for p in model.parameters():
        p.grad = None
    if isinstance(model, DataParallel):
        model.backward(lambda b: (loss(model(b[0]), b[1]), None, None), batch)
    else:
        loss(model(batch[0]), batch[1]).backward()
    return [p.grad for p in model.parameters()]


@pytest.mark.parametrize("name", [n for n in LAYERS if "Dropout" not in n and n != "LSTM"])
def test_the_gradient_is_the_whole_batch_s(name):
    """In parts and in one piece: the same numbers, but for rounding; and so are the buffers."""
    shape, make = LAYERS[name]
    if name.startswith("BatchNorm"):
        return  # its statistics are those of a part, by definition: see the test below
    if name == "SyncBatchNorm":
        make = lambda: dense(nn.SyncBatchNorm(6))  # noqa: E731
    (batch,) = batches_for(shape, 1, sizes=(13,))
    whole = make().to(dtype="float64")
    if shape != WORDS:
        batch = (nnx.tensor(batch[0].numpy().astype("f8")), batch[1])
    cut = DataParallel(copy.deepcopy(whole), parts=4)
    expected = gradients(whole, nn.CrossEntropyLoss(), batch)
    for a, b in zip(expected, gradients(cut, nn.CrossEntropyLoss(), batch), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)
    for (n, a), (m, b) in zip(whole.named_buffers(), cut.named_buffers(), strict=True):
        assert n == m
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)


def test_batch_norm_has_the_statistics_of_its_part():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 3)).astype(np.float32)
    layer = DataParallel(nn.Sequential(nn.BatchNorm1d(3)), parts=2)
    layer.backward(lambda b: (layer(b[0]).sum(), None, None), (nnx.tensor(x),))
    halves = [x[:4], x[4:]]
    mean = sum(h.mean(axis=0) for h in halves) / 2
    var = sum(h.var(axis=0, ddof=1) for h in halves) / 2
    state = layer.state_dict()
    np.testing.assert_allclose(state["0.running_mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(state["0.running_var"], 0.9 + 0.1 * var, rtol=1e-5)
    assert int(state["0.num_batches_tracked"]) == 1


class Unused(Module):
    """A parameter that a batch may do without: its optimizer must leave it alone."""

    def __init__(self):
        self.a, self.b, self.c = nn.Linear(5, 3), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x):
        y = self.a(x)
        return y + self.b(x) if float(x.data[0, 0]) > 0 else y  # c: never; b: in some parts


def test_a_parameter_without_gradient_is_left_alone():
    def train():
        nnx.manual_seed(2)
        model = DataParallel(Unused(), parts=8)
        start = model.state_dict()["c.weight"].copy()
        opt = optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
        for batch in batches_for(POINTS):
            gradients(model, nn.CrossEntropyLoss(), batch)
            assert model.module.c.weight.grad is None
            opt.step()
        assert np.array_equal(model.state_dict()["c.weight"], start)
        return digest(model.state_dict())

    assert len({on_ranks(n, train) for n in (*RANKS, 3)}) == 1


def test_a_weight_used_twice_and_a_frozen_one():
    class Tied(Module):
        def __init__(self):
            self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5)
            self.b.requires_grad_(False)

        def forward(self, x):
            y = self.b(self.a(ops.tanh(self.a(x))))
            return y * (self.a.bias * self.a.bias)

    def train():
        nnx.manual_seed(2)
        model = DataParallel(Tied(), parts=4)
        (batch,) = batches_for(POINTS, 1, sizes=(12,))
        got = gradients(model, nn.CrossEntropyLoss(), batch)
        expected = gradients(model.module, nn.CrossEntropyLoss(), batch)
        assert got[2] is None and got[3] is None
        for a, b in zip(expected[:2], got[:2], strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)
        return digest(got[0], got[1])

    assert len({on_ranks(n, train) for n in (1, 2, 4)}) == 1


# ---- losses that do not weigh every example alike ----


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(ignore_index=1),
        nn.CrossEntropyLoss([0.2, 1.0, 3.0]),
        nn.CrossEntropyLoss(reduction="sum"),
        nn.NLLLoss([0.2, 1.0, 3.0], ignore_index=0),
    ],
    ids=repr,
)
def test_the_trainer_weighs_a_part_as_its_loss_does(loss):
    (batch,) = batches_for(POINTS, 1, sizes=(11,))
    results = []
    for parts in (0, 4):
        nnx.manual_seed(1)
        model = dense()
        made = DataParallel(model, parts=parts) if parts else model
        trainer = Trainer(made, loss, optim.SGD(made.parameters(), lr=0.1), progress=False)
        history = trainer.fit([batch], epochs=2)
        results.append([*[p.data for p in model.parameters()], history["loss"]])
    for whole, cut in zip(*results, strict=True):
        np.testing.assert_allclose(cut, whole, rtol=1e-4, atol=1e-6)


# ---- the Trainer ----

N = 53


def data():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, N)
    x = 2 * rng.standard_normal((3, 5))[labels] + rng.standard_normal((N, 5))
    return x.astype(np.float32), labels


def make_trainer(folder=None, callbacks=(), parts=8):
    nnx.manual_seed(7)
    model = DataParallel(dense(nn.Tanh(), nn.Dropout(0.3)), parts=parts)
    opt = optim.Adam(model.parameters(), lr=0.02)
    schedule = optim.lr_scheduler.CosineAnnealingLR(opt, T_max=4)
    more = [Checkpoint(folder, every_steps=3)] if folder is not None else []
    return Trainer(
        model,
        nn.CrossEntropyLoss(),
        opt,
        metrics=["accuracy", "top2"],
        callbacks=[ClipGradNorm(0.5), Schedule(schedule), EarlyStopping(3), *callbacks, *more],
        progress=False,
    )


def loader():
    return DataLoader(data(), batch_size=10, shuffle=True, seed=4)


def state(trainer):
    return digest(trainer.state_dict(), trainer.model.state_dict())


def fitted(folder=None, epochs=3):
    trainer = make_trainer(folder)
    trainer.fit(loader(), data(), epochs=epochs)
    return state(trainer)


def test_the_trainer_gives_one_hash():
    """Weights, optimizer state, history, metrics, schedule, early stopping."""
    assert len({on_ranks(n, fitted) for n in (*RANKS, 3, 6)}) == 1


def test_parallel_training_learns_and_is_close_to_one_piece():
    history = make_trainer().fit(loader(), data(), epochs=12)
    assert history["val_accuracy"][-1] > 0.85 and history["loss"][-1] < history["loss"][0] / 2


def fitted_in_float16(parts=4, whole=False):
    """With a scale that overflows at first, and grows later."""
    nnx.manual_seed(7)
    model = dense(nn.BatchNorm1d(6), nn.GELU())
    model = model if whole else DataParallel(model, parts=parts)
    opt = optim.Adam(model.parameters(), lr=0.02)
    loss = nn.CrossEntropyLoss()
    trainer = Trainer(model, loss, opt, progress=False, precision="float16")
    trainer.precision.scaler = nnx.amp.GradScaler(2.0**30, growth_interval=4)
    before = [p.data.copy() for p in model.parameters()]
    scales = []
    for _ in range(8):
        trainer.fit(DataLoader(data(), batch_size=20, shuffle=True, seed=4), epochs=1)
        scales.append(trainer.precision.scaler.get_scale())
    assert min(scales) < max(scales[-2:]) and scales[0] < 2.0**30
    assert all((p.data != b).any() for p, b in zip(model.parameters(), before, strict=True))
    assert {str(p.data.dtype) for p in model.parameters()} == {"float32"}
    values = [p.data for p in model.parameters()]
    return [digest(values, scales, trainer.history["loss"]), digest(model.state_dict())]


def test_float16_gives_one_hash():
    """The scale, the steps that overflow, and the weights."""
    assert len({str(on_ranks(n, fitted_in_float16)) for n in (1, 2, 4)}) == 1


def test_one_part_in_float16_is_the_trainers_own_step():
    """In every bit of the weights; running statistics are rounded once more."""
    assert fitted_in_float16(parts=1)[0] == fitted_in_float16(whole=True)[0]


def test_parameters_in_float16_are_summed_in_float32():
    """1,000 examples whose gradients are 100: their sum is beyond float16, their mean is not."""
    model = DataParallel(nn.Linear(1, 1, bias=False).to(dtype="float16"), parts=8)
    x = nnx.tensor(np.full((1000, 1), 100.0, "float16"))
    model.backward(lambda b: (ops.mean(model(b[0])), None, None), (x,))
    (p,) = model.parameters()
    assert p.grad.dtype == np.float16 and abs(float(p.grad.item()) - 100.0) < 0.1


class Stop(nnx.train.Callback):
    def __init__(self, at):
        self.at = at

    def on_step_end(self, trainer):
        if trainer.step == self.at:
            raise KeyError("enough")


@pytest.mark.parametrize(("first", "then"), [(4, 1), (1, 8), (3, 2), (8, 5)])
def test_a_run_goes_on_with_another_number_of_ranks(tmp_path, first, then):
    expected = on_ranks(1, fitted, tmp_path / "whole")

    def begin():
        trainer = make_trainer(tmp_path / "run", [Stop(at=8)])
        trainer.fit(loader(), data(), epochs=3)

    with pytest.raises(KeyError, match="enough"):
        LocalWorld(first).run(begin)

    def go_on():
        trainer = make_trainer(tmp_path / "run")
        trainer.load(tmp_path / "run" / "last.safetensors")
        assert trainer.step == 6 and trainer.batch == 0
        trainer.fit(loader(), data(), epochs=3 - trainer.epoch)
        return state(trainer)

    assert on_ranks(then, go_on) == expected


def test_the_file_does_not_tell_how_many_ranks_wrote_it(tmp_path):
    files = []
    for n in (1, 4):
        on_ranks(n, fitted, tmp_path / str(n), 1)
        tensors, header = nnx.io.load(tmp_path / str(n) / "last.safetensors")
        header["state"]["history"]["rows"][0].pop("seconds")
        files.append((digest(tensors), header))
        assert header["state"]["parallel"] == {"parts": 8, "threads": 1, "exact": True}
    assert files[0] == files[1]
    dense(nn.Tanh(), nn.Dropout(0.3)).load_state_dict(
        {k: v for k, v in tensors.items() if not k.startswith("state/")}
    )  # the names are the model's own


def test_another_number_of_parts_is_refused(tmp_path):
    fitted(tmp_path, 1)
    with pytest.raises(ValueError, match=r"parts=8 threads=1 exact=True, this one is parts=4"):
        make_trainer(tmp_path, parts=4).load(tmp_path / "last.safetensors")


# ---- what is refused, and what else there is ----


@pytest.mark.parametrize("parts", [0, 3, 6, -8])
def test_parts_are_a_power_of_two(parts):
    with pytest.raises(ValueError, match=f"power of two, got {parts}"):
        DataParallel(dense(), parts=parts)


def test_more_ranks_than_parts_are_refused():
    with pytest.raises(ValueError, match="there are 4 ranks but only 2 parts"):
        LocalWorld(4).run(lambda: DataParallel(dense(), parts=2))


def test_models_that_differ_are_refused():
    def make():
        rank = parallel.world().rank
        DataParallel(nn.Linear(3, 4 + rank), parts=2)

    with pytest.raises(ValueError, match="the ranks do not agree on the model"):
        LocalWorld(2).run(make)


def test_batches_that_differ_are_refused():
    def step():
        model = DataParallel(dense(), parts=2)
        (batch,) = batches_for(POINTS, 1, sizes=(8 + parallel.world().rank,))
        gradients(model, nn.CrossEntropyLoss(), batch)

    with pytest.raises(ValueError, match=r"different batches; .*\(8, 0\), \(9, 0\)"):
        LocalWorld(2).run(step)


def test_a_trained_parameter_outside_the_model_is_refused():
    model, other = DataParallel(dense(), parts=2), nn.Linear(3, 3)
    (batch,) = batches_for(POINTS, 1)
    with pytest.raises(RuntimeError, match=r"a parameter of shape \(3.*is not in the model"):
        model.backward(lambda b: (other(model(b[0])).sum(), None, None), batch)


def test_ranks_begin_with_the_values_of_rank_0():
    def start():
        nnx.manual_seed(parallel.world().rank)
        return digest(DataParallel(dense(nn.BatchNorm1d(6)), parts=8).state_dict())

    on_ranks(4, start)


def test_a_copy_computes_alone_and_is_saved_alike(tmp_path):
    model = DataParallel(dense(nn.Dropout(0.5)), parts=2)
    twin = copy.deepcopy(model)
    twin.module[0].weight.data = twin.module[0].weight.data * 2
    assert model.communicator is twin.communicator
    assert not np.array_equal(model.module[0].weight.data, twin.module[0].weight.data)
    assert list(model.state_dict()) == list(model.module.state_dict())
    assert [n for n, _ in model.named_parameters()] == list(model.state_dict())
    assert model.get_parameter("0.weight") is model.module[0].weight


def test_not_exact_is_close_and_says_so():
    def train(exact):
        nnx.manual_seed(5)
        model = DataParallel(dense(), parts=4, exact=exact)
        (batch,) = batches_for(POINTS, 1)
        return [np.array(g) for g in gradients(model, nn.CrossEntropyLoss(), batch)]

    for n in (2, 3):
        for a, b in zip(*[LocalWorld(n).run(train, e)[0] for e in (True, False)], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_metrics_with_a_state_of_their_own():
    x = np.random.default_rng(0).standard_normal((21, 5)).astype(np.float32)
    t = (x[:, :3] * 2 + 1).astype(np.float32)

    def train():
        nnx.manual_seed(1)
        model = DataParallel(dense(), parts=8)
        trainer = Trainer(
            model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1),
            metrics=["r2", "mae"], progress=False,
        )  # fmt: skip
        history = trainer.fit(DataLoader((x, t), batch_size=6), (x, t), epochs=3)
        return digest([{**row, "seconds": 0} for row in history.rows])

    assert len({on_ranks(n, train) for n in (1, 2, 8)}) == 1


def test_nan_ends_every_rank_with_one_message():
    def train():
        trainer = make_trainer()
        x, t = data()
        x[37] = np.inf
        with np.errstate(all="ignore"):
            trainer.fit(DataLoader((x, t), batch_size=20), epochs=1)

    for n, rank in ((1, 0), (4, 3)):
        told = rf"in step 2 .*in part 7 of 8, on rank {rank}: the batch itself is not finite"
        with pytest.raises(nnx.train.NonFinite, match=told):
            LocalWorld(n).run(train)


def test_a_model_that_is_dropped_leaves_no_thread():
    """And its batches may be arrays."""

    def step():
        model = DataParallel(nn.Linear(3, 2), parallel.world(), parts=4)

        def compute(batch):
            y = model(batch[0])
            return nn.CrossEntropyLoss()(y, batch[1]), y, batch[1]

        model.backward(compute, (np.ones((8, 3), "float32"), np.zeros(8, np.int64)))

    before = set(threading.enumerate())
    for _ in range(3):
        LocalWorld(4).run(step)
    gc.collect()
    deadline = time.monotonic() + 10
    while left := [t for t in {*threading.enumerate()} - before if t.name == "nnx-sender"]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)
