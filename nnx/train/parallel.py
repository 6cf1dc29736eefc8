"""The Trainer's side of a `DataParallel` model: steps, metrics and evaluation over all ranks."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..backends import Array
from ..metrics import Mean, Metric
from ..parallel.model import DataParallel
from ..parallel.parts import PartDone
from ..random import default_generator, use_generator
from .nonfinite import NonFinite, find

if TYPE_CHECKING:
    from .trainer import Trainer


def step(trainer: Trainer, model: DataParallel, batch: Any) -> tuple[Array, int, bool]:
    """Forward and backward of a batch on all ranks: its loss, its size, and whether any rank was
    asked to stop.  The metrics have it, and the parameters have their gradients.

    Raises:
        NonFinite: on every rank, with one message.
    """
    done = model.backward(
        trainer.compute,
        batch,
        trainer.step,
        weigh=_weigher(trainer),
        divide=getattr(trainer.loss, "reduction", "mean") != "sum",
        look=lambda mine: {
            "metrics": [_seen(trainer.metrics, part) for part in mine],
            "stop": trainer.asked_to_stop,
        },
    )
    if not math.isfinite(float(done.loss)):
        raise _non_finite(trainer, model, batch, done.losses, float(done.loss))
    for note in done.notes:
        for states in note["metrics"]:
            for metric, state in zip(trainer.metrics, states, strict=True):
                metric.merge(state)
    return done.loss, done.rows, any(note["stop"] for note in done.notes)


def evaluate(trainer: Trainer, model: DataParallel, batches: Iterable[Any]) -> tuple[Any, Any]:
    """The loss (`Mean`) and the metrics over some batches, each computed by one of the ranks."""
    ranks, base = model.communicator, default_generator()
    own: list[list[Any]] = []
    for k, batch in enumerate(batches):
        if k % ranks.size == ranks.rank:
            tensors = trainer.tensors(batch)
            with use_generator(base.fork("evaluate", trainer.step, k)):
                loss, output, target = trainer.compute(tensors)
            size = len(tensors[-1])
            part = PartDone(k, size, size, float(loss.item()), output, target)
            own.append([k, part.loss, size, _seen(trainer.metrics, part)])
    mean, metrics = Mean(), [_empty(metric) for metric in trainer.metrics]
    everyone = [row for rows in ranks.gather(own) for row in rows]
    for _, value, size, states in sorted(everyone, key=lambda row: row[0]):
        mean.take(value, size)
        for metric, state in zip(metrics, states, strict=True):
            metric.merge(state)
    return mean, metrics


def _weigher(trainer: Trainer) -> Any:
    """How much the loss of a part counts, where the loss itself knows better than by its rows."""
    weight_of = getattr(trainer.loss, "weight_of", None)
    if weight_of is None or trainer.computes_otherwise:
        return None
    return lambda batch: weight_of(batch[-1])


def _empty(metric: Metric) -> Metric:
    new = copy.copy(metric)
    new.reset()
    return new


def _seen(metrics: Iterable[Metric], part: PartDone) -> list[dict[str, Any]]:
    """The state of each metric after this part alone."""
    states = []
    for metric in map(_empty, metrics):
        metric.update(part.output, part.target)
        states.append(metric.state_dict())
    return states


def _non_finite(
    trainer: Trainer, model: DataParallel, batch: Any, losses: list[tuple[int, float]], loss: float
) -> NonFinite:
    """The error for this batch's loss; the rank that has the part at fault looks for the layer."""
    bad = next((part for part, value in losses if not math.isfinite(value)), None)
    layer: str | None = None
    if bad is None:
        what = "the losses of its parts are finite, but not their mean"
    else:
        owner = model.rank_of(bad)
        found: Any = None
        if model.communicator.rank == owner:
            with model.part_again(batch, bad, trainer.step) as rows:
                found = find(model, rows, trainer.compute)
        what, layer = model.communicator.broadcast_value(found, owner)
        what = f"in part {bad + 1} of {model.parts}, on rank {owner}: {what}"
    return NonFinite(
        f"the loss became {loss} in step {trainer.step + 1} (epoch {trainer.epoch + 1}, batch "
        f"{trainer.batch + 1}): {what}. A smaller learning rate, gradient clipping or scaled "
        "inputs may help",
        trainer.step + 1,
        layer,
    )
