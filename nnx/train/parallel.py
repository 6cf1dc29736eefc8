"""The Trainer's side of a `DataParallel` model: steps, metrics and evaluation over all ranks."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..backends import Array
from ..metrics import Mean, Metric
from ..metrics.metric import exact_sum
from ..parallel.model import DataParallel
from ..random import default_generator, use_generator
from ..tensor import Tensor
from . import losses
from .nonfinite import NonFinite, find

if TYPE_CHECKING:
    from .trainer import Trainer


def step(trainer: Trainer, model: DataParallel, batch: Any) -> tuple[Array, int, Any, bool]:
    """Forward and backward of a batch on all ranks: its loss, its size, the losses that its loss is
    the sum of, and whether any rank was asked to stop.  The metrics have it, and the parameters
    have their gradients.

    Raises:
        NonFinite: on every rank, with one message.
    """
    scaler = trainer.precision.scaler
    done = model.backward(
        lambda rows: _with_terms(*trainer.computed(rows)),
        batch,
        trainer.step,
        weigh=_weigher(trainer),
        divide=getattr(trainer.loss, "reduction", "mean") != "sum",
        look=lambda mine: {
            "metrics": [_seen(trainer.metrics, part.output[0], part.target) for part in mine],
            "losses": [[part.weight, part.output[1]] for part in mine],
            "stop": trainer.asked_to_stop,
        },
        scale=None if scaler is None else scaler.get_scale(),
    )
    if not math.isfinite(float(done.loss)):
        raise _non_finite(trainer, model, batch, done.losses, float(done.loss))
    for note in done.notes:
        for states in note["metrics"]:
            for metric, state in zip(trainer.metrics, states, strict=True):
                metric.merge(state)
    told = [part for note in done.notes for part in note["losses"]]
    weight = math.fsum(w for w, _ in told)
    divide = getattr(trainer.loss, "reduction", "mean") != "sum"
    terms = {
        name: exact_sum([w * terms[name] for w, terms in told if w]) / (weight if divide else 1.0)
        for name in (told[0][1] if told else ())
    }
    return done.loss, done.rows, terms, any(note["stop"] for note in done.notes)


def _with_terms(given: Any, output: Any, target: Any) -> tuple[Tensor, Any, Any]:
    """What `compute` gave, with the losses by name, as numbers, beside the output."""
    loss, terms = losses.total(given)
    return loss, (output, {name: float(term.item()) for name, term in terms.items()}), target


def evaluate(trainer: Trainer, model: DataParallel, batches: Iterable[Any]) -> list[Any]:
    """The means of the loss and of those it is the sum of, and the metrics, over some batches, each
    computed by one of the ranks."""
    ranks, base = model.communicator, default_generator()
    own: list[list[Any]] = []
    for k, batch in enumerate(batches):
        if k % ranks.size == ranks.rank:
            tensors = trainer.tensors(batch)
            with use_generator(base.fork("evaluate", trainer.step, k)):
                loss, (output, terms), target = _with_terms(*trainer.computed(tensors))
            seen = _seen(trainer.metrics, output, target)
            own.append([k, {"loss": float(loss.item()), **terms}, len(tensors[-1]), seen])
    means: dict[str, Mean] = {"loss": Mean()}
    metrics = [_empty(metric) for metric in trainer.metrics]
    everyone = [row for rows in ranks.gather(own) for row in rows]
    for _, values, size, states in sorted(everyone, key=lambda row: row[0]):
        for name, value in values.items():
            means.setdefault(name, Mean(name)).take(value, size)
        for metric, state in zip(metrics, states, strict=True):
            metric.merge(state)
    return [*means.values(), *metrics]


def _weigher(trainer: Trainer) -> Any:
    """How much the loss of a part counts, where the loss itself knows better than by its rows."""
    if isinstance(trainer.loss, losses.Losses) and not trainer.computes_otherwise:
        return lambda batch: _by_rows(trainer.loss, batch)
    weight_of = getattr(trainer.loss, "weight_of", None)
    if weight_of is None or trainer.computes_otherwise:
        return None
    return lambda batch: weight_of(batch[-1])


def _by_rows(loss: Any, batch: Any) -> float:
    """The rows of a part: of several losses each must be a mean over all its numbers."""
    for name, one in loss.each.items():
        weight_of = getattr(one, "weight_of", None)
        if weight_of and weight_of(batch[-1]) != batch[-1].size:
            raise ValueError(
                f"fit: some targets do not count for the loss {name!r} (its ignore_index), so its "
                "mean is of others than that of the losses beside it; the parts of a DataParallel "
                "model can be added up for such a loss alone, or without it"
            )
    return float(len(batch[-1]))


def _empty(metric: Metric) -> Metric:
    new = copy.copy(metric)
    new.reset()
    return new


def _seen(metrics: Iterable[Metric], output: Any, target: Any) -> list[dict[str, Any]]:
    """The state of each metric after this part alone."""
    states = []
    for metric in map(_empty, metrics):
        metric.update(output, target)
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
                found = find(model, rows, trainer.computed)
        what, layer = model.communicator.broadcast_value(found, owner)
        what = f"in part {bad + 1} of {model.parts}, on rank {owner}: {what}"
    return NonFinite(
        f"the loss became {loss} in step {trainer.step + 1} (epoch {trainer.epoch + 1}, batch "
        f"{trainer.batch + 1}): {what}. A smaller learning rate, gradient clipping or scaled "
        "inputs may help",
        trainer.step + 1,
        layer,
    )
