"""What the tests of `nnx.parallel` share: hashes of everything that training leaves behind."""

from __future__ import annotations

import hashlib
import shutil
from importlib.util import find_spec

import numpy as np

from nnx import parallel


def digest(*nests):
    """One text for the bits of arrays, numbers and texts in nests of dicts and lists."""
    h = hashlib.sha256()

    def add(value):
        if isinstance(value, dict):
            for key in value:
                h.update(repr(key).encode())
                if key != "seconds":  # of the wall's clock
                    add(value[key])
        elif isinstance(value, list | tuple):
            h.update(b"[")
            for v in value:
                add(v)
        elif hasattr(value, "dtype"):
            array = np.ascontiguousarray(value)
            h.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
        else:
            h.update(repr(value).encode())

    for nest in nests:
        add(nest)
    return h.hexdigest()


def why_no_mpi():
    """Why ranks cannot be processes here, or None."""
    if find_spec("mpi4py") is None:
        return "mpi4py is not installed"
    return None if shutil.which("mpiexec") else "there is no mpiexec (apt install openmpi-bin)"


def on_ranks(n, function, *args, **kwargs):
    """What `function` returns on n ranks, which all must return the same."""
    results = parallel.LocalWorld(n, timeout=120).run(function, *args, **kwargs)
    assert all(r == results[0] for r in results), results
    return results[0]
