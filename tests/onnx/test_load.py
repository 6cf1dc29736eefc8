"""`nnx.onnx.load`: files of any maker as modules that compute anywhere, and learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_cases import LAYERS, MODELS, normal

import nnx
from nnx import nn

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")


def file_of(
    path: Any,
    nodes: list[Any],
    inputs: dict[str, Any],
    outputs: dict[str, int],
    initialisers: dict[str, np.ndarray] | None = None,
    opset: int = 20,
) -> Any:
    """A model written by hand: shapes of its inputs, and ranks of its outputs, by name."""
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "by_hand",
        [info(name, 1, shape) for name, shape in inputs.items()],
        [info(name, 1, [None] * rank) for name, rank in outputs.items()],
        [onnx.numpy_helper.from_array(a, name) for name, a in (initialisers or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[] if n in ("Conv2d", "LSTM states") else pytest.mark.ci)
        for n in (*LAYERS, *MODELS)
        if not n.endswith("Loss")  # their gradients are those of their parts
    ],
)
def test_gradients_of_a_file_are_those_of_the_model(tmp_path, name):
    make_model, make = (LAYERS | MODELS)[name]
    model = make_model().eval()
    path = tmp_path / "model.onnx"
    arrays = make(3)
    nnx.onnx.export(model, arrays, path)
    again = nnx.onnx.load(path)

    def flat(x: Any) -> list[Any]:
        if isinstance(x, tuple | list | dict):
            parts = x.values() if isinstance(x, dict) else x
            return [a for part in parts for a in flat(part)]
        return [] if x is None else [x]

    def wrapped(x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(wrapped(part) for part in x)
        return x if x is None else nnx.Tensor(x)

    ours, theirs = flat(model(*wrapped(arrays))), flat(again(*map(nnx.Tensor, flat(arrays))))
    total, same = nnx.zeros(()), nnx.zeros(())
    for y, z in zip(ours, theirs, strict=True):
        if str(y.dtype).startswith("float"):
            g = nnx.Tensor(np.asarray(np.random.default_rng(1).standard_normal(y.shape), y.dtype))
            total, same = total + nnx.sum(y * g), same + nnx.sum(z * g)
    if not total.requires_grad:
        assert not list(again.parameters())
        return
    total.backward()
    same.backward()
    loaded = dict(again.named_parameters())
    for key, parameter in model.named_parameters():
        if parameter.grad is not None:
            atol = 2e-5 * float(np.abs(parameter.grad).max()) + 1e-9
            np.testing.assert_allclose(loaded[key].grad, parameter.grad, rtol=1e-4, atol=atol)


def test_a_file_computes_on_any_backend(tmp_path, backend):
    model = nn.Sequential(
        *(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(12, 4), nn.LayerNorm(4), nn.GELU()),
    ).eval()
    x = normal(3, 2, 4, 4)
    path = tmp_path / "model.onnx"
    nnx.onnx.export(model.to("numpy"), x, path)
    again = nnx.onnx.load(path)
    y = again(backend.tensor(x))
    assert type(y.data) is type(backend.asarray(x))
    with nnx.no_grad():
        want = model(nnx.Tensor(x)).numpy()
    np.testing.assert_allclose(backend.to_numpy(y), want, rtol=1e-4, atol=1e-5)
    nnx.sum(y * y).backward()
    assert all(p.grad is not None for p in again.parameters())


def test_a_loaded_model_learns(tmp_path):
    path = tmp_path / "model.onnx"
    nnx.onnx.export(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), normal(2, 3), path)
    model = nnx.onnx.load(path)
    optimizer = nnx.optim.Adam(model.parameters(), lr=0.05)
    x = nnx.Tensor(np.random.default_rng(0).standard_normal((32, 3)).astype("float32"))
    t = nnx.sum(x * x, axis=1, keepdims=True)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = nnx.functional.mse_loss(model(x), t)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
    second = tmp_path / "second.onnx"
    nnx.onnx.export(model, x.data, second)  # and is written again
    np.testing.assert_allclose(
        nnx.onnx.load(second)(x).detach().numpy(), model(x).detach().numpy(), rtol=1e-5, atol=1e-6
    )


def test_names_that_cannot_be_attributes_give_way(tmp_path):
    """Names of other makers: with slashes, of methods, one the beginning of another."""
    arrays = {n: normal(3) for n in ("forward", "a", "a.b", "onnx::Add_3", "x..y", "0.weight")}
    nodes = [
        helper.make_node("Add", ["x" if k == 0 else f"h{k}", name], [f"h{k + 1}"])
        for k, name in enumerate(arrays)
    ]
    path = file_of(tmp_path / "m.onnx", nodes, {"x": [3]}, {f"h{len(arrays)}": 1}, arrays)
    model = nnx.onnx.load(path)
    assert len(list(model.parameters())) == len(arrays)
    assert "0.weight" in model.state_dict() and "onnx::Add_3" in model.state_dict()
    x = normal(3)
    want = x + sum(arrays.values())
    np.testing.assert_allclose(model(nnx.Tensor(x)).detach().numpy(), want, rtol=1e-5, atol=1e-6)


def test_settings_and_statistics_do_not_learn(tmp_path):
    one = np.float32([1.0, 1.0])
    nodes = [
        helper.make_node("BatchNormalization", ["x", "g", "b", "mean", "var"], ["y"]),
        helper.make_node("Clip", ["y", "low"], ["z"]),
    ]
    arrays = {"g": one, "b": one, "mean": one, "var": one, "low": np.float32(0.5)}
    model = nnx.onnx.load(file_of(tmp_path / "m.onnx", nodes, {"x": [3, 2]}, {"z": 2}, arrays))
    assert {n for n, _ in model.named_parameters()} == {"g", "b"}
    assert {n for n, _ in model.named_buffers()} == {"mean", "var"}
    assert float(nnx.min(model(nnx.Tensor(normal(3, 2))))) >= 0.5


@pytest.mark.parametrize(
    "node, message",
    [
        (("NonMaxSuppression", ["x", "x"], ["y"]), "no operation for NonMaxSuppression"),
        (("Conv", ["x", "w"], ["y"]), None),
        (("Cast", ["x"], ["y"], {"to": 17}), "the dtype FLOAT8E4M3FN is not one of NumPy's"),
        (("RNN", ["x", "w", "w"], ["y"], {"activations": ["Affine"]}), "the activations Affine"),
        (("LSTM", ["x", "w", "w"], ["y"], {"clip": 3.0}), "clip=3.0"),
    ],
)
def test_what_nnx_has_not_is_named(tmp_path, node, message):
    op, inputs, outputs, *attributes = node
    made = helper.make_node(op, inputs, outputs, **(attributes[0] if attributes else {}))
    if op in ("RNN", "LSTM"):
        made.attribute.append(helper.make_attribute("hidden_size", 2))
    path = file_of(
        tmp_path / "m.onnx", [made], {"x": [1, 1, 1, 1]}, {"y": 4}, {"w": normal(1, 1, 1, 1)}
    )
    if message is None:
        nnx.onnx.load(path)
        return
    with pytest.raises(nnx.onnx.LoadError, match=message):
        nnx.onnx.load(path)(nnx.Tensor(normal(1, 1, 1, 1)))


def test_an_operator_of_somebody_else(tmp_path):
    node = helper.make_node("FusedConv", ["x"], ["y"], domain="com.microsoft")
    path = file_of(tmp_path / "m.onnx", [node], {"x": [2]}, {"y": 1})
    with pytest.raises(nnx.onnx.LoadError, match=r"com\.microsoft\.FusedConv"):
        nnx.onnx.load(path)


def test_errors_of_an_operator_name_it_and_the_shapes(tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    path = file_of(tmp_path / "m.onnx", [node], {"x": [None, None]}, {"y": 2}, {"w": normal(3, 2)})
    model = nnx.onnx.load(path)
    with pytest.raises(ValueError, match=r"MatMul 'product' of inputs \(2, 4\), \(3, 2\)"):
        model(nnx.Tensor(normal(2, 4)))
    with pytest.raises(TypeError, match=r"takes 1 inputs \(x\), got 2"):
        model(nnx.Tensor(normal(2, 4)), nnx.Tensor(normal(2, 4)))


def body(nodes: list[Any], inputs: list[tuple[str, int, list[Any]]], outputs: list[Any]) -> Any:
    info = helper.make_tensor_value_info
    return helper.make_graph(nodes, "body", [info(*i) for i in inputs], [info(*o) for o in outputs])


def test_graphs_inside_operators(tmp_path):
    """A loop h = tanh(h W), three times, whose steps are stacked; then a choice by the sum.

    The weight is read from outside of the loop, and learns through it.
    """
    turn = body(
        [
            helper.make_node("MatMul", ["h", "w"], ["z"]),
            helper.make_node("Tanh", ["z"], ["h_next"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["h_next"], ["seen"]),
        ],
        [("k", 7, []), ("go", 9, []), ("h", 1, [2, 2])],
        [("go_on", 9, []), ("h_next", 1, [2, 2]), ("seen", 1, [2, 2])],
    )
    same = body([helper.make_node("Identity", ["all"], ["same"])], [], [("same", 1, [3, 2, 2])])
    minus = body([helper.make_node("Neg", ["all"], ["minus"])], [], [("minus", 1, [3, 2, 2])])
    nodes = [
        helper.make_node("Loop", ["times", "", "x"], ["last", "all"], body=turn),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=same, else_branch=minus),
    ]
    w = normal(2, 2)
    arrays = {"w": w, "times": np.asarray(3), "zero": np.float32(0)}
    path = file_of(tmp_path / "m.onnx", nodes, {"x": [2, 2]}, {"y": 3}, arrays)
    model = nnx.onnx.load(path)
    for sign in (1, -1):
        h = x = sign * np.abs(normal(2, 2))
        steps = []
        for _ in range(3):
            h = np.tanh(h @ w)
            steps.append(h)
        y = model(nnx.Tensor(x))
        np.testing.assert_allclose(y.detach().numpy(), sign * np.stack(steps), rtol=1e-5, atol=1e-6)
        nnx.sum(y).backward()
    assert float(np.abs(model.get_parameter("w").grad).max()) > 0
