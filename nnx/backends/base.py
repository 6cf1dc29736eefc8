"""`Backend`: an array namespace, and every kernel in portable array-API code.

A *kernel* is an array routine that at least one library does better than the array API can:
arrays and plain numbers in, new arrays out, inputs never written, no Tensor in sight.  The
families in `portable/` implement each one for any conforming library; they are the
specification and the fallback.  `NumpyBackend`, `JitBackend` and `CudaBackend` override a
method with the same signature where they are faster, and return `super()` where a dtype or a
shape does not suit.

Two conventions:

- A method whose name ends in an underscore (`sgd_`, `adam_`) updates state that its caller owns:
  it may write into those arrays or return new ones, and the caller keeps what is returned.
- What a forward kernel keeps for its backward, in whatever layout suits it, is a `Residuals`; only
  the backend that made it looks inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..typing import Array
from .portable import PortableKernels
from .portable.indices import Indices
from .portable.residuals import Residuals

__all__ = ["Array", "Backend", "Residuals", "dtype_name"]


# How a library makes and reads arrays is no kernel: with other kernels it stays the same.
ARRAY_METHODS = (
    "one",
    "from_numpy",
    "to_numpy",
    "use_device",
    "synchronize",
    "dtype",
    "values_at_hand",
    "is_only_view",
)


class Backend(Indices, PortableKernels):
    """An array namespace `xp`, the device new arrays are made on, and the kernels.

    Args:
        xp: a namespace that follows the array API standard.
        name: how `nnx.set_backend` calls it.
        device: where new arrays are made; None is the library's default.
    """

    lookup: ClassVar[Callable[[str], Backend]]  # `get_backend`, which stands above and is put here
    # Operations whose kernels take float16 themselves and sum in float32; the others are given
    # float32, and their results rounded (`nnx.autocast`).
    low_kernels: ClassVar[frozenset[str]] = frozenset()
    lifts = False  # whether arrays of other libraries can be held: by `lift(tensor or array)`
    takes_none = False  # whether a recurrent layer's kernels take None for a state's gradient of 0

    def __init__(self, xp: Any, name: str, device: Any = None) -> None:
        self.xp = xp
        self.name = name
        self.device = device
        self._kinds: dict[Any, str] = {}  # dtype -> float, integer or other

    def lift(self, x: Any) -> Any:
        """A tensor, an array of another library or a number as an operand here.

        Args:
            x: the operand, of any shape.

        Raises:
            NotImplementedError: this library holds no other's arrays (`lifts`).
        """
        raise NotImplementedError(f"{self.name} holds no arrays of other libraries")

    def grounded(self, x: Array) -> Array:
        """An array x that is to be kept beyond a call, in the library below: the same shape."""
        return x

    def __reduce__(self) -> Any:
        """A backend is pickled as its name: there is one of each, and modules cannot be."""
        return Backend.lookup, (self.name,)

    def __repr__(self) -> str:
        where = "" if self.device is None else f", device={self.device}"
        return f"<{type(self).__name__} {self.name}{where}>"

    def dtype(self, name: Any) -> Any:
        """This library's dtype for a name ("float32"), or for another library's dtype.

        Raises:
            TypeError: it has none of this name.
        """
        if not isinstance(name, str):
            if isinstance(name, type) and name in _PYTHON_DTYPES:
                name = _PYTHON_DTYPES[name]
            else:
                name = dtype_name(name)
        dtype = getattr(self.xp, name, None) if name in DTYPES else None
        if dtype is None:
            raise TypeError(f"{self.name} has no dtype {name!r}; there are {', '.join(DTYPES)}")
        return dtype

    def is_float(self, dtype: Any) -> bool:
        """Whether a dtype of this library is a floating-point one."""
        kind = self._kinds.get(dtype)
        return (kind or self._kind(dtype)) == "float"

    def is_integer(self, dtype: Any) -> bool:
        """Whether a dtype of this library is one of integers."""
        kind = self._kinds.get(dtype)
        return (kind or self._kind(dtype)) == "integer"

    def _kind(self, dtype: Any) -> str:
        name = dtype_name(dtype)
        kind = "other"
        if name.startswith(("float", "bfloat")):
            kind = "float"
        elif name.startswith(("int", "uint")):
            kind = "integer"
        self._kinds[dtype] = kind
        return kind

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """Nested lists, numbers or a NumPy array as an array made on this backend, of the same
        shape.

        Python floats become float32 unless `dtype` says otherwise; arrays keep their dtype.

        Args:
            values: what is in it.
            dtype: a name, or a dtype of any library.
        """
        if not isinstance(values, np.ndarray):
            values = np.asarray(values)
            if dtype is None and values.dtype == np.float64:
                dtype = "float32"
        if dtype is not None:
            values = values.astype(np.dtype(dtype_name(self.dtype(dtype))), copy=False)
        return self.from_numpy(values)

    def from_numpy(self, x: np.ndarray) -> Array:
        """A NumPy array x as an array of this library, on this backend's device: same shape, same
        dtype.
        """
        return self.xp.asarray(np.asarray(native(x), order="C"), device=self.device)

    def to_numpy(self, x: Array) -> np.ndarray:
        """An array x in host memory, in its shape; no copy where the library allows."""
        try:
            return np.from_dlpack(x)
        except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
            return np.asarray(x)

    def one(self, like: Array) -> Array:
        """1 in the dtype and shape () of `like`, where a walk back begins; not to be written."""
        return self.xp.ones_like(like)

    def is_only_view(self, a: Array) -> bool:
        """Whether an array a that shows another's memory is the only one to see it, and may be
        written; False where the library does not tell.
        """
        return False

    def nccl_device(self) -> Any:
        """How NCCL sends this backend's arrays from device to device; None where it does not."""
        return None

    def use_device(self) -> Callable[[], None]:
        """Make this backend's device the library's current one, for libraries that have such;
        returns what makes the one before current again."""
        return lambda: None

    def synchronize(self) -> None:
        """Wait until the device has done what was asked of it; nothing to do on a CPU."""

    def recorder(self) -> Any:
        """What runs and records steps for `nnx.capture`; None where a device cannot."""
        return None


def names_dtype(x: Any) -> bool:
    """Whether x is a dtype, of any library or by name, and not the name of a backend."""
    if isinstance(x, str):
        return x in DTYPES
    return x is not None and (x in _PYTHON_DTYPES or dtype_name(x) in DTYPES)


def native(x: np.ndarray) -> np.ndarray:
    """A NumPy array x, of the same shape, in this machine's byte order; itself, where it is."""
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
)
_PYTHON_DTYPES = {float: "float32", int: "int64", bool: "bool"}


def dtype_name(dtype: Any) -> str:
    """The name of any library's dtype: "float32" for `torch.float32`."""
    name = getattr(dtype, "name", None)  # NumPy, CuPy
    if name is None and isinstance(dtype, type):
        name = dtype.__name__  # numpy.float32, the scalar's class
    if name is None:
        name = str(dtype).rpartition(".")[2]  # array_api_strict.float32, torch.float32
    return str(name)
