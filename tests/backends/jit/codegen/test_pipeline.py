"""Kernels go through fewer of numba's passes, and become the same code."""

import re

import pytest

numba = pytest.importorskip("numba")

from numba.core import compiler, event  # noqa: E402

from nnx.backends.jit.codegen import pipeline  # noqa: E402
from nnx.backends.jit.codegen.compiling import OPTIONS, compiled  # noqa: E402


def total(x, y, step):
    """What kernels are made of: loops, branches, a tuple, a constant power and a view."""
    sums = (0.0, 1.0)
    part = x[1:]
    for k in range(0, part.size, step):
        if part[k] > 0:
            y[k] = part[k] ** 2 + sums[1]
        else:
            y[k] = sums[0] - part[k]


def formula(x, y, step):
    """Of whole arrays, which numba makes one loop of."""
    y[:] = x * x + step


TYPES = (numba.float64[::1], numba.float64[::1], numba.int64)


class Passes(event.Listener):
    def __init__(self):
        self.names = []

    def on_start(self, event):
        self.names.append(event.data["name"].split()[0])

    def on_end(self, event): ...


def passes(function, types):
    with event.install_listener("numba:run_pass", Passes()) as listener:
        function.compile(types)
    return listener.names


def code(dispatcher):
    """LLVM's text, without the names, which count what was compiled before."""
    dispatcher.compile(TYPES)
    text = dispatcher.inspect_llvm(TYPES)
    names = {}
    text = re.sub(r"_ZN[\w.]+", lambda m: names.setdefault(m.group(), f"name{len(names)}"), text)
    text = re.sub(r'\[\d+ x i8\] (?=c"missing)', "", text)
    return [line for line in text.splitlines() if not line.startswith("; ModuleID")]


@pytest.mark.parametrize("function", [total, formula])
def test_a_kernel_is_the_code_that_numbas_own_passes_make(function):
    own = numba.njit(pipeline_class=compiler.Compiler, **OPTIONS)(function)
    short = numba.njit(pipeline_class=pipeline.Compiler, **OPTIONS)(function)
    assert code(own) == code(short)


def test_a_kernel_goes_through_no_pass_that_finds_nothing():
    usual = passes(numba.njit(**OPTIONS)(lambda n: n + 1), (numba.int64,))
    own = numba.njit(pipeline_class=pipeline.Compiler, **OPTIONS)(lambda n: n + 1)
    names = passes(own, (numba.int64,))
    assert compiled(lambda n: n)._compiler.pipeline_class is pipeline.Compiler
    assert set(names) - set(usual) == {"kernel_rewrites"}
    assert len(set(usual) - set(names) - {"nopython_rewrites"}) == len(pipeline.NEEDLESS)
    assert len(names) == len(set(names))


def test_what_needs_such_a_pass_is_refused():
    """Not computed otherwise."""

    def comprehension(n):
        return [k for k in range(n)][n - 1]

    with pytest.raises(numba.core.errors.NumbaError):
        compiled(comprehension).compile((numba.int64,))
