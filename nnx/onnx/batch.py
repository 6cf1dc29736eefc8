"""What of a graph depends on the batch: found by running the model at three batch sizes.

Shapes are plain integers while a model runs, so one run does not tell whether a 12 is four times
the batch or the number of channels.  Three runs do: a number that is the same in all of them is a
constant, and one that is a N + b at all of them is that.  Whatever else differs cannot be written
for every batch, and the error says where it is.
"""

from __future__ import annotations

from itertools import chain, combinations, islice, product
from typing import Any, NamedTuple

import numpy as np

from ..nn.module import Module
from .recording.source import ExportError, Ints, Source, Step
from .recording.value import Recording
from .running import Inputs, record

Run = tuple[Recording, list[Source]]
Axes = tuple[int | None, ...]


class Linear(NamedTuple):
    """The integer a N + b, N the length of the batch."""

    a: int
    b: int


class LinearInts(NamedTuple):
    """The `Ints` of a step, for every batch."""

    values: tuple[Linear, ...]
    scalar: bool = False


class Fill(NamedTuple):
    """An array of one value whose shape depends on the batch."""

    value: np.ndarray
    shape: tuple[Linear, ...]


class Number(NamedTuple):
    """A number that is a N + b, or 1 / (a N + b): a mean's factor is one."""

    a: float
    b: float
    inverse: bool
    shape: tuple[int, ...]
    dtype: np.dtype


class Operator(NamedTuple):
    """A step of all runs: its integers as `Linear`, its sources numbered.

    An input is a `LinearInts`, the key of a source, an array, a `Fill` or a `Number`, or None.
    """

    step: Step
    inputs: list[Any]


class Plan(NamedTuple):
    """A graph for every batch.

    Attributes:
        operators: in order.
        outputs: keys of sources, arrays or fills, as among the inputs of operators.
        shapes: of each output.
        axes: of each input of the model the axis that is the batch, or None.
        first: the first run, whose values the constants are.
    """

    operators: list[Operator]
    outputs: list[Any]
    shapes: list[tuple[Linear, ...]]
    axes: Axes
    first: Run


def planned(module: Module, inputs: Inputs, opset: int, dynamic: bool, axes: Any) -> Plan:
    """The graph of a module: for every batch if `dynamic`, else for the shapes of the inputs.

    Args:
        module, inputs, opset: of the export.
        dynamic: whether the batch may have any length.
        axes: which axis is the batch, for each array or for all; None: found.

    Raises:
        ExportError: something depends on the batch in a way that cannot be written.
    """
    if not dynamic:
        run = record(module, inputs, inputs.arrays, opset)
        return _merged([run], [1], (None,) * len(inputs.arrays))
    first: Exception | None = None
    spare: Plan | None = None
    for choice in _choices(inputs, axes):
        sizes = _sizes(inputs, choice)
        try:
            runs = [record(module, inputs, _resized(inputs, choice, n), opset) for n in sizes]
            known = _check_batch(runs)
            plan = _merged(runs, sizes, choice)
            if known or axes is not None or not (known is None or any(choice)):
                return plan
            if known is None and spare is None and not any(choice):
                spare = plan
        except Exception as error:  # of whatever the model does on shapes that do not suit it
            first = first or error
    if spare is not None:
        return spare
    record(module, inputs, inputs.arrays, opset)  # an error on the given inputs is the model's own
    shapes = ", ".join(str(x.shape) for x in inputs.arrays)
    if first is None:
        raise ExportError(
            f"onnx.export: no axis of the inputs can be the batch: shapes {shapes}; "
            "batch_axes= says which it is, dynamic_batch=False keeps these shapes"
        )
    if isinstance(first, ExportError):
        raise first
    raise ExportError(
        f"onnx.export: the model runs on inputs of shapes {shapes}, but not at another batch size: "
        f"{first}; batch_axes= says which axis the batch is, dynamic_batch=False keeps these shapes"
    ) from first


def _choices(inputs: Inputs, axes: Any) -> list[Axes]:
    """What may be the batch, the likeliest first: axis 0 of all; axis 1 of all that have it (time
    comes first where a recurrent layer is not `batch_first`); then mixtures."""
    count = len(inputs.arrays)
    if axes is not None:
        given = (axes,) * count if isinstance(axes, int) else tuple(axes)
        if len(given) != count:
            raise ValueError(
                f"onnx.export: batch_axes must be {count}, one for each array, got {axes}"
            )
        return [given]
    per_array: list[tuple[int | None, ...]] = [
        (*range(min(x.ndim, 2)), None) for x in inputs.arrays
    ]
    last: Axes = tuple([min(1, x.ndim - 1) if x.ndim else None for x in inputs.arrays])
    usual: list[Axes] = [tuple([options[0] for options in per_array]), last]

    def of_one_length(choice: Axes) -> bool:
        pairs = zip(inputs.arrays, choice, strict=True)
        return len({x.shape[k] for x, k in pairs if k is not None}) == 1

    mixed = islice(product(*per_array), 10**6)
    return list(dict.fromkeys(islice(filter(of_one_length, chain(usual, mixed)), 300)))


def _sizes(inputs: Inputs, axes: Axes) -> list[int]:
    """Three batch sizes that no other axis has, so that nothing is equal by chance."""
    taken = {
        n
        for x, axis in zip(inputs.arrays, axes, strict=True)
        for k, n in enumerate(x.shape)
        if k != axis
    }
    free = [n for n in range(2, 2 * len(taken) + 40) if n not in taken]
    # Odd and even ones, so that N // 2 is found out, and N of several powers of 2, so that a loop
    # of log N is.
    return next(
        list(three)
        for end in range(3, len(free))
        for three in combinations(free[:end], 3)
        if len({n % 2 for n in three}) == 2 and len({n.bit_length() for n in three}) > 1
    )


def _resized(inputs: Inputs, axes: Axes, n: int) -> list[np.ndarray]:
    """The arrays with n examples, the given ones over and over."""

    def resized(x: np.ndarray, k: int) -> np.ndarray:
        if not x.shape[k]:
            return np.zeros((*x.shape[:k], n, *x.shape[k + 1 :]), x.dtype)
        return np.take(x, np.arange(n) % x.shape[k], axis=k)

    pairs = zip(inputs.arrays, axes, strict=True)
    return [x if k is None else resized(x, k) for x, k in pairs]


def _check_batch(runs: list[Run]) -> bool | None:
    """Whether an operator that knows its batch saw it grow: without one, axis 0 alone is believed.

    None where products of stacks of matrices saw another axis grow than their first, as attention
    over time does: then another choice is better, if there is one.

    Raises:
        ExportError: an operator saw another axis grow than its batch.
    """
    seen, doubt = False, False
    for steps in zip(*[recording.steps for recording, _ in runs], strict=False):
        axis = steps[0].batch_axis
        firsts = [step.inputs[0] for step in steps if step.inputs]
        if axis is None:
            continue
        shapes = [first.shape for first in firsts if isinstance(first, Source)]
        if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) > 1:
            if steps[0].op != "MatMul":
                raise _refused(steps[0], "another axis than its batch depends on the batch")
            doubt = True
        seen = seen or len({shape[axis] for shape in shapes}) > 1
    return None if doubt else seen


def _refused(step: Step, why: str) -> ExportError:
    return ExportError(f"onnx.export: {step.where or 'the model'}: {step.op}: {why}")


def _merged(runs: list[Run], sizes: list[int], axes: Axes) -> Plan:
    """The runs as one graph."""
    all_steps = [recording.steps for recording, _ in runs]
    if len({tuple([step.op for step in steps]) for steps in all_steps}) > 1:
        at = next(
            (s for s in zip(*all_steps, strict=False) if len({step.op for step in s}) > 1), None
        )
        raise _refused(
            at[0] if at else max(all_steps, key=len)[-1],
            "which operations there are depends on the batch size (a loop over it, or a choice "
            "by it)",
        )
    keys = [
        {
            id(out): (k, slot)
            for k, step in enumerate(steps)
            for slot, out in enumerate(step.outputs)
        }
        for steps in all_steps
    ]
    operators = []
    for steps in zip(*all_steps, strict=True):
        if len({repr(sorted(step.attributes.items())) for step in steps}) > 1:
            raise _refused(steps[0], "its attributes depend on the batch size")
        taken = [
            _input(steps[0], parts, sizes, keys)
            for parts in zip(*[step.inputs for step in steps], strict=True)
        ]
        operators.append(Operator(steps[0], taken))
    nowhere = Step("output", [], {}, "", None)
    made = list(zip(*[outputs for _, outputs in runs], strict=True))
    outputs = [_input(nowhere, parts, sizes, keys) for parts in made]
    shapes = []
    for parts in made:
        columns = zip(*[out.shape for out in parts], strict=True)
        shapes.append(tuple([linear(nowhere, lengths, sizes) for lengths in columns]))
    return Plan(operators, outputs, shapes, axes, runs[0])


def _input(step: Step, parts: tuple[Any, ...], sizes: list[int], keys: list[dict[int, Any]]) -> Any:
    """What all runs have as one input of a step."""
    first = parts[0]
    if first is None:
        return None
    if isinstance(first, Ints):
        if len({len(p.values) for p in parts}) > 1:
            raise _refused(step, "how many axes it has depends on the batch size")
        columns = zip(*[p.values for p in parts], strict=True)
        return LinearInts(tuple([linear(step, c, sizes) for c in columns]), first.scalar)
    if first.kind == "step":
        return _same(step, [own[id(p)] for own, p in zip(keys, parts, strict=True)])
    if first.kind in ("input", "state"):
        return _same(step, [(p.kind, p.name) for p in parts])
    return _constant(step, [p.data for p in parts], sizes)


def _same(step: Step, found: list[Any]) -> Any:
    if len(set(found)) > 1:
        raise _refused(step, "what it is computed from depends on the batch size")
    return found[0]


def _constant(step: Step, arrays: list[np.ndarray], sizes: list[int]) -> Any:
    first = arrays[0]
    if all(
        a.shape == first.shape and np.array_equal(a, first, equal_nan=a.dtype.kind == "f")
        for a in arrays[1:]
    ):
        return first
    value = first.reshape(-1)[:1]
    if (
        len({a.ndim for a in arrays}) == 1
        and value.size
        and all((a == value).all() for a in arrays)
    ):
        lengths = zip(*[a.shape for a in arrays], strict=True)
        return Fill(value, tuple([linear(step, n, sizes) for n in lengths]))
    if all(a.size == 1 and a.dtype.kind in "fi" for a in arrays):
        number = _number(arrays, sizes)
        if number is not None:
            return number
    raise _refused(
        step,
        f"a constant of shape {first.shape} was made for one batch size: compute it from the input "
        "with nnx's operations, or keep the shapes with dynamic_batch=False",
    )


def _number(arrays: list[np.ndarray], sizes: list[int]) -> Number | None:
    """One number as a N + b or its inverse, to its dtype's digits; None where it is neither."""
    values = [float(a.reshape(-1)[0]) for a in arrays]
    first = arrays[0]
    whole = first.dtype.kind == "i"
    close = 0.0 if whole else 8 * float(np.finfo(first.dtype).eps)
    for inverse in (False,) if whole else (False, True):
        if inverse and 0.0 in values:
            break
        seen = [1 / v if inverse else v for v in values]
        a = (seen[1] - seen[0]) / (sizes[1] - sizes[0])
        b = seen[0] - a * sizes[0]
        b = 0.0 if abs(b) <= close * abs(seen[0]) else b
        if all(abs(a * n + b - v) <= close * abs(v) for n, v in zip(sizes, seen, strict=True)):
            return Number(a, b, inverse, first.shape, first.dtype)
    return None


def linear(step: Step, values: tuple[int, ...], sizes: list[int]) -> Linear:
    """The a and b with values = a N + b at every batch size N.

    Raises:
        ExportError: there are no such integers.
    """
    if len(set(values)) == 1:
        return Linear(0, values[0])
    a, rest = divmod(values[1] - values[0], sizes[1] - sizes[0])
    b = values[0] - a * sizes[0]
    if rest or any(v != a * n + b for v, n in zip(values, sizes, strict=True)):
        seen = ", ".join(f"{v} at {n}" for v, n in zip(values, sizes, strict=True))
        raise _refused(step, f"a length depends on the batch size, but not as a N + b: {seen}")
    return Linear(a, b)
