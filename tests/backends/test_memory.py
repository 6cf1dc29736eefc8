"""Memory of large arrays that is used again."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from nnx.backends.cpu import memory

LARGE = (100, 1000)  # 400 kB in float32


@pytest.fixture(autouse=True)
def nothing_idle():
    memory.forget()
    yield
    memory.forget()


def place(a):
    return a.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_an_array_is_what_was_asked_for(dtype):
    for shape in ((), (0,), (3, 4), (2, 300, 1001)):
        a = memory.empty(shape, dtype)
        assert a.shape == shape and a.dtype == dtype
        assert a.flags.c_contiguous and a.flags.writeable
        a[...] = 1
        assert (a == 1).all()


def test_large_arrays_begin_at_a_cache_line():
    arrays = [memory.empty(LARGE, "float32") for _ in range(5)]
    assert [place(a) % 64 for a in arrays] == [0] * 5


def test_memory_is_used_again_when_the_array_is_gone():
    a = memory.empty(LARGE, "float32")
    before = place(a)
    del a
    b = memory.empty((1000, 100), "int32")  # of the same size in bytes
    assert place(b) == before


def test_a_little_smaller_fits_but_not_much_smaller():
    a = memory.empty(LARGE, "float32")
    before = place(a)
    del a
    assert place(memory.empty((90, 1000), "float32")) == before
    much_smaller = memory.empty((50, 1000), "float32")
    assert place(much_smaller) != before


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[3:7, ::2],
        lambda a: a.reshape(-1)[5:].view("uint8")[1:],
        lambda a: a.T[2:].transpose(1, 0),
        lambda a: memoryview(a),
        lambda a: np.asarray(memoryview(a))[1:],
        lambda a: iter(a),
    ],
    ids=["slice", "view of a view", "transposed", "memoryview", "through a buffer", "iterator"],
)
def test_memory_that_anything_still_refers_to_is_not_given_out(view):
    a = memory.empty(LARGE, "float32")
    before, held = place(a), view(a)
    del a
    others = [memory.empty(LARGE, "float32") for _ in range(3)]
    assert before not in [place(b) for b in others]
    del held
    assert place(memory.empty(LARGE, "float32")) == before


def test_what_is_idle_beyond_the_limit_is_given_back(monkeypatch):
    monkeypatch.setattr(memory, "LIMIT", 10**6)
    arrays = [memory.empty((k, 1000), "float32") for k in (100, 200, 400)]  # 2.8 MB
    assert memory.idle_bytes() == 0
    del arrays
    assert memory.idle_bytes() > 2.8e6
    a = memory.empty((1000, 1000), "float32")
    assert memory.idle_bytes() < 10**6
    del a


def test_forgetting_leaves_arrays_in_use_alone():
    a = memory.empty(LARGE, "float32")
    a[:] = 7
    memory.forget()
    b = memory.empty(LARGE, "float32")
    b[:] = 8
    assert place(a) != place(b) and (a == 7).all()


def test_threads_never_share_an_array():
    wrong = []

    def work(own):
        for _ in range(300):
            a = memory.empty(LARGE, "float32")
            a[::10, ::10] = own
            b = memory.empty(LARGE, "float32")
            b[::10, ::10] = -own
            if not (a[::10, ::10] == own).all():
                wrong.append(own)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
