"""Examples that other processes load, while the model computes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np

from ..backends import Backend
from ..random import Generator
from .dataset import Dataset
from .rows import ItemRows, load

AHEAD = 2  # batches that each process has under way or ready

_work: tuple[Dataset, Callable[[list[Any]], Any]] | None = None  # in a worker process: its data


class WorkerRows(ItemRows):
    """`ItemRows` whose items are loaded by processes.

    Whoever draws from the shared generator while an item is loaded gets numbers that depend on the
    item's place in the epoch alone.  So batches are the same whatever the number of processes, and
    whichever of them was fastest.

    The shared generators of Python, NumPy and PyTorch are seeded for each item in the same way.  A
    forked process begins with a copy of their states, so all processes would draw the same numbers,
    and in every epoch again.  A generator that the data set itself holds is such a copy too, and
    nothing can be done for it but to say so (`held_generator`).
    """

    def __init__(
        self,
        backend: Backend,
        dataset: Dataset,
        collate: Callable[[list[Any]], Any] | None,
        workers: int,
    ) -> None:
        super().__init__(backend, dataset, collate)
        self.workers = workers

    def batches(
        self,
        order: np.ndarray | None,
        bounds: list[tuple[int, int]],
        draws: Generator,
    ) -> Iterator[Any]:
        methods = multiprocessing.get_all_start_methods()
        pool = ProcessPoolExecutor(
            min(self.workers, max(len(bounds), 1)),
            # A forked process has the data set at once; elsewhere it is sent, so it has to pickle.
            mp_context=multiprocessing.get_context("fork" if "fork" in methods else None),
            initializer=_begin,
            initargs=(self.dataset, self.collate),
        )
        waiting: deque[Future[Any]] = deque()
        left = iter(bounds)
        try:
            for start, stop in left:
                waiting.append(self._ask(pool, order, start, stop, draws))
                if len(waiting) == AHEAD * self.workers:
                    break
            while waiting:
                fields, empty = waiting.popleft().result()
                following = next(left, None)
                if following is not None:
                    waiting.append(self._ask(pool, order, *following, draws))
                yield self.tensors(fields, empty)
        except BrokenProcessPool as error:
            raise RuntimeError(
                "DataLoader: a worker process ended before its batch was loaded: it was killed, "
                "perhaps for want of memory, or crashed; num_workers=0 loads in this process"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(
        self,
        pool: ProcessPoolExecutor,
        order: np.ndarray | None,
        start: int,
        stop: int,
        draws: Generator,
    ) -> Future[Any]:
        index = range(start, stop) if order is None else order[start:stop].tolist()
        return pool.submit(_load, index, start, draws)


def _begin(dataset: Dataset, collate: Callable[[list[Any]], Any]) -> None:
    """The first thing a worker process does.

    Ctrl-C is for the process that trains, which ends its workers; and where that was killed, nobody
    would tell them.
    """
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _work = dataset, collate


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _load(index: Any, start: int, draws: Generator) -> tuple[Any, bool]:
    assert _work is not None
    return load(*_work, index, start, draws, _seed_others)


def _seed_others(draws: Generator) -> None:
    """Start the shared generators of other libraries again, from what a fork of `draws` draws."""
    seed = int(draws.fork("others").host_integers(1 << 32))
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - it is the one that people's code draws from
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)


def held_generator(dataset: Any, depth: int = 3) -> str:
    """The attribute of a data set, or of what it holds, that is a random generator; "" for none.

    Args:
        dataset: any object.
        depth: how far to look: its attributes, theirs, ...
    """
    for name, value in getattr(dataset, "__dict__", {}).items():
        kind = type(value)
        if kind.__name__ in ("Generator", "Random", "RandomState"):
            return str(name)
        if (
            depth > 1
            and not isinstance(value, type)
            and (inner := held_generator(value, depth - 1))
        ):
            return f"{name}.{inner}"
    return ""
