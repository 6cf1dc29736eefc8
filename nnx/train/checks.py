"""What is refused when a Trainer is made or `fit` begins, before an epoch's work would be lost."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..nn import Module
from ..optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from .batches import are_arrays
from .callbacks import Callback, Schedule
from .losses import Losses
from .weighting import checked

if TYPE_CHECKING:
    from .trainer import Trainer

ALWAYS = ("epoch", "loss", "penalty", "lr", "seconds")  # the columns of every history


# What other Trainers take -> what is done here.
THEIRS = {
    "accumulate_grad_batches": "accumulate=, into how many parts each batch is cut",
    "device": "model.to(backend): batches follow the model",
    "gradient_clip_val": "callbacks=[nnx.train.ClipGradNorm(max_norm)]",
    "lr_scheduler": "callbacks=[nnx.train.Schedule(scheduler)]",
    "max_epochs": "trainer.fit(..., epochs=)",
    "scheduler": "callbacks=[nnx.train.Schedule(scheduler)]",
}


def in_order(callbacks: Sequence[Callback]) -> list[Callback]:
    """The callbacks as they run: those that are to see what the others changed at the end.

    Raises:
        TypeError: one of them is no Callback.
    """
    for callback in callbacks:
        if not isinstance(callback, Callback):
            remedy = ""
            if isinstance(callback, type) and issubclass(callback, Callback):
                remedy = f"; this is the class, make one: {callback.__name__}()"
            elif isinstance(callback, LRScheduler | ReduceLROnPlateau):
                remedy = "; a schedule of the learning rate goes into a train.Schedule(...)"
            raise TypeError(
                f"Trainer: a callback must be a train.Callback, got {callback!r:.80}{remedy}"
            )
    return sorted(callbacks, key=lambda callback: callback.last)


def listed(metrics: Any) -> list[Any]:
    """The metrics of a Trainer, as a list.

    Raises:
        TypeError: they are a dict; or one alone, whose letters would be taken for names.
    """
    if isinstance(metrics, str | Mapping):
        raise TypeError(
            f"Trainer: metrics must be a list of metrics and names, got {metrics!r:.80}; each "
            "metric has its name"
        )
    return list(metrics)


def options(trainer: Trainer, graph: bool) -> None:
    """Refuse options of a Trainer that do not go together.

    Raises:
        ValueError: see above.
    """
    name = type(trainer.optimizer).__name__
    if graph and trainer.parallel is not None:
        raise ValueError("Trainer: a DataParallel model's steps cannot be recorded as a graph")
    if trainer.accumulate > 1 and (graph or trainer.parallel is not None):
        raise ValueError(
            "Trainer: accumulate goes with neither a graph nor a DataParallel model, which "
            "computes in parts of its own"
        )
    # One that only predicts has no optimizer.
    closure = getattr(trainer.optimizer, "takes_closure", False)
    if closure and (graph or trainer.parallel is not None):
        raise ValueError(
            f"Trainer: {name} computes the loss again and again within a step, which goes with "
            "neither a graph nor a DataParallel model"
        )
    precision(trainer)
    if trainer.weighted and (graph or trainer.parallel is not None):
        raise ValueError(_unweighted("Trainer", graph))
    if trainer.parallel is not None and isinstance(trainer.loss, Losses):
        for name, one in trainer.loss.each.items():
            reduction, weight = getattr(one, "reduction", "mean"), getattr(one, "weight", None)
            if reduction != "mean" or weight is not None:
                raise ValueError(
                    "Trainer: of several losses of a DataParallel model each must be a mean in "
                    "which every target counts alike, or the losses of parts do not add up to "
                    f"that of the whole; {name!r} is {one}"
                )


def precision(trainer: Trainer) -> None:
    """Refuse float16 where the loss cannot be scaled.

    Raises:
        ValueError: see above.
    """
    if trainer.precision.scaler is None:
        return
    if getattr(trainer.optimizer, "takes_closure", False):
        raise ValueError(
            f"Trainer: float16 does not go with {type(trainer.optimizer).__name__}, which computes "
            'the loss again and again within a step; take precision="bfloat16", whose range is '
            "float32's"
        )


def _unweighted(who: str, graph: bool) -> str:
    why = (
        "a graph: the sum of a batch's weights is read in between, and a step that is recorded "
        "would divide by that of the batch it was recorded with"
        if graph
        else "a DataParallel model: its parts are added up by their rows; give the classes weights "
        "by the loss (nn.CrossEntropyLoss(weight=...)), which it counts with"
    )
    return f"{who}: sample weights do not go with {why}"


def with_weights(trainer: Trainer, train: Any, sample_weight: Any) -> tuple[Any, ...]:
    """The arrays to train on, with the weights as the last of them.

    Raises:
        TypeError: the data are no arrays.
        ValueError: the weights do not fit them, or the Trainer cannot use weights.
    """
    if not are_arrays(train):
        raise TypeError(
            f"fit: sample_weight is for arrays (x, target), not for {type(train).__name__}: there "
            "put the weights into the data set, as the array after the target, and make the "
            "Trainer with weighted=True"
        )
    if trainer.weighted:
        raise ValueError("fit: the data of a weighted Trainer hold the weights themselves")
    if trainer.captured is not None or trainer.parallel is not None:
        raise ValueError(_unweighted("fit", trainer.captured is not None))
    if trainer.computes_otherwise:
        raise ValueError(
            f"fit: {type(trainer).__name__}.compute says what the loss is, so it is to weigh it: "
            "with weighted=True it is given the weights as the last of a batch"
        )
    arrays = tuple(train) if isinstance(train, tuple | list) else (train,)
    return (*arrays, checked("fit", sample_weight, len(arrays[-1])))


def plan(trainer: Trainer) -> None:
    """Refuse metrics, monitors and schedules that could only fail after an epoch.

    Raises:
        ValueError: two columns of the history would have one name; a callback watches a column
            that there will not be; a schedule for a plateau watches nothing.
    """
    names = [metric.name for metric in trainer.metrics]
    new_terms(trainer, trainer.running_terms)
    for k, name in enumerate(names):
        if name in names[:k] or name in ALWAYS or name.startswith("val_"):
            why = "two metrics have it" if name in names[:k] else "the history has a column so"
            raise ValueError(
                f"Trainer: a metric cannot be called {name!r}, {why}; give it another: "
                'metric.name = "..."'
            )
        if not trainer.metrics[k].scalar:
            raise ValueError(
                f"Trainer: {type(trainer.metrics[k]).__name__} gives no number that a history can "
                "hold; update and compute it by itself"
            )
    for callback in trainer.callbacks:
        if isinstance(callback, Schedule):
            _schedule(callback)
        _monitor(trainer, callback, [*trainer.running_terms, *names])


def new_terms(trainer: Trainer, names: Iterable[str]) -> None:
    """Refuse losses by names that other columns of the history have.

    Raises:
        ValueError: see above.
    """
    metrics = [metric.name for metric in trainer.metrics]
    for name in names:
        if not isinstance(name, str) or name in (*ALWAYS, *metrics) or name.startswith("val_"):
            why = "a metric has it" if name in metrics else "the history has a column so"
            why = why if isinstance(name, str) else "it is no text"
            raise ValueError(f"Trainer: a loss cannot be called {name!r}, {why}")


def _monitor(trainer: Trainer, callback: Any, names: list[str]) -> None:
    monitor = getattr(callback, "monitor", None)
    extra = [column for c in trainer.callbacks for column in getattr(c, "columns", ())]
    columns = ["loss", *names]
    extra += ["penalty"] if trainer.penalty is not None else []
    known = [*columns, *(f"val_{name}" for name in columns), "lr", "seconds", "epoch", *extra]
    if monitor is not None and monitor not in known:
        raise ValueError(
            f"Trainer: {type(callback).__name__} watches {monitor!r}, but the history will have "
            f"{', '.join(known)}; a callback that adds a column names it in `columns`, and a "
            "function that gives several losses is told of with their names: "
            "train.Losses(function, {name: weight, ...})"
        )


def _schedule(callback: Schedule) -> None:
    name = type(callback.scheduler).__name__
    if isinstance(callback.scheduler, ReduceLROnPlateau):
        if callback.monitor is None:
            raise ValueError(
                f"Trainer: {name} lowers the rate by what it watches, so its Schedule needs "
                'monitor="val_loss" or another column of the history'
            )
    elif callback.monitor is not None and isinstance(callback.scheduler, LRScheduler):
        raise ValueError(f"Trainer: {name} follows the time alone; its Schedule takes no monitor")


def data(trainer: Trainer, train: Any, validation: Any, epochs: int) -> None:
    """Refuse data that would be used up, and a monitor of validation that there is none of.

    Raises:
        ValueError: see above.
    """
    if epochs > 1:
        for what, batches in (("training", train), ("validation", validation)):
            if isinstance(batches, Iterator):
                raise ValueError(
                    f"fit: the {what} data are an iterator ({type(batches).__name__}), which can "
                    f"be walked once, and there are {epochs} epochs: pass a DataLoader, arrays or "
                    "a list of batches"
                )
    if validation is not None:
        if hasattr(validation, "__len__") and len(validation) == 0:
            raise ValueError("fit: the validation data are empty")
        return
    extra = {column for c in trainer.callbacks for column in getattr(c, "columns", ())}
    for callback in trainer.callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor.startswith("val_") and monitor not in extra:
            raise ValueError(
                f"fit: {type(callback).__name__} watches {monitor!r}, but there are no validation "
                "data"
            )


def optimizer(trainer: Trainer) -> None:
    """Warn of parameters that the optimizer holds and nothing else knows."""
    owners = [m for m in (trainer.model, trainer.loss) if isinstance(m, Module)]
    known = {id(p) for owner in owners for p in owner.parameters()}
    held = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    lost = [p for p in held if p.grad is None and id(p) not in known]
    if lost:
        name = getattr(lost[0], "name", None) or "one"
        warnings.warn(
            f"fit: the optimizer holds {len(lost)} parameters that are not the model's and got "
            f"no gradient ({name} of shape {lost[0].shape}): was a layer or a parameter "
            "replaced after the optimizer was made? The new one is not trained then; make the "
            "optimizer last",
            stacklevel=2,
        )
