"""If, Loop and Scan: operators that hold graphs of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ... import ops
from ...tensor import Tensor
from .node import Node, one

Values = list[Tensor | None]


class Body(NamedTuple):
    """A graph inside an operator.

    Attributes:
        nodes: its operators.
        inputs, outputs: names.
        captured: names of values around it that it reads.
    """

    nodes: list[Node]
    inputs: list[str]
    outputs: list[str]
    captured: tuple[str, ...]


Call = Callable[[Body, Values], Values]  # computes a body of these inputs


def bodies(node: Node) -> list[Body]:
    """The graphs that an operator holds."""
    return [value for value in node.attributes.values() if isinstance(value, Body)]


def reads(node: Node) -> tuple[str, ...]:
    """The names of all values that an operator reads, those for its graphs as well."""
    return (*node.inputs, *[name for body in bodies(node) for name in body.captured])


def captured(nodes: list[Node], inputs: list[str], outputs: list[str]) -> tuple[str, ...]:
    """What a graph reads that it does not make: values around it."""
    known, found = {*inputs, ""}, []
    for node in nodes:
        found += [name for name in reads(node) if name not in known]
        known |= set(node.outputs)
    found += [name for name in outputs if name not in known]
    return tuple(dict.fromkeys(found))


def compute(node: Node, inputs: Values, call: Call) -> Values:
    """The outputs of an operator that holds graphs.

    Args:
        node: If, Loop or Scan.
        inputs: its inputs.
        call: computes a graph.
    """
    return {"If": _if, "Loop": _loop, "Scan": _scan}[node.op](node, inputs, call)


def _if(node: Node, inputs: Values, call: Call) -> Values:
    return call(node.get("then_branch" if one(inputs[0]) else "else_branch"), [])


def _loop(node: Node, inputs: Values, call: Call) -> Values:
    """The body gets the number of the round, whether to go on, and what is carried; it gives
    whether to go on, what is carried, and what is stacked over the rounds."""
    limit, going, *carried = inputs
    body = node.get("body")
    most, go_on = one(limit), one(going, True)
    stacks: list[list[Any]] = [[] for _ in body.outputs[1 + len(carried) :]]
    rounds = 0
    while go_on and (most is None or rounds < most):
        given = [Tensor(np.asarray(rounds, np.int64)), Tensor(np.asarray(True)), *carried]
        again, *made = call(body, given)
        carried, parts = made[: len(carried)], made[len(carried) :]
        for stack, part in zip(stacks, parts, strict=True):
            stack.append(part)
        go_on, rounds = bool(one(again)), rounds + 1
    if stacks and not rounds:
        raise node.refuse("no round of the loop was run, and what it stacks has no shape")
    return [*carried, *[ops.stack(stack, axis=0) for stack in stacks]]


def _scan(node: Node, inputs: Values, call: Call) -> Values:
    """The body gets the states and a slice of each scanned input; it gives the states and slices
    of outputs."""
    if node.opset < 9:
        raise node.refuse("the form that it had before opset 9, with a batch")
    body, count = node.get("body"), node.get("num_scan_inputs")
    states, scanned = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    axes = node.get("scan_input_axes", [0] * count)
    backwards = node.get("scan_input_directions", [0] * count)
    columns: list[Values] = []
    for x, axis, back in zip(scanned, axes, backwards, strict=True):
        assert x is not None
        slices: Values = list(ops.unstack(x, axis=axis))
        columns.append(slices[::-1] if back else slices)
    stacks: list[list[Any]] = [[] for _ in body.outputs[len(states) :]]
    for row in zip(*columns, strict=True):
        made = call(body, [*states, *row])
        states, parts = made[: len(states)], made[len(states) :]
        for stack, part in zip(stacks, parts, strict=True):
            stack.append(part)
    out_axes = node.get("scan_output_axes", [0] * len(stacks))
    out_backwards = node.get("scan_output_directions", [0] * len(stacks))
    found = [
        ops.stack(stack[::-1] if back else stack, axis=axis)
        for stack, axis, back in zip(stacks, out_axes, out_backwards, strict=True)
    ]
    return [*states, *found]
