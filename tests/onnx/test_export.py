"""`nnx.onnx.export`: every layer and people's own models, run by other runtimes."""

from __future__ import annotations

import copy
import inspect
import json
from typing import Any

import numpy as np
import pytest
from onnx_cases import LAYERS, MODELS, REFERENCE_LACKS, REFUSED, Residual, TimeFirst, normal

import nnx
from nnx import nn

onnx = pytest.importorskip("onnx")
CASES = LAYERS | MODELS
EVERYDAY = ["Linear", "BatchNorm2d", "LSTM states", "GRU lengths first=True", "Residual"]


def flat(x: Any) -> list[np.ndarray]:
    """The arrays in a nest, in order."""
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, list | tuple):
        return [a for part in x for a in flat(part)]
    if x is None:
        return []
    return [x.detach().numpy() if isinstance(x, nnx.Tensor) else np.asarray(x)]


def wrapped(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(wrapped(part) for part in x)
    return nnx.Tensor(x) if isinstance(x, np.ndarray) else x


def expected(model: nn.Module, arrays: tuple[Any, ...]) -> list[np.ndarray]:
    twin = copy.deepcopy(model).eval()
    with nnx.no_grad():
        return flat(twin(*wrapped(arrays)))


def runtimes(path: Any, reference: bool) -> dict[str, Any]:
    """By name, functions of the inputs by their names."""
    found: dict[str, Any] = {}
    try:
        import onnxruntime
    except ImportError:
        pass
    else:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        found["ONNX Runtime"] = lambda feeds: session.run(None, feeds)
    if reference:
        from onnx.reference import ReferenceEvaluator

        found["reference"] = lambda feeds: ReferenceEvaluator(str(path)).run(None, feeds)
    return found


def agree(path: Any, model: nn.Module, make: Any, sizes: Any, reference: bool) -> None:
    """All runtimes, and the file loaded again, give what the model gives."""
    again = nnx.onnx.load(path)
    names = [v.name for v in onnx.load(str(path)).graph.input]
    ran = runtimes(path, reference)
    for n in sizes:
        arrays = make(n)
        want = expected(model, arrays)
        given = flat(arrays)
        ran["loaded"] = lambda feeds: flat(again(*[nnx.Tensor(a) for a in feeds.values()]))
        for who, run in ran.items():
            with np.errstate(all="ignore"):
                got = run(dict(zip(names, given, strict=True)))
            assert len(got) == len(want), who
            for y, e in zip(got, want, strict=True):
                assert y.shape == e.shape and y.dtype == e.dtype, (who, n, y.shape, e.shape)
                np.testing.assert_allclose(y, e, rtol=2e-5, atol=3e-6, err_msg=f"{who}, batch {n}")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in EVERYDAY else pytest.mark.ci) for n in CASES]
)
def test_other_runtimes_agree(tmp_path, name):
    """At batch sizes that were never run for the export, 1 among them."""
    make_model, make = CASES[name]
    model = make_model().train()
    path = tmp_path / "model.onnx"
    nnx.onnx.export(model, make(2), path)
    assert model.training
    agree(path, model, make, (1, 2, 7), name not in REFERENCE_LACKS)


def test_every_layer_is_here():
    """But for what computes nothing itself."""
    modules = {
        name
        for name in nn.__all__
        if inspect.isclass(getattr(nn, name)) and issubclass(getattr(nn, name), nn.Module)
    }
    modules -= {
        "Module",
        "ModuleDict",
        "ModuleList",
        "ParameterDict",
        "ParameterList",
        "Sequential",
    }
    assert modules - {name.partition(" ")[0] for name in LAYERS} == set(REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_layers_that_cannot_be_written_say_why(tmp_path, name):
    make_model, make, message = REFUSED[name]
    with pytest.raises(nnx.onnx.ExportError, match=f"{name}: {message}"):
        nnx.onnx.export(make_model(), make(2), tmp_path / "model.onnx")


@pytest.mark.parametrize("opset", [13, 17, 21, 24])
@pytest.mark.ci
def test_older_and_newer_opsets(tmp_path, opset):
    """Operators are written as they were then: axes, GELU, layer and group norm."""
    model = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.GELU(), nn.Flatten(), nn.LayerNorm(36)),
        *(nn.Mish(), nn.Linear(36, 3), nn.Softmax()),
    )
    path = tmp_path / "model.onnx"
    nnx.onnx.export(model, normal(2, 2, 5, 5), path, opset=opset)
    assert onnx.load(str(path)).opset_import[0].version == opset
    agree(path, model, lambda n: (normal(n, 2, 5, 5),), (1, 3), True)


def test_initialisers_are_named_as_in_the_state(tmp_path):
    model = Residual()
    path = tmp_path / "model.onnx"
    nnx.onnx.export(model, normal(2, 4), path)
    proto = onnx.load(str(path))
    assert {t.name for t in proto.graph.initializer} == set(model.state_dict())
    assert json.loads(proto.metadata_props[0].value) == ["shift"]
    again = nnx.onnx.load(path)
    assert {n for n, _ in again.named_parameters()} == {n for n, _ in model.named_parameters()}
    assert [n for n, _ in again.named_buffers()] == ["shift"]
    for key, value in again.state_dict().items():
        np.testing.assert_array_equal(value, model.state_dict()[key])


def test_inputs_outputs_and_the_batch_have_names(tmp_path):
    path = tmp_path / "model.onnx"
    nnx.onnx.export(
        TimeFirst(), np.zeros((5, 2), np.int64), path, input_names=["w"], output_names=["scores"]
    )
    graph = onnx.load(str(path)).graph
    shapes = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.input, *graph.output)
    }
    assert shapes == {"w": [5, "batch"], "scores": ["batch", 2]}


def test_without_a_dynamic_batch_the_shapes_are_kept(tmp_path):
    path = tmp_path / "model.onnx"
    nnx.onnx.export(nn.Linear(4, 3), normal(2, 4), path, dynamic_batch=False)
    dims = onnx.load(str(path)).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [2, 4]


def test_the_model_and_its_modes_are_left_alone(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout())
    model[1].eval()
    before = {k: np.array(v) for k, v in model.state_dict().items()}
    arrays = {k: id(v) for k, v in model.state_dict().items()}
    nnx.onnx.export(model, normal(3, 4), tmp_path / "model.onnx")
    assert [m.training for m in model] == [True, False, True]
    assert {k: id(v) for k, v in model.state_dict().items()} == arrays
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the old one")
    with pytest.raises(nnx.onnx.ExportError):
        nnx.onnx.export(Deciding(), normal(2, 4), path)
    assert path.read_bytes() == b"the old one" and list(tmp_path.iterdir()) == [path]


class Deciding(nn.Module):
    def forward(self, x: nnx.Tensor) -> nnx.Tensor:
        return x if float(nnx.sum(x)) > 0 else -x


class Looping(nn.Module):
    def forward(self, x: nnx.Tensor) -> nnx.Tensor:
        return nnx.stack([row * 2 for row in x])


class Halving(nn.Module):
    def forward(self, x: nnx.Tensor) -> nnx.Tensor:
        return x[: x.shape[0] // 2]


class Picking(nn.Module):
    def forward(self, x: nnx.Tensor) -> nnx.Tensor:
        return x[x > 0]


class Fixed(nn.Module):
    def forward(self, x: nnx.Tensor) -> nnx.Tensor:
        return x * nnx.Tensor(np.arange(x.shape[0], dtype="float32")[:, None] ** 2)


@pytest.mark.parametrize(
    "module, message",
    [
        (Deciding, r"1 \(Deciding\): it looks at the values"),
        (Looping, r"1 \(Looping\).*which operations there are depends on the batch"),
        (Halving, r"1 \(Halving\).*not as a N \+ b: 1 at 2, 1 at 3, 2 at 5"),
        (Picking, r"1 \(Picking\): a mask picks"),
        (Fixed, r"1 \(Fixed\).*a constant of shape \(2, 1\) was made for one batch size"),
    ],
)
def test_what_cannot_be_written_names_the_layer_and_the_reason(tmp_path, module, message):
    model = nn.Sequential(nn.Linear(4, 4), module())
    with pytest.raises(nnx.onnx.ExportError, match=message):
        nnx.onnx.export(model, normal(2, 4), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"opset": 12}, ValueError, "opset must be from 13"),
        ({"input_names": ["a", "b"]}, ValueError, "input_names must be 1 different"),
        ({"output_names": ["weight"]}, ValueError, "'weight' is a name of the state"),
        ({"batch_axes": [0, 0]}, ValueError, "batch_axes must be 1"),
        ({"example_inputs": np.zeros((2, 5), "float32")}, ValueError, "linear"),
        ({"module": 3}, TypeError, "needs a Module, got int"),
        ({"example_inputs": {"x": {1, 2}}}, TypeError, "x must be a tensor.*not set"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path, arguments, error, message):
    given = {"module": nn.Linear(4, 3), "example_inputs": normal(2, 4), **arguments}
    with pytest.raises(error, match=message):
        nnx.onnx.export(path=tmp_path / "model.onnx", **given)


def test_a_model_on_another_backend(tmp_path):
    pytest.importorskip("array_api_strict")
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    arrays = normal(3, 4)
    want = expected(model, (arrays,))
    path = tmp_path / "model.onnx"
    nnx.onnx.export(model.to("array_api_strict"), nnx.Tensor(arrays).to("array_api_strict"), path)
    np.testing.assert_allclose(flat(nnx.onnx.load(path)(arrays))[0], want[0], rtol=1e-6)


@pytest.mark.parametrize("form", ["tuple", "list", "names", "mixed"])
def test_ways_of_giving_the_inputs(tmp_path, form):
    layer, x, h = nn.GRU(3, 4), normal(5, 2, 3), normal(1, 2, 4)
    given = {"tuple": (x, h), "list": [x, h], "names": {"x": x, "h_0": h}, "mixed": (x, {"h_0": h})}
    path = tmp_path / "model.onnx"
    nnx.onnx.export(layer, given[form], path)
    assert [v.name for v in onnx.load(str(path)).graph.input] == ["x", "h_0"]
    want = expected(layer, (x, h))
    np.testing.assert_allclose(flat(nnx.onnx.load(path)(x, h))[0], want[0], rtol=1e-5, atol=1e-6)


class Constants(nn.Module):
    """What depends on no input is computed once, with the values that it has."""

    def forward(self, x: nnx.Tensor) -> list[nnx.Tensor]:
        image = nnx.Tensor(np.arange(16, dtype="float32").reshape(1, 1, 4, 4))
        kernel = nnx.ones((1, 1, 2, 2))
        top, places = nnx.functional.max_pool2d(image, 2, return_indices=True)
        return [
            x * 1,
            *(top, places, nnx.functional.avg_pool2d(image, 2), image @ image),
            *(nnx.functional.conv2d(image, kernel), nnx.functional.linear(image, image[0, 0])),
            nnx.functional.conv_transpose2d(image, kernel, stride=2),
        ]


def test_constants_are_folded(tmp_path):
    path = tmp_path / "model.onnx"
    nnx.onnx.export(Constants(), normal(2, 3), path)
    assert {node.op_type for node in onnx.load(str(path)).graph.node} == {
        "Constant",
        "Identity",
        "Mul",
    }
    agree(path, Constants(), lambda n: (normal(n, 3),), (1, 2), True)
