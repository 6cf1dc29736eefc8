"""What a checkpoint holds of a Trainer, and how it gets it back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..io import CorruptFile, load_state

if TYPE_CHECKING:
    from .trainer import Trainer


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Everything the next steps depend on, but the model's own state."""
    return {
        "epoch": trainer.epoch,
        "batch": trainer.batch,
        "step": trainer.step,
        "optimizer": trainer.optimizer.state_dict(),
        "callbacks": [
            (type(callback).__name__, state)
            for callback in trainer.callbacks
            if (state := callback.state_dict())
        ],
        "history": trainer.history.state_dict(),
        "loss": trainer.running_loss.state_dict(),
        "metrics": [metric.state_dict() for metric in trainer.metrics],
        "position": trainer.position(),
        "parallel": None if trainer.parallel is None else trainer.parallel.config(),
    }


def restore(trainer: Trainer, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a checkpoint into a trainer; returns the position its data is to be set to.

    Raises:
        CorruptFile: the file is damaged or no checkpoint.
        ValueError: it belongs to another model, optimizer or set of callbacks.
    """
    state, weights, _ = load_state(path)
    mine = state_of(trainer)
    missing = sorted(mine.keys() - state.keys() - {"parallel"})
    if missing:
        raise CorruptFile(f"{path} is no checkpoint of a Trainer: it has no {', '.join(missing)}")
    own, theirs = ([name for name, _ in s["callbacks"]] for s in (mine, state))
    if own != theirs:
        raise ValueError(f"{path} was written with the callbacks {theirs}, this trainer has {own}")
    if len(state["metrics"]) != len(trainer.metrics):
        raise ValueError(
            f"{path} was written with {len(state['metrics'])} metrics, this trainer has "
            f"{len(trainer.metrics)}"
        )
    if state.get("parallel") not in (None, mine["parallel"]):
        raise ValueError(
            f"{path} was written by a DataParallel model with {_said(state['parallel'])}, this "
            f"one is {_said(mine['parallel'])}: with it the training would not go on as it began"
        )
    try:
        trainer.model.load_state_dict(weights)
        trainer.optimizer.load_state_dict(state["optimizer"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    stateful = [callback for callback in trainer.callbacks if callback.state_dict()]
    for callback, (_, callback_state) in zip(stateful, state["callbacks"], strict=True):
        callback.load_state_dict(callback_state)
    trainer.epoch, trainer.batch, trainer.step = state["epoch"], state["batch"], state["step"]
    trainer.history.load_state_dict(state["history"])
    trainer.running_loss.load_state_dict(state["loss"])
    for metric, metric_state in zip(trainer.metrics, state["metrics"], strict=True):
        metric.load_state_dict(metric_state)
    return state["position"]


def _said(config: dict[str, Any] | None) -> str:
    return "none" if config is None else " ".join(f"{k}={v}" for k, v in config.items())
