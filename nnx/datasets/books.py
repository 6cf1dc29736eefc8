"""A book that ships with the package."""

from __future__ import annotations

import gzip
from pathlib import Path

_ALICE = Path(__file__).parent / "alice" / "alice.txt.gz"


def load_alice() -> str:
    """The text of "Alice's Adventures in Wonderland" (Lewis Carroll 1865): 148,000 characters.

    It is in the public domain; `nnx/datasets/alice/SOURCE.md` says where it comes from.
    """
    return gzip.decompress(_ALICE.read_bytes()).decode("ascii")
