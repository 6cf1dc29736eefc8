"""`summary`: what is in a model, layer by layer, with the shapes it makes, and what it takes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import no_grad, watching_calls
from ..backends import backend_of
from ..random import Generator, use_generator
from ..tensor import Tensor, tensor, tensors_in
from .memory import Loss, Memory, Trace, compared, shown_bytes, size, traced
from .module import Module, temporary_modes
from .scopes import watching

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 80  # of a terminal
NAME = 20  # of a layer's name, where it can be parted


@dataclass(frozen=True)
class Row:
    """One call of one layer.

    Attributes:
        name: dotted, as in the state.
        layer: its class.
        output: its shape, or shapes.
        parameters: counted where the layer is first called.
        frozen: how many of them are not learnt.
        multiply_adds: of the operations that it calls itself, not by the layers inside.
        output_bytes: of what it returns.
    """

    name: str
    layer: str
    output: str
    parameters: int
    frozen: int
    multiply_adds: int = 0
    output_bytes: int = 0


@dataclass(frozen=True)
class Summary:
    """What `summary` returns; print it.

    Attributes:
        model: its class.
        rows: the calls of its layers, in their order.
        parameters: how many numbers are learnt, or could be.
        trainable: how many of them are learnt.
        buffers: how many numbers belong to the state beside them.
        weight_bytes: of parameters and buffers.
        output_bytes: of all layers' outputs together.
        multiply_adds: of a forward in evaluation mode.
        training_multiply_adds: of a forward and a backward; None where none was made.
        training: what a training step takes, a `Memory`; None where `missing` says why.
        inference: what a forward takes, in evaluation mode and off the tape; likewise.
        missing: why there is no `training`, or no memory at all; "" where there is.
    """

    model: str
    rows: list[Row]
    parameters: int
    trainable: int
    buffers: int
    weight_bytes: int
    output_bytes: int
    multiply_adds: int = 0
    training_multiply_adds: int | None = None
    training: Memory | None = None
    inference: Memory | None = None
    missing: str = ""

    def table(self) -> Table:
        """The rows as a table of `rich`; one that is called several times is one of its rows."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(title=self.model, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in ("layer", "kind", "output"):
            table.add_column(column, overflow="fold", no_wrap=column == "kind")
        for column in ("params", "mult-adds"):
            table.add_column(column, justify="right", no_wrap=True)
        for name, row, work in _together(self.rows):
            count = f"{row.parameters:,}" if row.parameters else ""
            if row.frozen:
                count += (
                    " (frozen)" if row.frozen == row.parameters else f" ({row.frozen:,} frozen)"
                )
            name = _at_dots(name, NAME)
            table.add_row(name, row.layer, row.output, count, _count(work) if work else "")
        return table

    def _repr_html_(self) -> str:
        from .. import notebook

        rows = [
            (name, row.layer, row.output, row.parameters, work)
            for name, row, work in _together(self.rows)
        ]
        caption = f"{self.model}: {self._parameters()}; {self._work()}"
        html = notebook.table(
            ("layer", "kind", "output", "parameters", "multiply-adds"), rows, caption
        )
        if self.training or self.inference:
            columns = ("memory", "training", "inference")
            lines = compared(self.training, self.inference)
            html += notebook.table(columns, lines, "; ".join(self._remarks()))
        return html

    def __str__(self) -> str:
        from io import StringIO

        from rich.console import Console

        text = StringIO()
        Console(file=text, width=WIDTH, color_system=None).print(self.table())
        lines = [self._parameters(), self._work()]
        if self.training or self.inference:
            head = ("memory", "training", "inference")
            for label, *cells in (head, *compared(self.training, self.inference)):
                lines.append(f"{label:20} {cells[0]:>10} {cells[1]:>10}".rstrip())
        table = [line.rstrip() for line in text.getvalue().rstrip().splitlines()]
        return "\n".join([*table, *lines, *self._remarks()])

    def _parameters(self) -> str:
        frozen = self.parameters - self.trainable
        return f"{self.parameters:,} parameters" + (
            f", {frozen:,} of them frozen" if frozen else ""
        )

    def _work(self) -> str:
        back = self.training_multiply_adds
        both = "" if back is None else f", with the backward pass {_count(back)}"
        return f"{_count(self.multiply_adds)} multiply-adds{both}"

    def _remarks(self) -> list[str]:
        remarks = []
        if not (self.training or self.inference):
            remarks.append(
                f"memory: {shown_bytes(self.weight_bytes)} weights and buffers, "
                f"{shown_bytes(self.output_bytes)} outputs of all layers"
            )
        for name, memory in (("training", self.training), ("inference", self.inference)):
            if memory is not None:
                remarks.append(f"peak of {name}: in {memory.where}")
        if self.missing:
            remarks.append(f"not measured: {self.missing}")
        return remarks


def summary(
    model: Module,
    input_shape: Any,
    dtype: Any = "float32",
    *,
    memory: bool = True,
    loss: Loss | None = None,
    optimizer: Any = None,
) -> Summary:
    """The layers of a model in the order they are called, with output shapes, parameters and
    multiply-adds; and the memory that training and inference take.

        print(nnx.summary(model, (256, 1, 28, 28), optimizer=optimizer))

    A copy of the model is called once, on zeros, in evaluation mode and off the tape; then it makes
    three forwards and three training steps of this size, in which the memory is measured.  Model,
    optimizer and random state stay as they were.  Layers that hold others are not listed
    themselves, unless they have parameters or multiply-adds of their own.

    The memory is that of arrays: not Python's, nor that of the libraries.  It is what every step
    takes but the first of a process, which may take a little less: nothing is kept for use again
    yet.  A step counts from `zero_grad`, and the output and the loss are held until its end.

    A multiply-add is a product of two numbers that is added to something.  Operations count theirs
    (`Function.multiply_adds`), so that it does not matter which layer, or what between layers,
    calls them: products of matrices, `einsum`, convolutions with the zeros of their padding,
    recurrent weights at every step, attention's two products with what a mask forbids, 1 for each
    number of a batch norm in evaluation mode and 2 of norms that compute their own statistics.
    Activations, pooling, decompositions of matrices, and products and sums of tensors number by
    number count none.

    Args:
        model: it is computed where its parameters are.
        input_shape: the input's shape, batch included, or several shapes for a model that takes
            several inputs; or the input itself: a tensor or an array; a tuple of those, and of
            whatever else the model takes; or a dictionary of them by the arguments' names.
        dtype: of the zeros; an embedding wants "int64".  One for each of several shapes, or for
            all.
        memory: False: nothing is measured, and the copy is called once only.
        loss: what makes one number of the model's output, to be differentiated; None: the sum of
            all that it returns.  Losses keep arrays too: of large outputs give the real one.
        optimizer: whose state and step count too; made for this model's parameters.

    Raises:
        TypeError: input_shape is none of these.
        ValueError: the optimizer has parameters that are not the model's, or is one that computes
            the loss several times in a step.
    """
    if optimizer is not None:
        _check_optimizer(model, optimizer)
    inputs = _inputs(input_shape, dtype, model)
    missing: list[str] = []
    try:
        twin, optimizer = copy.deepcopy((model, optimizer), _computed_before(model))
    except Exception as error:  # a file, a lock, ... among the attributes
        twin, memory = model, False
        missing.append(f"the model cannot be copied: {type(error).__name__}: {error}")
    rows, work = _rows(twin, inputs)
    parameters, buffers = list(model.parameters()), list(model.buffers())
    weights = sum(size(p.data) for p in parameters) + sum(map(size, buffers))
    traces: dict[str, Trace | None] = {"inference": None, "training": None}
    for name in traces if memory else ():
        try:
            learns = name == "training"
            traces[name] = traced(twin, inputs, learns, loss, optimizer if learns else None)
        except Exception as error:  # one row and batch norm, nothing to learn, no memory left, ...
            missing.append(f"{name}: {type(error).__name__}: {error}")
    inference, training = traces.values()
    if any(trace is not None and not trace.metered for trace in traces.values()):
        missing.append("memory: only that of NumPy's arrays is seen")
    return Summary(
        type(model).__name__,
        rows,
        sum(p.size for p in parameters),
        sum(p.size for p in parameters if p.requires_grad),
        sum(math.prod(b.shape) for b in buffers),
        weights,
        sum(row.output_bytes for row in rows),
        work,
        None if training is None else sum(training.multiply_adds),
        None if training is None else training.memory(weights),
        None if inference is None else inference.memory(weights),
        "; ".join(missing),
    )


def _computed_before(model: Module) -> dict[int, Any]:
    """What a copy shares: tensors of an earlier call that a layer holds (its attention, say)."""
    held = [t for m in model.modules() for t in tensors_in(dict(vars(m))) if t.creator is not None]
    return {id(t): t for t in held}


def _check_optimizer(model: Module, optimizer: Any) -> None:
    if getattr(optimizer, "takes_closure", False):
        raise ValueError(
            f"summary: {type(optimizer).__name__} computes the loss several times in a step, and "
            "what it takes cannot be told: leave it out"
        )
    own = {id(p) for p in model.parameters()}
    if any(id(p) not in own for group in optimizer.param_groups for p in group["params"]):
        raise ValueError("summary: the optimizer has parameters that are not the model's")


# ---- the rows ----


def _rows(model: Module, inputs: Any) -> tuple[list[Row], int]:
    """The calls of a forward in evaluation mode, and the multiply-adds of all."""
    names = {id(module): name for name, module in model.named_modules()}
    listed = {
        id(module)
        for module in model.modules()
        if not any(True for _ in module.children())
        or any(True for _ in module.parameters(recurse=False))
    }
    rows: list[Row] = []
    counted: set[int] = set()
    work = [0]  # of the modules that are computing, the innermost last

    def begin(module: Module) -> None:
        work.append(0)

    def end(module: Module, _: Any, output: Any) -> None:
        own = work.pop()
        if id(module) not in names:  # made while the model computes
            work[-1] += own
            return
        work[0] += own
        if not (own or id(module) in listed):
            return
        fresh = [p for p in module.parameters(recurse=False) if id(p) not in counted]
        counted.update(id(p) for p in fresh)
        tensors = tensors_in(output)
        rows.append(
            Row(
                names[id(module)],
                type(module).__name__,
                " ".join(_shape(t.shape) for t in tensors),
                sum(p.size for p in fresh),
                sum(p.size for p in fresh if not p.requires_grad),
                own,
                sum(size(t.data) for t in tensors),
            )
        )

    def count(function: Any, compute: Callable[..., Any], arrays: Sequence[Any]) -> Any:
        y = compute(*arrays)
        work[-1] += function.multiply_adds(*arrays)[0]
        return y

    with (
        watching(end, begin),
        watching_calls(count),
        temporary_modes(model),
        use_generator(Generator(0)),
        no_grad(),
    ):
        model.eval()
        if isinstance(inputs, dict):
            model(**inputs)
        else:
            model(*inputs)
    return rows, work[0]


def _together(rows: list[Row]) -> list[tuple[str, Row, int]]:
    """Calls of one layer that differ in nothing but who counts the parameters, as one: the name
    with how many they are, the first of them, and the multiply-adds of all.
    """
    found: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row.name, row.output, row.multiply_adds), []).append(row)
    return [
        (
            calls[0].name + (f" ({len(calls)} calls)" if len(calls) > 1 else ""),
            calls[0],
            sum(row.multiply_adds for row in calls),
        )
        for calls in found.values()
    ]


# ---- what is given ----


def _inputs(given: Any, dtype: Any, model: Module) -> Any:
    """The model's arguments: a tuple, or a dictionary by name."""
    if isinstance(given, Tensor) or _is_array(given):
        return (_alone(given),)
    if isinstance(given, dict) and any(map(_is_data, given.values())):
        return {key: _alone(part) for key, part in given.items()}
    if isinstance(given, tuple | list):
        if any(map(_is_data, given)):
            return tuple([_alone(part) for part in given])
        shapes = [given] if all(map(_is_size, given)) else list(given)
        dtypes = dtype if isinstance(dtype, tuple | list) else [dtype] * len(shapes)
        if shapes and len(dtypes) == len(shapes) and all(map(_is_shape, shapes)):
            return tuple([_zeros(shape, d, model) for shape, d in zip(shapes, dtypes, strict=True)])
    raise TypeError(
        "summary: give the input's shape, batch included, or several shapes (and one dtype, or one "
        f"for each), or the input itself; got {given!r:.200}, dtype {dtype!r:.80}"
    )


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape") and not np.isscalar(value)


def _is_data(value: Any) -> bool:
    """A tensor, an array, or a tuple or list that holds one (a recurrent layer's states)."""
    if isinstance(value, tuple | list):
        return any(map(_is_data, value))
    return isinstance(value, Tensor) or _is_array(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(map(_is_size, value))


def _alone(value: Any) -> Any:
    """The same numbers in tensors of their own, that nothing was computed for."""
    if isinstance(value, tuple | list) and _is_data(value):
        return type(value)([_alone(part) for part in value])
    if isinstance(value, Tensor):
        return Tensor(value.data, value.requires_grad)
    return Tensor(value) if _is_array(value) else value


def _zeros(shape: Any, dtype: Any, model: Module) -> Tensor:
    first = next(iter(model.parameters()), None)
    home = backend_of((first if first is not None else tensor(0.0)).data)
    place = None if first is None else first.device
    return Tensor(home.xp.zeros(tuple(map(int, shape)), dtype=home.dtype(dtype), device=place))


# ---- how it is shown ----


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _at_dots(name: str, width: int) -> str:
    """A long dotted name on several lines."""
    lines = [""]
    for part in name.split("."):
        if lines[-1] and len(lines[-1]) + len(part) + 1 > width:
            lines.append(" ")
        lines[-1] += part + "."
    return "\n".join(lines)[:-1]


def _count(n: float) -> str:
    """A number with three digits, and k, M, G, T for thousands."""
    if n < 1000:
        return str(n)
    for unit in "kMGT":
        n /= 1000
        if n < 999.5 or unit == "T":
            break
    return f"{n:.{2 if n < 9.995 else 1 if n < 99.95 else 0}f} {unit}"
