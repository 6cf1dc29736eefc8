"""What is to be known of dtypes.  They are given by name ("float32"), or as any library's."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...autograd import Node
from ...backends import Backend, active_backend, backend_of, dtype_name


def _home(*things: Any) -> Backend:
    """The backend of the first tensor or array among them, or where new arrays are made."""
    for x in things:
        x = x.data if isinstance(x, Node) else x
        if hasattr(x, "dtype") and hasattr(x, "shape") and not isinstance(x, type):
            return backend_of(x)
    return active_backend()


def _dtype(home: Backend, x: Any) -> Any:
    """A dtype of this backend, for one of any library, a name, or a tensor's own."""
    is_array = hasattr(x, "dtype") and hasattr(x, "shape") and not isinstance(x, type)
    return home.dtype(dtype_name(x.dtype) if is_array else x)


def finfo(type: Any) -> Any:
    """The limits of a floating-point dtype: bits, eps, max, min and smallest_normal.

    Args:
        type: the dtype, or a tensor of it; of a library's scalars, shape ().

    Raises:
        TypeError: there is no such dtype, or it is not a floating-point one.
    """
    home = _home(type)
    dtype = _dtype(home, type)
    if not home.is_float(dtype):
        raise TypeError(f"finfo: a floating-point dtype is wanted, not {dtype_name(dtype)}")
    return home.xp.finfo(dtype)


def iinfo(type: Any) -> Any:
    """The limits of a dtype of integers: bits, max and min.

    Args:
        type: the dtype, or a tensor of it.

    Raises:
        TypeError: there is no such dtype, or it is not one of integers.
    """
    home = _home(type)
    dtype = _dtype(home, type)
    if not home.is_integer(dtype):
        raise TypeError(f"iinfo: a dtype of integers is wanted, not {dtype_name(dtype)}")
    return home.xp.iinfo(dtype)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind.

    Args:
        dtype: by name, or any library's.
        kind: another dtype; or "bool", "signed integer", "unsigned integer", "integral", "real
            floating", "complex floating", "numeric"; or a tuple of these.

    Raises:
        TypeError: there is no such dtype.
        ValueError: there is no such kind.
    """
    home = active_backend()
    kinds = kind if isinstance(kind, tuple) else (kind,)
    known = [k if isinstance(k, str) and k in _KINDS else _kind(home, k) for k in kinds]
    return bool(home.xp.isdtype(home.dtype(dtype), tuple(known)))


_KINDS = {
    *["bool", "signed integer", "unsigned integer", "integral", "real floating"],
    *["complex floating", "numeric"],
}


def _kind(home: Backend, kind: Any) -> Any:
    try:
        return home.dtype(kind)
    except TypeError:
        raise ValueError(
            f"isdtype: a kind is a dtype or one of {', '.join(sorted(_KINDS))}; got {kind!r}"
        ) from None


def can_cast(from_: Any, to: Any) -> bool:
    """Whether every value of one dtype is one of another, as those of int32 are in int64.

    Args:
        from_: a dtype, or a tensor of it.
        to: a dtype.

    Raises:
        TypeError: there is no such dtype.
    """
    home = _home(from_)
    one, other = (np.dtype(dtype_name(_dtype(home, x))) for x in (from_, to))
    return bool(np.can_cast(one, other))  # libraries differ


def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that an operation between these gives, as the library of the first tensor names it.

    Args:
        arrays_and_dtypes: tensors, dtypes, or numbers, which take the dtype of the others.
            Integers beside floating-point numbers take the latter's.

    Raises:
        TypeError: there is no such dtype, or nothing but numbers.
    """
    home = _home(*arrays_and_dtypes)
    plain = [x for x in arrays_and_dtypes if isinstance(x, int | float) and not hasattr(x, "dtype")]
    dtypes = [_dtype(home, x) for x in arrays_and_dtypes if not any(x is n for n in plain)]
    if not dtypes:
        raise TypeError("result_type: a tensor or a dtype is wanted beside the numbers")
    floats = [dtype for dtype in dtypes if home.is_float(dtype)]
    if not floats and any(type(n) is float for n in plain):
        return home.xp.float32  # as in arithmetic
    whole = [dtype for dtype in dtypes if dtype != home.xp.bool]
    if not floats and not whole and any(type(n) is int for n in plain):
        return home.xp.int64
    return home.xp.result_type(*(floats or whole or dtypes))
