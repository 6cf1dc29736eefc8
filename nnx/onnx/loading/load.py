"""`nnx.onnx.load`."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from ...io.limits import CorruptFile
from ..export import need_onnx
from .control import bodies, reads
from .graph import Graph
from .node import OPERATORS, Node


def load(path: str | os.PathLike[str]) -> Graph:
    """A file of ONNX as a module, made on the active backend.

    It computes on the backend of its inputs, and its gradients are those of nnx's operations, so it
    can be trained further.  Floating-point initialisers become parameters of the same names;
    settings (bounds, scales, pads) and the statistics of batch normalisation do not learn.  A file
    holds what a model computes in evaluation: dropout does nothing, also in training mode.

    Args:
        path: the file.  Tensors may stand in further files of its folder.

    Raises:
        OSError: there is no such file, or it cannot be read.
        CorruptFile: it is damaged, or no valid model.
        LoadError: it has operators or dtypes that nnx has not; the message names them.
        ImportError: the package onnx is not installed.
    """
    need_onnx("onnx.load")
    from . import files, operators

    assert operators.__all__
    model = files.read_model(path)
    arrays = {t.name: files.array(path, t) for t in model.graph.initializer}
    nodes = files.nodes(path, model)
    if not _has_external(model):
        files.check(path, model)
    given = {*arrays}
    inputs = [v.name for v in model.graph.input if v.name not in given]
    outputs = [v.name for v in model.graph.output]
    _check_order(path, nodes, given | {*inputs}, outputs)
    state, constants = _sorted(nodes, arrays, _listed(model))
    fixed = files.constants(constants)
    learnt = {n for n, kind in state.items() if kind == "parameter"}
    return Graph([*fixed, *nodes], inputs, outputs, {name: arrays[name] for name in state}, learnt)


def _has_external(model: Any) -> bool:
    return any(t.data_location for t in model.graph.initializer)


def _check_order(
    path: str | os.PathLike[str], nodes: list[Node], known: set[str], outputs: list[str]
) -> None:
    """Raise CorruptFile where an operator reads what nobody made before it."""
    known = {*known, ""}
    for node in nodes:
        unknown = set(reads(node)) - known
        if unknown:
            raise CorruptFile(
                f"{path}: {node.op} {node.name!r} reads {min(unknown)!r}, made nowhere"
            )
        known |= set(node.outputs)
    if set(outputs) - known:
        raise CorruptFile(f"{path}: the output {min(set(outputs) - known)!r} is made nowhere")


def _listed(model: Any) -> set[str]:
    """The names that the file itself says are not learnt."""
    for entry in model.metadata_props:
        if entry.key == "nnx.buffers":
            try:
                names = json.loads(entry.value)
            except ValueError:
                return set()
            return {n for n in names if isinstance(n, str)} if isinstance(names, list) else set()
    return set()


def _sorted(
    nodes: list[Node], arrays: dict[str, np.ndarray], listed: set[str]
) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Which initialisers are the module's state, and how; and the constants."""
    settings: set[str] = set()
    statistics: set[str] = set()
    data: set[str] = set()
    for node in nodes:
        data |= {name for body in bodies(node) for name in body.captured}
        operator = OPERATORS.get(node.op)
        for k, name in enumerate(node.inputs):
            static = operator is not None and k in operator.static
            buffer = operator is not None and k in operator.buffers
            (settings if static else statistics if buffer else data).add(name)
    state, constants = {}, {}
    for name, values in arrays.items():
        if name in listed or (name in statistics and name not in data):
            state[name] = "buffer"
        elif values.dtype.kind == "f" and (name in data or name not in settings):
            state[name] = "parameter"
        else:
            constants[name] = values
    return state, constants
