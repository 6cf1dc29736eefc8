"""What is compiled ahead of time is what training calls."""

import sys

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.backends import compiles
from nnx.backends.jit import JitBackend

pytest.importorskip("numba")
from nnx.tools.warm import compile_kernels


def signatures():
    """Every compiled function of this process, with the types that it was compiled for."""
    from numba.core.dispatcher import Dispatcher

    found = set()
    for name, module in list(sys.modules.items()):
        if name.startswith("nnx.backends.jit."):
            for thing in vars(module).values():
                if isinstance(thing, Dispatcher):
                    found |= {(thing.__module__, thing.__name__, str(s)) for s in thing.signatures}
    return found


def steps():
    """A training step of LeNet with and without batch norm, and of a recurrent network."""
    r = np.random.default_rng(0)
    x = r.normal(size=(16, 1, 28, 28)).astype("f4")
    t = np.zeros(16, np.int64)
    for norm in ([], [nn.BatchNorm2d(6)]):
        net = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), *norm, nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2),
            nn.Flatten(), nn.Linear(1176, 120), nn.ReLU(), nn.Linear(120, 10),
        )  # fmt: skip
        optimizer = optim.Adam(net.parameters())
        nnx.cross_entropy(net(nnx.tensor(x)), t).backward()
        optimizer.step()
    layer = nn.LSTM(40, 48, 2, bidirectional=True, dropout=0.2)
    y, _ = layer(nnx.tensor(r.normal(size=(64, 16, 40)).astype("f4")))
    nnx.cross_entropy(y[-1], t).backward()
    optim.SGD(layer.parameters(), lr=0.1, momentum=0.9).step()


def test_nothing_is_left_to_compile():
    with nnx.backends.override(np.ndarray, JitBackend()):
        compile_kernels()
        known = signatures()
        assert len(known) > 60
        steps()
        assert signatures() <= known
    assert compile_kernels()[0] == 0


def test_without_numba(monkeypatch):
    monkeypatch.setenv("NNX_JIT", "0")
    with pytest.raises(ImportError, match="NNX_JIT"):
        compile_kernels()


def test_who_listens_hears_of_what_is_compiled():
    """Of a function once for each kind of argument; not of its parts."""
    from numba import njit

    from nnx.backends.jit.codegen.compiling import OPTIONS, compiled  # noqa: F401

    part = njit(**OPTIONS)(lambda x: x + 1)
    whole = njit(**OPTIONS)(lambda x: part(x) * 2)
    heard = []
    with compiles.listening(heard.append):
        assert whole(3) == 8 and whole(4) == 10 and whole(2.5) == 7.0
    whole(np.float32(1))
    assert len(heard) == 2


def test_progress_says_why_it_takes_long(capsys):
    from nnx.train.callbacks.progress import Progress

    progress = Progress(live=False)
    with compiles.listening(progress.compiling):
        compiles.began("conv")
        compiles.began("pool")
    assert capsys.readouterr().out.count("compiling kernels") == 1


def test_progress_says_how_far_it_is(capsys):
    from nnx.train.callbacks.progress import Progress

    shown = []

    class Bar:
        def update(self, description):
            shown.append(description)

        def print(self, line):
            shown.append(line)

    progress = Progress(live=False)
    progress.bar = Bar()
    with (
        compiles.listening(progress.compiling),
        compiles.at_the_first(lambda: None, lambda: (2, 7)),
    ):
        compiles.began("conv")
        compiles.began("pool")
    assert shown == [
        "compiling 7 kernels for this processor, once: they are kept on disk",
        "compiling 3 of 7: conv",
        "compiling 4 of 7: pool",
    ]
