"""`nnx.parity`: does a model compute the same on two backends, and if not, where first?

Comparing the outputs of two whole networks says little: a small error grows through the layers,
and the last one is blamed for the first one's fault.  So the model runs once, on the first
backend, and every layer's input and the gradient of its output are written down.  Then each layer
runs alone, on both backends, from exactly those numbers, forward and backward.  What differs in
one layer cannot leak into the next.

A module that calls others is a layer too: of what it computes between them.  When it runs alone,
those that it called answer with what they gave in the first run.  So what they gave are inputs of
it, and what it hands to them are outputs.  The loss is the last layer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import random
from ..backends import Backend, backend_of, get_backend, override, unavailable
from ..nn import Module
from ..tensor import Tensor, tensors_in

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

    def _repr_html_(self) -> str:
        from .. import notebook

        rows = [
            (r.layer, r.kind, r.tensor, r.shape, r.error, r.bound, "" if r.ok else "differs")
            for r in self.rows
        ]
        head = ("layer", "kind", "tensor", "shape", "error", "bound", "")
        return notebook.table(head, rows, str(self).splitlines()[-1])

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
    prefix: str  # of the names of those inside
    layer: Module  # as it was before the call
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    state: dict[str, Any]  # of the random generator, before the call
    after: dict[str, Any] = field(default_factory=dict)  # and after it
    given: Any = None  # what it returned
    called: list[_Call] = field(default_factory=list)  # the outermost calls that it made

    def outputs(self) -> list[tuple[str, Tensor]]:
        """What the call computes: what it hands to those that it calls, and what it returns."""
        handed = [
            (f"input of {inner.label(self)}", t)
            for inner in self.called
            for t in tensors_in((inner.args, inner.kwargs))
        ]
        own = tensors_in(self.given)
        returned = [(f"output {k}" if len(own) > 1 else "output", t) for k, t in enumerate(own)]
        return _distinct(handed + returned)

    def label(self, caller: _Call) -> str:
        """Its name as seen from its caller; of several calls of one layer, with a number."""
        same = [inner for inner in caller.called if inner.name == self.name]
        number = next(k for k, inner in enumerate(same) if inner is self)
        name = self.name.removeprefix(caller.prefix)
        return f"{name}, call {number + 1}" if len(same) > 1 else name


class _Loss(Module):
    """A loss function as the last layer."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def forward(self, *args: Any) -> Tensor:
        return self.function(*args)


def parity(
    model: Module,
    batch: Any,
    loss: Callable[..., Tensor] | None = None,
    backends: Sequence[str | Backend] | None = None,
    bounds: dict[str, float] | None = None,
) -> ParityReport:
    """Compare all that a model computes between two backends, layer by layer, both ways.

    Args:
        model: any Module; it is copied, not changed.
        batch: the model's input, a tensor or array, or a tuple of several; with `loss` a tuple
            (input, ..., target), or an input alone if the loss takes no target.
        loss: `loss(output, target)` (or `loss(output)`) gives the scalar to differentiate;
            without it the gradient of each output is random.
        backends: two names, as for `nnx.set_backend`; None: NumPy and CuPy, or where CuPy cannot be
            used, NumPy with its kernels and in portable code.
        bounds: the largest relative error allowed, by dtype name; `BOUNDS` by default.

    Returns:
        A `ParityReport`: print it for the table, `report.first` is the first layer that differs.
        A module that calls others has rows of what it computes between them; the loss has rows.

    Raises:
        ValueError: a backend cannot be used here.
        RuntimeError: a module calls others in another order when it runs again.
    """
    if backends is None:
        backends = _two_that_are_here()
    if len(backends) != 2:
        raise ValueError(f"parity compares two backends, got {len(backends)}: {tuple(backends)}")
    first, second = (get_backend(b) if isinstance(b, str) else b for b in backends)
    allowed = {**BOUNDS, **(bounds or {})}
    inputs, target = batch if isinstance(batch, tuple) else (batch,), ()
    if loss is not None and len(inputs) > 1:
        inputs, target = inputs[:-1], inputs[-1:]

    with _computing_on(first):
        reference = _moved(copy.deepcopy(model), first)
        calls = _record(reference, _on(inputs, first), _on(target, first), loss, first)
    report = ParityReport((first.name, second.name))
    for call in calls:
        seeds = [_gradient_of(y) for _, y in call.outputs()]
        results = []
        for backend in (first, second):
            with _computing_on(backend):
                layer = _moved(copy.deepcopy(call.layer), backend)
                results.append(_run_alone(layer, call, seeds, backend))
        ours, theirs = results
        if [tensor for tensor, _ in ours] != [tensor for tensor, _ in theirs]:
            raise _another_way(call)
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


def _two_that_are_here() -> tuple[Backend, Backend]:
    """The CPU and the GPU where there is one, else the CPU's kernels and the portable code."""
    gpu = unavailable("cupy") is None
    return get_backend("numpy"), get_backend("cupy") if gpu else Backend(np, "portable")


def _record(
    model: Module,
    inputs: tuple[Any, ...],
    target: tuple[Any, ...],
    loss: Callable[..., Tensor] | None,
    home: Backend,
) -> list[_Call]:
    """Run the whole model once, forward and backward, and write down what each layer saw."""
    calls: list[_Call] = []
    running: list[_Call] = []
    generator = random.default_generator()

    def watch(name: str, prefix: str, layer: Module) -> None:
        plain = layer.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            # The layer's state as it is before the call: batch norm is about to change it.
            call = _Call(name, prefix, _unwatched(layer), args, kwargs, generator.state())
            running.append(call)
            y = plain(*args, **kwargs)
            running.pop()
            call.given, call.after = y, generator.state()
            for t in tensors_in((args, kwargs, y)):
                if t.creator is not None:
                    t.retain_grad()
            if running:
                running[-1].called.append(call)
            calls.append(call)
            return y

        vars(layer)["forward"] = forward

    for name, module in list(model.named_modules()):
        watch(name or type(module).__name__, f"{name}." if name else "", module)
    started = generator.state()
    y = model(*inputs)
    if loss is not None:
        last = _moved(copy.deepcopy(loss), home) if isinstance(loss, Module) else _Loss(loss)
        for name, module in list(last.named_modules("loss")):
            watch(name, f"{name}.", module)
        value = last(y, *target)
        if value.requires_grad:
            value.backward()
    else:
        rng = np.random.default_rng(0)
        outs = [t for t in tensors_in(y) if t.requires_grad]
        for k, out in enumerate(outs):
            g = rng.standard_normal(out.shape).astype(home.to_numpy(out.data).dtype)
            out.backward(home.from_numpy(g), retain_graph=k + 1 < len(outs))
    generator.set_state(started)
    return calls


def _unwatched(layer: Module) -> Module:
    """A copy of the layer that records nothing, nor do those inside."""
    watching = [(m, vars(m).pop("forward")) for m in layer.modules() if "forward" in vars(m)]
    twin = copy.deepcopy(layer)
    for module, forward in watching:
        vars(module)["forward"] = forward
    return twin


def _run_alone(
    layer: Module, call: _Call, seeds: list[np.ndarray | None], home: Backend
) -> list[tuple[str, np.ndarray]]:
    """One layer on one backend from the recorded numbers: what it computes, gradients, buffers.

    Those that it calls return what they returned in the recorded run.
    """
    generator = random.default_generator()
    before = generator.state()
    generator.set_state(call.state)
    args, kwargs = _leaves(call.args, home), _leaves(call.kwargs, home)
    own = tensors_in((args, kwargs))
    sources = [(f"input {k}" if len(own) > 1 else "input", t) for k, t in enumerate(own)]
    handed: list[tuple[str, Tensor]] = []
    expected = iter(call.called)

    def answer(name: str) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            inner = next(expected, None)
            if inner is None or inner.name != name:
                raise _another_way(call)
            label = inner.label(call)
            handed.extend((f"input of {label}", t) for t in tensors_in((args, kwargs)))
            y = _leaves(inner.given, home)
            sources.extend((f"output of {label}", t) for t in tensors_in(y))
            generator.set_state(inner.after)
            return y

        return forward

    called = {inner.name for inner in call.called}
    for name, module in layer.named_modules():
        if module is not layer:
            vars(module)["forward"] = answer(call.prefix + name)
    y = layer(*args, **kwargs)
    generator.set_state(before)
    if next(expected, None) is not None:
        raise _another_way(call)

    returned = tensors_in(y)
    outputs = _distinct(
        handed
        + [(f"output {k}" if len(returned) > 1 else "output", t) for k, t in enumerate(returned)]
    )
    passed_on = {id(t) for _, t in sources}
    found = [
        (name, np.array(home.to_numpy(t.data))) for name, t in outputs if id(t) not in passed_on
    ]
    live = [
        (t, seed)
        for (_, t), seed in zip(outputs, seeds, strict=True)
        if seed is not None and t.requires_grad and t.creator is not None
    ]
    for k, (t, seed) in enumerate(live):
        t.backward(home.from_numpy(seed), retain_graph=k + 1 < len(live))
    for name, t in [*sources, *layer.named_parameters()]:
        if t.grad is not None:
            found.append((f"gradient of {name}", np.array(home.to_numpy(t.grad))))
    for name, buffer in layer.named_buffers():
        if call.prefix + name.rpartition(".")[0] not in called:
            found.append((name, np.array(home.to_numpy(buffer))))
    return found


def _another_way(call: _Call) -> RuntimeError:
    return RuntimeError(
        f"parity: {call.name} ({type(call.layer).__name__}) called other layers, or in another "
        "order, when it ran again from the same numbers; what its forward does must not depend on "
        "more than its inputs, its parameters and nnx.random"
    )


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
    if buffers & {name for name, _ in found}:
        args = tuple(
            Tensor(home.from_numpy(signed(home.to_numpy(x.data))))
            if isinstance(x, Tensor) and home.is_float(x.data.dtype)
            else x
            for x in call.args
        )
        layer = _moved(copy.deepcopy(call.layer), home)
        found = _run_alone(layer, replace(call, args=args), [None] * len(seeds), home)
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


def _distinct(named: list[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    """Each tensor once, by its last name: what a layer returns is called its output."""
    return list({id(t): (name, t) for name, t in named}.values())


def _on(value: Any, target: Backend) -> Any:
    """The same nested value with every array on `target`, off the tape."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        return type(value)(*[_on(v, target) for v in value])
    if isinstance(value, tuple | list):
        return type(value)(_on(v, target) for v in value)
    if isinstance(value, dict):
        return {key: _on(v, target) for key, v in value.items()}
    data = value.data if isinstance(value, Tensor) else value
    if not (hasattr(data, "shape") and hasattr(data, "dtype")):
        return value
    return Tensor(target.from_numpy(np.array(backend_of(data).to_numpy(data))))


def _leaves(value: Any, home: Backend) -> Any:
    """The same nested value on `home`; where its tensors are floats, their gradients are wanted."""
    value = _on(value, home)
    for t in tensors_in(value):
        t.requires_grad = home.is_float(t.data.dtype)
    return value


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
