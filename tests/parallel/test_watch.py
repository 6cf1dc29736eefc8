"""What the watch takes for a sign of life."""

from __future__ import annotations

import gzip
import sys
import threading

import pytest

import nnx
from nnx.io import write_text
from nnx.parallel.watch import place_of, timeout


def where(function, *args):
    """What `place_of` says of a thread in which `function` runs and calls `stop` somewhere."""
    found = []

    def body():
        try:
            function(*args)
        except Stop as stop:
            found.append(place_of(stop.frame))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return found[0]


class Stop(Exception):
    def __init__(self):
        self.frame = sys._getframe(2)


class File:
    """Calls back from wherever it is used."""

    def write(self, data):
        raise Stop

    read = __fspath__ = write


class Stops:
    def __fspath__(self):
        raise Stop


def test_own_code_is_no_sign_of_life():
    def hang():
        raise Stop

    def call():
        hang()

    place, busy = where(call)
    assert "test_watch.py" in place and not busy


def test_the_standard_library_is_what_its_caller_is():
    def read():
        gzip.GzipFile(fileobj=File(), mode="wb")

    place, busy = where(read)
    assert "test_watch.py" in place and not busy


def test_nnx_and_what_it_calls_are_at_work():
    place, busy = where(write_text, Stops(), "x")
    assert "nnx" in place and busy


@pytest.mark.parametrize("text", ["0", "-1", "soon"])
def test_a_timeout_is_a_number_above_0(monkeypatch, text):
    monkeypatch.setenv("NNX_PARALLEL_TIMEOUT", text)
    with pytest.raises(ValueError, match="must be a number of seconds above 0, got"):
        timeout()


def test_the_timeout(monkeypatch):
    assert timeout() == 5
    monkeypatch.setenv("NNX_PARALLEL_TIMEOUT", "2.5")
    assert timeout() == 2.5 and nnx.autograd.calls_made() >= 0
