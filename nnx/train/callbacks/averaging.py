"""`WeightAverage`: the mean of the weights that training passed through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...backends import Array, copy_beside
from ...nn import Module
from .base import Callback

if TYPE_CHECKING:
    from ..trainer import Trainer


class WeightAverage(Callback):
    """Keeps an average of the model's parameters, which often does better than the last ones.

        average = WeightAverage(decay=0.999)
        trainer = nnx.Trainer(model, loss, optimizer, callbacks=[average])
        trainer.fit(loader, epochs=10)
        with average.on(model):
            trainer.evaluate(test)

    With `decay` d it moves after every step (an exponential average; Polyak and Juditsky 1992),

        a ← d a + (1 - d) p

    and without it is the plain mean of the parameters after each epoch from `start` on (stochastic
    weight averaging; Izmailov and others 2018).  The first value is a copy of the parameters.
    Buffers, such as the statistics of batch normalisation, stay the model's own.

    Args:
        decay: at least 0 and less than 1; None for the plain mean of epochs.
        start: the first epoch that counts, from 1 on.

    Attributes:
        average: the averages by the parameters' names; empty before the first.
        count: how many values are in it.

    Raises:
        ValueError: decay or start is out of its range.
    """

    def __init__(self, decay: float | None = None, start: int = 1) -> None:
        if decay is not None and not 0 <= decay < 1:
            raise ValueError(
                f"WeightAverage: decay must be at least 0 and less than 1, got {decay}"
            )
        if start < 1:
            raise ValueError(f"WeightAverage: epochs count from 1, start is {start}")
        self.decay, self.start = decay, start
        self.average: dict[str, Array] = {}
        self.count = 0

    def on_step_end(self, trainer: Trainer) -> None:
        if self.decay is not None and trainer.epoch + 1 >= self.start:
            self._take(trainer.model, 1 - self.decay)

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.decay is None and trainer.epoch >= self.start:
            self._take(trainer.model, 1 / (self.count + 1))

    def _take(self, model: Module, share: float) -> None:
        for name, p in model.named_parameters():
            a = self.average.get(name)
            if a is None:
                self.average[name] = copy_beside(p.data, p.data)
                continue
            if type(a) is not type(p.data):  # out of a checkpoint, or the model was moved
                a = copy_beside(p.data, a)
            self.average[name] = a + (p.data - a) * share
        self.count += 1

    @contextmanager
    def on(self, model: Module) -> Iterator[Module]:
        """The model with the averages as its parameters, for a `with` block.

        Args:
            model: the one that was trained, or one like it; its own parameters are back after the
                block.

        Raises:
            ValueError: there is no average yet, or it is of other parameters.
        """
        parameters = dict(model.named_parameters())
        if self.average.keys() != parameters.keys():
            raise ValueError(
                f"WeightAverage: there are averages of {len(self.average)} parameters, and the "
                f"model has {len(parameters)}"
                + ("; the first is taken while it is trained" if not self.average else "")
            )
        before = {name: p.data for name, p in parameters.items()}
        try:
            for name, p in parameters.items():
                p.data = copy_beside(p.data, self.average[name])
            yield model
        finally:
            for name, p in parameters.items():
                p.data = before[name]

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "average": dict(self.average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count, self.average = state["count"], dict(state["average"])
