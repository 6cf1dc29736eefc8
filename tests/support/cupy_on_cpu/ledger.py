"""What a device would have been asked, and where in nnx."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """Counts of one `with counting():`.

    Attributes:
        launches: kernels by name: the project's, CuPy's ("add", "copy"), "product" for cuBLAS.
        waits: what made the host wait for the device.
        sent: arrays and tables copied from host memory; 0-d arrays are not, CuPy fills them by a
            launch.
        places: (name, file and line in nnx) of all of these.
    """

    launches: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    places: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Launches in all."""
        return self.launches.total()

    def __str__(self) -> str:
        lines = [f"{self.total} launches, {self.waits.total()} waits, {self.sent.total()} sent"]
        lines += [f"{n:5d}  {name}  {place}" for (name, place), n in self.places.most_common()]
        return "\n".join(lines)


_open: list[Ledger] = []


@contextmanager
def counting() -> Iterator[Ledger]:
    """Count what is asked inside the `with`."""
    ledger = Ledger()
    _open.append(ledger)
    try:
        yield ledger
    finally:
        _open.remove(ledger)


def note(kind: str, name: str, times: int = 1) -> None:
    """`kind` is "launches", "waits" or "sent"."""
    for ledger in _open:
        getattr(ledger, kind)[name] += times
        ledger.places[name, _place()] += times


def _place() -> str:
    frame = sys._getframe(2)
    while frame is not None:
        _, found, rest = frame.f_code.co_filename.rpartition("/nnx/")
        if found:
            return f"{rest}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "outside nnx"
