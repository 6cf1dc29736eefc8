"""The memory that `summary` tells, against training and inference measured from outside."""

import gc
import tracemalloc

import numpy as np
import pytest

import nnx
from nnx import nn
from nnx.backends import is_installed, override
from nnx.backends.cpu import memory
from nnx.backends.meter import Meter, measuring
from nnx.backends.numpy import NumpyBackend


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))


def lenet(norm=False):
    norms = [[nn.BatchNorm2d(c)] if norm else [] for c in (6, 16)]
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), *norms[0], nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), *norms[1], nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


class Recurrent(nn.Module):
    def __init__(self, cell, **options):
        self.cell = cell(32, 64, batch_first=True, **options)
        self.out = nn.Linear(128 if options else 64, 10)

    def forward(self, x):
        return self.out(self.cell(x)[0][:, -1])


class Residual(nn.Module):
    def __init__(self, c):
        self.a, self.norm_a = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        self.b, self.norm_b = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)

    def forward(self, x):
        return nnx.relu(self.norm_b(self.b(nnx.relu(self.norm_a(self.a(x))))) + x)


def residual():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), Residual(16), Residual(16),
        nn.AvgPool2d(32), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip


class UNet(nn.Module):
    def __init__(self):
        def twice(i, o):
            conv = nn.Conv2d(i, o, 3, padding=1), nn.Conv2d(o, o, 3, padding=1)
            return nn.Sequential(conv[0], nn.ReLU(), conv[1], nn.ReLU())

        self.down, self.below, self.up = twice(1, 8), twice(8, 16), twice(16, 8)
        self.larger, self.out = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.Conv2d(8, 2, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        side = self.down(x)
        deep = self.larger(self.below(self.pool(side)))
        return self.out(self.up(nnx.concat([deep, side], axis=1)))


class Bag(nn.Module):
    def __init__(self):
        self.embed, self.out = nn.Embedding(5000, 64), nn.Linear(64, 2)

    def forward(self, words):
        return self.out(self.embed(words).mean(axis=1))


def dropping():
    return nn.Sequential(
        nn.Linear(256, 512), nn.ReLU(), nn.Dropout(), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(),
        nn.Linear(512, 10),
    )  # fmt: skip


NETWORKS = {
    "mlp, 8": (mlp, (8, 784)),
    "mlp, 256": (mlp, (256, 784)),
    "lenet, 32": (lenet, (32, 1, 28, 28)),
    "lenet, 256": (lenet, (256, 1, 28, 28)),
    "lenet with batch norm, 32": (lambda: lenet(True), (32, 1, 28, 28)),
    "lenet with batch norm, 256": (lambda: lenet(True), (256, 1, 28, 28)),
    "lstm": (lambda: Recurrent(nn.LSTM), (64, 50, 32)),
    "gru": (lambda: Recurrent(nn.GRU), (64, 50, 32)),
    "gru, both ways": (lambda: Recurrent(nn.GRU, bidirectional=True), (64, 50, 32)),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(64, 4, 128, batch_first=True),
        (16, 50, 64),
    ),
    "residual": (residual, (8, 3, 32, 32)),
    "u-net": (UNet, (4, 1, 48, 48)),
    "embedding": (Bag, (128, 100)),
    "dropout": (dropping, (128, 256)),
}
QUICK = ("mlp, 8", "lenet, 32", "gru", "embedding")
KINDS = ["numpy", *(["jit"] if is_installed("numba") else [])]


@pytest.fixture(params=KINDS)
def kind(request):
    """Tuned NumPy and numba, with their thresholds as users have them, and one thread: how much two
    take at once depends on the moment (`test_threads_are_at_their_most_together`)."""
    if request.param == "numpy":
        with override(np.ndarray, NumpyBackend()):
            yield request.param
        return
    from nnx.backends.jit import JitBackend
    from nnx.backends.jit.codegen import threads

    before = threads.set_thread_count(1)
    try:
        with override(np.ndarray, JitBackend()):
            yield request.param
    finally:
        threads.set_thread_count(before)


def nbytes(arrays):
    return sum(a.nbytes for a in arrays if hasattr(a, "nbytes"))


def measured(model, x, optimizer, training):
    """The most that is taken in a loop of steps, with what was there before it."""

    def step():
        if not training:
            with nnx.no_grad():
                model(x)
            return
        model.zero_grad()
        model(x).sum().backward()
        optimizer.step()

    model.train(training)
    step()  # kernels are compiled, and the optimizer begins to remember
    model.zero_grad()
    memory.forget()
    before = nbytes([p.data for p in model.parameters()]) + nbytes(model.buffers()) + x.data.nbytes
    if training:
        before += nbytes([a for state in optimizer.state.values() for a in state.values()])
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(3):
            step()
        return before + tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        memory.forget()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.ci]) for n in NETWORKS],
)
def test_the_peak_is_the_one_that_is_measured(kind, name):
    make, shape = NETWORKS[name]
    model = make()
    integers = isinstance(model, Bag)
    optimizer = nnx.optim.Adam(model.parameters())
    told = nnx.summary(model, shape, "int64" if integers else "float32", optimizer=optimizer)
    values = np.random.default_rng(0).normal(size=shape)
    x = nnx.tensor(np.abs(values).astype("int64") if integers else values.astype("float32"))
    for memory_, training in ((told.training, True), (told.inference, False)):
        found = measured(model, x, optimizer, training)
        assert memory_.peak == pytest.approx(found, rel=0.1), (kind, name, training)


# ---- what the parts are ----


def test_the_parts_of_a_dense_network():
    """64 rows, 1000 -> 2000 -> 10: what must be there, in float32."""
    model = nn.Sequential(nn.Linear(1000, 2000), nn.Tanh(), nn.Linear(2000, 10))
    told = nnx.summary(model, (64, 1000), optimizer=nnx.optim.Adam(model.parameters()))
    weights = 4 * (1000 * 2000 + 2000 + 2000 * 10 + 10)
    hidden, out = 4 * 64 * 2000, 4 * 64 * 10
    train, use = told.training, told.inference
    assert train.weights == use.weights == weights
    assert train.inputs == use.inputs == 4 * 64 * 1000
    assert train.gradients == weights and use.gradients == 0
    assert train.optimizer == 2 * weights and use.optimizer == 0
    near = pytest.approx  # Python's objects, 64 bytes a block
    assert train.activations == near(hidden + out, abs=12_000)  # tanh's output, and the result
    assert use.activations == near(2 * hidden, abs=12_000)  # before and behind tanh
    assert train.peak == near(4 * weights + train.inputs, rel=0.1)
    assert train.where in ("Linear.backward", "Adam.step")  # much the same is there in both


def test_columns_of_a_convolution_are_workspace(kind):
    """On NumPy 3x3 windows laid out are about 9 times the image; compiled loops need none."""
    model = nn.Conv2d(8, 8, 3, padding=1)
    told = nnx.summary(model, (4, 8, 64, 64)).inference
    image = 4 * 4 * 8 * 64 * 64
    if kind == "numpy":
        assert told.workspace > 1.5 * image
    assert told.peak - told.kept == pytest.approx(
        told.weights + told.inputs + image + told.workspace, rel=0.05
    )


def test_checkpoint_keeps_less_and_computes_more():
    class Deep(nn.Module):
        def __init__(self, saving):
            self.layers = nn.Sequential(
                *[nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in "1234"]
            )
            self.saving = saving

        def forward(self, x):
            return nnx.checkpoint(self.layers, x) if self.saving else self.layers(x)

    plain, saving = (nnx.summary(Deep(s), (512, 64)) for s in (False, True))
    row = 4 * 512 * 64
    assert plain.training.activations == pytest.approx(4 * row, abs=0.3 * row)
    assert saving.training.activations == pytest.approx(row, abs=0.3 * row)
    forward = 4 * 512 * 64 * 64
    assert plain.training_multiply_adds == 3 * forward - 512 * 64 * 64
    assert saving.training_multiply_adds >= plain.training_multiply_adds + forward


@pytest.mark.skipif("jit" not in KINDS, reason="one thread without numba")
@pytest.mark.parametrize("count", [2, 3])
def test_threads_are_at_their_most_together(count):
    """What parts take is added up, however the system lets their threads run; what they leave and
    what was taken before and after them is counted once."""
    from nnx.backends.jit.codegen import threads

    left = []

    def part(lo, hi):
        memory.empty((500_000 * (hi - lo),), np.uint8)
        left.append(np.empty(100_000 * (hi - lo), np.uint8))

    before = threads.set_thread_count(count)
    meter = Meter()
    try:
        with measuring():
            meter.read()
            start = meter.read()[0]
            np.empty(1_000_000, np.uint8)
            threads.split(part, count)
            live, peak = meter.read()
            assert live - start == pytest.approx(100_000 * count, rel=0.05)
            assert peak - start == pytest.approx(max(1_000_000, 500_000 * count), rel=0.05)
            assert meter.read()[1] == pytest.approx(live, rel=0.01)  # begins anew
    finally:
        threads.set_thread_count(before)


@pytest.mark.skipif("jit" not in KINDS, reason="one thread without numba")
def test_two_measurements_are_equal_whatever_else_runs():
    """A convolution whose columns two threads lay out: the workspace of both."""
    from nnx.backends.jit import JitBackend
    from nnx.backends.jit.codegen import threads

    found = {}
    for count in (1, 2):
        before = threads.set_thread_count(count)
        try:
            with override(np.ndarray, JitBackend()):
                told = [nnx.summary(nn.Conv2d(16, 2, 3), (2, 16, 48, 48)) for _ in range(3)]
        finally:
            threads.set_thread_count(before)
        works = [t.inference.workspace for t in told]
        assert works == pytest.approx([works[0]] * 3, rel=0.02)
        found[count] = works[0]
    assert found[2] > 1.2 * found[1]
