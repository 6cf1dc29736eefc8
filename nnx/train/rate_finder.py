"""`find_lr`: the loss while the learning rate rises, to choose one by."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import copy_beside, use_backend
from ..metrics import Mean
from ..nn.module import temporary_modes
from ..random import default_generator
from . import checks, steps
from .batches import are_arrays, batches_of
from .callbacks.listeners import heard
from .nonfinite import NonFinite

if TYPE_CHECKING:
    from .trainer import Trainer

_FORGET = 0.9  # of the running mean that smooths the losses
_BEGIN = 5  # rates at either end at which a slope says nothing


@dataclass
class RateCurve:
    """What `find_lr` saw.

    Attributes:
        rates: the learning rates that were tried, rising.
        losses: the loss of the step before each of them was used; one for each rate.
        smoothed: the same, smoothed.
        suggestion: the rate where the smoothed loss falls fastest, or None where it never falls.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None

    def __repr__(self) -> str:
        return f"RateCurve({len(self.rates)} rates, suggestion={self.suggestion})"

    def _repr_html_(self) -> str:
        """The losses over the rates, which rise by one factor, and the suggestion."""
        from .. import notebook

        found = (
            "none: the loss never falls" if self.suggestion is None else f"{self.suggestion:.3g}"
        )
        _, top = self._span()
        shown = {
            "loss": [v if v < top else None for v in self.losses],
            "smoothed": [v if v < top else None for v in self.smoothed],
        }
        bounds = (f"{self.rates[0]:.3g}", f"{self.rates[-1]:.3g}")
        return notebook.curves(shown, "rate", bounds) + notebook.pairs([("suggestion", found)])

    def _span(self) -> tuple[float, float]:
        """The losses that are worth being seen: not those of the rates that are far too large."""
        low, high = min(self.smoothed), max(self.smoothed[: len(self.smoothed) // 2 + 1])
        return low - 0.1 * (high - low), high + 0.5 * (high - low)

    def plot(
        self, path: str | os.PathLike[str] | None = None, title: str = "", *, ax: Any = None
    ) -> Any:
        """Draw the losses over the rates (matplotlib, extra `plot`).

        Args:
            path: the file, of the kind that its ending says (.png, .svg, .pdf); None: none.
            title: above it.
            ax: matplotlib's axes to draw on; None: a new figure.

        Returns:
            The figure of matplotlib; a notebook shows it.

        Raises:
            RuntimeError: matplotlib is not installed.
            ValueError: several axes.
            TypeError: what is no axes.
        """
        from ..plots.canvas import COLOURS, Sheet, logarithmic

        sheet = Sheet("RateCurve.plot", 1, ax, lambda a, d: (7.0, 4.5))
        (axes,) = sheet.axes
        axes.plot(self.rates, self.losses, color=COLOURS[0], alpha=0.3)
        axes.plot(self.rates, self.smoothed, color=COLOURS[0])
        logarithmic(axes, axes.xaxis)
        low, high = self._span()
        if low < high:
            axes.set_ylim(low, high)
        if self.suggestion is not None:
            suggested = f"falls fastest at {self.suggestion:.3g}"
            axes.axvline(self.suggestion, color=COLOURS[1], linestyle="--", label=suggested)
            axes.legend(fontsize=8)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        return sheet.finish(title, path, 12)


def find_lr(
    trainer: Trainer,
    train: Any,
    start: float = 1e-6,
    stop: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    diverged: float = 4.0,
) -> RateCurve:
    """Train for some steps while the learning rate rises, and say where the loss falls fastest.

        curve = nnx.train.find_lr(trainer, (x, y))
        curve.suggestion                # 0.0072
        curve.plot("rates.png")

    The range test of Smith (2017, "Cyclical learning rates for training neural networks", 3.3):
    step k of n uses start (stop / start)^(k / (n - 1)).  It ends early where the smoothed loss is
    `diverged` times its least value, or not finite.  A rate somewhat below the one where the loss
    begins to rise is a good one to train with; so is the suggestion, as a rule.

    Afterwards everything is as before, in every bit: weights, buffers, gradients, optimizer, random
    numbers, the loader's place.  Of the callbacks those that change gradients run, such as
    ClipGradNorm, and no others.

    Args:
        trainer: what is to be trained.
        train: as `Trainer.fit` takes it; it is walked again where it is shorter than the test.
        start, stop: the rates between which it rises; those of several groups keep their ratio.
        steps: how many.
        batch_size: for arrays.
        diverged: see above.

    Raises:
        ValueError: the rates or the number of steps make no sense; the data give no batch, or can
            be walked only once.
    """
    if not 0 < start < stop < math.inf or steps < 2 or not diverged > 1:
        raise ValueError(
            "find_lr: it must be that 0 < start < stop, steps >= 2 and diverged > 1; got start "
            f"{start}, stop {stop}, steps {steps}, diverged {diverged}"
        )
    checks.data(trainer, train, None, 2)
    return copy_context().run(_find, trainer, train, start, stop, steps, batch_size, diverged)


def _find(
    trainer: Trainer,
    train: Any,
    start: float,
    stop: float,
    count: int,
    batch_size: int,
    diverged: float,
) -> RateCurve:
    quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
    with _as_before(trainer), quiet, use_backend(trainer.home()), trainer.threads():
        batches = batches_of(train, batch_size, "find_lr", shuffle=are_arrays(train))
        if batches is train and hasattr(train, "state_dict"):
            batches = copy.copy(train)  # whose place in the epochs is its own
        groups = trainer.optimizer.param_groups
        ratios = [group["lr"] / (groups[0]["lr"] or 1.0) for group in groups]
        listeners = [c for c in trainer.callbacks if heard([c], "on_gradients")]
        for listener in listeners:
            listener.on_fit_start(trainer)
        on_gradients = heard(listeners, "on_gradients")
        trainer.model.train()
        rates, losses, smoothed, running = [], [], [], 0.0
        for k, batch in enumerate(_again_and_again(batches, count)):
            rate = start * (stop / start) ** (k / (count - 1))
            for group, ratio in zip(groups, ratios, strict=True):
                group["lr"] = rate * ratio
            trainer.draws = default_generator().state()
            trainer.running_loss = Mean()
            try:
                steps.step(trainer, trainer.tensors(batch, weighted=trainer.weighted), on_gradients)
            except NonFinite:
                break
            loss = trainer.running_loss.compute()
            if math.isnan(loss):  # a batch that counts nothing
                continue
            running = _FORGET * running + (1 - _FORGET) * loss
            rates.append(rate)
            losses.append(loss)
            smoothed.append(running / (1 - _FORGET ** len(losses)))
            if not math.isfinite(loss) or smoothed[-1] > diverged * min(smoothed):
                break
    if not rates:
        raise ValueError("find_lr: the loss of the first step is not finite, or there is no batch")
    return RateCurve(rates, losses, smoothed, _steepest(rates, smoothed))


def _again_and_again(batches: Any, count: int) -> Iterator[Any]:
    """So many batches, beginning again where they end."""
    given = 0
    while given < count:
        before = given
        for batch in batches:
            yield batch
            given += 1
            if given == count:
                return
        if given == before:
            return


def _steepest(rates: list[float], losses: list[float]) -> float | None:
    """The rate at which the loss falls fastest, by the logarithm of the rate."""
    if len(rates) <= 2 * _BEGIN:
        return None
    slopes = np.gradient(np.asarray(losses), np.log(np.asarray(rates)))[_BEGIN:-_BEGIN]
    k = int(slopes.argmin())
    return rates[_BEGIN + k] if slopes[k] < 0 else None


@contextmanager
def _as_before(trainer: Trainer) -> Iterator[None]:
    """Put back, after a `with` block, all that training steps change."""
    model, optimizer = trainer.model, trainer.optimizer
    owned = [p for group in optimizer.param_groups for p in group["params"]]
    owned += [p for p in model.parameters() if not any(p is q for q in owned)]
    arrays = [(p, copy_beside(p.data, p.data), p.grad) for p in owned]
    buffers = {name: copy_beside(a, a) for name, a in model.state_dict().items()}
    state = copy.deepcopy(optimizer.state_dict())
    fields = {
        name: getattr(trainer, name)
        for name in ("draws", "running_loss", "running_terms", "metrics", "batch")
    }
    fields |= {name: getattr(trainer, name) for name in ("history", "epoch", "step")}
    trainer.batch, trainer.running_terms = 0, {}  # which may have any names
    trainer.metrics = []  # the rates are judged by the loss
    draws = default_generator().state()
    try:
        with temporary_modes(model):
            yield
    finally:
        vars(trainer).update(fields)
        model.load_state_dict(buffers)
        for p, data, grad in arrays:
            p.data, p.grad = data, grad
        optimizer.load_state_dict(state)
        default_generator().set_state(draws)
