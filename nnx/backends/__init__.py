"""Which code runs on which array: the only place in nnx where a backend is chosen.

Two questions, answered apart:

- *Which backend computes?*  The arrays decide, by their type: `backend_of(*arrays)`.
- *Where are new arrays made?*  The active backend decides: the environment variable
  `NNX_BACKEND`, `set_backend(name)` or `with use_backend(name)`; NumPy unless told otherwise.

`NNX_KERNELS` (or `with kernels(mode)`) says which kernels compute: `fast`, the tuned ones
(default); `portable`, their twins in array-API code; `check`, both, and an error where they differ.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from ..scoped import Scoped
from .base import ARRAY_METHODS, Array, Backend, Residuals, dtype_name, names_dtype, native
from .forks import renew_in_child
from .table import from_table

__all__ = [
    "Array",
    "Backend",
    "Residuals",
    "active_backend",
    "backend_of",
    "copy_beside",
    "dtype_name",
    "from_table",
    "get_backend",
    "jit_enabled",
    "kernels",
    "mixed",
    "names_dtype",
    "native",
    "override",
    "place",
    "set_backend",
    "unavailable",
    "use_backend",
]

MODES = ("fast", "portable", "check")
OLD_MODES = {"raw": "fast", "xp": "portable"}  # what they were called before

_by_name: dict[tuple[str, str], Backend] = {}  # (mode, name) -> backend
_default: Backend | None = None
_active: Scoped[Backend] = Scoped("nnx backend")
_mode: str | None = None  # of whoever is in no block
_types: dict[type, Backend] = {}  # array type -> the backend that computes on it, likewise


class _Kernels(NamedTuple):
    """What `kernels` and `override` choose for a block."""

    mode: str
    types: dict[type, Backend]


_chosen: Scoped[_Kernels] = Scoped("nnx kernels")
# What `_types` has, for whoever looks up an array's type once per operation; empty while a block
# of `_chosen` is open in any thread.
_by_type: dict[type, Backend] = {}
_lock = Lock()


def _in_child() -> None:
    """A forked child cannot wait for a thread it does not have."""
    global _lock
    _lock = Lock()


renew_in_child(_in_child)


def backend_of(first: Array, *others: Array) -> Backend:
    """The backend that computes on these arrays, `first` and the `others`.

    Raises:
        TypeError: they are not arrays, or they live in different libraries.
    """
    backend = _by_type.get(type(first)) or _find(first)
    for array in others:
        other = _by_type.get(type(array)) or _find(array)
        if other is not backend:
            if not (backend.lifts or other.lifts):
                raise mixed(backend, other)
            backend = backend if backend.lifts else other
    return backend


def copy_beside(array: Array, values: Array) -> Array:
    """A copy of some values in the library and dtype and on the device of another array.

    Args:
        array: beside which they are to be.
        values: an array of any library and shape, which the copy has too.
    """
    home = backend_of(array)
    host = values if isinstance(values, np.ndarray) else backend_of(values).to_numpy(values)
    host = np.array(host, dtype=np.dtype(dtype_name(array.dtype)))
    return home.xp.asarray(home.from_numpy(host), device=array.device)


def mixed(a: Backend, b: Backend) -> TypeError:
    """The error for arrays of two libraries in one call, those of the backends a and b."""
    return TypeError(
        f"arrays of two libraries in one call: {a.name} and {b.name}; move one of them, "
        f'for example with tensor.to("{a.name}") or module.to("{a.name}")'
    )


def reconciled(a: Backend, b: Backend, operands: Sequence[Any]) -> list[Any]:
    """The operands of a call, arrays of backends a and b, as tensors of one of them.

    Raises:
        TypeError: neither can hold the other's.
    """
    for home in (a, b):
        if home.lifts:
            return [home.lift(x) for x in operands]
    raise mixed(a, b)


def _find(array: Array) -> Backend:
    """The backend of an array whose type is not in `_by_type`."""
    here = _chosen.get()
    types = _types if here is None else here.types
    backend = types.get(type(array)) or _first_sight(array, types)
    if here is None and not _chosen.open:
        with _lock:
            if not _chosen.open:
                _by_type[type(array)] = backend
    return backend


def _first_sight(array: Array, types: dict[type, Backend]) -> Backend:
    """Find the library of an array's type, and remember its backend."""
    kind = type(array)
    library = kind.__module__.partition(".")[0]
    if not (hasattr(array, "shape") and hasattr(array, "dtype")):
        raise TypeError(
            f"expected an array, got {kind.__module__}.{kind.__qualname__}: {array!r:.60}; "
            "nnx.tensor(values) makes a tensor of numbers and lists"
        )
    if hasattr(array, "requires_grad") and hasattr(array, "creator"):
        raise TypeError(
            f"expected an array, got a {kind.__name__} of shape {array.shape}: a tensor's data and "
            "grad are arrays; use x.data, or x.copy_(y) to change a tensor's values"
        )
    if isinstance(array, np.ndarray | np.generic):
        library = "numpy"
    elif library not in ("cupy", "torch") and hasattr(array, "__array_namespace__"):
        library = array.__array_namespace__().__name__
    backend = types[kind] = get_backend(library)
    return backend


def get_backend(name: str) -> Backend:
    """The backend called `name`.

    Args:
        name: "numpy", "cupy", "torch", "array_api_strict", or any importable namespace that follows
            the array API standard; "name:device" makes new arrays on that device.

    Raises:
        TypeError: the name is no text.
        ValueError: the library is not installed, does not follow the standard, or has no device;
            the message says which, and the remedy.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a backend is a text, got {name!r:.80}")
    key = (kernel_mode(), name)
    if key not in _by_name:
        _by_name[key] = _make(*key)
    return _by_name[key]


def place(name: str, device: Any) -> tuple[Backend, Any]:
    """The backend to make an array on, and its device: the active one's unless `device` says.

    Args:
        name: of the operation, for the message.
        device: a backend's name, a device as the active backend's library names it, or None.

    Raises:
        ValueError: there is no such backend or device.
    """
    home = active_backend()
    if device is None or (device == "cpu" and home.name == "numpy"):
        return home, home.device
    if not isinstance(device, str):
        return home, device  # as the library of the active backend names it
    try:
        home = get_backend(device)
    except (ValueError, ImportError) as error:
        raise ValueError(
            f"{name}: device {device!r}: a tensor lies where its library's arrays lie; name a "
            f'backend, as "numpy" or "cupy", or a device as the library names it ({error})'
        ) from None
    return home, home.device


def _make(mode: str, name: str) -> Backend:
    library, _, device = name.partition(":")
    backend: Backend
    if library == "numpy":
        if device not in ("", "cpu"):
            raise ValueError(
                f'the backend "{name:.80}" cannot be used: NumPy computes on the CPU alone; '
                'on a GPU "cupy" does, or "torch:cuda"'
            )
        from .numpy import NumpyBackend

        if jit_enabled():
            from .jit import JitBackend

            backend = JitBackend()
        else:
            backend = NumpyBackend()
    elif library == "cupy":
        reason = unavailable("cupy")
        if reason:
            raise ValueError(f"the cupy backend cannot be used: {reason}")
        if device and not (device.isascii() and device.isdecimal() and len(device) < 9):
            raise ValueError(f'the backend "{name:.80}": CUDA devices have numbers, as in "cupy:0"')
        from .cupy import CupyBackend

        backend = CupyBackend(device=int(device) if device else None)
    else:
        backend = _generic(library, name, device)
    if mode == "fast" or backend.lifts:
        return backend
    portable = Backend(backend.xp, name, backend.device)
    portable.__dict__.update({method: getattr(backend, method) for method in ARRAY_METHODS})
    if mode == "portable":
        return portable
    from .check import CheckBackend

    return CheckBackend(backend, portable)


def _generic(library: str, name: str, device: str) -> Backend:
    reason = unavailable(library)
    if library in ("cpu", "cuda", "gpu", "mps"):
        reason = 'a backend is a library: "numpy" computes on the CPU, "cupy" on an NVIDIA GPU'
    if reason is None:
        try:
            xp = import_module("array_api_compat.torch" if library == "torch" else library)
        except (Exception, SystemExit) as error:  # whatever a module may do as it is imported
            reason = f"importing it failed: {type(error).__name__}: {error}"
    if reason:
        raise ValueError(
            f'the backend "{name:.80}" cannot be used: {reason:.400}; '
            'known names are "numpy", "cupy", "torch", "array_api_strict"'
        )
    missing = [n for n in ("asarray", "permute_dims", "matmul", "take") if not hasattr(xp, n)]
    if missing:
        raise ValueError(
            f'the backend "{name:.80}" cannot be used: the module does not follow the array API '
            f"standard (it has no {', '.join(missing)})"
        )
    where: Any = None
    if device:
        try:
            where = device if library == "torch" else getattr(xp, "Device", str)(device)
            xp.zeros(1, device=where)
        except Exception as error:  # each library has its own
            said = " ".join(str(error).split())
            raise ValueError(
                f'the backend "{name:.80}" cannot be used: there is no such device: {said:.300}'
            ) from None
    if library == "torch":
        from .torch import TorchBackend

        return TorchBackend(xp, name, where)
    own = getattr(xp, "NNX_BACKEND", None)  # of a namespace that is nnx's own
    return Backend(xp, name, where) if own is None else own()


def unavailable(library: str) -> str | None:
    """Why a library cannot be used here, and what to do; None where it can."""
    if library == "cupy":
        if not is_installed("cupy"):
            return "CuPy is not installed; pip install cupy-cuda12x (or cupy-cuda13x)"
        from .cupy import no_gpu

        return no_gpu()
    if is_installed(library):
        return None
    return f"there is no module named {library!r:.80}; install it with pip"


def is_installed(library: str) -> bool:
    """Whether a library can be imported, without importing it; not where something hides it."""
    try:
        return find_spec(library) is not None
    except (Exception, SystemExit):  # of "a.b" the module a is imported
        return False


def jit_enabled() -> bool:
    """True where numba is installed and `NNX_JIT` is not 0."""
    return os.environ.get("NNX_JIT", "1") != "0" and is_installed("numba")


Backend.lookup = get_backend


# ---- where new arrays are made ----


def active_backend() -> Backend:
    """The backend that new arrays are made on."""
    return _active.get() or _default_backend()


def _default_backend() -> Backend:
    """The backend of whoever is in no block that names one."""
    if _default is None:
        set_backend(os.environ.get("NNX_BACKEND") or "numpy")
        assert _default is not None
    return _default


def set_backend(name: str) -> None:
    """Make new arrays on this backend from now on; see `get_backend` for names and errors.

    A device in the name, as in "cupy:1", becomes the library's current one: kernels run there.
    Inside a `with` block that names a backend, or the kernels, it holds until the block ends.
    """
    global _default
    backend = get_backend(name)
    backend.use_device()
    if not _active.replace(backend):
        _default = backend


@contextmanager
def use_backend(name: str | Backend) -> Iterator[Backend]:
    """Make new arrays on this backend inside a `with` block, in this thread or task.

    Args:
        name: as in `get_backend`; or a backend.
    """
    backend = get_backend(name) if isinstance(name, str) else name
    leave_device = backend.use_device()
    try:
        with _active(backend):
            yield backend
    finally:
        leave_device()


# ---- which kernels compute ----


def kernel_mode() -> str:
    """ "fast", "portable" or "check"."""
    here = _chosen.get()
    return _default_mode() if here is None else here.mode


def _default_mode() -> str:
    global _mode
    if _mode is None:
        _mode = _known_mode(os.environ.get("NNX_KERNELS") or "fast", "NNX_KERNELS={!r}")
    return _mode


def _known_mode(mode: str, said: str) -> str:
    """The mode, also by its old name; ValueError or a warning that begins with what was said."""
    if mode in OLD_MODES:
        new = OLD_MODES[mode]
        warnings.warn(f"{said.format(mode)} is now called {new!r}", FutureWarning, stacklevel=4)
        return new
    if mode not in MODES:
        raise ValueError(f"{said.format(mode)}: the modes are {', '.join(MODES)}")
    return mode


@contextmanager
def kernels(mode: str) -> Iterator[None]:
    """Choose the kernels that compute inside a `with` block, in this thread or task.

    Args:
        mode: "fast", the library's own; "portable", those in array-API code; or "check", both at
            every call, held to each other.

    Raises:
        ValueError: an unknown mode.
    """
    mode = _known_mode(mode, "kernels({!r})")
    active = active_backend()
    with _choose(_Kernels(mode, {})), _active(get_backend(active.name)):
        yield


@contextmanager
def override(kind: type, backend: Backend) -> Iterator[Backend]:
    """Compute on arrays of one type with a backend, and make new arrays there, inside a `with`
    block.

    For tests, and for trying a kernel: `with override(np.ndarray, MyBackend()): ...`

    Args:
        kind: the arrays' type.
        backend: what computes on them.

    Raises:
        ValueError: NNX_KERNELS names no mode.
    """
    here = _chosen.get() or _Kernels(_default_mode(), {})
    with _choose(here._replace(types={**here.types, kind: backend})), use_backend(backend):
        yield backend


@contextmanager
def _choose(choice: _Kernels) -> Iterator[None]:
    with _chosen(choice):
        with _lock:
            _by_type.clear()  # while a block is open anywhere, everybody asks `_find`
        yield
