"""How much memory a model takes, in training and in use: measured in steps that change nothing.

Which kernel computes a layer, what it keeps for its backward and what it needs while it runs depend
on the backend, the sizes and the layers beside it.  No table of layers can say it: a copy of the
model makes real steps, and before and after every call the memory in use, and the most that it was,
are read.  There are three:

1. one that nothing is made of: kernels are compiled, and the memory that the backend keeps for use
   again (`backends/cpu/memory.py`) becomes what it is in every later step;
2. a step as it will be again and again, for the peak;
3. a step in which nothing is kept, to tell what is used from what lies ready.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..autograd import enable_grad, no_grad, watching_calls
from ..backends import dtype_name
from ..backends.meter import Meter, can_measure, forget, keeping_nothing, measuring
from ..random import Generator, use_generator
from ..tensor import Tensor, tensors_in
from .module import Module

Loss = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Memory:
    """The bytes that a model takes for one batch, in training or in use.

    Attributes:
        weights: parameters and buffers.
        inputs: the batch.
        gradients: those of the parameters; 0 in use.
        optimizer: what it remembers of the parameters; 0 in use, or where none was given.
        activations: in training what is there when the loss is known, kept for backward or because
            the caller holds it, the outputs among it; in use the most that is there between two
            calls.
        workspace: the most that any one call takes for itself, beyond what it was given and what it
            leaves: columns of a convolution, scores of attention, a gradient before it is summed.
        kept: what the peak has of memory that lies ready for use again.
        peak: the most that is taken at one time: of each of the above what is there then.
        where: the call in which that is, such as "Conv2d.backward".
    """

    weights: int
    inputs: int
    gradients: int
    optimizer: int
    activations: int
    workspace: int
    kept: int
    peak: int
    where: str


LABELS = {
    "weights": "weights and buffers",
    "inputs": "inputs",
    "gradients": "gradients",
    "optimizer": "optimizer's state",
    "activations": "activations",
    "workspace": "workspace of a call",
    "kept": "kept for use again",
    "peak": "peak",
}


def shown_bytes(n: float) -> str:
    """A number of bytes with three digits and a unit."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while n >= 999.5 and len(units) > 1:
        n /= 1000
        del units[0]
    return f"{n:.3g} {units[0]}"


def compared(training: Memory | None, inference: Memory | None) -> list[tuple[str, ...]]:
    """What training and inference take, a kind of memory a line; "" where there is none."""
    lines = []
    for name, label in LABELS.items():
        bytes_ = [0 if m is None else getattr(m, name) for m in (training, inference)]
        if any(bytes_):
            lines.append((label, *[shown_bytes(n) if n else "" for n in bytes_]))
    return lines


class Trace:
    """The readings of one step: before each call, and after it."""

    def __init__(self, meter: Meter | None) -> None:
        self.meter, self.base = meter, 0
        self.metered = meter is not None
        self.calls: list[Any] = []  # per reading: the class of what was called, or None between
        self.kinds: list[str] = []  # forward, backward or step
        self.live, self.peak = array("q"), array("q")
        self.forward_ends = 0  # the reading at which the loss is known
        self.multiply_adds = [0, 0]  # forward and backward
        self.most = 0  # the peak of a step in which memory is kept for use again
        self.inputs = self.gradients = self.optimizer = 0  # bytes

    def begin(self) -> None:
        """What is there now is none of the step's."""
        if self.meter is not None:
            self.base = self.meter.read()[0]

    def read(self, call: Any = None, kind: str = "") -> None:
        """Read the memory, where `call` has ended, or else before one."""
        live, peak = (0, 0) if self.meter is None else self.meter.read()
        self.calls.append(call)
        self.kinds.append(kind)
        self.live.append(live - self.base)
        self.peak.append(peak - self.base)

    def __call__(self, function: Any, compute: Callable[..., Any], arrays: Sequence[Any]) -> Any:
        """Compute a call, as `autograd.watching_calls` asks for it."""
        self.read()
        y = compute(*arrays)
        self.read(type(function), compute.__name__)
        if compute.__name__ == "forward":
            for k, n in enumerate(function.multiply_adds(*arrays)):
                self.multiply_adds[k] += n
        return y

    def memory(self, weights: int) -> Memory | None:
        """What the readings say, beside so many bytes of weights; None where there are none."""
        if not self.metered:
            return None
        live, peak = self.live, self.peak
        calls = [k for k, call in enumerate(self.calls) if call is not None]
        at = max(range(len(peak)), key=peak.__getitem__)
        return Memory(
            weights,
            self.inputs,
            self.gradients,
            self.optimizer,
            max(0, live[self.forward_ends] if self.forward_ends else max(live)),
            max([0, *(peak[k] - max(live[k - 1], live[k]) for k in calls)]),
            max(0, self.most - peak[at]),
            weights + self.inputs + self.optimizer + max(0, peak[at], self.most),
            self._name(at),
        )

    def _name(self, k: int) -> str:
        """What was called up to reading k, or before it."""
        while k >= 0 and self.calls[k] is None:
            k -= 1
        return "the model" if k < 0 else f"{self.calls[k].__name__}.{self.kinds[k]}"


def traced(
    model: Module,
    inputs: dict[str, Any] | tuple[Any, ...],
    training: bool,
    loss: Loss | None = None,
    optimizer: Any = None,
) -> Trace:
    """The last of three steps: in training, or off the tape in evaluation mode.

    Args:
        model: a copy, whose mode, gradients, parameters and statistics may change.
        inputs: its arguments.
        training: which of the two.
        loss: of the output; None: the sum of all that depends on a parameter.
        optimizer: of the copy's parameters, or None.

    Raises:
        ValueError: nothing that the model returns depends on a parameter that learns.
    """
    model.train(training)
    step = partial(_step, model, inputs, loss or _sum, optimizer, training)
    # In a context of its own nothing has to be put back: neither this nor what blocks set.
    traces: list[Trace] = copy_context().run(
        _steps, step, arrays_in([inputs, list(model.parameters())])
    )
    trace = traces[-1]
    trace.most = max([0, *traces[1].peak])
    trace.inputs = sum(map(size, arrays_in(inputs)))
    if training:
        trace.gradients = sum(size(p.grad) for p in model.parameters() if p.grad is not None)
    if optimizer is not None:
        trace.optimizer = sum(map(size, arrays_in(list(optimizer.state.values()))))
    return trace


def _steps(step: Callable[[Trace], None], arrays: list[Any]) -> list[Trace]:
    """The three steps that this file is about."""
    np.seterr(all="ignore")  # zeros are no data
    metered = all(map(can_measure, arrays))
    if metered:
        forget()
    traces = [Trace(None)]
    step(traces[0])
    meter = Meter() if metered else None
    traces.append(Trace(meter))
    step(traces[1])
    if meter is not None:
        meter.forget()
    traces.append(Trace(meter))
    with keeping_nothing():
        step(traces[2])
    for trace in traces:
        trace.meter = None  # which counts for as long as it lives
    return traces


def _step(
    model: Module, inputs: Any, loss: Loss, optimizer: Any, training: bool, trace: Trace
) -> None:
    for leaf in (*model.parameters(), *tensors_in(inputs)):
        leaf.grad = None
    recording = enable_grad() if training else no_grad()
    with use_generator(Generator(0)), recording, watching_calls(trace), measuring():
        trace.begin()
        y = model(**inputs) if isinstance(inputs, dict) else model(*inputs)
        if not training:
            trace.read()
            return
        total = loss(y)
        trace.read()
        trace.forward_ends = len(trace.live) - 1
        total.backward()
        trace.read()
        if optimizer is not None:
            optimizer.step()
            trace.read(type(optimizer), "step")


def _sum(output: Any) -> Tensor:
    """The sum of all numbers in the outputs that depend on a parameter."""
    parts = [y.sum() for y in tensors_in(output) if y.requires_grad]
    if not parts:
        raise ValueError("nothing that it returns depends on a parameter that learns")
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


# ---- what is in inputs, outputs and states ----


def arrays_in(value: Any) -> list[Any]:
    """The arrays in them, those of tensors too."""
    if isinstance(value, Tensor):
        return [value.data]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [a for part in value for a in arrays_in(part)]
    return [value] if hasattr(value, "dtype") and hasattr(value, "shape") else []


def size(a: Any) -> int:
    """Bytes of an array, by the width in its dtype's name."""
    bits = "".join(c for c in dtype_name(a.dtype) if c.isdigit())
    return int(math.prod(a.shape)) * (int(bits) // 8 if bits else 1)
