"""One schedule after another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from ..optimizer import Optimizer
from .scheduler import LRScheduler, require_optimizer


class SequentialLR(LRScheduler):
    """Schedules of one optimizer, each beginning from its t = 0 where its milestone is reached.

        warm = LinearLR(optimizer, total_iters=5)
        SequentialLR(optimizer, [warm, CosineAnnealingLR(optimizer, 95)], milestones=[5])

    Args:
        optimizer: whose rate it is.
        schedulers: one after another, made for this optimizer.
        milestones: at which step each but the first takes over, rising.
        last_epoch: start at t = last_epoch + 1, as in `LRScheduler`.

    Raises:
        TypeError: optimizer is no Optimizer.
        ValueError: not one milestone less than schedulers, or one of another optimizer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        require_optimizer(self, optimizer)
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "SequentialLR: milestones must be one fewer than schedulers; got "
                f"{len(milestones)} and {len(schedulers)}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: the schedulers must be of the same optimizer")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]  # what making the schedules did to it is undone
        super().__init__(optimizer, last_epoch)

    def at(self, t: int) -> tuple[LRScheduler, int]:
        """Which schedule it is after t steps, and how many of its own that is."""
        k = bisect_right(self.milestones, t)
        return self.schedulers[k], t - (self.milestones[k - 1] if k else 0)

    def rates(self, t: int) -> list[float]:
        schedule, own = self.at(t)
        return schedule.rates(own)

    def cycle(self, t: int) -> None:
        schedule, own = self.at(t)
        schedule.cycle(own)

    def state_dict(self) -> dict[str, Any]:
        """As every schedule's, and those of the schedules in it."""
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for schedule, own in zip(self.schedulers, state.get("schedulers", ()), strict=False):
            schedule.load_state_dict(own)  # first: the rates of this one are theirs
        super().load_state_dict(state)
