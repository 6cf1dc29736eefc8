"""New tensors on the active backend, and tensors like others."""

from __future__ import annotations

import operator
from typing import Any

from ...backends import active_backend, backend_of, get_backend
from ...tensor import Tensor
from .._operands import as_tensor

Shape = int | tuple[int, ...] | list[int]


def _shape(name: str, shape: Shape) -> tuple[int, ...]:
    lengths = shape if isinstance(shape, tuple | list) else (shape,)
    try:
        known = tuple([operator.index(n) for n in lengths])
    except TypeError:
        raise TypeError(f"{name}: lengths must be integers, got {shape!r}") from None
    if known and min(known) < 0:
        raise ValueError(f"{name}: lengths must not be negative, got {shape!r}")
    return known


def zeros(shape: Shape, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """A tensor of zeros.

    Args:
        shape: a tuple, or one number for one axis; () for a scalar.
        dtype: by name, or as any library's dtype.
        requires_grad: whether it is a leaf to learn.

    Raises:
        ValueError: a negative length.
        TypeError: a length that is no integer.
    """
    return full(_shape("zeros", shape), 0, dtype, requires_grad)


def ones(shape: Shape, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """A tensor of ones.

    Args:
        shape: a tuple, or one number for one axis; () for a scalar.
        dtype: by name, or as any library's dtype.
        requires_grad: whether it is a leaf to learn.

    Raises:
        ValueError: a negative length.
        TypeError: a length that is no integer.
    """
    return full(_shape("ones", shape), 1, dtype, requires_grad)


def full(
    shape: Shape, fill_value: Any, dtype: Any = "float32", requires_grad: bool = False
) -> Tensor:
    """A tensor that holds one value everywhere.

    Args:
        shape: a tuple, or one number for one axis; () for a scalar.
        fill_value: the value.
        dtype: by name, or as any library's dtype.
        requires_grad: whether it is a leaf to learn.

    Raises:
        ValueError: a negative length.
        TypeError: a length that is no integer.
    """
    home = active_backend()
    lengths = _shape("full", shape)
    array = home.xp.full(lengths, fill_value, dtype=home.dtype(dtype), device=home.device)
    return Tensor(array, requires_grad)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Tensor:
    """Numbers `step` apart from `start` up to, not including, `stop` (`arange(n)`: 0 to n - 1).

    Integers give int64 and floats float32, unless `dtype` says otherwise; the shape is (n,), n the
    smallest integer not below (stop - start) / step.

    Raises:
        ValueError: `step` is 0.
    """
    home = active_backend()
    if step == 0:
        raise ValueError(f"arange: the step must not be 0; start {start}, stop {stop}")
    if dtype is None:
        whole = all(isinstance(x, int) for x in (start, stop, step) if x is not None)
        dtype = "int64" if whole else "float32"
    return Tensor(home.xp.arange(start, stop, step, dtype=home.dtype(dtype), device=home.device))


def linspace(start: float, stop: float, num: int, dtype: Any = "float32") -> Tensor:
    """`num` evenly spaced numbers from `start` to `stop`, both included: (num,), in `dtype`.

    Raises:
        ValueError: a negative num.
        TypeError: num is no integer.
    """
    home = active_backend()
    (num,) = _shape("linspace", num)
    return Tensor(home.xp.linspace(start, stop, num, dtype=home.dtype(dtype), device=home.device))


def eye(n_rows: int, n_cols: int | None = None, dtype: Any = "float32") -> Tensor:
    """A matrix (n_rows, n_cols) with ones on its diagonal and zeros elsewhere.

    Args:
        n_rows: how many rows.
        n_cols: how many columns; None: as many.
        dtype: by name, or as any library's dtype.

    Raises:
        ValueError: a negative length.
        TypeError: a length that is no integer.
    """
    home = active_backend()
    rows, columns = _shape("eye", (n_rows, n_rows if n_cols is None else n_cols))
    return Tensor(home.xp.eye(rows, columns, dtype=home.dtype(dtype), device=home.device))


def zeros_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Zeros of x's shape, and its dtype unless another is given, in x's library."""
    return full_like(x, 0, dtype)


def ones_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Ones of x's shape, and its dtype unless another is given, in x's library."""
    return full_like(x, 1, dtype)


def full_like(x: Tensor, fill_value: Any, dtype: Any = None) -> Tensor:
    """`fill_value` everywhere, in the shape and library of x, and its dtype unless one is given."""
    x = as_tensor("full_like", x)
    home = backend_of(x.data)
    wanted = x.data.dtype if dtype is None else home.dtype(dtype)
    return Tensor(home.xp.full(x.data.shape, fill_value, dtype=wanted, device=x.data.device))


def from_dlpack(x: Any) -> Tensor:
    """A tensor that shares the memory of another library's array, where that library allows it.

    Args:
        x: any object with `__dlpack__`; the tensor has its shape and dtype.  The library is chosen
            by x's device: the host's memory becomes NumPy, a CUDA device's CuPy.
    """
    cpu = 1  # DLPack's device type
    name = "numpy" if x.__dlpack_device__()[0] == cpu else "cupy"
    return Tensor(get_backend(name).xp.from_dlpack(x))
