"""Subnormal numbers are 0 inside the kernels that iterate, and nowhere else."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.backends import flush, override
from nnx.backends import kernels as kernel_mode
from nnx.backends.jit import JitBackend
from nnx.backends.jit.codegen.threads import set_thread_count, split
from nnx.backends.numpy import NumpyBackend

TINY = np.finfo(np.float32).tiny
LAYERS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}


@pytest.fixture(params=["switch", "by hand", "kept"])
def way(request, monkeypatch):
    """The processor's switch, NumPy's multiplications, or NNX_FLUSH=0."""
    if request.param == "kept":
        monkeypatch.setenv("NNX_FLUSH", "0")
        monkeypatch.setattr(flush, "_switch", flush._NOT_ASKED)
    elif request.param == "by hand":
        monkeypatch.setattr(flush, "_switch", None)
    elif flush._asked() is None:
        pytest.skip("this system has no way to the processor's state")
    return request.param


@pytest.fixture(params=["numpy", "numba"])
def kernels(request, monkeypatch):
    """NumPy's kernels, or those compiled by numba."""
    if request.param == "numba":
        pytest.importorskip("numba")
    backend = NumpyBackend() if request.param == "numpy" else JitBackend()
    with override(np.ndarray, backend):
        yield request.param


def subnormals(a):
    return int(((np.abs(a) < np.finfo(a.dtype).tiny) & (a != 0)).sum())


def nothing_is_flushed():
    """Whether this thread computes with subnormal numbers."""
    return bool(np.multiply(np.full(8, TINY), np.float32(0.5)).all())


def vanishing(name, steps=240):
    """Gradients of a layer through many steps that make each a little smaller, from 1e-24 on."""
    nnx.manual_seed(3)
    layer = LAYERS[name](24, 32)
    with nnx.no_grad():
        for own in layer.parameters():
            own.copy_(own * 0.5)
    x = np.random.default_rng(0).normal(size=(steps, 8, 24)).astype("f4")
    x = nnx.tensor(x, requires_grad=True)
    y, _ = layer(x)
    gy = np.zeros(y.shape, "f4")
    gy[-1] = 1e-24
    y.backward(gy)
    return [np.asarray(t.grad) for t in (x, *layer.parameters())]


@pytest.mark.parametrize("name", LAYERS)
def test_vanishing_gradients(kernels, way, name):
    gradients = vanishing(name)
    with kernel_mode("portable"):
        expected = vanishing(name)
    ours, kept = subnormals(gradients[0]), subnormals(expected[0])
    assert kept > 1000
    if way == "kept":
        assert ours > 0.8 * kept
    elif not (way == "by hand" and kernels == "numba"):  # wherever numba runs, there is a switch
        assert ours < 0.4 * kept  # left where the product after the scan makes them
    for a, b in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * np.abs(b).max() + 4 * TINY)
    assert nothing_is_flushed()


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.5),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.1, alpha=0.5),
    "RMSprop centered": lambda p: optim.RMSprop(p, 0.1, 0.5, momentum=0.5, centered=True),
    "Adadelta": lambda p: optim.Adadelta(p, rho=0.5),
    "Adam": lambda p: optim.Adam(p, betas=(0.5, 0.5)),
    "AMSGrad": lambda p: optim.Adam(p, betas=(0.5, 0.5), amsgrad=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_an_optimizer(kernels, way, name):
    """One gradient, and then zeros: after 130 steps the averages are subnormal, later 0."""
    p = nn.Parameter(np.ones(5000, "f4"))
    o = OPTIMIZERS[name]([p])
    for k in range(134):
        p.grad = np.full(5000, 1 if k == 0 else 0, "f4")
        o.step()
    arrays = [a for a in o.state_dict()["state"][0].values() if np.shape(a) == (5000,)]
    assert arrays
    if way == "kept":
        assert any(map(subnormals, arrays))
    elif not (way == "by hand" and kernels == "numba"):
        assert not any(map(subnormals, arrays))
    assert nothing_is_flushed()


@pytest.mark.parametrize("name", ["sigmoid", "silu", "softplus", "gelu", "softmax"])
def test_tails(kernels, way, name):
    x = nnx.tensor(np.linspace(-103, 0, 8192, dtype="f4"), requires_grad=True)
    y = getattr(nnx, name)(x)
    y.backward(np.full(y.shape, 1e-3, "f4"))
    numbers = subnormals(np.asarray(y.data)) + subnormals(np.asarray(x.grad))
    if way == "kept":
        assert numbers
    elif way == "switch":
        assert not subnormals(np.asarray(y.data))


def test_every_way_out():
    """What was set before is set again: after a result, an exception, and inside each other."""

    @flush.flushing
    def inner(fails):
        assert not nothing_is_flushed()
        if fails:
            raise ValueError("as it should")
        return 3

    @flush.flushing
    def outer(fails):
        inner(fails)
        assert not nothing_is_flushed()

    assert inner(False) == 3 and nothing_is_flushed()
    for kernel in (inner, outer):
        with pytest.raises(ValueError, match="as it should"):
            kernel(True)
        assert nothing_is_flushed()
    outer(False)
    assert nothing_is_flushed()


def test_who_flushes_already_goes_on():
    get, put, State, word, bits = flush._asked()
    before, state = State(), State()
    get(before)
    get(state)
    state[word] |= bits
    try:
        put(state)
        flush.flushing(lambda: None)()
        assert not nothing_is_flushed()
    finally:
        put(before)
    assert nothing_is_flushed()


def test_signals():
    """Ctrl-C at any moment leaves the state as it was."""

    class Interrupt(Exception):
        pass

    def handler(*_):
        raise Interrupt

    kernel = flush.flushing(lambda: None)
    before = signal.signal(signal.SIGALRM, handler)
    struck = 0
    try:
        end = time.monotonic() + 30
        while struck < 1500 and time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, 2e-4 * (0.2 + (struck * 0.618) % 1))
                while True:
                    kernel()
            except Interrupt:
                struck += 1
            assert nothing_is_flushed()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert struck >= 500


def probe():
    """A training step of each kind that flushes; whether then all threads keep small numbers."""
    for name in LAYERS:
        vanishing(name, steps=40)
    p = nn.Parameter(np.ones(5000, "f4"))
    p.grad = np.ones(5000, "f4")
    optim.Adam([p]).step()
    kept = [nothing_is_flushed()]
    own = threading.Thread(target=lambda: kept.append(nothing_is_flushed()))
    own.start()
    own.join()
    small = np.full((768, 768), 1e-21, "f4")
    kept.append(bool((small @ small).all()))  # 7.7e-40, by BLAS's threads
    return kept


def test_no_thread_is_left_flushing(kernels):
    assert all(probe())
    if kernels == "numba":
        before = set_thread_count(2)
        try:
            vanishing("GRU", steps=400)
            found, both = [], threading.Barrier(2)

            def look(lo, hi):
                both.wait(10)
                found.append(nothing_is_flushed())

            split(look, 2)
        finally:
            set_thread_count(before)
        assert found == [True, True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_whose_first_work_is_a_scan():
    """BLAS starts its threads anew in a child; those would inherit the state of a scan."""
    probe()
    pid = os.fork()
    if pid == 0:
        try:
            with override(np.ndarray, NumpyBackend()):
                layer = nn.LSTM(256, 512)
                y, _ = layer(nnx.tensor(np.ones((3, 256, 256), "f4"), requires_grad=True))
                y.sum().backward()
            small = np.full((768, 768), 1e-21, "f4")
            os._exit(0 if (small @ small).all() and nothing_is_flushed() else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
