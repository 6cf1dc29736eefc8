"""A plan as a file of ONNX: constants folded, what nobody uses left out, names given."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..version import __version__
from .batch import Fill, Linear, LinearInts, Number, Operator, Plan
from .recording.source import ExportError
from .running import Inputs

OPTIONAL_OUTPUTS = ("MaxPool", "RNN", "LSTM", "GRU")  # of others all are named
BUFFERS = "nnx.buffers"  # the key of the metadata that lists which initialisers are not learnt


class Writer:
    """Makes the model of one plan.

    Args:
        plan: the graph.
        inputs: what the model was called with.
        names: of the inputs, and of the outputs.
        opset: the version of the operators.
    """

    def __init__(
        self, plan: Plan, inputs: Inputs, names: tuple[list[str], list[str]], opset: int
    ) -> None:
        self.plan, self.inputs, self.opset = plan, inputs, opset
        self.input_names, self.output_names = names
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: dict[str, onnx.TensorProto] = {}
        self.states = {s.name: s.data for s in plan.first[0].states.values()}
        self.named: dict[Any, str] = dict(
            zip([("input", n) for n in inputs.names], self.input_names, strict=True)
        )
        self.taken = {*self.states, *self.input_names, *self.output_names}
        self.folded: dict[tuple[int, int], np.ndarray] = {}
        self.lengths: dict[Linear, str] = {}
        self.constants: dict[Any, str] = {}

    def model(self, name: str, buffers: set[str]) -> onnx.ModelProto:
        """The whole model.

        Args:
            name: of the graph.
            buffers: names of the states that are not learnt.
        """
        self._fold()
        used = self._used()
        for k, operator in enumerate(self.plan.operators):
            if k in used:
                self._operator(k, operator)
        outputs = []
        for key, shape, out in zip(
            self.plan.outputs, self.plan.shapes, self.output_names, strict=True
        ):
            source, dtype = self._input(key, out), self._dtype(key)
            self._node("Identity", [source], [out])
            outputs.append(_info(out, dtype, shape))
        graph = helper.make_graph(
            self.nodes,
            name,
            [self._input_info(k) for k in range(len(self.input_names))],
            outputs,
            list(self.initialisers.values()),
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            producer_name="nnx",
            producer_version=__version__,
            ir_version=max(8, helper.find_min_ir_version_for(opsets)),
        )
        kept = sorted(buffers & self.initialisers.keys())
        helper.set_model_props(model, {BUFFERS: json.dumps(kept)})
        return model

    # ---- what is computed ----

    def _fold(self) -> None:
        """The values of whatever depends on neither inputs, states nor the batch."""
        for k, (step, inputs) in enumerate(self.plan.operators):
            if all(self._is_constant(x) for x in inputs):
                for slot, out in enumerate(step.outputs):
                    self.folded[k, slot] = out.data

    def _is_constant(self, x: Any) -> bool:
        if isinstance(x, LinearInts):
            return all(n.a == 0 for n in x.values)
        return x is None or isinstance(x, np.ndarray) or x in self.folded

    def _used(self) -> set[int]:
        """The operators whose outputs are read, on the way to an output."""
        used: set[int] = set()
        for key in self.plan.outputs:
            self._reach(key, used)
        for k in range(len(self.plan.operators) - 1, -1, -1):
            if k in used:
                for x in self.plan.operators[k].inputs:
                    self._reach(x, used)
        self.read = {x for k in used for x in self.plan.operators[k].inputs if _is_step(x)} | {
            x for x in self.plan.outputs if _is_step(x)
        }
        return used

    def _reach(self, key: Any, used: set[int]) -> None:
        if _is_step(key) and key not in self.folded:
            used.add(key[0])

    # ---- nodes ----

    def _operator(self, k: int, operator: Operator) -> None:
        step = operator.step
        where = step.where.partition(" ")[0] if "(" in step.where else ""
        stem = f"/{where}/{step.op}_{k}" if where else f"/{step.op}_{k}"
        taken = [
            self._ints(x, step.op == "Reshape")
            if isinstance(x, LinearInts)
            else self._input(x, stem)
            for x in operator.inputs
        ]
        while taken and not taken[-1]:
            taken.pop()
        outputs = []
        for slot, _ in enumerate(step.outputs):
            name = ""
            if (k, slot) in self.read or step.op not in OPTIONAL_OUTPUTS:
                name = self.named[k, slot] = self._free(f"{stem}_output_{slot}")
            outputs.append(name)
        while len(outputs) > 1 and not outputs[-1]:
            outputs.pop()
        attributes = {
            key: helper.np_dtype_to_tensor_dtype(value) if isinstance(value, np.dtype) else value
            for key, value in step.attributes.items()
        }
        if step.op == "Reshape" and any(n.b == 0 and n.a == 0 for n in operator.inputs[1].values):
            attributes["allowzero"] = 1
        self._node(step.op, taken, outputs, stem, **attributes)

    def _node(
        self, op: str, inputs: list[str], outputs: list[str], name: str = "", **attributes: Any
    ) -> str:
        self.nodes.append(helper.make_node(op, inputs, outputs, name or None, **attributes))
        return outputs[0]

    def _free(self, name: str) -> str:
        """The name, or one like it that nothing has."""
        free, k = name, 0
        while free in self.taken:
            k += 1
            free = f"{name}_{k}"
        self.taken.add(free)
        return free

    def _input(self, key: Any, stem: str) -> str:
        """The name of whatever an operator takes; "" where nothing."""
        if key is None:
            return ""
        if isinstance(key, np.ndarray):
            return self._constant(key)
        if isinstance(key, Fill):
            value = self._constant(key.value.reshape(()))
            shape = self._ints(LinearInts(key.shape), False)
            return self._node("Expand", [value, shape], [self._free(f"{stem}_fill")])
        if isinstance(key, Number):
            return self._number(key)
        if key in self.folded:
            return self._constant(self.folded[key])
        if key[0] == "state":
            name = key[1]
            if name not in self.initialisers:
                self.initialisers[name] = numpy_helper.from_array(
                    np.ascontiguousarray(self.states[name]).reshape(self.states[name].shape), name
                )
            return str(name)
        return self.named[key]

    def _dtype(self, key: Any) -> np.dtype:
        if isinstance(key, np.ndarray):
            return key.dtype
        if isinstance(key, Fill):
            return key.value.dtype
        if isinstance(key, Number):
            return key.dtype
        if key[0] == "state":
            return self.states[key[1]].dtype
        if key[0] == "input":
            return self.inputs.arrays[self.inputs.names.index(key[1])].dtype
        return self.plan.operators[key[0]].step.outputs[key[1]].dtype

    def _constant(self, array: np.ndarray) -> str:
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            name = self.constants[key] = self._free(f"constant_{len(self.constants)}")
            proto = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
            self._node("Constant", [], [name], value=proto)
        return self.constants[key]

    # ---- numbers that depend on the batch ----

    def _number(self, number: Number) -> str:
        """a N + b, or 1 over it, in its dtype and shape."""
        if number not in self.constants:
            free = self._free
            dtype = helper.np_dtype_to_tensor_dtype(number.dtype)
            name = self._node("Cast", [self._length(Linear(1, 0))], [free("number")], to=dtype)
            for op, by, nothing in (("Mul", number.a, 1.0), ("Add", number.b, 0.0)):
                if by != nothing:
                    constant = self._constant(np.asarray([by], number.dtype))
                    name = self._node(op, [name, constant], [free("number")])
            if number.inverse:
                name = self._node("Reciprocal", [name], [free("number")])
            shape = self._constant(np.asarray(number.shape, np.int64))
            self.constants[number] = self._node("Reshape", [name, shape], [free("number")])
        return self.constants[number]

    def _ints(self, ints: LinearInts, reshape: bool) -> str:
        """Integers as an array (n,), or () if they are a scalar."""
        values = list(ints.values)
        dynamic = [n for n in values if n.a]
        if ints.scalar:
            if not dynamic:
                return self._constant(np.asarray(values[0].b, np.int64))
            shape = self._constant(np.zeros(0, np.int64))
            return self._node("Reshape", [self._length(values[0]), shape], [self._free("length")])
        if reshape and len(dynamic) == 1 and all(n.a or n.b for n in values):
            values = [Linear(0, -1) if n.a else n for n in values]
            dynamic = []
        if not dynamic:
            return self._constant(np.asarray([n.b for n in values], np.int64))
        pieces: list[str] = []
        fixed: list[int] = []
        for n in [*values, None]:
            if n is not None and not n.a:
                fixed.append(n.b)
                continue
            if fixed:
                pieces.append(self._constant(np.asarray(fixed, np.int64)))
                fixed = []
            if n is not None:
                pieces.append(self._length(n))
        if len(pieces) == 1:
            return pieces[0]
        return self._node("Concat", pieces, [self._free("lengths")], axis=0)

    def _length(self, n: Linear) -> str:
        """a N + b as an array (1,)."""
        if n not in self.lengths:
            if n == (1, 0):
                at = next(k for k, axis in enumerate(self.plan.axes) if axis is not None)
                axis = self.plan.axes[at]
                shape = self._node("Shape", [self.input_names[at]], [self._free("batch_shape")])
                place = self._constant(np.asarray([axis], np.int64))
                name = self._node("Gather", [shape, place], [self._free("batch_length")], axis=0)
            else:
                name = self._length(Linear(1, 0))
                for op, by, nothing in (("Mul", n.a, 1), ("Add", n.b, 0)):
                    if by != nothing:
                        number = self._constant(np.asarray([by], np.int64))
                        name = self._node(op, [name, number], [self._free("length")])
            self.lengths[n] = name
        return self.lengths[n]

    def _input_info(self, k: int) -> onnx.ValueInfoProto:
        array, axis = self.inputs.arrays[k], self.plan.axes[k]
        shape = [Linear(1, 0) if j == axis else Linear(0, n) for j, n in enumerate(array.shape)]
        return _info(self.input_names[k], array.dtype, tuple(shape))


def _is_step(key: Any) -> bool:
    return type(key) is tuple and isinstance(key[0], int)


def _info(name: str, dtype: np.dtype, shape: tuple[Linear, ...]) -> onnx.ValueInfoProto:
    lengths: list[int | str] = []
    for n in shape:
        if not n.a:
            lengths.append(n.b)
        else:
            factor = "batch" if n.a == 1 else f"{n.a}*batch"
            lengths.append(factor if not n.b else f"{factor}{n.b:+d}")
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), lengths)


def checked(model: onnx.ModelProto) -> bytes:
    """The bytes of a model that ONNX's own checker accepts, shapes and all.

    Raises:
        ExportError: it does not, or they are more than a file of this format holds.
    """
    try:
        content = model.SerializeToString()
    except ValueError as error:
        raise ExportError(f"onnx.export: a file holds 2 GiB at most: {error}") from None
    if len(content) >= 2**31:
        raise ExportError(f"onnx.export: a file holds 2 GiB at most, this has {len(content):,}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"onnx.export: the graph does not pass ONNX's checker: {error}") from None
    return content
