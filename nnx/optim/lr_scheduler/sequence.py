"""One schedule after another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from ..optimizer import Optimizer
from .scheduler import LRScheduler


class SequentialLR(LRScheduler):
    """Schedules of one optimizer, each beginning from its t = 0 where its milestone is reached.

    warm = LinearLR(optimizer, total_iters=5)
    SequentialLR(optimizer, [warm, CosineAnnealingLR(optimizer, 95)], milestones=[5])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
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

    def rates(self, t: int) -> list[float]:
        k = bisect_right(self.milestones, t)
        return self.schedulers[k].rates(t - (self.milestones[k - 1] if k else 0))
