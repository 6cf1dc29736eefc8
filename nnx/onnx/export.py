"""`nnx.onnx.export`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from ..io.atomic import replacing
from ..nn.module import Module
from .batch import planned
from .running import Inputs

OPSETS = (13, 24)
DEFAULT_OPSET = 20  # the first with Gelu


def export(
    module: Module,
    example_inputs: Any,
    path: str | os.PathLike[str],
    dynamic_batch: bool = True,
    opset: int | None = None,
    *,
    batch_axes: int | Sequence[int | None] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> None:
    """Write what a module computes in evaluation mode as a file of ONNX.

    The module is run, not looked at: whatever its `forward` does with tensors is written, own
    layers and own `Function`s as well.  The file is checked by ONNX's checker, shapes included, and
    replaces an older one in a single step.  The module is not touched, its mode neither.

    Args:
        module: what to write.  Its parameters and buffers become initialisers, under their names in
            `state_dict`.
        example_inputs: what it is called with: a tensor, a tuple of positional arguments, a dict of
            them by name, or a tuple that ends in such a dict.  Shapes matter, values hardly do.
            Tensors, arrays and lists of numbers become inputs of the graph, `lengths` of a
            recurrent layer among them; None, numbers and texts are fixed.
        path: the file.
        dynamic_batch: whether the graph takes any number of examples; False: the shapes given.
        opset: the version of ONNX's operators, from 13; None: 20.
        batch_axes: which axis of each array is the batch, None where none is; or one number for
            all.  Left out, it is found: axis 0, or 1 where a recurrent layer wants time first.
        input_names: of the graph's inputs; the arguments' names if left out.
        output_names: of its outputs, in the order in which `forward` returns them; "output", or
            "output_0" and so on, if left out.

    Raises:
        ExportError: something cannot be written; the message names the layer and the reason.
        ValueError: an opset that is not known; names or axes that are not one for each array.
        TypeError: it is no module.
        ImportError: the package onnx is not installed.
        OSError: the file cannot be written.
    """
    if not isinstance(module, Module):
        raise TypeError(f"onnx.export: needs a Module, got {type(module).__name__}: {module!r:.80}")
    need_onnx("onnx.export")
    if opset is None:
        opset = DEFAULT_OPSET
    if not (isinstance(opset, int) and OPSETS[0] <= opset <= OPSETS[1]):
        raise ValueError(
            f"onnx.export: opset must be from {OPSETS[0]} to {OPSETS[1]}, got {opset!r}"
        )
    from .graph import Writer, checked

    inputs = Inputs(module.forward, example_inputs)
    plan = planned(module, inputs, opset, dynamic_batch, batch_axes)
    count = len(plan.outputs)
    found = ["output"] if count == 1 else [f"output_{k}" for k in range(count)]
    state = {name for name in module.state_dict()}
    names = (
        _names("input_names", input_names, inputs.names, state),
        _names("output_names", output_names, found, state | set(input_names or inputs.names)),
    )
    buffers = {name for name, _ in module.named_buffers()}
    model = Writer(plan, inputs, names, opset).model(type(module).__name__, buffers)
    content = checked(model)
    with replacing(path) as beside:
        beside.write_bytes(content)


def need_onnx(name: str) -> None:
    """Raise ImportError where the package onnx is not there; `name` is what needs it."""
    if find_spec("onnx") is None:
        raise ImportError(f"{name} needs the package onnx: pip install onnx")


def _names(
    option: str, given: Sequence[str] | None, found: Sequence[str], taken: set[str]
) -> list[str]:
    """The names given, or those found, which give way to those that are taken."""
    if given is None:
        made: list[str] = []
        for name in found:
            free = name
            while free in taken or free in made:
                free += "_"
            made.append(free)
        return made
    if isinstance(given, str) or len(given) != len(found) or len(set(given)) < len(given):
        raise ValueError(
            f"onnx.export: {option} must be {len(found)} different names, got {given!r}"
        )
    clash = sorted(set(given) & taken)
    if clash:
        raise ValueError(f"onnx.export: {option}: {clash[0]!r} is a name of the state or an input")
    return list(given)
