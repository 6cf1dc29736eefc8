"""`Callback`: what else happens while a Trainer trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..trainer import Trainer


class Callback:
    """Base of all callbacks: override what is to be heard of.

    `on_step_end` and `on_gradients` run at every step, so they should wait for no device.  A
    callback whose behaviour depends on the past keeps that in `state_dict`, or a resumed run would
    differ from an uninterrupted one.  Each method is given the `trainer` that calls it.

    Attributes:
        last: whether it runs after the others (a checkpoint is to see what they changed).
        columns: names of columns that it adds to the history's rows, which others may watch.
    """

    last = False
    columns: tuple[str, ...] = ()

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first step of the trainer's `fit`."""

    def on_gradients(self, trainer: Trainer) -> None:
        """Between backward and the optimizer's step: a trainer's gradients may be changed here."""

    def on_step_end(self, trainer: Trainer) -> None:
        """After each step; trainer.step has counted it."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After each epoch, when its row is in `trainer.history`."""

    def on_interrupt(self, trainer: Trainer) -> None:
        """After Ctrl-C, when the step that was running is complete; the trainer can be saved."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the trainer's last step, and also where training ended in an error."""

    def state_dict(self) -> dict[str, Any]:
        """What the future depends on: numbers, strings, arrays, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where the state was taken, by `state_dict()`."""
