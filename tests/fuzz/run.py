"""Runs cases by number, and says how a failing one is run again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .case import Case
from .draw import Draw
from .engine import Disagreement, examine
from .families import FAMILIES
from .paths import taking

CAPS = (1, 2, 3, 5)  # a failing case is tried again with no size above these


@dataclass
class Tally:
    """What came of a run."""

    agreed: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)


def family_of(number: int) -> str:
    names = sorted(FAMILIES)
    return names[number % len(names)]


def make(seed: int, number: int, cap: int | None = None) -> Case:
    """The case of this number."""
    return FAMILIES[family_of(number)](Draw(seed, number, cap))


def numbers(family: str | None, start: int = 0) -> Iterator[int]:
    """The numbers of a family's cases, or of all, without end."""
    names = sorted(FAMILIES)
    if family is None:
        number, step = start, 1
    else:
        number, step = start + (names.index(family) - start) % len(names), len(names)
    while True:
        yield number
        number += step


def attempt(path: str, seed: int, number: int, cap: int | None = None) -> tuple[str, str]:
    """(what came of a case, its description); a fault of the fuzz itself is raised."""
    case = make(seed, number, cap)
    with taking(path) as backend:
        try:
            return examine(case, backend, np.random.default_rng([seed, number, 2])), str(case)
        except (Disagreement, AssertionError) as e:
            return f"{type(e).__name__}: {e}", str(case)
        except Exception as e:  # whatever else nnx may raise is a fault too
            return f"Crash: {type(e).__name__}: {e}", str(case)


def fuzz(
    path: str,
    seed: int,
    family: str | None = None,
    cases: int | None = None,
    seconds: float | None = None,
    start: int = 0,
    most: int = 20,
) -> Tally:
    """Run so many cases, or for so long, or until `most` have failed."""
    tally = Tally()
    end = None if seconds is None else time.monotonic() + seconds
    for count, number in enumerate(numbers(family, start)):
        if (cases is not None and count >= cases) or (end is not None and time.monotonic() >= end):
            break
        came, says = attempt(path, seed, number)
        if came == "agreed":
            tally.agreed += 1
        elif came == "refused":
            tally.refused += 1
        else:
            tally.failures.append(explain(path, seed, number, came, says))
            if len(tally.failures) >= most:
                break
    return tally


def explain(path: str, seed: int, number: int, came: str, says: str) -> str:
    """What failed, as small as it is found, and the line that runs it again."""
    again = f"python -m tests.fuzz --backend {path} --seed {seed} --case {number}"
    for cap in CAPS:
        try:
            smaller, less = attempt(path, seed, number, cap)
        except Exception:  # not every case can be drawn so small
            continue
        if smaller not in ("agreed", "refused"):
            came, says, again = smaller, less, f"{again} --cap {cap}"
            break
    return f"{family_of(number)}: {says}\n    {came}\n    {again}"
