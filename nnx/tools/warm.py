"""Compile ahead of time what the first batches would otherwise wait for: `nnx compile`.

numba compiles a kernel for the types of its arguments, not for their sizes, so one small step of
each kind of layer is enough for all networks in float32 that are made of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from .. import nn, optim
from ..backends import jit_enabled, use_backend
from ..backends.compiles import at_the_first, listening
from ..backends.jit.codegen.helped import MOST
from ..backends.jit.codegen.threads import thread_count
from ..functional import cross_entropy
from ..random import Generator, use_generator
from ..tensor import Tensor


def compile_kernels(
    tell: Callable[[str], None] | None = None, steps: Sequence[Callable[[], None]] = ()
) -> tuple[int, float]:
    """Have kernels compiled for this processor, in a process for each thread, and kept on disk.

    Args:
        tell: called with the name of each kernel when its compilation begins.
        steps: what calls the kernels that are wanted; without it all are.  They are run here, and
            before in a forked process.

    Returns:
        How many were compiled, 0 where all lay on the disk, and the seconds it took.

    Raises:
        ImportError: numba is not installed, or NNX_JIT=0 keeps it out.
    """
    if not jit_enabled():
        raise ImportError(
            "there is nothing to compile without numba: pip install numba, and unset NNX_JIT"
        )
    from ..backends.jit.codegen.ahead import Helpers, can_help
    from ..backends.jit.loops import linear as linear  # one for which there may be a place

    count = 0

    def heard(name: str) -> None:
        nonlocal count
        count += 1
        if tell is not None:
            tell(name)

    start = time.perf_counter()
    steps = list(steps) or _all_steps()
    with listening(heard), use_backend("numpy"), use_generator(Generator(0)):
        if thread_count() > 1 and can_help():
            with suppress(OSError):  # no more processes
                helpers = Helpers(steps, min(thread_count(), MOST))
                with at_the_first(lambda: None, lambda: (0, helpers.total)):
                    while helpers.read():
                        while helpers.begun:
                            heard(helpers.begun.pop(0))
                helpers.end()
        for step in steps:  # loads them; and compiles what only their results could lead to
            step()
    return count, time.perf_counter() - start


def _all_steps() -> list[Callable[[], None]]:
    """A step of each kind of layer and loss, with all optimizers."""
    steps = [partial(_step, *of) for of in _kinds()]
    return [*steps, *[partial(_cross_entropy, classes) for classes in (10, 128)]]


def _cross_entropy(classes: int) -> None:
    logits = Tensor(np.zeros((256, classes), np.float32), requires_grad=True)
    cross_entropy(logits, np.zeros(256, np.int64)).backward()


def _kinds() -> Iterator[tuple[nn.Module, np.ndarray, bool]]:
    """(model, input, training) of every kind: large enough that compiled kernels answer."""
    r = np.random.default_rng(0)
    images = r.normal(size=(4, 8, 32, 32)).astype(np.float32)
    for norm in ([], [nn.BatchNorm2d(16)]):
        yield nn.Sequential(nn.Conv2d(8, 16, 3), *norm, nn.ReLU(), nn.MaxPool2d(2)), images, True
    yield nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16)), images, False
    layers = [
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ConvTranspose2d(8, 16, 3, stride=2),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.MaxPool2d(3, 2),
        nn.AvgPool2d(3, 2),
        nn.BatchNorm2d(8),
        nn.GroupNorm(2, 8),
    ]
    for layer in layers:
        yield layer, images, True
        last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        yield layer, last, True
    rows = r.normal(size=(256, 128)).astype(np.float32)
    activations = [
        *(nn.ReLU(), nn.LeakyReLU(), nn.ELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU()),
        *(nn.Tanh(), nn.Sigmoid(), nn.Softplus(), nn.Softmax(-1), nn.LogSoftmax(-1)),
        *(nn.LayerNorm(128), nn.BatchNorm1d(128), nn.Dropout(0.5)),
    ]
    yield nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128)), rows, True
    for layer in activations:
        yield layer, rows, True
    sequences = r.normal(size=(32, 16, 32)).astype(np.float32)
    for layer in (
        nn.RNN(32, 32, bidirectional=True),
        nn.RNN(32, 32, nonlinearity="relu"),
        nn.LSTM(32, 32),
        nn.GRU(32, 32),
        nn.GRU(32, 32, reset_after=False),
    ):
        yield layer, sequences, True
    yield nn.Embedding(500, 64), r.integers(0, 500, (32, 16)), True


def _step(model: nn.Module, x: np.ndarray, training: bool) -> None:
    """Forward, backward, and a step of every optimizer."""
    model.train(training)
    result: Any = model(Tensor(x) if x.dtype.kind == "i" else Tensor(x, requires_grad=True))
    y = result[0] if isinstance(result, tuple) else result
    (y * y).sum().backward()
    parameters = list(model.parameters())
    if sum(p.size for p in parameters) < 1024:
        return
    for optimizer in (
        optim.SGD(parameters, lr=0.0),
        momentum := optim.SGD(parameters, lr=0.0, momentum=0.9),
        momentum,  # whose first step is another
        optim.Adam(parameters, lr=0.0),
        optim.RMSprop(parameters, lr=0.0),
        optim.Adagrad(parameters, lr=0.0),
        optim.Adadelta(parameters, lr=0.0),
    ):
        optimizer.step()
