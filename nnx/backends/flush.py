"""Subnormal numbers become 0 inside the kernels that iterate.

A float32 below 1.2e-38 (a float64 below 2.2e-308) is *subnormal*: it is held with fewer digits, and
Intel's processors take some 150 cycles for each that they meet.  Gradients that vanish over
hundreds of steps, the state of an optimizer whose gradients have become 0, and the tails of
exponentials are full of them, and no result that anybody reads depends on them.  So these kernels
run with the processor told to take subnormal numbers for 0 and to give 0 for them:

    @flushing                   the kernel's own thread, from its first line to every way out
    split(flushing(loop), ...)  each thread that takes part

The state is the thread's own, and is put back as it was, after an exception or Ctrl-C too: nothing
outside the kernel computes otherwise.  (A library that leaves it set breaks its users' numerics;
that has happened to several.)  It takes a microsecond.

`NNX_FLUSH=0` keeps subnormal numbers.  Where the system has no way to the processor's state,
NumPy's kernels multiply them away (`by_hand`, `clean`).  A GPU keeps them: they cost nothing there,
and what it computes differs by less than 1.2e-38.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from ..typing import Array
from .forks import renew_in_child

# (system, processor): where in C's fenv_t, in words of 32 bits, the processor's control word
# stands, and its bits for "a subnormal result is 0" and "a subnormal operand is 0".
_WORDS = {
    ("Linux", "x86_64"): (7, 1 << 15 | 1 << 6),  # MXCSR
    ("Darwin", "x86_64"): (1, 1 << 15 | 1 << 6),
    ("Linux", "aarch64"): (0, 1 << 24),  # FPCR, one bit for both
    ("Darwin", "arm64"): (2, 1 << 24),
}
_NOT_ASKED: Any = object()

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_switch: Any = _NOT_ASKED  # (get, set, type of a state, word, bits); None where there is none
_awake = False  # whether BLAS has its threads


def flushing(kernel: Kernel, least: int = 0) -> Kernel:
    """A kernel that runs with subnormal numbers taken for 0 in the calling thread.

    Args:
        kernel: a function, or a method whose first argument is an array.
        least: for a first argument of fewer numbers than that, nothing is done.
    """

    @wraps(kernel)
    def inside(*args: Any, **options: Any) -> Any:
        switch = _switch if _switch is not _NOT_ASKED else _asked()
        if switch is None or (least and args[1].size < least):
            return kernel(*args, **options)
        get, put, State, word, bits = switch
        state = State()
        get(state)
        before = state[word]
        if before & bits == bits:
            return kernel(*args, **options)
        state[word] = before | bits
        try:
            # Python looks for Ctrl-C after a call: here it finds it inside `try`
            put(state)
            return kernel(*args, **options)
        finally:
            state[word] = before
            put(state)

    return inside  # type: ignore[return-value]


def wanted() -> bool:
    """False where `NNX_FLUSH` is 0: read once."""
    return os.environ.get("NNX_FLUSH", "1") != "0"


def by_hand() -> bool:
    """Whether NumPy's kernels have to multiply subnormal numbers away, for want of a switch."""
    return (_switch if _switch is not _NOT_ASKED else _asked()) is None and wanted()


def clean(*arrays: Array | None) -> None:
    """Write 0 over the subnormal numbers of arrays."""
    for a in arrays:
        if a is not None:
            np.multiply(a, np.abs(a) >= np.finfo(a.dtype).tiny, out=a)


def described() -> str:
    """One line about what is done here, for `nnx doctor`."""
    if not wanted():
        return "subnormal numbers are kept (NNX_FLUSH=0)"
    how = "multiplied away by NumPy's kernels" if by_hand() else "taken for 0 by the processor"
    return f"subnormal numbers are {how}, in recurrent layers, optimizers and activations"


def _asked() -> Any:
    """The switch, looked for and tried once."""
    global _switch
    found = _found() if wanted() else None
    _switch = found if found is None or _works(found) else None
    if _switch is not None and not _awake:
        _wake_blas()
    return _switch


def _found() -> Any:
    place = _WORDS.get((platform.system(), platform.machine()))
    if place is None:
        return None
    import ctypes

    try:
        # PyDLL holds the GIL: the two calls take a third of a microsecond each
        library = ctypes.PyDLL("libm.so.6" if platform.system() == "Linux" else None)
        get, put = library.fegetenv, library.fesetenv
    except (OSError, AttributeError):  # another C library than glibc
        try:
            library = ctypes.PyDLL(None)
            get, put = library.fegetenv, library.fesetenv
        except (OSError, AttributeError, TypeError):
            return None
    return get, put, ctypes.c_uint32 * 16, *place


def _works(switch: Any) -> bool:
    """Whether a product that is subnormal becomes 0 inside, and only inside."""
    get, put, State, word, bits = switch
    state, small = State(), np.full(64, np.finfo(np.float32).tiny)
    get(state)
    before = state[word]
    state[word] = before | bits
    try:
        put(state)
        inside = np.multiply(small, np.float32(0.5))
    finally:
        state[word] = before
        put(state)
    outside = np.multiply(small, np.float32(0.5))
    put_back = before & bits == bits or bool(outside.view(np.uint32).all())
    return put_back and not inside.view(np.uint32).any()


def _wake_blas() -> None:
    """Have BLAS start its threads now: a thread begins with the state of the one that starts it,
    and would keep it."""
    global _awake
    a = np.ones((384, 384), np.float32)
    np.dot(a, a)
    _awake = True


def _in_child() -> None:
    """A forked child has none of its parent's threads."""
    global _awake, _switch
    _awake, _switch = False, _NOT_ASKED


renew_in_child(_in_child)
