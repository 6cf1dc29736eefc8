"""`nnx.parity`: does a model compute the same on two backends, and if not, where first?

Comparing the outputs of two whole networks says little: a small error grows through the layers,
and the last one is blamed for the first one's fault.  So the model runs once, on the first
backend, and every layer's input and the gradient of its output are written down.  Then each layer
runs alone, on both backends, from exactly those numbers, forward and backward.  What differs in
one layer cannot leak into the next.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import random
from ..backends import Backend, backend_of, get_backend, override
from ..nn import Module
from ..tensor import Tensor

__all__ = ["BOUNDS", "ParityReport", "Row", "parity"]

# Two libraries may add the terms of a sum in different orders.  The bound is relative to the
# largest value of the array, or of the terms where they cancel (`_sizes_of_terms`): about 100
# roundings of its dtype.
BOUNDS = {"float16": 1e-1, "float32": 1e-5, "float64": 2e-14}


@dataclass(frozen=True)
class Row:
    """One compared tensor of one layer.

    Args:
        layer: its dotted name in the model.
        kind: the layer's class.
        tensor: "output", "gradient of input", "gradient of weight", "running_mean", ...
        shape: the tensor's.
        error: the largest difference, relative to the largest value or term.
        bound: what it may be.
    """

    layer: str
    kind: str
    tensor: str
    shape: tuple[int, ...]
    error: float
    bound: float

    @property
    def ok(self) -> bool:
        """Whether the error is within its bound; NaN never is."""
        return self.error <= self.bound


@dataclass
class ParityReport:
    """What `nnx.parity` found; `str(report)` is a table.

    Args:
        backends: the names of the two.
        rows: the comparisons, in the order the layers ran.
    """

    backends: tuple[str, str]
    rows: list[Row] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether something was compared, and all of it agrees."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def first(self) -> Row | None:
        """The first tensor beyond its bound, in the order the layers ran; None where all agree."""
        return next((row for row in self.rows if not row.ok), None)

    def __str__(self) -> str:
        head = ("layer", "kind", "tensor", "shape", "error", "bound", "")
        body = [
            (
                r.layer,
                r.kind,
                r.tensor,
                str(r.shape),
                f"{r.error:.1e}",
                f"{r.bound:.0e}",
                "" if r.ok else "<-- differs",
            )
            for r in self.rows
        ]
        widths = [max(len(line[k]) for line in [head, *body]) for k in range(len(head))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in [head, *body]
        ]
        a, b = self.backends
        if self.first is None:
            verdict = f"{a} and {b} agree in all {len(self.rows)} tensors"
        else:
            verdict = (
                f"{a} and {b} differ first in layer {self.first.layer!r} ({self.first.kind}): "
                f"{self.first.tensor}, error {self.first.error:.1e}, bound {self.first.bound:.0e}"
            )
        return "\n".join([*lines, verdict])


@dataclass
class _Call:
    """One call of one layer in the recorded run."""

    name: str
    layer: Module
    inputs: tuple[Any, ...]
    outputs: list[Tensor]
    state: dict[str, Any]  # of the random generator, before the call


def parity(
    model: Module,
    batch: Any,
    loss: Callable[..., Tensor] | None = None,
    backends: Sequence[str | Backend] = ("numpy", "cupy"),
    bounds: dict[str, float] | None = None,
) -> ParityReport:
    """Compare every layer of a model between two backends, forward and backward.

    Args:
        model: any Module; it is copied, not changed.
        batch: the model's input, a tensor or array; or a tuple (input, target) with `loss`.
        loss: `loss(output, target)` (or `loss(output)`) gives the scalar to differentiate;
            without it the gradient of each output is random.
        backends: two names, as for `nnx.set_backend`.
        bounds: the largest relative error allowed, by dtype name; `BOUNDS` by default.

    Returns:
        A `ParityReport`: print it for the table, `report.first` is the first layer that differs.

    Raises:
        ValueError: a backend cannot be used here.
    """
    if len(backends) != 2:
        raise ValueError(f"parity compares two backends, got {len(backends)}: {tuple(backends)}")
    first, second = (get_backend(b) if isinstance(b, str) else b for b in backends)
    allowed = {**BOUNDS, **(bounds or {})}
    inputs, target = batch if isinstance(batch, tuple) and loss is not None else (batch, None)

    with _computing_on(first):
        reference = _moved(copy.deepcopy(model), first)
        calls = _record(reference, _on(inputs, first), _on(target, first), loss, first)
    report = ParityReport((first.name, second.name))
    for call in calls:
        seeds = [_gradient_of(y) for y in call.outputs]
        results = []
        for backend in (first, second):
            with _computing_on(backend):
                layer = _moved(copy.deepcopy(call.layer), backend)
                results.append(_run_alone(layer, call, seeds, backend))
        ours, theirs = results
        with _computing_on(first):
            terms = _sizes_of_terms(call, seeds, first)
        for (tensor, a), (_, b) in zip(ours, theirs, strict=True):
            report.rows.append(
                Row(
                    call.name,
                    type(call.layer).__name__,
                    tensor,
                    a.shape,
                    _error(a, b, terms.get(tensor, 0.0)),
                    allowed.get(a.dtype.name, 0.0),
                )
            )
    return report


def _record(
    model: Module, inputs: Any, target: Any, loss: Callable[..., Tensor] | None, home: Backend
) -> list[_Call]:
    """Run the whole model once, forward and backward, and write down what each layer saw."""
    calls: list[_Call] = []
    names = {id(m): n or type(m).__name__ for n, m in model.named_modules()}
    generator = random.default_generator()

    def watch(layer: Module) -> None:
        plain = layer.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            before = generator.state()
            copied = tuple(_detached(a) for a in args)
            # Take the layer's state as it is before the call: batch norm is about to change it.
            twin = copy.copy(layer)
            vars(twin).pop("forward", None)
            twin = copy.deepcopy(twin)
            y = plain(*args, **kwargs)
            outputs = list(_tensors(y))
            for out in outputs:
                out.retain_grad()
            calls.append(_Call(names[id(layer)], twin, copied, outputs, before))
            return y

        vars(layer)["forward"] = forward

    for module in list(model.modules()):
        if not list(module.children()):
            watch(module)
    started = generator.state()
    y = model(inputs)
    if loss is not None:
        value = loss(y) if target is None else loss(y, target)
        if value.requires_grad:
            value.backward()
    else:
        rng = np.random.default_rng(0)
        outs = [t for t in _tensors(y) if t.requires_grad]
        for k, out in enumerate(outs):
            g = rng.standard_normal(out.shape).astype(home.to_numpy(out.data).dtype)
            out.backward(home.from_numpy(g), retain_graph=k + 1 < len(outs))
    generator.set_state(started)
    return calls


def _run_alone(
    layer: Module, call: _Call, seeds: list[np.ndarray | None], home: Backend
) -> list[tuple[str, np.ndarray]]:
    """One layer on one backend from the recorded numbers: its outputs, gradients and buffers."""
    generator = random.default_generator()
    before = generator.state()
    generator.set_state(call.state)
    inputs = tuple(_on(a, home) for a in call.inputs)
    leaves = [t for a in inputs for t in _tensors(a)]
    for t in leaves:
        t.requires_grad = home.to_numpy(t.data).dtype.kind == "f"
    outputs = list(_tensors(layer(*inputs)))
    generator.set_state(before)

    many = len(outputs) > 1
    found = [
        (f"output {k}" if many else "output", np.array(home.to_numpy(y.data)))
        for k, y in enumerate(outputs)
    ]
    live = [
        (y, s)
        for y, s in zip(outputs, seeds, strict=True)
        if s is not None and y.requires_grad and y.creator is not None
    ]
    for k, (y, seed) in enumerate(live):
        y.backward(home.from_numpy(seed), retain_graph=k + 1 < len(live))
    for k, t in enumerate(leaves):
        if t.grad is not None:
            name = f"gradient of input {k}" if len(leaves) > 1 else "gradient of input"
            found.append((name, np.array(home.to_numpy(t.grad))))
    for name, p in layer.named_parameters():
        if p.grad is not None:
            found.append((f"gradient of {name}", np.array(home.to_numpy(p.grad))))
    found.extend((n, np.array(home.to_numpy(b))) for n, b in layer.named_buffers())
    return found


def _sizes_of_terms(call: _Call, seeds: list[np.ndarray | None], home: Backend) -> dict[str, float]:
    """How large the sums of a layer would be if their terms did not cancel, by tensor.

    The gradient of a bias before batch norm is the sum of a gradient that adds up to 0: what is
    left is rounding, and two backends agree in none of its digits.  A gradient is linear in that
    of the output; with random signs there, its terms stay as large and cancel no more than by
    chance.  Likewise a running mean, with random signs in the input.
    """
    rng = np.random.default_rng(0)

    def signed(x: np.ndarray) -> np.ndarray:
        turned: np.ndarray = x * rng.choice(np.array([-1, 1], x.dtype), x.shape)
        return turned

    def sizes(found: list[tuple[str, np.ndarray]], names: set[str]) -> dict[str, float]:
        return {
            name: float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
            for name, a in found
            if name in names
        }

    layer = _moved(copy.deepcopy(call.layer), home)
    found = _run_alone(layer, call, [None if s is None else signed(s) for s in seeds], home)
    result = sizes(found, {name for name, _ in found if name.startswith("gradient of ")})
    buffers = {name for name, _ in call.layer.named_buffers()}
    if buffers:
        inputs = tuple(
            Tensor(home.from_numpy(signed(home.to_numpy(x.data))))
            if isinstance(x, Tensor) and home.is_float(x.data.dtype)
            else x
            for x in call.inputs
        )
        layer = _moved(copy.deepcopy(call.layer), home)
        found = _run_alone(layer, replace(call, inputs=inputs), [None] * len(seeds), home)
        result |= sizes(found, buffers)
    return result


def _error(a: np.ndarray, b: np.ndarray, terms: float = 0.0) -> float:
    """The largest difference relative to the largest value or term; inf where shape or dtype
    differ."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if a.size == 0:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    scale = float(max(np.max(np.abs(a)), np.max(np.abs(b)), terms, 1e-38))
    return float(np.max(np.abs(a - b))) / scale


def _computing_on(backend: Backend) -> AbstractContextManager[Backend]:
    """Make this very object compute: two backends may share one type of array."""
    return override(type(backend.from_numpy(np.zeros(1, np.float32))), backend)


# ---- tensors in nested arguments and results, from one backend to another ----


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [t for v in value for t in _tensors(v)]
    return []


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, tuple | list):
        return type(value)(_detached(v) for v in value)
    return value


def _on(value: Any, target: Backend) -> Any:
    """The same nested value with every array on `target`, off the tape."""
    if isinstance(value, tuple | list):
        return type(value)(_on(v, target) for v in value)
    data = value.data if isinstance(value, Tensor) else value
    if not (hasattr(data, "shape") and hasattr(data, "dtype")):
        return value
    return Tensor(target.from_numpy(np.array(backend_of(data).to_numpy(data))))


def _moved(module: Module, target: Backend) -> Module:
    """The module with parameters and buffers on `target`."""
    for p in module.parameters():
        p.data = target.from_numpy(np.array(backend_of(p.data).to_numpy(p.data)))
        p.grad = None
    for m in module.modules():
        for name in m._buffers:
            array = getattr(m, name)
            if array is not None:
                setattr(m, name, target.from_numpy(np.array(backend_of(array).to_numpy(array))))
    return module


def _gradient_of(y: Tensor) -> np.ndarray | None:
    return None if y.grad is None else np.array(backend_of(y.grad).to_numpy(y.grad))
