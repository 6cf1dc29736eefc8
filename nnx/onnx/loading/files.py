"""A file of ONNX: read, held to what it promises, its tensors as NumPy arrays."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from ...io.limits import CorruptFile
from ...io.reading import open_file
from .control import Body, captured
from .node import LoadError, Node

KINDS = {
    *(TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BOOL),
    *(TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64),
    *(TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64),
}


def read_model(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The model in a file, accepted by ONNX's checker.

    Raises:
        OSError: there is no such file, or it cannot be read.
        CorruptFile: it is damaged, or no model.
    """
    with open_file(path) as file:
        content = file.read()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise CorruptFile(f"{path}: no file of ONNX, or a damaged one") from None
    if not model.HasField("graph") or not model.opset_import:
        raise CorruptFile(f"{path}: no model of ONNX: it has no graph, or names no opset")
    return model


def check(path: str | os.PathLike[str], model: onnx.ModelProto) -> None:
    """Raise CorruptFile where ONNX's checker refuses a model whose tensors are all in it."""
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker's own, and whatever its C++ raises on damaged files
        said = " ".join(str(error).split())
        raise CorruptFile(f"{path}: no valid model of ONNX: {said:.300}") from None


def array(path: str | os.PathLike[str], tensor: TensorProto) -> np.ndarray:
    """The values of a tensor, from the file itself or one beside it.

    Raises:
        LoadError: of a dtype that NumPy has not.
        CorruptFile: the values are not as many as the shape says; they stand in a file that is
            outside the model's folder, or too short.
    """
    name = tensor.name[:200]
    if tensor.data_type not in KINDS:
        kinds = TensorProto.DataType
        known = tensor.data_type in kinds.values()
        kind = kinds.Name(tensor.data_type) if known else tensor.data_type
        if not known:
            raise CorruptFile(f"{path}: tensor {name!r}: there is no dtype {kind}")
        raise LoadError(f"onnx.load: tensor {name!r}: the dtype {kind} is not one of NumPy's")
    shape = tuple(tensor.dims)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if any(n < 0 for n in shape):
        raise CorruptFile(f"{path}: tensor {name!r}: a negative length in its shape {shape}")
    expected = math.prod(shape) * dtype.itemsize
    if tensor.data_location == TensorProto.EXTERNAL:
        values = np.frombuffer(_beside(path, tensor, expected), dtype.newbyteorder("<"))
        return values.astype(dtype).reshape(shape)
    if tensor.HasField("raw_data") and len(tensor.raw_data) != expected:
        raise CorruptFile(
            f"{path}: tensor {name!r}: {shape} of {dtype} takes {expected} bytes, it has "
            f"{len(tensor.raw_data)}"
        )
    try:
        return np.array(numpy_helper.to_array(tensor)).reshape(shape)
    except Exception as error:  # whatever onnx's reader makes of values that do not fit
        said = " ".join(str(error).split())
        raise CorruptFile(f"{path}: tensor {name!r} of shape {shape}: {said:.200}") from None


def _beside(path: str | os.PathLike[str], tensor: TensorProto, expected: int) -> bytes:
    """The bytes of a tensor that stand in another file of the model's folder."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    fault = f"{path}: tensor {tensor.name[:200]!r}: external data"
    location = where.get("location", "")
    folder = Path(path).parent.resolve()
    try:
        target = (folder / location).resolve()
        offset, length = int(where.get("offset", 0)), int(where.get("length", expected))
    except (OSError, ValueError, RuntimeError):
        raise CorruptFile(f"{fault}: its place cannot be read: {location[:200]!r}") from None
    whole = folder / os.path.normpath(location)
    if not location or target != whole or not target.is_relative_to(folder):
        raise CorruptFile(f"{fault} outside of the model's folder: {location[:200]!r}")
    if length != expected or offset < 0:
        raise CorruptFile(
            f"{fault}: {length} bytes from {offset} in {location[:200]!r}, its shape "
            f"{tuple(tensor.dims)} takes {expected}"
        )
    try:
        with open_file(target) as file:
            if os.fstat(file.fileno()).st_size < offset + length:
                raise CorruptFile(
                    f"{fault}: {location[:200]!r} has fewer than {offset + length} bytes"
                )
            file.seek(offset)
            return file.read(length)
    except OSError as error:
        raise CorruptFile(f"{fault}: {location[:200]!r}: {error.strerror}") from None


def nodes(path: str | os.PathLike[str], model: onnx.ModelProto) -> list[Node]:
    """The operators of a model's graph.

    Raises:
        LoadError: one belongs to another domain than ONNX's own, or is made of a function.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    return _nodes(path, model.graph, opset)


def _nodes(path: str | os.PathLike[str], graph: onnx.GraphProto, opset: int) -> list[Node]:
    found = []
    for proto in graph.node:
        if proto.domain not in ("", "ai.onnx"):
            raise LoadError(f"onnx.load: {proto.domain}.{proto.op_type}: not one of ONNX's own")
        attributes = {a.name: _attribute(path, proto, a, opset) for a in proto.attribute}
        found.append(
            Node(
                proto.op_type,
                proto.name,
                tuple(proto.input),
                tuple(proto.output),
                attributes,
                opset,
            )
        )
    return found


def _attribute(path: str | os.PathLike[str], proto: Any, attribute: Any, opset: int) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, TensorProto):
        if value.data_type == TensorProto.STRING:
            raise LoadError(f"onnx.load: {proto.op_type}: a tensor of texts")
        return array(path, value)
    if isinstance(value, onnx.GraphProto):
        return _body(path, value, opset)
    if isinstance(value, float | int | str):
        return value
    if isinstance(value, Iterable):
        parts = list(value)
        if all(isinstance(v, bytes) for v in parts):
            return [v.decode("utf-8", "replace") for v in parts]
        if all(isinstance(v, float | int) for v in parts):
            return parts
    raise LoadError(f"onnx.load: {proto.op_type}: its {attribute.name} holds graphs or types")


def _body(path: str | os.PathLike[str], graph: onnx.GraphProto, opset: int) -> Body:
    """A graph inside an operator; its initialisers are constants."""
    arrays = {t.name: array(path, t) for t in graph.initializer}
    made = [*constants(arrays), *_nodes(path, graph, opset)]
    inputs = [v.name for v in graph.input if v.name not in arrays]
    outputs = [v.name for v in graph.output]
    return Body(made, inputs, outputs, captured(made, inputs, outputs))


def constants(arrays: dict[str, np.ndarray]) -> list[Node]:
    """Arrays by name as operators."""
    return [Node("Constant", "", (), (n,), {"value": a}, 20) for n, a in arrays.items()]
