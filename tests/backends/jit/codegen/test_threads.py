import os
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from nnx.backends.blas import libraries
from nnx.backends.jit.codegen import threads


@pytest.fixture
def four_threads():
    threads.set_thread_count(4)
    yield
    threads.set_thread_count(None)


def mark(lo, hi, seen, names):
    for k in range(lo, hi):
        seen[k] += 1
        names.add(threading.current_thread().name)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 101])
def test_split_covers_the_range_once(four_threads, n):
    seen = np.zeros(n, int)
    threads.split(mark, n, seen, set())
    assert (seen == 1).all()


def test_split_uses_other_threads_and_leaves_short_work_alone(four_threads):
    barrier = threading.Barrier(4, timeout=20)

    def together(lo, hi):
        barrier.wait()  # passes only if all four parts run at the same time

    threads.split(together, 4)
    names = set()
    threads.split(mark, 7, np.zeros(7), names, least=4)
    assert names == {threading.main_thread().name}


@pytest.mark.parametrize("bad", [0, 3])
def test_an_error_in_any_part_is_raised_and_the_pool_goes_on(four_threads, bad):
    def fail(lo, hi):
        if lo <= bad < hi:
            raise ZeroDivisionError("in part")

    with pytest.raises(ZeroDivisionError, match="in part"):
        threads.split(fail, 4)
    test_split_covers_the_range_once(None, 9)


@pytest.mark.parametrize("shape", [(3, 4, 5), (300, 90, 70), (64, 200, 500)])
def test_matmul(four_threads, shape):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a = rng.integers(-4, 5, (m, k)).astype("float32")
    b = rng.integers(-4, 5, (n, k)).astype("float32").T
    np.testing.assert_array_equal(threads.matmul(a, b), a @ b)


def test_blas_gets_its_threads_back():
    libraries.cache_clear()  # another test may have loaded one more since

    def counts():
        # NumPy's own: SciPy and others bring further copies of BLAS, which are none of ours.
        pools = [i for i in threadpool_info() if i["user_api"] == "blas"]
        return [i["num_threads"] for i in pools if "numpy" in i["filepath"]] or [
            i["num_threads"] for i in pools[:1]
        ]

    before = counts()
    with threads.one_blas_thread():
        assert set(counts()) == {1}
        with threads.one_blas_thread():
            assert set(counts()) == {1}
        assert set(counts()) == {1}
    assert counts() == before


def test_the_environment_sets_the_count(monkeypatch):
    monkeypatch.delenv("NNX_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_found", None)  # put back afterwards
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads.thread_count() == 3
    monkeypatch.setenv("NNX_NUM_THREADS", "2")
    assert threads.thread_count() == 3, "it is asked once"
    threads.set_thread_count(None)
    assert threads.thread_count() == 2
    with pytest.raises(ValueError, match="a whole number from 1 to 1024, got 0"):
        threads.set_thread_count(0)


@pytest.mark.parametrize(
    "value, count",
    [
        *[("1", 1), ("0012", 12), ("1024", 1024), ("", 5), ("0", 0), ("1025", 0), ("00012", 0)],
        *[("-1", 0), ("2.0", 0), ("4,2", 0), ("\u0663", 0)],  # an Arabic 3
    ],
)
def test_what_the_environment_may_say(monkeypatch, value, count):
    """0: nothing that is a count.  Our own variable is refused, others' is passed over."""
    monkeypatch.setattr(threads, "processors", lambda: 5)
    monkeypatch.setattr(threads, "_set", None)
    monkeypatch.setattr(threads, "_found", None)
    monkeypatch.delenv("NNX_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.thread_count() == (count or 5)
    monkeypatch.setattr(threads, "_found", None)
    monkeypatch.setenv("NNX_NUM_THREADS", value)
    if count or not value:
        assert threads.thread_count() == count
    else:
        with pytest.raises(ValueError, match="NNX_NUM_THREADS must be a whole number"):
            threads.thread_count()


@pytest.mark.parametrize("n", [0, -1, threads.MOST + 1, 2.0, "2"])
def test_a_count_that_is_none_is_refused(n):
    with pytest.raises(ValueError, match="n must be a whole number from 1 to 1024"):
        threads.set_thread_count(n)


@pytest.mark.parametrize("n", [1, threads.MOST])
def test_the_ends_of_what_a_count_may_be(n):
    before = threads.set_thread_count(n)
    try:
        assert threads.thread_count() == n
    finally:
        threads.set_thread_count(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_makes_its_own_pool(four_threads):
    threads.split(lambda lo, hi: None, 4)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: the point
        pid = os.fork()
    if pid == 0:
        seen = np.zeros(8)
        threads.split(mark, 8, seen, set())
        os._exit(0 if (seen == 1).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
