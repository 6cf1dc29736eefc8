"""Some damaged files for each reader; `fuzz.py` beside this file has as many as one likes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("hostile_fuzz", Path(__file__).parent / "fuzz.py")
fuzz = importlib.util.module_from_spec(SPEC)
sys.modules["hostile_fuzz"] = fuzz
SPEC.loader.exec_module(fuzz)


@pytest.mark.parametrize("reader", fuzz.READERS)
def test_damaged_files(reader, tmp_path):
    assert fuzz.fuzz(reader, 200, seed=1) == []


def test_a_fault_would_be_found(monkeypatch):
    """A reader that lets an IndexError out, one that is slow, and one that tells too much."""

    def faulty(path):
        content = path.read_bytes()
        if b"\xff" in content:
            raise IndexError("out of range")
        if len(content) < 30:
            raise ValueError("x" * 10_000)

    monkeypatch.setitem(fuzz.READERS, "json", faulty)
    found = fuzz.fuzz("json", 300, seed=1)
    assert any("IndexError: out of range" in line for line in found)
    assert any("a message of 10000 characters" in line for line in found)
