"""python -m tests.fuzz --seconds 600 --seed 1 [--backend numpy] [--family conv] [--case 123]"""

from __future__ import annotations

import argparse
import sys
import time

from .families import FAMILIES
from .paths import PATHS, why_not
from .pytorch import torch
from .run import attempt, fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to go on")
    parser.add_argument("--cases", type=int, help="run so many cases instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=PATHS, default="numpy")
    parser.add_argument("--family", choices=sorted(FAMILIES))
    parser.add_argument("--case", type=int, help="run this one case")
    parser.add_argument("--cap", type=int, help="with --case: no size above this")
    parser.add_argument("--most", type=int, default=20, help="stop after so many failures")
    given = parser.parse_args()
    reason = why_not(given.backend)
    if reason:
        parser.error(f"--backend {given.backend}: {reason}")
    if given.case is not None:
        came, says = attempt(given.backend, given.seed, given.case, given.cap)
        print(says, came, sep="\n    ")
        return int(came not in ("agreed", "refused"))
    began = time.monotonic()
    seconds = None if given.cases else given.seconds
    tally = fuzz(given.backend, given.seed, given.family, given.cases, seconds, most=given.most)
    for failure in tally.failures:
        print(failure)
    key = "PyTorch" if torch() else "the portable twin"
    print(
        f"{given.backend}, seed {given.seed}: {tally.agreed} cases agree with {key}, "
        f"{tally.refused} are refused by both, {len(tally.failures)} disagree; "
        f"{time.monotonic() - began:.0f} s"
    )
    return int(bool(tally.failures))


if __name__ == "__main__":
    sys.exit(main())
