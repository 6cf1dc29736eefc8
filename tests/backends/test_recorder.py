"""How CuPy is asked to record a step, told by a CuPy whose streams only note what they are asked.

A device is not needed for the order of the calls, nor for what is put back afterwards.
"""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

cupy = pytest.importorskip("cupy")


class Stream:
    def __init__(self, notes, name):
        self.notes, self.name, self.ptr = notes, name, 4711
        self.broken = False

    def note(self, what):
        self.notes.append(f"{self.name}: {what}")

    def record(self):
        self.note("record")
        return f"event of {self.name}"

    def wait_event(self, event):
        self.note(f"wait for {event}")

    def __enter__(self):
        self.note("enter")

    def __exit__(self, *error):
        self.note("exit")

    def begin_capture(self):
        self.note("begin")

    def end_capture(self):
        self.note("end")
        if self.broken:
            raise cupy.cuda.runtime.CUDARuntimeError(901)
        return SimpleNamespace(launch=lambda: self.note("launch"))


class Products:
    def __init__(self, library, xp, address, workspace, tf32):
        assert xp is cupy and workspace[1] >= 2**25
        self.tf32, self.streams = tf32, []

    def use(self, stream):
        self.streams.append(stream)

    def matmul(self, a, b, out=None):
        return "ours"

    def close(self):
        pass


@pytest.fixture
def notes():
    return []


@pytest.fixture
def recorder(monkeypatch, notes):
    from nnx.backends import cupy as module

    @contextmanager
    def using_allocator(allocator):
        notes.append(f"allocate from {allocator}")
        try:
            yield
        finally:
            notes.append("allocate as before")

    fakes = {
        "Stream": lambda non_blocking: Stream(notes, "own") if non_blocking else None,
        "MemoryPool": lambda: SimpleNamespace(malloc="the pool"),
        "alloc": lambda size: SimpleNamespace(ptr=64),
        "get_current_stream": lambda: Stream(notes, "caller"),
        "using_allocator": using_allocator,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(cupy.cuda, name, fake)
    monkeypatch.setattr(cupy.cuda.device, "get_cublas_handle", lambda: 1)
    monkeypatch.setattr(module, "load_library", lambda: None)
    monkeypatch.setattr(module, "Products", Products)
    return module.CupyRecorder()


def test_aside_waits_for_the_caller_and_the_caller_for_it(recorder, notes):
    with recorder.aside():
        notes.append("work")
    assert notes == [
        "caller: record",
        "own: wait for event of caller",
        "own: enter",
        "allocate from the pool",
        "work",
        "allocate as before",
        "own: exit",
        "own: record",
        "caller: wait for event of own",
    ]
    assert recorder.products.streams == [4711]


def test_what_is_replaced_in_cupy_is_put_back(recorder):
    names = [(cupy.ndarray, "__matmul__"), (cupy, "matmul"), (cupy, "array"), (cupy, "asarray")]
    before = [getattr(owner, name) for owner, name in names]
    with pytest.raises(ZeroDivisionError), recorder.aside():
        assert all(getattr(o, n) is not b for (o, n), b in zip(names, before, strict=True))
        with recorder.aside():
            pass
        assert cupy.matmul(None, None) == "ours"
        raise ZeroDivisionError
    assert [getattr(owner, name) for owner, name in names] == before
    assert "__matmul__" not in vars(cupy.ndarray)


def test_record_returns_the_result_and_what_plays_it(recorder, notes):
    result, play = recorder.record(lambda: notes.append("body") or "result")
    assert result == "result"
    captured = notes[notes.index("own: begin") : notes.index("own: end") + 1]
    assert captured == ["own: begin", "body", "own: end"]
    play()
    assert notes[-1] == "own: launch"


@pytest.mark.parametrize("broken", [False, True])
def test_a_failing_body_ends_the_capture(recorder, notes, broken):
    recorder.stream.broken = broken

    def body():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        recorder.record(body)
    assert notes[-4:] == [
        "allocate as before",
        "own: exit",
        "own: record",
        "caller: wait for event of own",
    ]
    assert notes.count("own: end") == 1


@pytest.mark.parametrize("make", ["array", "asarray"])
def test_copies_from_host_memory_are_refused_while_recording(recorder, make):
    before = getattr(cupy, make)
    with pytest.raises(RuntimeError, match="cannot copy a list from host memory"):
        recorder.record(lambda: getattr(cupy, make)([1.0, 2.0]))
    assert getattr(cupy, make) is before


@pytest.mark.parametrize("setting,tf32", [(None, False), ("0", False), ("", False), ("1", True)])
def test_tf32_follows_cupys_own_switch(monkeypatch, recorder, setting, tf32):
    from nnx.backends.cupy import CupyRecorder

    monkeypatch.delenv("CUPY_TF32", raising=False)
    if setting is not None:
        monkeypatch.setenv("CUPY_TF32", setting)
    assert CupyRecorder().products.tf32 is tf32
