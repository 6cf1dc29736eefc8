"""What a checkpoint holds of a Trainer, and how it gets it back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..io import CorruptFile, checksum, load_state
from ..metrics import Mean, Metric
from ..random import Generator, default_generator

if TYPE_CHECKING:
    from .trainer import Trainer


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Everything the next steps depend on, but the model's own state."""
    return {
        "epoch": trainer.epoch,
        "batch": trainer.batch,
        "step": trainer.step,
        "stopped": trainer.stopped,
        "optimizer": trainer.optimizer.state_dict(),
        "optimizer_class": type(trainer.optimizer).__name__,
        "precision": trainer.precision.state_dict(),
        "callbacks": [
            (type(callback).__name__, state)
            for callback in trainer.callbacks
            if (state := callback.state_dict())
        ],
        "history": trainer.history.state_dict(),
        "loss": trainer.running_loss.state_dict(),
        "losses": {name: mean.state_dict() for name, mean in trainer.running_terms.items()},
        "metrics": [metric.state_dict() for metric in trainer.metrics],
        "metric_names": [_about(metric) for metric in trainer.metrics],
        "position": trainer.position(),
        "parallel": None if trainer.parallel is None else trainer.parallel.config(),
    }


def signed(state: dict[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    """The state, with a checksum of it and of the weights it belongs to.

    The file has one of its own, which whoever writes a file with `nnx.io.save_state` gets; this
    one shows that no value was replaced since the Trainer wrote it.
    """
    return {**state, "checksum": _checksum(state, weights)}


def _checksum(state: dict[str, Any], weights: Mapping[str, Any]) -> str:
    """Without the seconds that epochs took: of two equal runs they alone differ."""
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in state["history"]["rows"]]
    return checksum([{**state, "history": {**state["history"], "rows": rows}}, weights])


def restore(trainer: Trainer, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a checkpoint into a trainer; returns the position its data is to be set to.

    Everything is looked at first.  Then it is written, the model's weights last and at once; what
    fails even so leaves the trainer as it was.

    Raises:
        CorruptFile: the file is damaged or no checkpoint.
        ValueError: it belongs to another model, optimizer or set of callbacks.
    """
    state, weights, _ = load_state(path)
    mine = state_of(trainer)
    missing = sorted({*mine, "checksum"} - state.keys())
    if missing:
        raise CorruptFile(f"{path} is no checkpoint of a Trainer: it has no {', '.join(missing)}")
    noted = state.pop("checksum")
    try:
        intact = noted == _checksum(state, weights)
    except (TypeError, LookupError, AttributeError):
        intact = False
    if not intact:
        raise CorruptFile(f"{path} is damaged: its state does not have the checksum it notes")
    try:
        _hold_to(mine, state)
        trainer.model.check_state_dict(weights)
    except ValueError as error:
        glue = " " if str(error).startswith("was ") else ": "
        raise type(error)(f"{path}{glue}{error}") from error
    try:
        _write(trainer, state)
        trainer.model.load_state_dict(weights)
    except Exception as error:
        _write(trainer, mine)
        if isinstance(error, TypeError | LookupError | AttributeError | ArithmeticError):
            what = f"{type(error).__name__}: {error}"
            raise CorruptFile(f"{path}: its state cannot be gone on from: {what}") from error
        if isinstance(error, ValueError):
            raise ValueError(f"{path}: {error}") from error
        raise
    position: dict[str, Any] = state["position"]
    return position


def _hold_to(mine: dict[str, Any], state: dict[str, Any]) -> None:
    """Raise ValueError where a state is not of the kind that this trainer has."""
    own, theirs = ([name for name, _ in s["callbacks"]] for s in (mine, state))
    if own != theirs:
        raise ValueError(f"was written with the callbacks {theirs}, this trainer has {own}")
    kind, theirs = mine["optimizer_class"], state["optimizer_class"]
    if kind != theirs:
        raise ValueError(
            f"was written with the optimizer {theirs}, this trainer has {kind}: what one remembers "
            "means nothing to another. To start anew from its weights, give nnx.load(path) to "
            "model.load_state_dict"
        )
    if len(state["metrics"]) != len(mine["metrics"]):
        raise ValueError(
            f"was written with {len(state['metrics'])} metrics, this trainer has "
            f"{len(mine['metrics'])}"
        )
    if state["metric_names"] != mine["metric_names"]:
        raise ValueError(
            f"was written with the metrics {', '.join(map(str, state['metric_names']))}, this "
            f"trainer has {', '.join(mine['metric_names'])}"
        )
    if state["precision"]["dtype"] != mine["precision"]["dtype"]:
        raise ValueError(
            f"was written by a Trainer of precision {state['precision']['dtype']}, this one has "
            f"{mine['precision']['dtype']}: with it the training would not go on as it began"
        )
    if state["parallel"] not in (None, mine["parallel"]):
        raise ValueError(
            f"was written by a DataParallel model with {_said(state['parallel'])}, this one is "
            f"{_said(mine['parallel'])}: with it the training would not go on as it began"
        )
    own, theirs = ([*s["losses"]] for s in (mine, state))
    if own and own != theirs:  # a function tells its names when it is called
        raise ValueError(
            f"was written with the losses {', '.join(theirs) or '(one)'}, this trainer has "
            f"{', '.join(own)}"
        )
    counts = [state[name] for name in ("epoch", "batch", "step")]
    if not all(type(n) is int and 0 <= n < 2**53 for n in counts):
        raise CorruptFile(f"epoch, batch and step must be whole numbers from 0 on, not {counts}")
    if state["step"] < state["batch"] or len(state["history"]["rows"]) > state["epoch"]:
        raise CorruptFile(
            f"step {state['step']}, batch {state['batch']}, epoch {state['epoch']} and "
            f"{len(state['history']['rows'])} rows of history do not go together"
        )
    Generator().set_state(state["position"]["random"])


def _write(trainer: Trainer, state: dict[str, Any]) -> None:
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.precision.load_state_dict(state["precision"])
    stateful = [callback for callback in trainer.callbacks if callback.state_dict()]
    for callback, (_, callback_state) in zip(stateful, state["callbacks"], strict=True):
        callback.load_state_dict(callback_state)
    trainer.epoch, trainer.batch, trainer.step = state["epoch"], state["batch"], state["step"]
    trainer.stopped = state["stopped"]
    trainer.history.load_state_dict(state["history"])
    trainer.running_loss.load_state_dict(state["loss"])
    trainer.running_terms = {name: Mean(name) for name in state["losses"]}
    for name, mean in trainer.running_terms.items():
        mean.load_state_dict(state["losses"][name])
    for metric, metric_state in zip(trainer.metrics, state["metrics"], strict=True):
        metric.load_state_dict(metric_state)


def batches_left(trainer: Trainer, train: Any, resumed: dict[str, Any] | None) -> Iterator[Any]:
    """The batches of this epoch; after `load`, those that the checkpoint had not seen."""
    if resumed is None:
        return iter(train)
    remembers = hasattr(train, "load_state_dict")
    if remembers and resumed["loader"] is not None:
        train.load_state_dict(resumed["loader"])
    if trainer.batches is not None and trainer.batch > trainer.batches:
        raise _too_few(trainer, trainer.batches)
    if trainer.batch and trainer.batch == trainer.batches:
        batches: Iterator[Any] = iter(())  # interrupted between the last batch and the row
    else:
        batches = iter(train)
        if not remembers:
            for k in range(trainer.batch):  # past those that were trained on before
                if next(batches, None) is None:
                    raise _too_few(trainer, k)
    default_generator().set_state(resumed["random"])  # what skipping drew was drawn before
    return batches


def _too_few(trainer: Trainer, there_are: int) -> ValueError:
    return ValueError(
        f"fit: the checkpoint was taken after {trainer.batch} batches of an epoch, but this "
        f"training data has only {there_are}"
    )


def _about(metric: Metric) -> str:
    """A metric's class, name and settings: the counts of one mean nothing to another."""
    settings = {
        key: value
        for key, value in vars(metric).items()
        if key[0] != "_"
        and key not in ("name", "count")
        and isinstance(value, bool | int | float | str)
    }
    told = "".join(f", {key}={value!r}" for key, value in sorted(settings.items()))
    return f"{type(metric).__name__}({metric.name!r}{told})"


def _said(config: dict[str, Any] | None) -> str:
    return "none" if config is None else " ".join(f"{k}={v}" for k, v in config.items())
