"""A schedule that watches a measure instead of the clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..optimizer import Optimizer
from .scheduler import require_optimizer


class ReduceLROnPlateau:
    """Lower the rate when a measure has not become better for a while.

        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=5)
        scheduler.step(validation_loss)          # after every epoch

    Args:
        optimizer: whose rate it is.
        mode: "min" if the measure is to fall, "max" if it is to rise.
        factor: what the rate is multiplied by, below 1.
        patience: how many epochs without improvement are let pass; the next lowers the rate.
        threshold: how much better counts as better.
        threshold_mode: "rel": the threshold is a share of the best value so far; "abs": an amount.
        cooldown: epochs after lowering that are not counted.
        min_lr: the rate is not made lower than this; or one for each group.
        eps: a change smaller than this is not made.

    Raises:
        TypeError: optimizer is no Optimizer.
        ValueError: factor is 1 or more, an unknown mode, or not as many min_lr as groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if not factor < 1.0:
            raise ValueError(f"ReduceLROnPlateau: factor must be less than 1, got {factor}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                'ReduceLROnPlateau: mode must be "min" or "max", threshold_mode "rel" or "abs"; '
                f"got {mode!r} and {threshold_mode!r}"
            )
        require_optimizer(self, optimizer)
        groups = len(optimizer.param_groups)
        self.min_lrs = list(min_lr) if isinstance(min_lr, list | tuple) else [min_lr] * groups
        if len(self.min_lrs) != groups:
            raise ValueError(
                f"ReduceLROnPlateau: {len(self.min_lrs)} values of min_lr for {groups} groups"
            )
        self.optimizer = optimizer
        self.mode, self.factor, self.patience, self.cooldown = mode, factor, patience, cooldown
        self.threshold, self.threshold_mode, self.eps = threshold, threshold_mode, eps
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def is_better(self, value: float) -> bool:
        """Whether a value is better than the best so far, by the threshold."""
        if math.isinf(self.best):
            return value < self.best if self.mode == "min" else value > self.best
        margin = self.threshold * (self.best if self.threshold_mode == "rel" else 1.0)
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def step(self, metrics: Any) -> None:
        """Take in the measure after another epoch, and lower the rates if it is time.

        Args:
            metrics: a number, or a tensor with one.
        """
        value = float(metrics)
        self.last_epoch += 1
        if self.is_better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lower = max(group["lr"] * self.factor, lowest)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What the schedule has seen, as plain numbers; its options are the constructor's."""
        return {
            "last_epoch": self.last_epoch,
            "best": self.best,
            "num_bad_epochs": self.num_bad_epochs,
            "cooldown_counter": self.cooldown_counter,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where the state was taken, by `state_dict()`."""
        self.last_epoch, self.best = state["last_epoch"], state["best"]
        self.num_bad_epochs = state["num_bad_epochs"]
        self.cooldown_counter = state["cooldown_counter"]

    def __repr__(self) -> str:
        return f"ReduceLROnPlateau(mode={self.mode}, factor={self.factor}, best={self.best:g})"
