"""What a caller gives to be drawn, as arrays of NumPy; errors say the shapes that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import backend_of
from ..tensor import Tensor


def on_host(value: Any) -> np.ndarray:
    """A tensor, an array of any library, a number or nested lists as an array in host memory."""
    if isinstance(value, Tensor):
        value = value.data
    if isinstance(value, list | tuple):
        value = [on_host(v) if isinstance(v, Tensor) else v for v in value]
    elif hasattr(value, "dtype") and not isinstance(value, np.ndarray | np.generic):
        value = backend_of(value).to_numpy(value)
    return np.asarray(value)


def real(plot: str, name: str, value: Any, form: str = "") -> np.ndarray:
    """An array of real numbers, as float64.

    Args:
        plot, name: what stands in the errors: the function and its argument.
        value: see `on_host`.
        form: the shape that it must have, such as "(N, 2)": letters are free sizes; "": any.

    Raises:
        ValueError: it has another shape, or is no array at all: its rows differ in length.
        TypeError: its numbers are not real.
    """
    try:
        x = on_host(value)
    except ValueError as error:
        raise ValueError(f"{plot}: {name} must be {form or 'an array'}: {error}") from None
    if x.dtype.kind not in "biuf":
        raise TypeError(
            f"{plot}: {name} must be of real numbers; it has shape {x.shape} and dtype {x.dtype}"
        )
    if form:
        wanted = [size.strip() for size in form.strip("()").split(",") if size.strip()]
        fits = len(wanted) == x.ndim and all(
            w.isalpha() or int(w) == n for w, n in zip(wanted, x.shape, strict=True)
        )
        if not fits:
            raise ValueError(f"{plot}: {name} must be {form}; it has shape {x.shape}")
    return x.astype(np.float64)


def together(plot: str, form: str, **arrays: Any) -> list[np.ndarray]:
    """Arrays that must have one length, as float64.

    Args:
        plot: what stands in the errors.
        form: the shape of each, such as "(N,)", or "" for one shape of any kind.
        arrays: by their names.

    Raises:
        ValueError: their shapes differ, or are others; the message has all of them.
        TypeError: of one, the numbers are not real.
    """
    found = {name: real(plot, name, value) for name, value in arrays.items()}
    shapes = {x.shape for x in found.values()}
    ranks = (
        {form.count(",") + (not form.endswith(",)"))} if form else {x.ndim for x in found.values()}
    )
    if len(shapes) > 1 or {x.ndim for x in found.values()} != ranks:
        rule = f"{form} each" if form else "of one shape"
        shown = ", ".join(f"{name} {x.shape}" for name, x in found.items())
        raise ValueError(f"{plot}: {' and '.join(found)} must be {rule}; the shapes are {shown}")
    return list(found.values())


def named(plot: str, what: str, names: Any, count: int, shape: Any) -> list[str]:
    """Names, of which there must be `count`, as text.

    Args:
        plot, what: what stands in the error.
        names: the names.
        count: how many there must be.
        shape: of the array that says so.

    Raises:
        ValueError: there are more or fewer.
    """
    if len(names) != count:
        raise ValueError(
            f"{plot}: {what} must have {count} names for an array of shape {tuple(shape)}; "
            f"it has {len(names)}"
        )
    return [str(name) for name in names]
