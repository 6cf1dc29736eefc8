"""What a notebook shows: well-formed HTML that says what there is, and no more of it than fits."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import nnx
from nnx import data, metrics, nn, notebook, optim
from nnx.recipes.recipe import Data, Prediction
from nnx.train import callbacks
from nnx.train.history import History


def read(thing):
    """The HTML as a tree, and its words."""
    html = thing if isinstance(thing, str) else thing._repr_html_()
    tree = ET.fromstring(f"<body>{html}</body>")
    return tree, " ".join(" ".join(tree.itertext()).split())


def cells(tree):
    return [td.text or "" for td in tree.iter("td")]


def head(tree):
    return [th.text or "" for th in tree.iter("th")]


def test_tensors(backend):
    tree, text = read(nnx.tensor([[1.0, 2.5], [3.0, -4.0]], requires_grad=True) * 2)
    assert text.startswith("tensor: shape (2, 2), float32, ") and "made by Multiply" in text
    assert cells(tree) == ["0", "2", "5", "1", "6", "-8"]
    corners = nnx.reshape(nnx.arange(2 * 30 * 400), (2, 30, 400))
    tree, text = read(corners)
    assert "shape (2, 30, 400)" in text and "shown is [0, :, :]" in text
    assert cells(tree)[:12] == ["0", *"01234", "…", "395", "396", "397", "398", "399"]
    assert cells(tree)[-1] == f"{30 * 400 - 1:,}" and cells(tree).count("⋮") == 11
    tree, _ = read(nnx.arange(12))
    assert cells(tree) == ["", *"01234", "…", "7", "8", "9", "10", "11"]
    assert head(tree)[1:] == cells(tree)[1:]


def test_ten_rows_are_shown_whole():
    tree, _ = read(nnx.reshape(nnx.arange(100), (10, 10)))
    assert len(cells(tree)) == 10 * 11 and "…" not in cells(tree)


@pytest.mark.parametrize(
    ("values", "dtype", "shown"),
    [
        ([0.1, math.nan, math.inf, -math.inf], "float16", ["0.09998", "nan", "inf", "-inf"]),
        ([2**53 + 1, -1], "int64", ["9,007,199,254,740,993", "-1"]),
        ([255, 0], "uint8", ["255", "0"]),
        ([True, False], "bool", ["True", "False"]),
        ([1e-300, 1e300], "float64", ["1e-300", "1e+300"]),
        ([1 + 2j], "complex128", ["(1+2j)"]),
    ],
)
def test_numbers_of_every_kind(values, dtype, shown):
    assert cells(read(nnx.Tensor(np.asarray(values, dtype)))[0]) == ["", *shown]
    tree, text = read(nnx.Tensor(np.asarray(values[0], dtype)))
    assert tree.find("code").text == shown[0] and "shape ()" in text


def test_those_without_numbers():
    for shape in ((0,), (0, 3), (2, 0), (2, 0, 2)):
        tree, text = read(nnx.tensor(np.zeros(shape)))
        assert str(shape) in text and not list(tree.iter("td"))


def test_what_is_far_too_large_is_not_read():
    """A table of its corners: of the whole no list is made."""
    whole = nnx.Tensor(np.broadcast_to(np.float32(1), (10**9, 10**9)))
    assert len(cells(read(whole)[0])) == 11 * 12


def test_modules_and_summaries():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    tree, text = read(model)
    assert "Sequential: 24 parameters" in text and "in_features=3" in text
    assert len(list(tree.iter("tr"))) == 1 + 3
    _, text = read(nnx.summary(model.requires_grad_(False), (5, 3)))
    assert "24 parameters, 24 of them frozen" in text and "(5, 4)" in text
    assert "24 of them frozen" in read(model)[1]
    many = nn.ModuleDict({"<b>": nn.ReLU(), **{f"l{k}": nn.Linear(1, 1) for k in range(300)}})
    tree, text = read(many)
    assert len(list(tree.iter("tr"))) == 1 + notebook.MOST_ROWS + 1 and "<b>" in text


def history(epochs=30, **more):
    made = History()
    made.rows = [
        {"epoch": k, "loss": 1 / k, "val_loss": math.nan if k == 4 else 0.5, **more, "lr": 0.1}
        for k in range(1, epochs + 1)
    ]
    return made


def points(tree):
    return [line.get("points").split() for line in tree.iter("polyline")]


def test_a_history_draws_its_losses():
    tree, text = read(history())
    loss, before, after = points(tree)
    assert [len(loss), len(before), len(after)] == [30, 3, 26], "a gap where there is no number"
    for x, y in re.findall(r"([\d.]+),([\d.]+)", " ".join([*loss, *before, *after])):
        assert notebook.EDGE <= float(x) <= notebook.WIDTH - notebook.EDGE
        assert notebook.EDGE <= float(y) <= notebook.HEIGHT - notebook.EDGE
    assert len(list(tree.iter("tr"))) == 1 + 20
    assert "30 epochs, 0 steps; the last 20 epochs" in text
    assert text.startswith("1 0.03333 1 epoch 30 loss \xa0 val_loss 30 epochs".replace("\xa0 ", ""))
    assert not ["".join(svg.itertext()) for svg in tree.iter("svg") if "".join(svg.itertext())], (
        "text in a picture is left where a notebook that is not trusted takes pictures out"
    )
    assert not list(read(History())[0].iter("svg")) and "0 epochs" in read(History())[1]
    assert not list(read(history(1))[0].iter("svg"))


def test_each_metric_has_a_picture_up_to_four():
    wide = history(3, **{f"m{k}": k for k in range(6)}, val_m0=0.5, seconds=1.0)
    tree, _ = read(wide)
    pictures = [svg.get("aria-label") for svg in tree.iter("svg") if svg.get("role") == "img"]
    assert pictures == ["loss, val_loss", "m0, val_m0", "m1", "m2"]
    wide.rows[1] = {"epoch": 2, 7: 0.5, "loss": 0.1}  # another column, and one that is a number
    assert "7" in head(read(wide)[0])


def test_a_column_of_numbers_stands_to_the_right_with_its_name():
    tree, _ = read(notebook.table(["a", "b"], [["x", 1], ["y", ""]]))
    sides = [cell.get("style") for kind in ("th", "td") for cell in tree.iter(kind)]
    assert sides == ["text-align:left", "text-align:right"] * 3


def test_names_are_escaped_and_cut():
    tree, _ = read(notebook.table(["<b>", 3], [["<script>", 10**6, 0.5, True]], caption="a & b"))
    assert cells(tree) == ["<script>", "1,000,000", "0.5", "True"] and head(tree) == ["<b>", "3"]
    assert next(tree.iter("caption")).text == "a & b"
    picture = notebook.curves({'"><script>': [1.0, 2.0], 5: [1, 3]})
    assert "<script" not in picture
    labels = [svg.get("aria-label") for svg in ET.fromstring(picture).iter("svg")]
    assert labels[0] == '"><script>, 5'
    long = cells(read(notebook.table([""], [["x" * 10**6]]))[0])[0]
    assert len(long) == notebook.LONGEST and long.endswith("…")


@pytest.mark.parametrize("values", [[math.inf], [1.0], [], [math.nan, math.nan], [None, "a"]])
def test_curves_of_nothing_are_nothing(values):
    assert notebook.curves({"loss": values}) == ""


def test_curves_of_extreme_numbers():
    for values in ([1e308, -1e308], [5e-324, 0.0], [3, 3], [10**400, 1, 2], [1.0, None, 2.0]):
        tree = ET.fromstring(notebook.curves({"a": values}))
        numbers = [float(v) for line in points(tree) for p in line for v in p.split(",")]
        assert numbers and all(map(math.isfinite, numbers))
    tree = ET.fromstring(notebook.curves({"a": range(10_001)}))
    assert len(points(tree)[0]) <= notebook.POINTS + 1
    assert points(tree)[0][-1] == f"{notebook.WIDTH - notebook.EDGE:.1f},{notebook.EDGE:.1f}"


# ---- what trains ----


def trainer(**options):
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    schedule = callbacks.Schedule(optim.lr_scheduler.StepLR(optimizer, 2))
    return nnx.Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        metrics=["accuracy"],
        callbacks=[schedule, callbacks.ClipGradNorm(1.0)],
        progress=False,
        **options,
    )


XOR = np.asarray([[0, 0], [0, 1], [1, 0], [1, 1]], "float32"), np.asarray([0, 1, 1, 0])


def test_a_trainer_before_and_after():
    made = trainer(accumulate=2)
    tree, text = read(made)
    for words in (
        "Sequential, 17 parameters",
        "CrossEntropyLoss(",
        "Adam, lr 0.1",
        "StepLR(",
        "a step per epoch",
        "ClipGradNorm",
        "2 parts",
        "none",
        "0 epochs, 0 steps",
    ):
        assert words in text
    assert "best" not in text and not list(tree.iter("svg"))
    made.fit(XOR, XOR, epochs=3, batch_size=2)
    made.history.rows[1] |= {"val_loss": math.nan, "val_accuracy": 1.0}
    tree, text = read(made)
    assert "3 of 3" in text and "steps done 6" in text and "best val_accuracy 100.00% in" in text
    losses = made.history["val_loss"]
    first = min((0, 2), key=lambda k: losses[k])
    assert f"best val_loss {losses[first]:.4f} in epoch {first + 1}" in text
    assert len([s for s in tree.iter("svg") if s.get("role")]) == 2
    assert repr(made) == (f"Trainer(Sequential, {made.loss!r}, Adam; 3 epochs, 6 steps)")


def test_a_trainer_that_only_predicts_and_one_with_a_function():
    model = nn.Linear(2, 1)
    assert "Linear, 3 parameters" in read(nnx.Trainer(model, None, None, progress=False))[1]

    def my_loss(y, t):
        return ((y - t) ** 2).mean()

    made = nnx.Trainer(model, my_loss, optim.SGD(model.parameters(), lr=1.0), progress=False)
    assert "my_loss" in read(made)[1] and "<function" not in read(made)[1]
    made.stop("<enough>")
    assert "<enough>" in read(made)[1]


def test_optimizers_loaders_and_rates():
    made = trainer()
    tree, text = read(made.optimizer)
    assert text.startswith("Adam") and head(tree)[:4] == ["group", "parameters", "numbers", "lr"]
    assert cells(tree)[:5] == ["0", "4", "17", "0.1", "(0.9, 0.999)"]
    loader = data.DataLoader(XOR, batch_size=3, shuffle=True, seed=0)
    _, text = read(loader)
    assert "ArrayDataset(4 examples; (4, 2), (4,))" in text and "of the last one 1" in text
    assert repr(loader).endswith("batch_size=3, RandomSampler; 2 batches)")
    curve = nnx.train.find_lr(made, XOR, steps=20)
    tree, text = read(curve)
    assert len(points(tree)) == 2 and "suggestion" in text
    assert len(repr(curve)) < 80


def test_results_of_experiments_and_comparisons():
    counts = metrics.ConfusionMatrix(classes=2)
    counts.update(nnx.tensor([0, 1, 1]), nnx.tensor([0, 1, 0]))
    tree, _ = read(counts)
    assert head(tree) == ["", "taken for 0", "taken for 1"]
    assert cells(tree) == ["true 0", "1", "1", "true 1", "0", "1"]
    tree, _ = read(Prediction(["file", "said"], [("<a>", "7")], ["a note"], [ValueError("bad")]))
    assert cells(tree) == ["<a>", "7", "a note", "bad"]
    tree, _ = read(Data(XOR, XOR))
    assert cells(tree) == ["train", "4", "(4, 2), (4,)", "test", "4", "(4, 2), (4,)"]
    report = nnx.parity(nn.Linear(2, 3), nnx.tensor(XOR[0]), backends=("numpy", "array_api_strict"))
    assert "agree" in read(report)[1]
