"""New tensors on the active backend, and tensors like others."""

from __future__ import annotations

import operator
from typing import Any

from ...autograd import Node
from ...backends import backend_of, get_backend, place
from ...tensor import Tensor, tensor
from .._operands import as_tensor
from .cast import astype

Shape = int | tuple[int, ...] | list[int]


def _shape(name: str, shape: Shape, dtype: Any = None) -> tuple[int, ...]:
    if isinstance(dtype, int):  # PyTorch takes the lengths one by one
        raise TypeError(f"{name}: the shape is one argument, {name}(({shape}, {dtype}))")
    lengths = shape if isinstance(shape, tuple | list) else (shape,)
    try:
        known = tuple([operator.index(n) for n in lengths])
    except TypeError:
        raise TypeError(f"{name}: lengths must be integers, got {shape!r}") from None
    if known and min(known) < 0:
        raise ValueError(f"{name}: lengths must not be negative, got {shape!r}")
    return known


def zeros(
    shape: Shape, dtype: Any = "float32", requires_grad: bool = False, device: Any = None
) -> Tensor:
    """A tensor of zeros.

    Args:
        shape: a tuple, or one number for one axis; () for a scalar.
        dtype: by name, or as any library's dtype.
        requires_grad: whether it is a leaf to learn.
        device: a backend ("numpy", "cupy"), or a device of the active one's library; None: the
            active backend's.

    Raises:
        ValueError: a negative length, or no such device.
        TypeError: a length that is no integer.
    """
    return full(_shape("zeros", shape, dtype), 0, dtype, requires_grad, device)


def ones(
    shape: Shape, dtype: Any = "float32", requires_grad: bool = False, device: Any = None
) -> Tensor:
    """A tensor of ones.

    Args:
        shape: a tuple, or one number for one axis; () for a scalar.
        dtype: by name, or as any library's dtype.
        requires_grad: whether it is a leaf to learn.
        device: a backend ("numpy", "cupy"), or a device of the active one's library; None: the
            active backend's.

    Raises:
        ValueError: a negative length, or no such device.
        TypeError: a length that is no integer.
    """
    return full(_shape("ones", shape, dtype), 1, dtype, requires_grad, device)


def full(
    shape: Shape,
    fill_value: Any,
    dtype: Any = None,
    requires_grad: bool = False,
    device: Any = None,
) -> Tensor:
    """A tensor that holds one value everywhere.

    Args:
        shape: a tuple, or one number for one axis; () for a scalar.
        fill_value: the value.
        dtype: by name, or as any library's dtype; None: float32 for a float, int64 for an integer,
            bool for True and False.
        requires_grad: whether it is a leaf to learn.
        device: a backend ("numpy", "cupy"), or a device of the active one's library; None: the
            active backend's.

    Raises:
        ValueError: a negative length, or no such device.
        TypeError: a length that is no integer.
    """
    home, where = place("full", device)
    lengths = _shape("full", shape)
    if dtype is None:
        kinds = {bool: "bool", int: "int64"}
        dtype = kinds.get(type(fill_value), "float32")
    array = home.xp.full(lengths, fill_value, dtype=home.dtype(dtype), device=where)
    return Tensor(array, requires_grad)


def empty(shape: Shape, dtype: Any = "float32", device: Any = None) -> Tensor:
    """A tensor whose values are whatever the memory held.

    Args:
        shape: a tuple, or one number for one axis; () for a scalar.
        dtype: by name, or as any library's dtype.
        device: a backend ("numpy", "cupy"), or a device of the active one's library; None: the
            active backend's.

    Raises:
        ValueError: a negative length, or no such device.
        TypeError: a length that is no integer.
    """
    home, where = place("empty", device)
    return Tensor(
        home.xp.empty(_shape("empty", shape, dtype), dtype=home.dtype(dtype), device=where)
    )


def arange(
    start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, device: Any = None
) -> Tensor:
    """Numbers `step` apart from `start` up to, not including, `stop` (`arange(n)`: 0 to n - 1).

    The shape is (n,), n the smallest integer not below (stop - start) / step.

    Args:
        start: the first; alone, it is `stop`, and the first is 0.
        stop: where to end.
        step: how far apart.
        dtype: None: int64 for integers, float32 for floats.
        device: a backend ("numpy", "cupy"), or a device of the active one's library; None: the
            active backend's.

    Raises:
        ValueError: `step` is 0, or there is no such device.
    """
    home, where = place("arange", device)
    if step == 0:
        raise ValueError(f"arange: the step must not be 0; start {start}, stop {stop}")
    if dtype is None:
        whole = all(isinstance(x, int) for x in (start, stop, step) if x is not None)
        dtype = "int64" if whole else "float32"
    return Tensor(home.xp.arange(start, stop, step, dtype=home.dtype(dtype), device=where))


def linspace(
    start: float,
    stop: float,
    num: int,
    dtype: Any = "float32",
    endpoint: bool = True,
    device: Any = None,
) -> Tensor:
    """`num` evenly spaced numbers from `start` to `stop`: (num,), in `dtype`.

    Args:
        start: the first.
        stop: the last.
        num: how many.
        dtype: by name, or as any library's dtype.
        endpoint: False: `stop` itself is left out, and they stand (stop - start) / num apart.
        device: a backend ("numpy", "cupy"), or a device of the active one's library; None: the
            active backend's.

    Raises:
        ValueError: a negative num, or no such device.
        TypeError: num is no integer.
    """
    home, where = place("linspace", device)
    (num,) = _shape("linspace", num)
    options = {"dtype": home.dtype(dtype), "device": where, "endpoint": endpoint}
    return Tensor(home.xp.linspace(start, stop, num, **options))


def eye(
    n_rows: int, n_cols: int | None = None, dtype: Any = "float32", k: int = 0, device: Any = None
) -> Tensor:
    """A matrix (n_rows, n_cols) with ones on a diagonal and zeros elsewhere.

    Args:
        n_rows: how many rows.
        n_cols: how many columns; None: as many.
        dtype: by name, or as any library's dtype.
        k: which diagonal: 0 the main one, above it where positive, below it where negative.
        device: a backend ("numpy", "cupy"), or a device of the active one's library; None: the
            active backend's.

    Raises:
        ValueError: a negative length, or no such device.
        TypeError: a length or k that is no integer.
    """
    home, where = place("eye", device)
    rows, columns = _shape("eye", (n_rows, n_rows if n_cols is None else n_cols))
    options = {"k": operator.index(k), "dtype": home.dtype(dtype), "device": where}
    return Tensor(home.xp.eye(rows, columns, **options))


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


def empty_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Whatever the memory held, in x's shape and library, and its dtype unless another is given."""
    x = as_tensor("empty_like", x)
    home = backend_of(x.data)
    wanted = x.data.dtype if dtype is None else home.dtype(dtype)
    return Tensor(home.xp.empty(x.data.shape, dtype=wanted, device=x.data.device))


def asarray(obj: Any, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor of what is given: a tensor, an array of any library, numbers, nested lists.

    Args:
        obj: a tensor or an array stays as it is, in its library and shape, where nothing else is
            asked; a tensor keeps its place on the tape.
        dtype: by name, or as any library's dtype; None: as in `nnx.tensor`.
        device: a backend ("numpy", "cupy") or a device, for a new array there; None: where it is.
        copy: True: a new array in any case; False: an error where one would be needed.

    Raises:
        ValueError: a copy is needed and is not to be made, or there is no such device.
    """
    given = obj.data if isinstance(obj, Node) else obj
    if device is not None or not (hasattr(given, "shape") and hasattr(given, "dtype")):
        if copy is False:
            raise ValueError("asarray: without a copy this cannot become a tensor there")
        return tensor(obj, dtype, device=device)
    made: Tensor = obj if isinstance(obj, Tensor) else Tensor(given)
    if dtype is not None:
        other = astype(made, dtype)
        if other is not made and copy is False:
            raise ValueError(f"asarray: {dtype} is another dtype, which needs a copy")
        made, copy = other, copy and other is made
    if copy:
        return Tensor(backend_of(made.data).xp.asarray(made.data, copy=True))
    return made


def from_dlpack(x: Any) -> Tensor:
    """A tensor that shares the memory of another library's array, where that library allows it.

    Args:
        x: any object with `__dlpack__`; the tensor has its shape and dtype.  The library is chosen
            by x's device: the host's memory becomes NumPy, a CUDA device's CuPy.
    """
    cpu = 1  # DLPack's device type
    name = "numpy" if x.__dlpack_device__()[0] == cpu else "cupy"
    return Tensor(get_backend(name).xp.from_dlpack(x))
