"""Files of an attacker: cut, changed, pointing elsewhere; each a clear error, and soon."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from onnx_cases import normal

import nnx
from nnx import nn
from nnx.io import CorruptFile

onnx = pytest.importorskip("onnx")
ERRORS = (CorruptFile, nnx.onnx.LoadError)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    layers = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4))
    nnx.onnx.export(layers, normal(2, 6), path)
    return path


def test_500_changed_files_are_refused_or_read(model, tmp_path):
    """Bytes changed, cut out, doubled, or the end cut off."""
    whole = model.read_bytes()
    draw = np.random.default_rng(3)
    path = tmp_path / "changed.onnx"
    read = 0
    for k in range(500):
        data = bytearray(whole)
        at, many = int(draw.integers(len(data))), int(draw.integers(1, 9))
        if k % 4 == 0:
            data[at : at + many] = draw.integers(0, 256, many, np.uint8).tobytes()
        elif k % 4 == 1:
            del data[at : at + many]
        elif k % 4 == 2:
            data[at:at] = data[at : at + many]
        else:
            del data[at:]
        path.write_bytes(bytes(data))
        began = time.monotonic()
        try:
            nnx.onnx.load(path)
            read += 1
        except ERRORS as error:
            assert 10 < len(str(error)) < 1000
        assert time.monotonic() - began < 1
    assert 0 < read < 500


def changed(path: Any, change: Any) -> Any:
    proto = onnx.load(str(path))
    change(proto)
    path.write_bytes(proto.SerializeToString())
    return path


def elsewhere(**where: str) -> Any:
    """The first tensor's values in another file."""

    def change(proto: Any) -> None:
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in where.items():
            tensor.external_data.add(key=key, value=value)

    return change


def huge(proto: Any) -> None:
    proto.graph.initializer[0].dims[:] = [2**40, 2**20]


def negative(proto: Any) -> None:
    proto.graph.initializer[0].dims[:] = [-5, 6]


def circle(proto: Any) -> None:
    proto.graph.node[0].input[0] = proto.graph.node[-1].output[0]


def no_dtype(proto: Any) -> None:
    proto.graph.initializer[0].data_type = 99


def no_graph(proto: Any) -> None:
    proto.ClearField("graph")


@pytest.mark.parametrize(
    "change, message",
    [
        (huge, "takes .* bytes, it has 120"),
        (negative, "negative length"),
        (circle, "topologically sorted"),
        (no_dtype, "there is no dtype 99"),
        (no_graph, "no graph"),
        (elsewhere(location="../secret"), "outside of the model's folder"),
        (elsewhere(location="/etc/passwd"), "outside of the model's folder"),
        (elsewhere(location=""), "outside of the model's folder"),
        (elsewhere(location="beside\0"), "cannot be read"),
        (elsewhere(location="missing"), "No such file"),
        (elsewhere(location="beside", offset="4"), "fewer than 124 bytes"),
        (elsewhere(location="beside", offset="-4"), "bytes from -4"),
        (elsewhere(location="beside", length="1000000000000"), "1000000000000 bytes from 0"),
        (elsewhere(location="beside", offset="many"), "cannot be read"),
        (elsewhere(location="link"), "outside of the model's folder"),
    ],
)
def test_what_a_file_must_not_say(model, change, message):
    (model.parent / "beside").write_bytes(bytes(120))
    (model.parent / "link").symlink_to("/etc/hostname")
    with pytest.raises(CorruptFile, match=message):
        nnx.onnx.load(changed(model, change))


def test_values_in_a_file_beside_are_read(model):
    values = np.arange(30, dtype="<f4")
    (model.parent / "beside").write_bytes(b"1234" + values.tobytes())
    found = nnx.onnx.load(changed(model, elsewhere(location="beside", offset="4", length="120")))
    name = onnx.load(str(model), load_external_data=False).graph.initializer[0].name
    np.testing.assert_array_equal(found.state_dict()[name].reshape(-1), values)


def test_no_file_of_onnx(tmp_path):
    for content in (b"", b"not a model", bytes(1000)):
        path = tmp_path / "other.onnx"
        path.write_bytes(content)
        with pytest.raises(CorruptFile, match="ONNX"):
            nnx.onnx.load(path)
    with pytest.raises(IsADirectoryError):
        nnx.onnx.load(tmp_path)
