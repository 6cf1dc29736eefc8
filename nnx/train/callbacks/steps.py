"""Callbacks that are part of the steps: the rate's schedule, and clipped gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...nn.utils import clip_grad_norm_
from .base import Callback

if TYPE_CHECKING:
    from ..trainer import Trainer


class Schedule(Callback):
    """Steps a learning-rate scheduler, after each epoch or after each step.

    Args:
        scheduler: one of `nnx.optim.lr_scheduler`.
        per: "epoch" or "step".
        monitor: for ReduceLROnPlateau, the column of the history it watches.

    Raises:
        ValueError: `per` is neither, or a column is watched per step.
    """

    def __init__(self, scheduler: Any, per: str = "epoch", monitor: str | None = None) -> None:
        if per not in ("epoch", "step"):
            raise ValueError(f'Schedule: per must be "epoch" or "step", got {per!r}')
        if monitor is not None and per == "step":
            raise ValueError("Schedule: the history has a value to monitor per epoch, not per step")
        self.scheduler, self.per, self.monitor = scheduler, per, monitor
        if per == "step":
            self.on_step_end = self._step  # type: ignore[method-assign]

    def _step(self, trainer: Trainer) -> None:
        self.scheduler.step()

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.monitor is not None:
            self.scheduler.step(trainer.latest(self.monitor))
        elif self.per == "epoch":
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self.scheduler.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)


class ClipGradNorm(Callback):
    """Scales the gradients of a step so that their norm, taken together, is at most `max_norm`.

    (Pascanu et al. 2013; Xu 7.18.)

    Args:
        max_norm: the largest norm.
        norm_type: which norm, as in `nn.utils.clip_grad_norm_`: 2, or math.inf for the largest |g|.
    """

    def __init__(self, max_norm: float, norm_type: float = 2.0) -> None:
        self.max_norm, self.norm_type = max_norm, norm_type

    def on_fit_start(self, trainer: Trainer) -> None:
        self.parameters = list(trainer.model.parameters())

    def on_gradients(self, trainer: Trainer) -> None:
        clip_grad_norm_(self.parameters, self.max_norm, self.norm_type)
