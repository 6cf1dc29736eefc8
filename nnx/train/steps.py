"""A Trainer's step in its four kinds: as it is, replayed, in parts, and shared by several ranks.

They differ in how the gradients come about; what is done with them afterwards stands once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..backends import Array, active_backend, jit_enabled
from ..metrics import Mean
from ..nn import Module
from ..random import default_generator
from ..tensor import Tensor
from . import checks, losses, nonfinite, parallel
from .batches import Batch, parts_of
from .capture import Captured, capture
from .weighting import size_of

if TYPE_CHECKING:
    from .trainer import Trainer


class Done(NamedTuple):
    """What a step gave: its loss, (); how much the batch counts; each output with its target, for
    the metrics; and by name the losses that its loss is the sum of."""

    loss: Array
    size: float
    seen: list[tuple[Any, Any]]
    terms: dict[str, Array]


def step(trainer: Trainer, batch: Batch, on_gradients: list[Callable[[Trainer], None]]) -> None:
    """One step of the optimizer on a batch; the running loss and the metrics hear of it."""
    if trainer.optimizer.takes_closure:
        done = _searched(trainer, batch, on_gradients)
    else:
        done = _prepared(trainer, batch, on_gradients)
        trainer.precision.step(trainer.optimizer)
    trainer.running_loss.take(done.loss, done.size)
    _take_terms(trainer, done)
    for output, target in done.seen:
        for metric in trainer.metrics:
            metric.update(output, target)


def in_outline(trainer: Trainer, batch: Batch) -> None:
    """What a step computes, without looking at what came out: in a helping process nothing does."""
    given, _, _ = trainer.computed(batch)
    loss, _ = losses.total(given)
    trainer.optimizer.zero_grad()
    loss.backward()
    if not trainer.optimizer.takes_closure:
        trainer.optimizer.step()
        trainer.optimizer.step()  # momentum's first step is another


def helped(trainer: Trainer, batch: Batch) -> AbstractContextManager[None]:
    """Where the first step is made: other processes help with what is compiled for it."""
    alone = trainer.parallel is not None or trainer.accumulate > 1
    if alone or active_backend().name != "numpy" or not jit_enabled():
        return nullcontext()
    from ..backends.jit.codegen.helped import helped

    return helped(partial(in_outline, trainer, batch))


def _take_terms(trainer: Trainer, done: Done) -> None:
    running = trainer.running_terms
    if done.terms.keys() != running.keys():
        if trainer.batch:
            told = [", ".join(names) or "one without a name" for names in (done.terms, running)]
            raise ValueError(
                f"fit: the losses of this batch are {told[0]}; those of the one before {told[1]}"
            )
        checks.new_terms(trainer, done.terms)
        running = trainer.running_terms = {name: Mean(name) for name in done.terms}
    for name, term in done.terms.items():
        running[name].take(term, done.size)


def _prepared(
    trainer: Trainer, batch: Batch, on_gradients: list[Callable[[Trainer], None]]
) -> Done:
    """All of a step that comes before the optimizer."""
    done = _kind(trainer, batch)(trainer, batch)
    trainer.precision.unscale_(trainer.optimizer)
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
            return done.loss
        return float(done.loss) + trainer.penalty.value(trainer.model)

    trainer.optimizer.step(closure)
    assert first is not None
    return first


def captured(trainer: Trainer) -> Captured:
    """Forward and backward of the Trainer's batches, recorded as a graph when they first run."""
    owners = [trainer.model, *([trainer.loss] if isinstance(trainer.loss, Module) else [])]

    def step(*batch: Tensor) -> tuple[Any, ...]:
        loss, output, target, terms = gradients(trainer, batch)
        trainer.captured_terms = tuple(terms)
        return loss, output, target, *terms.values()

    return capture(step, *owners)


def gradients(trainer: Trainer, batch: Batch) -> tuple[Tensor, Any, Any, dict[str, Tensor]]:
    """Forward and backward of a batch: what `compute` gives, and by name the losses of the sum."""
    given, output, target = trainer.computed(batch)
    loss, terms = losses.total(given)
    look = trainer.check_every == 1 or nonfinite.reads_at_once(loss.data)
    if look and not math.isfinite(loss.data):
        raise nonfinite.loss_error(trainer, batch, float(loss.data))
    # Only now, so that the gradients of the step before are still there to be looked at.
    trainer.optimizer.zero_grad()
    trainer.precision.backward(loss)
    return loss, output, target, terms


def _kind(trainer: Trainer, batch: Batch) -> Callable[[Trainer, Batch], Done]:
    if trainer.parallel is not None:
        return _shared
    if trainer.accumulate > 1:
        return _in_parts
    record = None if isinstance(batch, Mapping) else trainer.captured
    return _replayed if record is not None and record.fits(*batch) else _as_it_is


def _as_it_is(trainer: Trainer, batch: Batch) -> Done:
    loss, output, target, terms = gradients(trainer, batch)
    return Done(loss.data, size_of(batch), [(output, target)], _arrays(terms))


def _replayed(trainer: Trainer, batch: Batch) -> Done:
    assert trainer.captured is not None
    loss, output, target, *values = trainer.captured(*batch)
    terms = dict(zip(trainer.captured_terms, values, strict=True))
    return Done(loss.data, size_of(batch), [(output, target)], _arrays(terms))


def _in_parts(trainer: Trainer, batch: Batch) -> Done:
    """The gradients of the parts of a batch, added up."""
    seen: list[tuple[Any, Any]] = []
    loss: Any = 0.0
    terms: dict[str, Any] = {}
    begun = False
    own = trainer.computes_otherwise and isinstance(trainer.loss, losses.Losses)
    for part, share in parts_of(batch, trainer.accumulate, None if own else trainer.loss):
        given, output, target = trainer.computed(part)
        value, named = losses.total(given, share)
        seen.append((output, target))
        for name in losses.by_name(given) or ():
            terms[name] = (named[name].data if name in named else 0.0) + terms.get(name, 0.0)
        if value is None:  # none of its targets counts: its loss is NaN, and says nothing
            continue
        if nonfinite.reads_at_once(value.data) and not math.isfinite(value.data):
            raise nonfinite.loss_error(trainer, part, float(value.data))
        if not begun:  # see `gradients`
            trainer.optimizer.zero_grad()
            begun = True
        trainer.precision.backward(value)
        loss = value.data + loss
    if not begun:
        trainer.optimizer.zero_grad()
    return Done(loss, size_of(batch), seen, terms)


def _shared(trainer: Trainer, batch: Batch) -> Done:
    """Each rank computes some parts of the batch; the metrics have them already."""
    assert trainer.parallel is not None
    loss, rows, terms, trainer.all_stop = parallel.step(trainer, trainer.parallel, batch)
    return Done(loss, rows, [], terms)


def _arrays(terms: dict[str, Tensor]) -> dict[str, Array]:
    return {name: term.data for name, term in terms.items()}
