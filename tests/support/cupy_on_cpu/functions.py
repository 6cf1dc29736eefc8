"""CuPy's functions, computed by NumPy."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import cupy
import numpy as np

from cupy_on_cpu.ledger import note
from cupy_on_cpu.memory import compute, do, host, new, refuse_host_arrays, send, wait

# What CuPy does by metadata alone, or asks of an array's own methods: as it is.
AS_THEY_ARE = set(
    """array_split asnumpy atleast_1d atleast_2d atleast_3d broadcast broadcast_arrays
    broadcast_shapes broadcast_to can_cast diagonal dtype empty empty_like expand_dims flip fliplr
    flipud isscalar issubdtype iterable matrix_transpose may_share_memory moveaxis ndim
    permute_dims promote_types result_type rollaxis shape shares_memory show_config size split
    squeeze swapaxes transpose isdtype""".split()
)
CREATE = ("zeros", "ones", "full", "arange", "eye", "linspace", "zeros_like", "ones_like")


def replacements() -> Iterator[tuple[str, Any]]:
    """(name in cupy, what takes its place)."""
    for name in dir(cupy):
        theirs = getattr(cupy, name)
        if (
            not name.startswith("_")
            and name not in AS_THEY_ARE
            and not isinstance(theirs, type | types.ModuleType)
            and callable(theirs)
            and hasattr(np, name)
        ):
            yield name, (_ufunc(name) if isinstance(theirs, cupy.ufunc) else _function(name))
    for own in OWN:
        yield own.__name__, own
    yield "dot", matmul


def _ufunc(name: str) -> Callable[..., Any]:
    numpys = getattr(np, name)
    known = {"out", "dtype", "casting", "order", "where"}

    def ufunc(*args: Any, **kwargs: Any) -> Any:
        if unknown := set(kwargs) - known:
            raise TypeError(f"Wrong arguments {sorted(unknown)} for cupy.{name}")
        if not any(isinstance(a, cupy.ndarray) for a in args):
            raise TypeError(f"cupy.{name} of no array of CuPy's: {[type(a) for a in args]}")
        refuse_host_arrays(name, args)
        out = kwargs.pop("out", args[numpys.nin] if len(args) > numpys.nin else None)
        out = out[0] if isinstance(out, tuple) else out
        return compute(name, numpys, args[: numpys.nin], kwargs, out)

    return ufunc


def _function(name: str) -> Callable[..., Any]:
    numpys, signature = getattr(np, name), _signature(getattr(cupy, name))

    def function(*args: Any, **kwargs: Any) -> Any:
        if signature is not None:
            signature.bind(*args, **kwargs)
        refuse_host_arrays(name, args)
        if name in CREATE:
            kwargs.pop("device", None)
        return compute(name, numpys, args, kwargs, kwargs.pop("out", None))

    return function


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # compiled, without one
        return None


# ---- those that say something of host memory, of order or of launches ----


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool | None = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> Any:
    if isinstance(obj, cupy.ndarray):
        if not copy and (dtype is None or np.dtype(dtype) == obj.dtype):
            return obj
        return compute("copy", np.array, (obj,), {"dtype": dtype})
    return _sent(obj, dtype)


def asarray(a: Any, dtype: Any = None, order: Any = None, *, blocking: bool = False) -> Any:
    if isinstance(a, cupy.ndarray):
        return a if dtype is None or np.dtype(dtype) == a.dtype else a.astype(dtype)
    return _sent(a, dtype)


def _sent(values: Any, dtype: Any) -> Any:
    values = np.asarray(host(values), dtype=dtype)
    if values.ndim:
        send("array from host memory")
    else:
        note("launches", "fill")
    return new(values)


def ascontiguousarray(a: Any, dtype: Any = None) -> Any:
    if a.flags.c_contiguous and (dtype is None or np.dtype(dtype) == a.dtype):
        return a
    return compute("copy", np.array, (a,), {"dtype": dtype, "order": "C"})


def asnumpy(
    a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> np.ndarray:
    if isinstance(a, cupy.ndarray):
        wait("asnumpy")
        return np.array(host(a), order="C")
    return np.asarray(a)


def sort(a: Any, axis: int = -1, kind: Any = None) -> Any:
    return compute("sort", np.sort, (a, axis), {"kind": "stable"})


def argsort(a: Any, axis: int = -1, kind: Any = None) -> Any:
    return compute("argsort", np.argsort, (a, axis), {"kind": "stable"})


def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None) -> Any:
    """As CuPy's, which looks for bounds in host memory and refuses two that are None."""
    refuse_host_arrays("clip", (a, a_min, a_max))
    if a_min is None and a_max is None:
        raise ValueError("array_clip: must set either max or min")
    return compute("clip", np.clip, (a, a_min, a_max), out=out)


def take(a: Any, indices: Any, axis: int | None = None, out: Any = None) -> Any:
    """An index beyond the end wraps around, in CuPy, and raises nothing."""
    return compute("take", np.take, (a, indices), {"axis": axis, "mode": "wrap"}, out)


def from_dlpack(x: Any, **kwargs: Any) -> Any:
    return x if isinstance(x, cupy.ndarray) else new(np.from_dlpack(x))


def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    note("launches", "copyto")
    do(lambda: np.copyto(host(dst), host(src), casting))


def reshape(a: Any, shape: Any = None, order: str = "C", *, newshape: Any = None) -> Any:
    return a.reshape(shape if shape is not None else newshape)


def ravel(a: Any, order: str = "C") -> Any:
    return a.reshape(-1)


def copy(a: Any, order: str = "K") -> Any:
    return a.copy()


def concatenate(
    tup: Any, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: str = ""
) -> Any:
    return _joined("concatenate", np.concatenate, tup, axis)


def stack(tup: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "") -> Any:
    return _joined("stack", np.stack, tup, axis)


def _joined(name: str, numpys: Any, arrays: Any, axis: Any) -> Any:
    """One launch an array; more than 8 small ones by one, from a table that the host sends."""
    arrays = list(arrays)
    if not all(isinstance(a, cupy.ndarray) for a in arrays):
        raise TypeError("Only cupy arrays can be concatenated")
    launches = len(arrays)
    if launches > 8 and sum(a.nbytes for a in arrays) < launches * 2 * 2**20:
        send("table of addresses")
        launches = 1
    return compute(name, lambda *a: numpys(a, axis=axis), tuple(arrays), launches=launches)


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """cuBLAS reads a matrix by rows or by columns, and a stack by rows only; CuPy copies others."""
    if not (isinstance(a, cupy.ndarray) and isinstance(b, cupy.ndarray)):
        raise TypeError(f"matmul: not arrays of CuPy's: {type(a)}, {type(b)}")
    stacks = max(a.ndim, b.ndim) > 2
    for x in (a, b):
        if not (x.flags.c_contiguous or (x.flags.f_contiguous and not stacks)):
            note("launches", "copy before product")
    return compute("product", np.matmul, (a, b), out=out)


OWN = (
    array,
    asarray,
    ascontiguousarray,
    asnumpy,
    sort,
    argsort,
    clip,
    take,
    from_dlpack,
    copyto,
    reshape,
    ravel,
    copy,
    concatenate,
    stack,
    matmul,
)
