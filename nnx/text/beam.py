"""Beam search: the most probable sequences that a model can say, a symbol at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backends import backend_of
from ..ops.array.indexing import Take
from ..tensor import Tensor

State = tuple[Tensor, ...]


class Found(NamedTuple):
    """A sequence that was found.

    Attributes:
        ids: its symbols, without those that begin and end it.
        log_prob: the logarithm of its probability, that of the end included.
        ended: whether it came to its end, or was cut.
    """

    ids: list[int]
    log_prob: float
    ended: bool


def beam_search(
    step: Callable[[Tensor, State], tuple[Tensor, State]],
    state: State,
    begin: int,
    end: int,
    width: int = 4,
    length: int = 100,
) -> list[Found]:
    """The most probable sequences, found by keeping the best `width` beginnings at every step.

    With width 1 it is the greedy search; a width as large as the number of beginnings finds the
    most probable one for certain.

    Args:
        step: from the last symbols (B,), integers, and the state of B beginnings to the
            log-probabilities of the next symbol (B, C) and the new state.
        state: tensors whose first axis is the beginning's, of length 1.
        begin, end: the symbols that begin and end a sequence.
        width: how many beginnings are kept.
        length: the most symbols of a sequence, without those two.

    Returns:
        At most `width`, the most probable first.

    Raises:
        ValueError: width or length is not positive.
    """
    if width < 1 or length < 1:
        raise ValueError(
            f"beam_search: width and length must be positive, got {width} and {length}"
        )
    alive, found = [Found([begin], 0.0, False)], list[Found]()
    for steps in range(length + 1):
        last = np.asarray([one.ids[-1] for one in alive], np.int64)
        home = backend_of(state[0].data)
        ids = Tensor(home.xp.asarray(home.from_numpy(last), device=state[0].data.device))
        log_probs, state = step(ids, state)
        table = np.asarray(home.to_numpy(log_probs.data), np.float64)  # (B, C)
        table = table + np.asarray([one.log_prob for one in alive])[:, None]
        rows, kept = list[int](), list[Found]()
        for place in np.argsort(-table, axis=None, kind="stable")[: 2 * width]:
            row, symbol = divmod(int(place), table.shape[1])
            score = float(table[row, symbol])
            if score == -math.inf:
                break
            if symbol == end:
                found.append(Found(alive[row].ids[1:], score, True))
            elif len(kept) < width and steps < length:
                rows.append(row)
                kept.append(Found([*alive[row].ids, symbol], score, False))
        found = sorted(found, key=lambda one: -one.log_prob)[:width]
        if not kept or (len(found) == width and kept[0].log_prob <= found[-1].log_prob):
            break  # what is alive can only become less probable
        alive = kept
        chosen = home.xp.asarray(home.from_numpy(np.asarray(rows, np.int64)),
                                 device=state[0].data.device)  # fmt: skip
        state = tuple(Take(chosen, 0)(part) for part in state)
    if not found:  # none came to its end
        found = [Found(one.ids[1:], one.log_prob, False) for one in alive]
    return found


def sample(log_probs: Sequence[float] | np.ndarray, temperature: float, chance: float) -> int:
    """A symbol drawn with probabilities proportional to p^(1/temperature).

    Args:
        log_probs: log p, or anything that differs from it by a constant, (C,) in host memory.
        temperature: below 1 the probable becomes more probable; 0: the most probable one.
        chance: a number drawn from [0, 1), which decides.

    Raises:
        ValueError: temperature is negative.
    """
    if not temperature >= 0:
        raise ValueError(f"sample: temperature must not be negative, got {temperature}")
    z = np.asarray(log_probs, np.float64)
    if temperature == 0:
        return int(np.argmax(z))
    p: Any = np.exp((z - z.max()) / temperature)
    total = np.cumsum(p)
    return int(min(np.searchsorted(total, chance * total[-1], side="right"), len(z) - 1))
