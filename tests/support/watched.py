"""`watched(backend)`: the same backend, shown to write into nothing that its kernels are given.

Inputs, gradients, weights and what a forward kernel saved are compared with themselves after every
call, and are read-only meanwhile where Python writes (compiled code would be made a second time for
read-only arrays).  A kernel whose name ends in an underscore owns all but the gradients.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from nnx.backends import Backend
from nnx.backends.portable import PortableKernels
from nnx.backends.portable.residuals import Residuals

# Kernels whose result may be a view of what they are given; it is never written into either.
VIEWS = {"slice", "stretch"}
KERNELS = [n for n, _ in inspect.getmembers(PortableKernels, inspect.isfunction) if n[0] != "_"]


def watched(backend: Backend, locked: bool = True) -> Backend:
    """A copy of a backend on NumPy arrays; locked: arrays are read-only during a call."""
    made = object.__new__(type(backend))  # copy.copy gives back the one backend of this name
    vars(made).update(vars(backend))
    for name in KERNELS:
        setattr(made, name, _watched(made, name, locked))
    return made


def _watched(backend: Backend, name: str, locked: bool) -> Any:
    own = vars(backend).get(name)  # `check` has kernels of its own; others may be patched later

    def kernel(*args: Any, **kwargs: Any) -> Any:
        given = args[1] if name.endswith("_") else (args, list(kwargs.values()))
        with untouched(name, given, locked):
            compute = own or partial(getattr(type(backend), name), backend)
            result = compute(*args, **kwargs)
        if name not in VIEWS:
            for (path, a), (where, b) in product(arrays(given), results(result)):
                shared = np.may_share_memory(a, b)
                assert not shared, f"result {where} of {name} lies in its argument {path}"
        return result

    return kernel


def results(result: Any) -> Iterator[tuple[str, np.ndarray]]:
    """What a kernel hands out: not what it keeps."""
    parts = result if type(result) is tuple else (result,)
    return arrays([None if isinstance(part, Residuals) else part for part in parts])


@contextmanager
def untouched(what: str, given: Any, locked: bool = True) -> Iterator[None]:
    """Fail if an array in `given`, at any depth, differs afterwards."""
    found = [(path, a) for path, a in arrays(given) if a.size]
    before = [a.tobytes() for _, a in found]
    writeable = [a for _, a in found if a.flags.writeable] if locked else []
    for a in writeable:
        a.flags.writeable = False
    try:
        yield
    finally:
        for a in reversed(writeable):
            a.flags.writeable = True
    for (path, a), bits in zip(found, before, strict=True):
        assert a.tobytes() == bits, f"{what} wrote into what it was given: argument {path}"


def arrays(given: Any, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every NumPy array in tuples, lists, dictionaries and objects of ours, and where it is."""
    if isinstance(given, np.ndarray):
        yield path, given
    elif isinstance(given, list | tuple):
        for k, part in enumerate(given):
            yield from arrays(part, f"{path}[{k}]")
    elif hasattr(given, "__dict__") and type(given).__module__.startswith("nnx."):
        for key, part in vars(given).items():
            yield from arrays(part, f"{path}.{key}")
