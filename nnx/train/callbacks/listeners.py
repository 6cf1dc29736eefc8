"""Who hears of a Trainer's steps, and that all of them hear of its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .base import Callback

if TYPE_CHECKING:
    from ..trainer import Trainer


def heard(listeners: Iterable[Callback], name: str) -> list[Callable[[Trainer], None]]:
    """The methods of this name that do something, so that a step calls no empty ones."""
    methods = [getattr(listener, name) for listener in listeners]
    return [m for m in methods if getattr(m, "__func__", None) is not getattr(Callback, name)]


@contextmanager
def ended(listeners: Sequence[Callback], trainer: Trainer) -> Iterator[None]:
    """Tell every listener that training ended, also after an error, which no later one hides."""
    try:
        yield
    except BaseException as error:
        _end(listeners, trainer, error)
        raise
    failed = _end(listeners, trainer, None)
    if failed is not None:
        raise failed


def _end(
    listeners: Sequence[Callback], trainer: Trainer, first: BaseException | None
) -> BaseException | None:
    """Call every `on_fit_end`; the first error there was, with a note of each later one."""
    for listener in reversed(listeners):
        try:
            listener.on_fit_end(trainer)
        except BaseException as error:
            if first is None:
                first = error
            else:
                what = f"{type(error).__name__}: {error}"
                first.add_note(f"and then {type(listener).__name__}.on_fit_end: {what}")
    return first
