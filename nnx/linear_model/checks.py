"""What a model is given, checked once and brought into one form.

The messages contain the phrases that scikit-learn's tools look for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import Array, active_backend, backend_of, dtype_name
from ..tensor import Tensor


def is_array(x: Any) -> bool:
    """Whether x is an array of a library that nnx computes with, and not merely like one."""
    if isinstance(x, np.ndarray):
        return True
    library = type(x).__module__.partition(".")[0]
    known = library in ("cupy", "torch") or hasattr(x, "__array_namespace__")
    return known and hasattr(x, "shape") and hasattr(x, "dtype") and not hasattr(x, "columns")


def host(x: Any) -> np.ndarray:
    """Any array, tensor, list or frame as a NumPy array."""
    if isinstance(x, Tensor):
        x = x.data
    if is_array(x) and not isinstance(x, np.ndarray):
        return np.asarray(backend_of(x).to_numpy(x))
    return np.asarray(x)


def moved(x: Array, like: Array, keep_dtype: bool = False) -> Array:
    """x in the library and on the device of `like`, and in its dtype unless told otherwise."""
    home, values = backend_of(like), host(x)
    if not keep_dtype:
        values = values.astype(np.dtype(dtype_name(like.dtype)))
    return home.xp.asarray(home.from_numpy(values), device=like.device)


def names_of(X: Any) -> np.ndarray | None:
    """The columns' names of a data frame, where all are strings."""
    columns = getattr(X, "columns", None)
    if columns is None or not all(isinstance(name, str) for name in columns):
        return None
    return np.asarray(list(columns), dtype=object)


def features(X: Any, name: str) -> Array:
    """X as an array (n, p) in floating point, finite and not empty.

    Raises:
        TypeError: X is a sparse matrix, or holds what is no number.
        ValueError: X is complex or not a matrix, has no rows or no columns, or is not finite.
    """
    if isinstance(X, Tensor):
        X = X.data
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise TypeError(
            f"{name}: sparse data was passed, but dense data is required; "
            "use X.toarray() to convert it to a dense array"
        )
    if not is_array(X) or (isinstance(X, np.ndarray) and X.dtype == object):
        X = active_backend().from_numpy(_plain(X, "X", name))
    elif isinstance(X, np.ndarray):
        X = np.asarray(X)  # a memory map is an array like any other
    if X.ndim != 2:
        raise ValueError(
            f"{name}: Expected 2D array, got {X.ndim}D array of shape {tuple(X.shape)} instead. "
            "Reshape your data using reshape(-1, 1) if it has a single feature, or "
            "reshape(1, -1) if it is a single sample"
        )
    for count, what in zip(X.shape, ("sample", "feature"), strict=True):
        if count == 0:
            raise ValueError(
                f"{name}: Found array with 0 {what}(s) (shape={tuple(X.shape)}) while a minimum "
                "of 1 is required."
            )
    return _finite(floating(X, "X", name), "X", name)


def numbers(y: Any, X: Array, name: str) -> Array:
    """Targets (n,) or (n, k) in X's library, dtype and device."""
    y = _given(y, name)
    if not is_array(y) or (isinstance(y, np.ndarray) and y.dtype == object):
        y = _plain(y, "y", name)
    y = floating(y, "y", name)
    if y.ndim not in (1, 2):
        raise ValueError(
            f"{name}: y should be a 1d array, or a 2d one for several targets; "
            f"got an array of shape {tuple(y.shape)} instead"
        )
    _as_many(y, X)
    home = backend_of(X)
    if backend_of(y) is not home or y.device != X.device:
        y = moved(y, X)
    return _finite(y if y.dtype == X.dtype else home.xp.astype(y, X.dtype), "y", name)


def label_values(y: Any, X: Array, name: str) -> tuple[np.ndarray, bool]:
    """Labels (n,) in host memory, and whether y was a column.

    Labels are integers, booleans, strings, or floats that are whole numbers.
    """
    y = _given(y, name)
    values = host(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values, column = values[:, 0], True
    else:
        column = False
    if values.ndim != 1:
        raise ValueError(
            f"{name}: y should be a 1d array of labels, got an array of shape {values.shape} "
            "instead. Unknown label type: several outputs"
        )
    _as_many(values, X)
    kind = values.dtype.kind
    if kind == "c":
        raise ValueError(f"{name}: Complex data not supported: y")
    if kind == "O" and not all(isinstance(v, str) for v in values):
        raise ValueError(
            f"{name}: Unknown label type: unknown; labels must be strings or whole numbers, and "
            "an array of objects must hold strings only"
        )
    if kind == "f":
        _finite(values, "y", name)
        if not np.all(values == np.floor(values)):
            raise ValueError(
                f"{name}: Unknown label type: continuous; a classifier expects discrete classes, "
                "and these are numbers with fractions"
            )
    return values, column


def labels(y: Any, X: Array, name: str) -> tuple[Array, Array, bool]:
    """The place of each label among the classes (n,), the classes, and whether y was a column."""
    values, column = label_values(y, X, name)
    classes, codes = np.unique(values, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"{name} needs samples of at least 2 classes in the data, but the data contains only "
            f"one class: {classes.tolist()[0]!r}"
        )
    known = classes_beside(classes, y)
    codes = backend_of(X).xp.asarray(
        backend_of(X).from_numpy(codes.reshape(-1).astype(np.int64)), device=X.device
    )
    return codes, known, column


def classes_beside(classes: np.ndarray, y: Any) -> Array:
    """Classes in the library that labels y were given in, or in host memory where they are texts
    or y is no array."""
    if isinstance(y, Tensor):
        y = y.data
    return moved(classes, y, True) if is_array(y) and classes.dtype.kind not in "OUS" else classes


def floating(x: Array, what: str, name: str) -> Array:
    """x in float32 or float64: whole numbers and booleans become float64 where the device has it,
    half precision becomes float32."""
    home = backend_of(x)
    kind = dtype_name(x.dtype)
    if kind.startswith("complex"):
        raise ValueError(f"{name}: Complex data not supported: {what} is {kind}")
    if kind in ("float32", "float64"):
        return x
    if home.is_float(x.dtype) and kind != "longdouble" and "128" not in kind:
        return home.xp.astype(x, home.xp.float32)
    if isinstance(x, np.ndarray) and x.dtype.kind in "USMm":
        raise ValueError(f"{name}: {what} must hold numbers, its dtype is {kind}")
    return home.xp.astype(x, widest(x))


def widest(x: Array) -> Any:
    """float64, or float32 on a device that has no float64."""
    xp = backend_of(x).xp
    has = xp.__array_namespace_info__().dtypes(device=x.device, kind="real floating")
    return xp.float64 if "float64" in has else xp.float32


def _plain(x: Any, what: str, name: str) -> np.ndarray:
    """A list, a frame or an array of objects as a NumPy array of numbers."""
    values = np.asarray(x)
    if values.dtype.kind in "US":
        try:
            return values.astype(np.float64)
        except ValueError as error:
            raise ValueError(f"{name}: {what} must hold numbers: {error}") from None
    if values.dtype == object:
        values = values.astype(np.float64)  # NumPy's error says what is no number
    if values.dtype == np.float64:
        backend = active_backend()
        probe = backend.xp.zeros((1,), dtype=backend.xp.float32, device=backend.device)
        values = values.astype(dtype_name(widest(probe)), copy=False)
    return values


def _given(y: Any, name: str) -> Any:
    if y is None:
        raise ValueError(f"{name} requires y to be passed, but the target y is None")
    if hasattr(y, "toarray") and hasattr(y, "nnz"):
        raise TypeError(f"{name}: sparse y was passed, but dense data is required")
    return y.data if isinstance(y, Tensor) else y


def _as_many(y: Any, X: Array) -> None:
    if y.shape[0] != X.shape[0]:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"{[X.shape[0], y.shape[0]]}; X has shape {tuple(X.shape)}, y {tuple(y.shape)}"
        )


def _finite(x: Array, what: str, name: str) -> Array:
    xp = backend_of(x).xp
    if not bool(xp.all(xp.isfinite(x))):
        found = "NaN" if bool(xp.any(xp.isnan(x))) else "infinity (inf)"
        raise ValueError(f"{name}: Input {what} contains {found}; every value must be finite")
    return x
