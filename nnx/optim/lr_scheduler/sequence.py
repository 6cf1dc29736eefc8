"""Several schedules of one optimizer: one after another, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from ..optimizer import Optimizer
from .scheduler import LRScheduler, require_optimizer, require_same_optimizer


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
        TypeError: optimizer is no Optimizer, or one of the schedulers follows no time of its own:
            a `ReduceLROnPlateau`, a `ChainedScheduler`.
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
        require_same_optimizer(self, optimizer, schedulers)
        if any(isinstance(s, ChainedScheduler) for s in schedulers):
            raise TypeError("SequentialLR: a ChainedScheduler cannot begin anew; chain sequences")
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

    def _restore(self, state: Mapping[str, Any]) -> None:
        for schedule, own in zip(self.schedulers, state.get("schedulers", ()), strict=False):
            schedule.load_state_dict(own)  # first: the rates of this one are theirs
        super()._restore(state)


class ChainedScheduler(LRScheduler):
    """Schedules of one optimizer that step together: each changes the rate that the others left.

        warm = ConstantLR(optimizer, factor=0.1, total_iters=20)
        ChainedScheduler([warm, ExponentialLR(optimizer, gamma=0.9)])

    As in `LRScheduler` each multiplies by how much its own rate changes, so that with the factors
    f₁, f₂, ... of the single schedules lr = base f₁(t) f₂(t) ...

    Args:
        schedulers: made for one optimizer; they are stepped in this order.
        optimizer: theirs; None: the first one's.

    Raises:
        TypeError: one of the schedulers is none that follows time, as `ReduceLROnPlateau`.
        ValueError: there is no scheduler, or one of another optimizer.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler: there must be one scheduler at least; got none")
        if optimizer is None:
            optimizer = getattr(schedulers[0], "optimizer", None)
        require_same_optimizer(self, optimizer, schedulers)
        self.optimizer: Any = optimizer
        self.schedulers = list(schedulers)
        self.last_epoch = self.schedulers[0].last_epoch

    def step(self) -> None:
        for schedule in self.schedulers:
            schedule.step()
        self.last_epoch += 1

    def state_dict(self) -> dict[str, Any]:
        """The states of the schedules in it, as plain numbers."""
        return {
            "last_epoch": self.last_epoch,
            "schedulers": [s.state_dict() for s in self.schedulers],
        }

    def _check(self, state: Mapping[str, Any]) -> None:
        if len(state["schedulers"]) != len(self.schedulers):
            raise ValueError(
                f"ChainedScheduler.load_state_dict: the state has {len(state['schedulers'])} "
                f"schedules, this one {len(self.schedulers)}"
            )
        for schedule, own in zip(self.schedulers, state["schedulers"], strict=True):
            schedule._check(own)

    def _restore(self, state: Mapping[str, Any]) -> None:
        for schedule, own in zip(self.schedulers, state["schedulers"], strict=True):
            schedule._restore(own)
        self.last_epoch = state["last_epoch"]

    def _replan(self) -> None:
        for schedule in self.schedulers:  # after all are restored: each keeps the others' changes
            schedule._replan()
