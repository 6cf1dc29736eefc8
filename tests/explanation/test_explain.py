"""`nnx.explain`: what it derives holds, is what it prints, and a wrong layer is found out."""

from __future__ import annotations

import dataclasses
import math
import re
import string
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from explained import KINDS, calculated, called_with

import nnx
from nnx import nn
from nnx.explanation.arrays import Made, Named, alike, box
from nnx.explanation.expression import FUNCTIONS as FUNCTIONS_OF_NUMBERS
from nnx.explanation.expression import Num, abridged, call, total
from nnx.explanation.layers.curves import POINTWISE
from nnx.explanation.layers.elementwise import LAYERS
from nnx.explanation.rendering import width
from nnx.explanation.sentences import SENTENCES
from nnx.explanation.writing import Writing, shown
from nnx.ops.activation import Sigmoid
from nnx.ops.array.shape import Reshape
from nnx.ops.dropout import Dropout
from nnx.ops.elementwise import Tanh
from nnx.ops.embedding import Embedding
from nnx.ops.linear import Linear
from nnx.ops.loss.cross_entropy import CrossEntropy, NegativeLogLikelihood
from nnx.ops.loss.probability import BinaryCrossEntropy
from nnx.ops.loss.reduction import ElementwiseLoss
from nnx.ops.norm.batch import BatchNorm, BatchNormInference
from nnx.ops.norm.sample import GroupNorm, LayerNorm
from nnx.ops.recurrent.gru import GRU
from nnx.ops.recurrent.lstm import LSTM
from nnx.ops.recurrent.rnn import RNN
from nnx.ops.softmax import LogSoftmax, Softmax
from nnx.ops.windows.conv import Conv2d
from nnx.ops.windows.pool import AvgPool2d, MaxPool2d


def explained(name, dtype="float64", **options):
    layer, inputs = called_with(name, dtype)
    return nnx.explain(layer, *inputs, **options)


def check_text(page):
    """Every row of numbers, read as it is printed, comes to what the sign before the next says."""
    assert max(map(width, page.lines)) <= 80
    for line in page.equalities:
        numbers = [row for row in line.rows if not row.names]
        assert numbers and numbers[-1].text == line.result
        for row, following in pairwise(numbers):
            got, then = calculated(row.text), calculated(following.text)
            same = shown(got, line.digits) == shown(then, line.digits)
            assert (following.relation == "=") == same, (row.text, following)
        end = calculated(line.result)
        for row in numbers:
            assert abs(calculated(row.text) - end) <= 6e-3 * abs(end) + line.tolerance + 1e-12


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_holds(name):
    """In float64, and what is printed is true: both languages derive the same numbers."""
    page = explained(name)
    assert page.holds, "\n".join(page.lines)
    check_text(page)
    chinese = explained(name, language="zh")
    assert max(map(width, chinese.lines)) <= 80
    numbers = [(e.name, e.terms, e.layer, [r.text for r in e.rows]) for e in page.equalities]
    assert numbers == [
        (e.name, e.terms, e.layer, [r.text for r in e.rows]) for e in chinese.equalities
    ]
    assert any(c > "一" for c in str(chinese)) and not any(c > "一" for c in str(page))
    for shown_page in (page, chinese):
        ET.fromstring(shown_page._repr_html_())
        assert shown_page.to_markdown().startswith(f"# {page.title}\n")


@pytest.mark.ci
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_holds_in_float32(name):
    page = explained(name, "float32")
    assert page.holds, "\n".join(page.lines)


@pytest.mark.parametrize("name", ["linear", "conv2d", "batch_norm", "lstm", "cross_entropy"])
def test_on_every_backend(name, backend):
    with nnx.use_backend(backend.backend):
        layer, inputs = called_with(name, "float32", backend)
        assert nnx.explain(layer, *inputs).holds


@pytest.mark.parametrize("layer", LAYERS)
def test_activations(layer):
    """On both sides of every kink and on it, far out and near 0."""
    x = np.array([[-30.0, -3.0, -1.5, -0.5, -0.1], [0.0, 0.1, 0.5, 3.0, 30.0]])
    options = (0.5, 0.1) if layer is nn.Threshold else ()
    page = nnx.explain(layer(*options), x)
    assert page.holds, "\n".join(page.lines)
    check_text(page)
    assert nnx.explain(layer(*options), x.astype("float32")).holds


@pytest.mark.parametrize("name", sorted(POINTWISE.keys() - {"identity", "threshold"}))
def test_operations(name):
    page = nnx.explain(getattr(nnx, name), np.array([0.3, 0.5, 1.7]))
    assert page.holds and page.title == f"nnx.{name}", "\n".join(page.lines)
    check_text(page)


def test_options_of_operations():
    x = np.array([[-1.0, 2.0], [0.5, -3.0]])
    page = nnx.explain(nnx.leaky_relu, x, 0.25, at=(0, 0))
    assert page.holds and page.equalities[0].result == "-0.25"
    assert nnx.explain(nnx.softmax, x, 0).holds and nnx.explain(nnx.log_softmax, x, 0).holds


# ---- numbers by hand ----


def given(layer, **values):
    """The layer with parameters of these values."""
    with nnx.no_grad():
        for name, value in values.items():
            getattr(layer, name).copy_(np.array(value))
    return layer


def by_name(page):
    return {e.name: e for e in reversed(page.equalities)}


def test_linear_by_hand():
    layer = given(
        nn.Linear(3, 2, dtype="float64"),
        weight=[[0.5, -1.0, 2.0], [0.25, -0.5, 0.125]],
        bias=[0.1, -0.2],
    )
    page = nnx.explain(
        layer, [[1.0, 2.0, -1.0]], gradient=[[2.0, -8.0]], at={"y": (0, 1), "dW": (1, 2)}
    )
    lines = by_name(page)
    assert [row.text for row in lines["y[0, 1]"].rows] == [
        "x[0, 0]·W[1, 0] + x[0, 1]·W[1, 1] + x[0, 2]·W[1, 2] + b[1]",
        "1·0.25 + 2·(-0.5) + (-1)·0.125 - 0.2",
        "0.25 - 1 - 0.125 - 0.2",
        "-1.075",
    ]
    assert {row.relation for row in lines["y[0, 1]"].rows} == {"="}
    assert lines["dx[0, 0]"].rows[1].text == "2·0.5 + (-8)·0.25"
    assert lines["dW[1, 2]"].rows[0].text == "g[0, 1]·x[0, 2]" and lines["dW[1, 2]"].result == "8"
    assert lines["db[0]"].result == "2"


def test_cross_entropy_by_hand():
    page = nnx.explain(nn.CrossEntropyLoss(), np.array([[0.0, math.log(2), math.log(5)]]), [1])
    lines = by_name(page)  # p = (1, 2, 5) / 8
    assert lines["y"].terms == pytest.approx(math.log(4)) and lines["y"].result == "1.386"
    assert lines["p[0, 0]"].result == "0.125" and lines["dx[0, 0]"].result == "0.125"
    assert nnx.explain(nn.CrossEntropyLoss(), np.zeros((1, 4)), [1]).equalities[-1].layer == 0.25


def test_batch_norm_by_hand():
    """x = 1, 3 in a channel: mean 2, variance 1, with eps = 3 the root is 2."""
    page = nnx.explain(nn.BatchNorm1d(1, eps=3.0, dtype="float64"), np.array([[1.0], [3.0]]))
    lines = by_name(page)
    assert [lines[n].result for n in ("μ[0]", "σ²[0]", "r[0]", "y[0, 0]")] == [
        "2",
        "1",
        "0.5",
        "-0.5",
    ]
    assert lines["running_mean[0]"].result == "0.2"  # 0.9 · 0 + 0.1 · 2
    assert lines["running_var[0]"].result == "1.1"  # 0.9 · 1 + 0.1 · 1 · 2 / 1
    # g = 1, -1/2: mean 1/4, x̂ = -1/2, 1/2, mean of g x̂ = -3/8; r (g - 1/4 - x̂ (-3/8))
    assert lines["dx[0, 0]"].terms == pytest.approx(0.5 * (1 - 0.25 - 0.5 * 0.375))


def test_max_pool_by_hand():
    x = np.array([[[1.0, 4.0], [4.0, 2.0]]])
    page = nnx.explain(nn.MaxPool2d(2), x)
    line = by_name(page)["dx[0, 0, 1]"]
    assert line.result == "1" and line.since[0].startswith("x[0, 0, 1] = 4 = max(")


def test_conv_by_hand():
    weight = [[[[1.0, 2.0], [3.0, 4.0]]]]
    layer = given(nn.Conv2d(1, 1, 2, dtype="float64"), weight=weight, bias=[0.5])
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    lines = by_name(nnx.explain(layer, x, at=(0, 0, 1, 1), gradient=np.ones((1, 1, 2, 2))))
    assert lines["y[0, 0, 1, 1]"].rows[2].text == "4 + 10 + 21 + 32 + 0.5"
    assert lines["dW[0, 0, 0, 0]"].rows[1].text == "1·0 + 1·1 + 1·3 + 1·4"
    assert nnx.explain(layer, x, at={"dx": (0, 0, 1, 1)}, gradient=np.ones((1, 1, 2, 2))).holds


def test_two_steps_of_a_recurrent_layer_by_hand():
    layer = nn.RNN(1, 1, bias=False, nonlinearity="relu", dtype="float64")
    given(layer, weight_ih_l0=[[2.0]], weight_hh_l0=[[0.5]])
    page = nnx.explain(layer, np.array([[[1.0]], [[3.0]]]), gradient=np.array([[[1.0]], [[10.0]]]))
    lines = by_name(page)  # h = 2, 7; δz = 1 + 0.5 · 10, 10
    assert lines["y[1, 0, 0]"].rows[1].text == "max(2·3 + 0.5·2, 0)"
    assert lines["δh[0, 0, 0]"].rows[1].text == "1 + 0.5·10" and lines["δh[0, 0, 0]"].result == "6"
    assert lines["dW_ih[0, 0]"].result == "36"  # 6 · 1 + 10 · 3
    assert lines["dW_hh[0, 0]"].result == "20"  # 6 · 0 + 10 · 2


def test_embedding_by_hand():
    page = nnx.explain(
        nn.Embedding(3, 1), [2, 0, 2], gradient=[[1.0], [10.0], [100.0]], at={"dW": (2, 0)}
    )
    line = by_name(page)["dW[2, 0]"]
    assert line.rows[0].text == "g[0, 0] + g[2, 0]" and line.result == "101"


def test_two_operands():
    """Numbers, and stretched operands, whose gradients are sums."""
    a, b = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]]), np.array([2.0, -4.0, 0.25])
    for operation in (nnx.add, nnx.subtract, nnx.multiply, nnx.divide):
        for operands in ((a, a + 5), (a, b), (b, a), (a[:, :1], b), (a, 2.0), (3.0, b)):
            page = nnx.explain(operation, *operands)
            assert page.holds, "\n".join(page.lines)
            check_text(page)
    page = nnx.explain(nnx.multiply, a, b, gradient=np.ones((2, 3)), at={"db": 1})
    assert by_name(page)["db[1]"].rows[0].text == "g[0, 1]·a[0, 1] + g[1, 1]·a[1, 1]"
    assert nnx.explain(nnx.matmul, a, a.T, at=(1, 0)).equalities[0].rows[2].text == "0.5 - 8 - 3"
    assert "no derivation here" in str(nnx.explain(nnx.matmul, a, b))


def test_a_model_and_its_loss():
    """Two layers and half the squared error, by hand: h = 2 · 3, y = 0.5 · 6, L = (3 - 1)²."""
    first = given(nn.Linear(1, 1, bias=False, dtype="float64"), weight=[[2.0]])
    second = given(nn.Linear(1, 1, bias=False, dtype="float64"), weight=[[0.5]])
    model = nn.Sequential(first, second)
    page = nnx.explain(model, [[3.0]], loss=nn.MSELoss(), target=[[1.0]])
    text = " ".join(str(page).split())
    assert page.holds and "x → model.0 Linear → model.1 Linear → loss MSELoss → y" in text
    lines = {e.name: e.result for e in page.equalities}
    assert lines["d(model.1.weight)[0, 0]"] == "24" and lines["d(model.0.weight)[0, 0]"] == "6"
    assert text.count("is the dx of the layer after this one") == 2
    alone = nnx.explain(first, [[3.0]], loss=nn.MSELoss(), target=[[1.0]])
    assert alone.holds and "x → model Linear → loss MSELoss → y" in str(alone)
    with pytest.raises(TypeError, match="the model and the loss must both be modules"):
        nnx.explain(nnx.tanh, [[3.0]], loss=nn.MSELoss(), target=[[1.0]])
    with pytest.raises(ValueError, match="a target belongs to a loss"):
        nnx.explain(first, [[3.0]], target=[[1.0]])


# ---- long sums, digits, what is asked for ----


def test_long_sums_are_cut_honestly():
    rng = np.random.default_rng(0)
    layer = nn.Linear(784, 2, dtype="float64")
    x = rng.standard_normal((1, 784))
    page = nnx.explain(layer, x)
    line = page.equalities[0]
    (rest,) = line.rests
    assert (rest.terms, rest.of, rest.name) == (782, 785, "R")
    assert line.rows[0].text.count("·") == 3 and line.rows[0].text.endswith("+ R")
    w, b = np.asarray(layer.weight.data), np.asarray(layer.bias.data)
    three = float(x[0, :3] @ w[0, :3])
    assert rest.number == pytest.approx(float(x[0] @ w[0] + b[0]) - three)
    assert "R = " in str(page) and "the other 782 of 785 terms" in str(page)
    assert "784 项" not in str(page) and len(page.lines) < 120 and page.holds


def test_digits():
    layer = given(nn.Linear(1, 1, bias=False, dtype="float64"), weight=[[1 / 3]])
    x = np.array([[3.0]])
    assert nnx.explain(layer, x, digits=3).equalities[0].rows[1].text == "3·0.333"
    # 1 - 0.99999 would be 1 - 1 with four digits: more are shown
    loss = nnx.explain(nn.L1Loss(), np.array([1.0]), np.array([0.99999]))
    assert "1 - 0.99999" in loss.equalities[0].rows[1].text


def test_what_is_spelled_out():
    layer, x = nn.Linear(3, 2), np.ones((2, 3), "float32")
    names = [e.name for e in nnx.explain(layer, x, at=(1, -1)).equalities]
    assert names[0] == "y[1, 1]"
    names = [e.name for e in nnx.explain(layer, x, at={"dW": (1, 2), "db": 1}).equalities]
    assert names[2:4] == ["dW[1, 2]", "db[1]"]
    with pytest.raises(IndexError, match=r"y of shape \(2, 2\) has no element \(2, 0\)"):
        nnx.explain(layer, x, at=(2, 0))
    with pytest.raises(ValueError, match="at names dV; what is spelled out is y, dx, dW, db"):
        nnx.explain(layer, x, at={"dV": (0, 0)})


def test_the_upstream_gradient():
    layer, x = nn.Linear(3, 2), np.ones((2, 3), "float32")
    with pytest.raises(ValueError, match=r"shape of the output, \(2, 2\); it has \(2, 3\)"):
        nnx.explain(layer, x, gradient=np.ones((2, 3)))
    assert "is given" in str(nnx.explain(layer, x, gradient=nnx.tensor(np.ones((2, 2)))))
    assert "None was" in str(nnx.explain(layer, x))


def test_bad_input_gets_a_clear_error():
    layer, x = nn.Linear(3, 2), np.ones((2, 3), "float32")
    with pytest.raises(ValueError, match=r"language must be one of en, zh; 'de'"):
        nnx.explain(layer, x, language="de")
    with pytest.raises(TypeError, match="a module or an operation, not int"):
        nnx.explain(3, x)
    with pytest.raises(ValueError, match="digits must be at least 2, got 1"):
        nnx.explain(layer, x, digits=1)
    with pytest.raises(ValueError, match=r"input 0 is not finite everywhere.*shape \(2, 3\)"):
        nnx.explain(layer, x * np.inf)
    with pytest.raises(ValueError, match=r"nothing in input 0 of shape \(0, 3\)"):
        nnx.explain(layer, x[:0])
    with pytest.raises(ValueError, match=r"linear: x must be"):  # what the layer says itself
        nnx.explain(layer, np.ones((2, 4), "float32"))
    with pytest.raises(TypeError, match="argmax must return a tensor of floating-point numbers"):
        nnx.explain(nnx.argmax, x)


@pytest.mark.parametrize(
    "layer, inputs, what",
    [
        (nnx.log, ([0.0, 1.0],), "what log computes"),
        (nnx.sqrt, ([0.0, 1.0],), "the gradient of input 0 in sqrt"),
        (nn.CrossEntropyLoss(), ([[1.0, 2.0]], [-100]), "what CrossEntropyLoss computes"),
    ],
)
def test_what_cannot_be_calculated_by_hand_is_refused(layer, inputs, what):
    with pytest.raises(ValueError, match=f"explain: {what} is not finite everywhere"):
        nnx.explain(layer, *inputs)


def test_rounding_is_not_taken_for_a_fault():
    """Far from 0 the float32 numbers have few digits after the mean is taken off."""
    x = (np.random.default_rng(0).standard_normal((4, 3)) + 1000).astype("float32")
    page = nnx.explain(nn.BatchNorm1d(3), x)
    assert page.holds and "the rounding of the dtype (ε = 1.2e-07)" in " ".join(str(page).split())


def test_random_numbers_that_depend_on_the_dtype_are_not_compared():
    page = nnx.explain(nn.RReLU(), np.array([-1.0, -2.0, 3.0], "float32"))
    assert page.holds and "draws other random numbers" in str(page)


def test_numbers_between_are_evaluated_twice_too():
    """Those that no layer shows, but what is only another name for g."""
    for name in ("rnn", "lstm", "gru", "gru, reset before", "batch_norm", "cross_entropy", "mse"):
        page = explained(name)
        once = [e for e in page.equalities if e.layer is None]
        assert all(len(e.rows) == 2 and e.rows[0].text.startswith("g[") for e in once), name


def test_a_wrong_number_between_does_not_hold(monkeypatch):
    known = FUNCTIONS_OF_NUMBERS["tanh"]
    wrong = dataclasses.replace(known, compute=lambda x: 1.001 * math.tanh(x))
    monkeypatch.setitem(FUNCTIONS_OF_NUMBERS, "tanh", wrong)
    assert "c̃[1, 0, 0]" in [getattr(fault, "name", "") for fault in explained("lstm").faults]


def test_layers_that_are_not_what_the_derivation_is_of():
    """A subclass with a forward of its own, and options that change the formula."""

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    x = np.ones((2, 3), "float32")
    for layer, inputs in (
        (Doubled(3, 2), (x,)),
        (nn.Conv2d(1, 1, 2, padding=1, padding_mode="reflect"), (np.ones((1, 3, 3), "float32"),)),
        (nn.RNN(3, 2), (np.ones((2, 1, 3), "float32"), None, [2])),
        (nn.LSTM(3, 2, 2, dropout=0.5), (np.ones((2, 1, 3), "float32"),)),
        (nn.CrossEntropyLoss([1.0, 2.0, 1.0], label_smoothing=0.1), (x * [[1, -2, 1]], [0, 2])),
        (nn.BCEWithLogitsLoss(pos_weight=[2.0, 1.0, 1.0]), (x, np.zeros((2, 3)))),
        (nn.Embedding(3, 2, max_norm=1.0), ([0, 1],)),
    ):
        page = nnx.explain(layer, *inputs)
        assert "has no derivation here" in str(page) and page.holds, str(page)


def test_kinks_are_said():
    page = nnx.explain(nn.ReLU(), np.array([0.0, 1.0, -1.0]), at={"dx": (0,)})
    text = " ".join(str(page).split())
    assert page.holds and "has a kink, with the slope 0 on the left and 1 on the right" in text
    page = nnx.explain(nn.MaxPool1d(2), np.zeros((1, 4)))
    assert page.holds and "at a kink: " in str(page)


# ---- a layer that is wrong ----

FUNCTIONS = {
    "linear": (Linear, "dx"),
    "conv2d": (Conv2d, "dx"),
    "conv1d": (Conv2d, "dx"),
    "max_pool": (MaxPool2d, "dx"),
    "avg_pool": (AvgPool2d, "dx"),
    "batch_norm": (BatchNorm, "dx"),
    "batch_norm in evaluation": (BatchNormInference, "dx"),
    "layer_norm": (LayerNorm, "dx"),
    "group_norm": (GroupNorm, "dx"),
    "dropout": (Dropout, "dx"),
    "flatten": (Reshape, "dx"),
    "embedding": (Embedding, "dW"),
    "rnn": (RNN, "dx"),
    "lstm": (LSTM, "dx"),
    "gru": (GRU, "dx"),
    "softmax": (Softmax, "dx"),
    "log_softmax": (LogSoftmax, "dx"),
    "cross_entropy": (CrossEntropy, "dx"),
    "nll": (NegativeLogLikelihood, "dx"),
    "mse": (ElementwiseLoss, "dx"),
    "bce": (BinaryCrossEntropy, "dx"),
}


def spoiled(method, which, change):
    """A method whose result, or the given one of its results, is changed."""

    def wrong(self, *arrays):
        result = method(self, *arrays)
        if not isinstance(result, tuple):
            return change(result)
        return tuple(change(a) if k == which and a is not None else a for k, a in enumerate(result))

    return wrong


def scaled(a):
    return a * 1.001


def last_element(a):
    a = a.copy()
    a[(-1,) * a.ndim] += 0.01
    return a


@pytest.mark.parametrize("change", [scaled, pytest.param(last_element, marks=pytest.mark.ci)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wrong_backward_does_not_hold(name, change, monkeypatch):
    """Wrong by a thousandth in all elements, or in the last one alone: the derivation's own line
    says so, and so do the differences."""
    function, gradient = FUNCTIONS[name]
    monkeypatch.setattr(function, "backward", spoiled(function.backward, 0, change))
    page = explained(name)
    assert not page.holds
    text = str(page)
    assert "✗" in text and "lines do not hold" in text and text.count("✗") >= 3
    wrong = [line.name for line in page.faults if isinstance(line, nnx.explanation.Equality)]
    assert wrong and all(name.startswith(gradient) for name in wrong), wrong
    assert "不成立" in str(explained(name, language="zh"))
    ET.fromstring(page._repr_html_())


@pytest.mark.parametrize("which, gradient", [(1, "dW"), (2, "db")])
def test_a_wrong_gradient_of_a_parameter_does_not_hold(which, gradient, monkeypatch):
    for name, function in (("linear", Linear), ("conv2d", Conv2d)):
        monkeypatch.setattr(function, "backward", spoiled(function.backward, which, scaled))
        assert {f.name[:2] for f in explained(name).faults if hasattr(f, "name")} == {gradient}


@pytest.mark.parametrize(
    "name, function",
    [
        ("rnn of one step", RNN),
        ("gru from a state", GRU),
        ("gru, reset before, from a state", GRU),
    ],
)
def test_a_wrong_gradient_of_the_first_state_does_not_hold(name, function, monkeypatch):
    monkeypatch.setattr(function, "backward", spoiled(function.backward, 1, scaled))
    assert {f.name[:3] for f in explained(name).faults if hasattr(f, "name")} == {"dh0"}


@pytest.mark.parametrize(
    "function, name",
    [
        (Linear, "linear"),
        (Sigmoid, None),
        (Tanh, None),
        (Conv2d, "conv2d"),
        (Softmax, "softmax"),
        (LSTM, "lstm"),
    ],
)
def test_a_wrong_forward_does_not_hold(function, name, monkeypatch):
    monkeypatch.setattr(function, "forward", spoiled(function.forward, 0, scaled))
    if name is None:
        layer = {"Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh}[function.__name__]()
        page = nnx.explain(layer, np.array([0.5, 1.0]))
    else:
        page = explained(name)
    assert page.faults and page.faults[0].name.startswith("y")


def test_a_wrong_layer_in_a_model_is_named(monkeypatch):
    monkeypatch.setattr(Tanh, "backward", spoiled(Tanh.backward, 0, scaled))
    page = explained("sequential")
    at = page.steps.index(page.faults[0])
    headings = [s.text for s in page.steps[:at] if hasattr(s, "level") and "Layer" in s.text]
    assert headings[-1] == "Layer 2 of 4: (1) Tanh()"


def test_a_wrong_vjp_without_a_derivation_is_found(monkeypatch):
    monkeypatch.setattr(Linear, "backward", spoiled(Linear.backward, 1, scaled))
    assert not explained("no derivation").holds


# ---- nothing is touched ----


@pytest.mark.parametrize(
    "name", ["batch_norm", "dropout", "sequential", "lstm", "bigru", "embedding"]
)
def test_the_layer_is_as_it_was(name):
    layer, inputs = called_with(name)
    calls = []
    layer.register_forward_hook(lambda *a: calls.append("forward"))
    layer.register_forward_pre_hook(lambda *a: calls.append("before"))
    layer.register_full_backward_hook(lambda *a: calls.append("backward"))
    parameters = list(layer.parameters())
    for p in parameters[:1]:
        p.requires_grad_(False)
    for p in parameters[1:]:
        p.grad = np.full(p.shape, 7.0)
    nnx.manual_seed(5).uniform((3,))
    generator = nnx.random.default_generator()

    def state():
        return (
            [(p.data.copy(), p.requires_grad, p.grad is None or p.grad.copy()) for p in parameters],
            [b.copy() for b in layer.buffers()],
            [m.training for m in layer.modules()],
            generator.state(),
            [a.copy() for a in inputs],
            nnx.is_grad_enabled(),
        )

    before = state()
    for _ in range(2):
        with nnx.no_grad():
            str(nnx.explain(layer, *inputs))
    np.testing.assert_equal(state(), before)
    assert not calls and nnx.random.default_generator() is generator


def test_the_mask_is_what_the_layer_draws_next():
    nnx.manual_seed(1)
    layer, x = nn.Dropout(0.5), np.ones((4, 5))
    page = nnx.explain(layer, x)
    (mask,) = [s.array for s in page.steps if getattr(s, "name", "") == "m"]
    np.testing.assert_array_equal(mask, layer(nnx.tensor(x)).numpy() / 2)


def test_an_input_on_the_tape_is_left_alone():
    x = nnx.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    nnx.explain(nn.Linear(3, 2), x * 2)
    assert x.grad is None


# ---- two languages ----

CODE = Path(nnx.explanation.__file__).parent


def test_both_languages_have_the_same_sentences():
    english, chinese = SENTENCES["en"], SENTENCES["zh"]
    assert list(english) == list(chinese)

    def parts(text):
        return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)

    assert {k: parts(v) for k, v in english.items()} == {k: parts(v) for k, v in chinese.items()}


def test_every_sentence_is_used():
    code = "".join(path.read_text("utf-8") for path in CODE.rglob("*.py"))
    used = set(re.findall(r'"([a-z_0-9]+)"', code))
    assert not SENTENCES["en"].keys() - used


def test_the_texts_own_words():
    text = str(explained("linear", language="zh")) + str(explained("lstm", language="zh"))
    for term in ("前向传播", "反向传播", "链式法则", "上游梯度", "遗忘门", "权重", "数值微分"):
        assert term in text


def test_the_room_is_loaded_when_it_is_used_first():
    assert "explain" in dir(nnx) and nnx.explain is nnx.explanation.explain


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(2), nn.GroupNorm(1, 2)], ids=repr
)
def test_of_a_long_sum_those_terms_are_made_that_are_printed(layer, monkeypatch):
    """A batch of larger images takes no more expressions; its sums are evaluated as arrays."""
    made = []
    init = Num.__init__

    def counted(self, *args, **named):
        made.append(1)
        init(self, *args, **named)

    monkeypatch.setattr(Num, "__init__", counted)
    counts = []
    for size in (8, 32):
        made.clear()
        x = np.random.default_rng(0).standard_normal((2, 2, size, size)).astype("f4")
        assert nnx.explain(layer, x).holds
        counts.append(len(made))
    assert counts[1] < 1.2 * counts[0] + 100, counts


def test_sums_of_terms_alike_are_sums_of_their_terms():
    """Number, error, what is printed and what is left out, of few terms and of many."""
    rng = np.random.default_rng(0)
    x = Named("x", rng.standard_normal((6, 5)), rng.uniform(0, 1e-7, (6, 5)))
    mean = Made("μ", (6,), lambda k: total([x[k[0], j] for j in range(5)]) / 5.0, 1e-7)
    for rows in (2, 6):

        def term(i):
            return (x[i] - mean[i[0]]) * call("square", x[i]) * call("tanh", x[i])

        where = box(range(rows), range(5))
        more = Num(3.0, 1e-7, "b")
        plain = total(
            [term(at) for at in zip(*map(np.ndarray.tolist, where), strict=True)] + [more]
        )
        joined = alike(term, where, more)
        assert joined.value(1e-7) == plain.value(1e-7)
        rests = [], []
        short = [abridged(e, 1e-7, r) for e, r in zip((joined, plain), rests, strict=True)]
        assert rests[0] == rests[1] and len(joined) == 5 * rows + 1
        for names in (True, False):
            one, two = (Writing(names, 4).text(e) for e in short)
            assert one == two
