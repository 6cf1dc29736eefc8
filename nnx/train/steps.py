"""A Trainer's step in its four kinds: as it is, replayed, in parts, and shared by several ranks.

They differ in how the gradients come about; what is done with them afterwards stands once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..backends import Array
from ..nn import Module
from ..random import default_generator
from ..tensor import Tensor
from . import nonfinite, parallel
from .batches import Batch, parts_of
from .capture import Captured, capture
from .weighting import size_of

if TYPE_CHECKING:
    from .trainer import Trainer

# The loss, how much the batch counts, and each output with its target, for the metrics.
Done = tuple[Array, float, list[tuple[Any, Any]]]


def step(trainer: Trainer, batch: Batch, on_gradients: list[Callable[[Trainer], None]]) -> None:
    """One step of the optimizer on a batch; the running loss and the metrics hear of it."""
    if trainer.optimizer.takes_closure:
        loss, size, seen = _searched(trainer, batch, on_gradients)
    else:
        loss, size, seen = _prepared(trainer, batch, on_gradients)
        trainer.optimizer.step()
    trainer.running_loss.take(loss, size)
    for output, target in seen:
        for metric in trainer.metrics:
            metric.update(output, target)


def _prepared(
    trainer: Trainer, batch: Batch, on_gradients: list[Callable[[Trainer], None]]
) -> Done:
    """All of a step that comes before the optimizer."""
    done = _kind(trainer, batch)(trainer, batch)
    if trainer.penalty is not None:
        trainer.penalty.add_gradients(trainer.model)
    for hear in on_gradients:
        hear(trainer)
    return done


def _searched(
    trainer: Trainer, batch: Batch, on_gradients: list[Callable[[Trainer], None]]
) -> Done:
    """The step of an optimizer that asks for the loss again and again; what it was at first."""
    first: Done | None = None

    def closure() -> Any:
        nonlocal first
        default_generator().set_state(trainer.draws)  # the same dropout, so the same function
        done = _prepared(trainer, batch, on_gradients)
        first = first or done
        if trainer.penalty is None:
            return done[0]
        return float(done[0]) + trainer.penalty.value(trainer.model)

    trainer.optimizer.step(closure)
    assert first is not None
    return first


def captured(trainer: Trainer) -> Captured:
    """Forward and backward of the Trainer's batches, recorded as a graph when they first run."""
    loss = trainer.loss
    owners = [trainer.model, *([loss] if isinstance(loss, Module) else [])]
    return capture(lambda *batch: gradients(trainer, batch), *owners)


def gradients(trainer: Trainer, batch: Batch) -> tuple[Tensor, Any, Any]:
    """Forward and backward of a batch: what `compute` gives."""
    loss, output, target = trainer.compute(batch)
    _require_number(loss)
    look = trainer.check_every == 1 or nonfinite.reads_at_once(loss.data)
    if look and not math.isfinite(loss.data):
        raise nonfinite.loss_error(trainer, batch, float(loss.data))
    # Only now, so that the gradients of the step before are still there to be looked at.
    trainer.optimizer.zero_grad()
    loss.backward()
    return loss, output, target


def _kind(trainer: Trainer, batch: Batch) -> Callable[[Trainer, Batch], Done]:
    if trainer.parallel is not None:
        return _shared
    if trainer.accumulate > 1:
        return _in_parts
    record = None if isinstance(batch, Mapping) else trainer.captured
    return _replayed if record is not None and record.fits(*batch) else _as_it_is


def _as_it_is(trainer: Trainer, batch: Batch) -> Done:
    loss, output, target = gradients(trainer, batch)
    return loss.data, size_of(batch), [(output, target)]


def _replayed(trainer: Trainer, batch: Batch) -> Done:
    assert trainer.captured is not None
    loss, output, target = trainer.captured(*batch)
    return loss.data, size_of(batch), [(output, target)]


def _in_parts(trainer: Trainer, batch: Batch) -> Done:
    """The gradients of the parts of a batch, added up."""
    seen: list[tuple[Any, Any]] = []
    loss: Any = 0.0
    begun = False
    for part, share in parts_of(batch, trainer.accumulate, trainer.loss):
        value, output, target = trainer.compute(part)
        _require_number(value)
        seen.append((output, target))
        if not share:  # none of its targets counts: its loss is NaN, and says nothing
            continue
        if nonfinite.reads_at_once(value.data) and not math.isfinite(value.data):
            raise nonfinite.loss_error(trainer, part, float(value.data))
        if not begun:  # see `gradients`
            trainer.optimizer.zero_grad()
            begun = True
        value = value * share
        value.backward()
        loss = value.data + loss
    if not begun:
        trainer.optimizer.zero_grad()
    return loss, size_of(batch), seen


def _shared(trainer: Trainer, batch: Batch) -> Done:
    """Each rank computes some parts of the batch; the metrics have them already."""
    assert trainer.parallel is not None
    loss, rows, trainer.all_stop = parallel.step(trainer, trainer.parallel, batch)
    return loss, rows, []


def _require_number(loss: Tensor) -> None:
    """Raise ValueError unless a loss is one number."""
    if not isinstance(loss, Tensor):
        raise TypeError(f"fit: the loss must be a Tensor of shape (), got {type(loss).__name__}")
    if loss.shape != ():
        raise ValueError(
            f"fit: the loss has shape {loss.shape}, but a step needs one number, of shape (): "
            'make the loss with reduction="mean" instead of "none", or take its mean()'
        )
