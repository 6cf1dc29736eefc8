"""What `Trainer.evaluate` and `Trainer.predict` do."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..autograd import no_grad
from ..backends import backend_of, use_backend
from ..metrics import Mean
from ..nn.module import temporary_modes
from ..tensor import Tensor
from . import losses as several
from . import nonfinite, parallel
from .batches import batches_of, inputs_of, rows_of
from .weighting import size_of

if TYPE_CHECKING:
    from .trainer import Trainer


def evaluate(trainer: Trainer, data: Any, batch_size: int) -> dict[str, float]:
    """Loss and metrics over some data, in evaluation mode and off the tape."""
    batches = batches_of(data, batch_size, "evaluate")
    with _evaluating(trainer), use_backend(trainer.home()), trainer.threads():
        if trainer.parallel is not None:
            mean, *metrics = parallel.evaluate(trainer, trainer.parallel, batches)
        else:
            mean, *metrics = _evaluate(trainer, batches)
    if not mean.count:
        raise ValueError(
            "evaluate: the data gave no example; an iterator, such as a generator, can be walked "
            "once: pass a DataLoader, arrays or a list of batches"
        )
    return {"loss": mean.compute(), **{metric.name: metric.compute() for metric in metrics}}


def _evaluate(trainer: Trainer, batches: Iterable[Any]) -> list[Any]:
    """The means of the loss and of those it is the sum of, and the metrics."""
    mean, metrics, first_bad = Mean(), copy.deepcopy(trainer.metrics), None
    means: dict[str, Mean] = {}
    for metric in metrics:
        metric.reset()
    for k, batch in enumerate(batches):
        tensors = trainer.tensors(batch, weighted=trainer.weighted)
        given, output, target = trainer.computed(tensors)
        size = size_of(tensors)
        if size == 0:
            continue  # the mean over nothing is NaN
        loss, terms = several.total(given)
        mean.take(loss.data, size)
        for name, term in terms.items():
            means.setdefault(name, Mean(name)).take(term.data, size)
        for metric in metrics:
            metric.update(output, target)
        if first_bad is None and nonfinite.reads_at_once(loss.data):
            first_bad = None if math.isfinite(loss.data) else (k, tensors)
        trainer.check_interrupts()
    if first_bad is not None:
        k, tensors = first_bad
        what, _ = nonfinite.find(trainer.model, tensors, trainer.computed)
        warnings.warn(f"evaluate: the loss of batch {k + 1} is not finite: {what}", stacklevel=4)
    elif mean.count and not math.isfinite(mean.compute()):
        warnings.warn(f"evaluate: the loss is not finite, {mean.compute()}", stacklevel=4)
    return [mean, *means.values(), *metrics]


def predict(trainer: Trainer, inputs: Any, batch_size: int) -> Any:
    """The model's outputs, joined along the first axis."""
    outputs, sizes = [], []
    with _evaluating(trainer), use_backend(trainer.home()), trainer.threads():
        for batch in inputs_of(inputs, batch_size, 1 + trainer.weighted):
            tensors = trainer.tensors(batch, target=False)
            with trainer.precision.autocast():
                outputs.append(trainer.model(*tensors))
            sizes.append(rows_of(tensors))
    if not outputs:
        raise ValueError(
            "predict: the data gave no batch; an iterator, such as a generator, can be walked once"
        )
    return _joined(outputs, sizes, "")


def _joined(outputs: list[Any], sizes: list[int], place: str) -> Any:
    """One output of what the batches gave: tuples, lists and dicts keep their form."""
    first = outputs[0]
    if isinstance(first, dict):
        return {k: _joined([o[k] for o in outputs], sizes, f"{place}[{k!r}]") for k in first}
    if isinstance(first, tuple | list):
        parts = [
            _joined(list(part), sizes, f"{place}[{k}]")
            for k, part in enumerate(zip(*outputs, strict=True))
        ]
        named: Callable[..., Any] | None = getattr(type(first), "_make", None)
        return named(parts) if named else type(first)(parts)
    if not isinstance(first, Tensor):
        return first if len(outputs) == 1 else outputs
    if len(outputs) == 1:
        return Tensor(first.data)
    for output, size in zip(outputs, sizes, strict=True):
        if output.shape[:1] != (size,):
            raise ValueError(
                f"predict: the model's output{place} has shape {output.shape} for a batch of "
                f"{size} examples; outputs are joined along their first axis, so it must have one "
                "row per example (or predict with one batch: a larger batch_size)"
            )
    return Tensor(backend_of(first.data).xp.concat([o.data for o in outputs], axis=0))


@contextmanager
def _evaluating(trainer: Trainer) -> Iterator[None]:
    """Evaluation mode and no tape, for this thread and a `with` block."""
    with temporary_modes(trainer.model), no_grad():
        trainer.model.eval()
        yield
