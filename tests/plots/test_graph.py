"""Computation graphs: Liu's example with its numbers, what is left as it was, and the layout."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

import nnx
from nnx import nn
from nnx.plots.layered import place


def liu(w):
    """Liu 4.2.2, with w = 5, x = 1, b = 1, y = 2."""
    u = w * 1.0
    e = (u + 1.0) - 2.0
    return e**2


def boxes(graph):
    return [" | ".join(lines) for _, lines in graph.boxes]


def test_the_example_of_the_text():
    w = nnx.tensor(5.0, requires_grad=True)
    u = w * 1.0
    guess = u + 1.0
    c = (guess - 2.0) ** 2
    graph = nnx.draw_graph(c)
    assert boxes(graph) == [
        "w = 5 | grad 8",
        "Multiply | u = 5 | grad 8",
        "Add | guess = 6 | grad 8",
        "Subtract | () | grad 8",  # nobody holds this one: its value is gone
        "Power | c = 16 | grad 1",
    ]
    assert graph.edges == [(0, 1), (1, 2), (2, 3), (3, 4)]
    c.backward()
    assert w.grad == 8


def test_a_function_keeps_every_value():
    w = nnx.tensor(5.0, requires_grad=True)
    assert boxes(nnx.draw_graph(liu, w))[1:] == [
        "Multiply | = 5 | grad 8",
        "Add | = 6 | grad 8",
        "Subtract | = 4 | grad 8",
        "Power | = 16 | grad 1",
    ]
    assert type(w * 2.0) is nnx.Tensor


def test_nothing_is_changed_by_drawing(backend):
    """Gradients, the tape and what asked to keep its gradient stay as they were."""
    x = backend.tensor(np.asarray([1.0, 2.0], "f4"), requires_grad=True)
    x.grad = marker = backend.asarray(np.asarray([7.0, 7.0], "f4"))
    y = x * x
    y.retain_grad()
    z = y.sum()
    graph = nnx.draw_graph(z)
    assert x.grad is marker and y.grad is None
    assert "x (2,) | = [1 2] | grad [2 4]" in boxes(graph)
    z.backward()
    np.testing.assert_array_equal(backend.to_numpy(x.grad), [9, 11])
    np.testing.assert_array_equal(backend.to_numpy(y.grad), [1, 1])


def test_models_names_several_outputs_and_shared_values():
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    loss = nnx.functional.cross_entropy(model(nnx.tensor(np.ones((5, 4), "f4"))), [0, 1, 1, 0, 0])
    graph = nnx.draw_graph(loss, **dict(model.named_parameters()))
    text = "\n".join(boxes(graph))
    for name, shape in (("0.weight", "(3, 4)"), ("2.bias", "(2,)")):
        assert f"{name} {shape}" in text
    x = nnx.tensor(np.ones((2, 6), "f4"), requires_grad=True)
    left, right = nnx.ops.split(x, 2, axis=1)
    total = (left * right + left).sum()
    graph = nnx.draw_graph(total)
    split = next(lines for _, lines in graph.boxes if lines[0] == "Split")
    assert "left (2, 3)" in split and "right (2, 3)" in split
    assert graph.edges.count((1, 2)) == 2  # both halves go into the product


def test_the_picture_and_the_text_for_graphviz(tmp_path):
    w = nnx.tensor(5.0, requires_grad=True)
    graph = nnx.draw_graph(liu(w))
    root = ET.fromstring(graph._repr_svg_())
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:2] == ["w = 5", "grad 8"]
    width, height = float(root.get("width")), float(root.get("height"))
    for rect in list(root.iter("{http://www.w3.org/2000/svg}rect"))[1:]:
        x, y, w_, h = (float(rect.get(k)) for k in ("x", "y", "width", "height"))
        assert 0 <= x and x + w_ <= width and 0 <= y and y + h <= height
    assert len(re.findall(r"n\d+ -> n\d+;", graph.dot)) == len(graph.edges) == 4
    assert graph.save(tmp_path / "g.svg").read_text() == graph.svg
    assert graph.save(tmp_path / "g.dot").read_text() == graph.dot
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.dot", "g.svg"]
    with pytest.raises(ValueError, match=r"must end in \.svg, \.dot or \.gv, got g\.png"):
        graph.save(tmp_path / "g.png")


def test_errors():
    x = nnx.tensor([1.0], requires_grad=True)
    y = (x * 2).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"freed by backward\(\); draw the graph before"):
        nnx.draw_graph(y)
    with pytest.raises(RuntimeError, match="from nothing that requires a gradient"):
        nnx.draw_graph(nnx.tensor([1.0]))
    with pytest.raises(TypeError, match="needs a tensor, got ndarray"):
        nnx.draw_graph(np.ones(3))


def test_the_layout_keeps_boxes_apart_and_arrows_off_them():
    rng = np.random.default_rng(0)
    edges = [
        (int(a), int(b)) for b in range(1, 30) for a in rng.choice(b, min(b, 2), replace=False)
    ]
    sizes = [(float(rng.integers(30, 90)), float(rng.integers(20, 60))) for _ in range(30)]
    placed, routes, width, height = place(sizes, edges)
    for k, a in enumerate(placed):
        assert 0 <= a.x and a.x + a.width <= width and 0 <= a.y and a.y + a.height <= height
        for b in placed[:k]:
            beside = a.x + a.width <= b.x or b.x + b.width <= a.x
            assert beside or a.y + a.height <= b.y or b.y + b.height <= a.y
    for (a, b), route in zip(edges, routes, strict=True):
        assert route[0] == placed[a] and route[-1] == placed[b]
        for here, there in pairwise(route):
            assert here.x + here.width < there.x  # to the right, a column at a time
        for lane in route[1:-1]:
            inside = [p for p in placed if p.x < lane.x < p.x + p.width]
            assert not any(p.y < lane.y < p.y + p.height for p in inside)
