"""BLAS's threads and the compiled kernels' while parts are computed."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from nnx.backends.jit.codegen import threads
from nnx.backends.jit.codegen.threads import thread_count
from nnx.parallel.threads import fixed_threads

np.ones((2, 2)) @ np.ones((2, 2))  # so that BLAS is loaded


def blas():
    return {p["num_threads"] for p in threadpool_info() if p.get("user_api") == "blas"}


@pytest.mark.skipif(not blas(), reason="no BLAS library that threadpoolctl knows")
def test_threads_are_set_for_all_who_are_inside_and_restored_by_the_last(monkeypatch):
    monkeypatch.setattr(threads, "_found", None)  # ask the environment, now and afterwards
    monkeypatch.setenv("NNX_NUM_THREADS", "3")
    monkeypatch.setenv("NNX_JIT", "1")
    with threadpool_limits(2, "blas"):
        before, (inside, out) = blas(), (threading.Event(), threading.Event())

        def other():
            with fixed_threads(1):
                inside.set()
                out.wait(10)

        thread = threading.Thread(target=other)
        with fixed_threads(1):
            thread.start()
            assert inside.wait(10)
            assert blas() == {1} and thread_count() == 1
        assert blas() == {1} and thread_count() == 1, "the other one is still inside"
        out.set()
        thread.join()
        assert blas() == before and thread_count() == 3


def test_threads_are_restored_after_an_error():
    before = blas(), thread_count()
    with pytest.raises(KeyError), fixed_threads(1):
        raise KeyError
    assert (blas(), thread_count()) == before
