"""Sizes at which the scan of a recurrent layer takes another path on a GPU.

T, N, S, H, lengths.  Up to 128 units a block for each sequence, beyond it blocks that meet after
each step, or launches per step.
"""

from __future__ import annotations

SEQUENCES = {
    "one of everything": (1, 1, 1, 1, None),
    "31 units": (4, 2, 1, 31, None),
    "32 units, both directions": (3, 3, 2, 32, None),
    "33 units": (3, 2, 1, 33, None),
    "64 units, both directions": (2, 1, 2, 64, None),
    "lengths": (5, 4, 1, 6, [5, 1, 3, 4]),
    "lengths, both directions": (5, 4, 2, 6, [2, 5, 1, 3]),
    "65 units": (3, 2, 1, 65, None),
    "97 units, lengths, both directions": (3, 2, 2, 97, [3, 1]),
    "128 units": (2, 1, 1, 128, None),
    "129 units": (3, 2, 1, 129, None),
    "130 units, both directions": (3, 2, 2, 130, None),
    "130 units, lengths": (4, 3, 1, 130, [1, 4, 2]),
    "130 units, lengths, both directions": (4, 3, 2, 130, [3, 1, 4]),
}
