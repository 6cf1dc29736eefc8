"""nnx.summary: rows, counts, shapes, memory; and that it leaves the model as it was."""

import threading
import tracemalloc

import numpy as np
import pytest

import nnx
from nnx import nn


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 6 * 6, 10),
    )


def test_rows_and_counts():
    model = lenet()
    model[0].requires_grad_(False)
    result = nnx.summary(model, (2, 1, 8, 8))
    assert [(r.name, r.layer, r.output, r.parameters, r.frozen) for r in result.rows] == [
        ("0", "Conv2d", "(2, 4, 6, 6)", 40, 40),
        ("1", "BatchNorm2d", "(2, 4, 6, 6)", 8, 0),
        ("2", "ReLU", "(2, 4, 6, 6)", 0, 0),
        ("3", "Flatten", "(2, 144)", 0, 0),
        ("4", "Linear", "(2, 10)", 1450, 0),
    ]
    assert result.parameters == 1498 and result.trainable == 1458 and result.buffers == 9
    assert result.weight_bytes == 4 * (1498 + 8) + 8  # one buffer is an int64 counter
    assert result.output_bytes == 4 * (4 * 288 + 20)
    text = str(result)
    for part in [
        "Conv2d",
        "(2, 4, 6, 6)",
        "40 (frozen)",
        "1,450",
        "1,498 parameters, 40 of them frozen",
    ]:
        assert part in text
    text = str(nnx.summary(model, (2, 1, 8, 8), memory=False))
    assert "memory: 6.03 kB weights and buffers, 4.69 kB outputs of all layers" in text


def test_the_table_fits_a_terminal_and_the_page():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2)
    optimizer = nnx.optim.Adam(model.parameters())
    result = nnx.summary(model, (2, 5, 64), optimizer=optimizer)
    lines = str(result).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("layers.1.norm2" in line and "LayerNorm" in line for line in lines)
    at = next(k for k, line in enumerate(lines) if "layers.1.self_attn. " in line)
    assert "Linear" in lines[at] and lines[at + 1].split() == ["out_proj"]  # parted at a dot
    for label in ("gradients", "optimizer's state", "workspace of a call", "peak"):
        assert any(line.startswith(label) for line in lines)
    html = result._repr_html_()
    assert html.count("<table>") == 2 and "multiply-adds" in html and "optimizer's" not in html


def test_calls_of_one_layer_are_one_line():
    class Steps(nn.Module):
        def __init__(self):
            self.cell = nn.RNNCell(3, 3)

        def forward(self, x):
            h = None
            for _ in range(50):
                h = self.cell(x, h)
            return h

    result = nnx.summary(Steps(), (2, 3), memory=False)
    assert len(result.rows) == 50
    (line,) = [line for line in str(result).splitlines() if "RNNCell" in line]
    assert "cell (50 calls)" in line and "1.80 k" in line  # 50 x 2 rows x (9 + 9)


def test_the_model_is_left_as_it_was(backend):
    model = lenet().train()
    model[1].eval()
    before = {k: backend.to_numpy(v) for k, v in model.state_dict().items()}
    rows = nnx.summary(model, (2, 1, 8, 8)).rows
    assert len(rows) == 5
    assert [m.training for m in model.modules()] == [True, True, False, True, True, True]
    for k, v in model.state_dict().items():
        np.testing.assert_array_equal(backend.to_numpy(v), before[k])
    assert all(p.grad is None for p in model.parameters())
    calls = []
    model[4].forward = lambda x: calls.append(x) or x
    model(backend.tensor(np.zeros((2, 1, 8, 8), "f4")))
    assert len(calls) == 1 and len(rows) == 5  # no hook is left


class Stateful(nn.Module):
    """It draws, counts its calls, and learns statistics."""

    def __init__(self):
        self.first, self.norm, self.drop = nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)
        self.noise = nnx.random.Generator(3)
        self.calls, self.seen = 0, None

    def forward(self, x):
        self.calls += 1
        self.seen = self.drop(self.norm(self.first(x)))
        return self.seen + nnx.tensor(self.noise.uniform(self.seen.shape))


@pytest.mark.parametrize("rows", [4, 1])  # with 1 the training step fails, and leaves no less
def test_nothing_is_changed(rows):
    model = Stateful()
    optimizer = nnx.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(nnx.ones((3, 6))).sum().backward()
    optimizer.step()
    model.drop.eval()
    heard, changed = [], []
    model.first.register_forward_hook(lambda *a: heard.append(a))
    model.first.weight.register_hook(lambda g: changed.append(g))

    def state():
        arrays = {k: np.array(v) for k, v in model.state_dict().items()}
        arrays |= {f"gradient {k}": np.array(p.grad) for k, p in model.named_parameters()}
        arrays |= {
            f"momentum {k}": np.array(s["momentum_buffer"])
            for k, s in enumerate(optimizer.state.values())
        }
        plain = [m.training for m in model.modules()], model.calls, model.noise.state()
        return arrays, (*plain, nnx.random.default_generator().state(), tracemalloc.is_tracing())

    objects = [p.grad for p in model.parameters()], model.seen, model.norm.running_mean
    arrays, plain = state()
    result = nnx.summary(model, (rows, 6), optimizer=optimizer)
    assert (result.training is None) == (rows == 1) and result.inference is not None
    after, plain_after = state()
    assert after.keys() == arrays.keys()
    for k, v in after.items():
        np.testing.assert_array_equal(v, arrays[k], err_msg=k)
    held = [p.grad for p in model.parameters()], model.norm.running_mean
    assert all(a is b for a, b in zip(held[0], objects[0], strict=True))
    assert held[1] is objects[2]
    assert len(model.first._after) == 1 and not changed
    assert plain_after == plain and model.seen is objects[1]  # what it counted and kept itself


def test_what_cannot_be_copied_is_looked_at():
    model = nn.Linear(3, 2)
    model.lock = threading.Lock()
    result = nnx.summary(model, (4, 3))
    assert result.rows[0].output == "(4, 2)" and result.training is None
    assert "cannot be copied: TypeError" in result.missing


def test_counting_that_goes_on_already_goes_on():
    tracemalloc.start()
    try:
        nnx.summary(nn.Linear(3, 2), (4, 3))
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


def test_modes_come_back_after_an_error():
    model = lenet()
    with pytest.raises(ValueError):
        nnx.summary(model, (2, 3, 8, 8))
    assert model.training and not model[0]._after


def test_nested_shared_and_several_outputs():
    class Twice(nn.Module):
        def __init__(self):
            self.embed = nn.Embedding(7, 3)
            self.gru = nn.GRU(3, 5)
            self.shared = nn.Linear(5, 5)
            self.scale = nn.Parameter(np.ones(2, "f4"))

        def forward(self, x):
            y, h = self.gru(self.embed(x))
            return self.shared(self.shared(y)) * self.scale.sum(), h

    result = nnx.summary(Twice(), (4, 2), dtype="int64", memory=False)
    assert [(r.name, r.output, r.parameters) for r in result.rows] == [
        ("embed", "(4, 2, 3)", 21),
        ("gru", "(4, 2, 5) (1, 2, 5)", 150),
        ("shared", "(4, 2, 5)", 30),
        ("shared", "(4, 2, 5)", 0),  # counted once
        ("", "(4, 2, 5) (1, 2, 5)", 2),  # the model's own parameter
    ]
    assert result.parameters == 203


def test_the_input_itself_or_several():
    class Sum(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Linear(2, 3), nn.Linear(4, 3)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    xs = nnx.zeros((5, 2)), nnx.zeros((5, 4))
    assert [r.output for r in nnx.summary(Sum(), xs, memory=False).rows] == ["(5, 3)", "(5, 3)"]
    assert nnx.summary(nn.Linear(2, 3), xs[0], memory=False).rows[0].output == "(5, 3)"
    for wrong in (("a", 2), [(2, 3), "a"], 5, None, True):
        with pytest.raises(TypeError, match="give the input's shape, batch included"):
            nnx.summary(nn.Linear(2, 3), wrong)
    with pytest.raises(TypeError, match="one for each"):
        nnx.summary(Sum(), ((5, 2), (5, 4)), dtype=("float32",))
    arrays = tuple(np.ones(x.shape, "f4") for x in xs)
    for given in (((5, 2), (5, 4)), arrays, {"y": arrays[1], "x": xs[0]}, [[5, 2], [5, 4]]):
        assert [r.output for r in nnx.summary(Sum(), given, memory=False).rows] == [
            "(5, 3)",
            "(5, 3)",
        ]
    assert nnx.summary(nn.Linear(2, 3), (np.int64(5), 2), memory=False).rows[0].output == "(5, 3)"
    assert nnx.summary(nn.Linear(2, 3), arrays[0], memory=False).rows[0].output == "(5, 3)"


def test_integers_lengths_and_states():
    class Reader(nn.Module):
        def __init__(self):
            self.embed, self.lstm = nn.Embedding(9, 3), nn.LSTM(3, 4)

        def forward(self, words, lengths=None, state=None):
            return self.lstm(self.embed(words), state, lengths=lengths)

    words = np.zeros((5, 2), "int64")
    state = nnx.zeros((1, 2, 4)), nnx.zeros((1, 2, 4))
    for given in ((words, [5, 3]), (words, np.array([5, 3])), (words, None, state)):
        result = nnx.summary(Reader(), given)
        assert result.rows[-1].output == "(5, 2, 4) (1, 2, 4) (1, 2, 4)"
        assert result.training.peak > result.inference.peak
    given = {"words": words, "lengths": [5, 3]}
    assert nnx.summary(Reader(), given).rows[-1].name == "lstm"


def test_what_cannot_be_measured_says_why(backend):
    with pytest.raises(ValueError, match="parameters that are not the model's"):
        nnx.summary(nn.Linear(2, 3), (4, 2), optimizer=nnx.optim.SGD(nn.Linear(2, 3).parameters()))
    model = nn.Linear(2, 3)
    with pytest.raises(ValueError, match="LBFGS computes the loss several times"):
        nnx.summary(model, (4, 2), optimizer=nnx.optim.LBFGS(model.parameters()))
    result = nnx.summary(model.requires_grad_(False), (4, 2))
    assert result.training is None and result.training_multiply_adds is None
    assert "depends on a parameter that learns" in result.missing
    assert "not measured: training: ValueError" in str(result)
    seen = backend.kind in ("numpy", "jit", "portable", "readonly") or "strict" in backend.kind
    if seen:
        assert result.inference.peak > 0
    elif backend.kind in ("torch", "cupy"):
        assert result.inference is None and "only that of NumPy's" in result.missing
    assert nnx.summary(model, (4, 2), memory=False).missing == ""


def test_a_loss_of_ones_own_counts():
    model, x = nn.Linear(8, 500), nnx.zeros((64, 8))
    classes = np.zeros(64, "int64")
    plain = nnx.summary(model, x)
    real = nnx.summary(model, x, loss=lambda y: nnx.functional.cross_entropy(y, classes))
    assert real.training.activations > plain.training.activations + 64 * 500 * 4 * 0.9
    assert real.inference.peak == pytest.approx(plain.inference.peak, rel=0.02)
