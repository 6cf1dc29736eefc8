"""What a notebook shows: well-formed HTML that says what there is, and no more of it than fits."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import nnx
from nnx import nn, notebook
from nnx.train.history import History


def read(thing):
    """The HTML as a tree, and its words."""
    tree = ET.fromstring(f"<body>{thing._repr_html_()}</body>")
    return tree, " ".join("".join(tree.itertext()).split())


def test_tensors(backend):
    tree, text = read(nnx.tensor([[1.0, 2.5], [3.0, -4.0]], requires_grad=True) * 2)
    assert text.startswith("tensor: shape (2, 2), float32, ") and "made by Multiply" in text
    assert [td.text for td in tree.iter("td")] == ["0", "2", "5", "1", "6", "-8"]


def test_a_large_one_shows_its_ends():
    tree, _ = read(nnx.tensor(np.arange(400.0).reshape(20, 20)))
    cells = [td.text for td in tree.iter("td")]
    assert cells[1] == "0" and cells[-1] == "399" and "…" in cells and "⋮" in cells
    assert len(cells) == 11 * 12
    tree, text = read(nnx.tensor(np.zeros((200, 200))))
    assert not list(tree.iter("table")) and "(200, 200)" in text
    assert "2.5" in read(nnx.tensor(2.5))[1]
    for shape in ((0,), (0, 3), (2, 0), (2, 2, 2)):
        assert str(shape) in read(nnx.tensor(np.zeros(shape)))[1]


def test_modules_and_summaries():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    tree, text = read(model)
    assert "Sequential: 24 parameters" in text and "in_features=3" in text
    assert len(list(tree.iter("tr"))) == 1 + 3
    _, text = read(nnx.summary(model.requires_grad_(False), (5, 3)))
    assert "24 parameters, 24 of them frozen" in text and "(5, 4)" in text


def test_a_history_draws_its_losses():
    history = History()
    for k in range(30):
        history.rows.append(
            {"epoch": k + 1, "loss": 1 / (k + 1), "val_loss": math.nan if k == 3 else 0.5}
        )
    tree, text = read(history)
    lines = list(tree.iter("polyline"))
    assert [len(line.get("points").split()) for line in lines] == [30, 29]
    for x, y in re.findall(r"([\d.]+),([\d.]+)", lines[0].get("points")):
        assert 0 <= float(x) <= notebook.WIDTH and 0 <= float(y) <= notebook.HEIGHT
    assert len(list(tree.iter("tr"))) == 1 + 20 and "30 epochs" in text
    assert not list(read(History())[0].iter("svg"))


def test_names_are_escaped():
    text = notebook.table(["<b>"], [["<script>", 1000000, 0.5, True]], caption="a & b")
    tree = ET.fromstring(text)
    assert [td.text for td in tree.iter("td")] == ["<script>", "1,000,000", "0.5", "True"]
    assert tree.find("caption").text == "a & b"


@pytest.mark.parametrize("values", [[math.inf], [1.0], []])
def test_curves_of_nothing_are_nothing(values):
    assert notebook.curves({"loss": values}) == ""
