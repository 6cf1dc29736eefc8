"""`Tensor`: an array of any library, with the operators people expect and a place on the tape.

Its operators and the methods that compute are in `operators.py`, those that change it in
`in_place.py`; here is what it is, its gradient, and how it goes to other places.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .autograd import Function, Node, backward, hooks
from .autograd.hooks import TensorHook
from .backends import (
    Array,
    backend_of,
    dtype_name,
    from_table,
    get_backend,
    names_dtype,
    native,
    place,
)
from .names import Count, names_ours, present
from .operators import Operators

if TYPE_CHECKING:
    from . import ops as ops


class Tensor(Operators):
    """An array and its place on the tape.

    Args:
        data: an array of any supported library; it is not copied, unless it is a NumPy array in
            the byte order of another machine (from a file): no kernel reads that.
        requires_grad: whether `backward` shall compute this tensor's gradient.

    Attributes:
        data: the array itself.
        grad: after `backward`, the gradient: an array of the same library, shape and dtype, which
            no other tensor shares.

    Raises:
        TypeError: a gradient is required of integers or booleans.
    """

    __slots__ = ()

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        if type(data) is np.ndarray:
            if not data.dtype.isnative:
                data = native(data)
        elif isinstance(data, Node):
            data = data.data
        elif isinstance(data, np.generic):  # what NumPy makes of 0-d arrays
            data = np.asarray(data)
        else:
            backend_of(data)  # a list is refused here, not where it is first computed with
        self.data = data
        self.grad = None
        self.needs_grad = False
        self.creator = None
        self.slot = 0
        if requires_grad:
            self.requires_grad = True

    # ---- what it is ----

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis, a tuple."""
        return tuple(self.data.shape)

    @property
    def dtype(self) -> Any:
        """The type of the elements, as the array's library names it."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        ndim: int = self.data.ndim
        return ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        n = 1
        for length in self.data.shape:
            n *= length
        return Count(n)

    @property
    def device(self) -> Any:
        """Where the array lies, as its library names it."""
        return self.data.device

    def __len__(self) -> int:
        if self.data.ndim == 0:
            raise TypeError("len() of a tensor with shape ()")
        length: int = self.data.shape[0]
        return length

    def __iter__(self) -> Iterator[Tensor]:
        if self.data.ndim == 0:
            raise TypeError("iteration over a tensor with shape ()")
        return iter(ops.unstack(self))

    def __repr__(self) -> str:
        backend = backend_of(self.data)
        body = np.array2string(backend.to_numpy(self.data), separator=", ", prefix="tensor(")
        parts = [body, f"dtype={dtype_name(self.dtype)}"]
        if backend.name != "numpy":
            parts.append(f"backend={backend.name}")
        if self.creator is not None:
            parts.append(f"made_by={type(self.creator).__name__}")
        elif self.requires_grad:
            parts.append("requires_grad=True")
        return f"tensor({', '.join(parts)})"

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __index__(self) -> int:
        """An integer tensor of one element and no axes, where Python wants a position."""
        name = dtype_name(self.dtype)
        if self.data.ndim or not name.startswith(("int", "uint")):
            raise TypeError(
                "only an integer tensor of one element and no axes is a position; this one is of "
                f"{name} {self.shape}"
            )
        return int(self.data)

    def __format__(self, spec: str) -> str:
        """`f"{loss:.3f}"`: a tensor of one element is formatted as the number it holds."""
        if not spec:
            return str(self)
        if self.size != 1:
            raise TypeError(
                f"format {spec!r}: only a tensor of one element is formatted as a number; shape "
                f"{self.shape}; take one, or use .tolist()"
            )
        return format(self.item(), spec)

    def _repr_html_(self) -> str:
        """A table of its values, and what else there is to know."""
        from html import escape

        from . import notebook

        about = [f"shape {self.shape}", dtype_name(self.dtype), backend_of(self.data).name]
        if self.creator is not None:
            about.append(f"made by {type(self.creator).__name__}")
        elif self.requires_grad:
            about.append("a leaf that requires a gradient")
        shown: Any = self.data
        if self.ndim > 2 and self.size:  # of pictures, say, the first one's first channel
            leading = self.ndim - 2
            about.append(f"shown is [{'0, ' * leading}:, :]")
            shown = shown[(0,) * leading + (...,)]
        body = ""
        if shown.ndim == 0:
            body = f"<code>{notebook.number(self.tolist())}</code>"
        elif self.size:
            body = notebook.matrix(shown.shape, _corners(shown))
        return f"<div>tensor: {escape(', '.join(about))}</div>{body}"

    def __dir__(self) -> list[str]:
        return present(type(self))

    # ---- gradients ----

    def backward(
        self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add the gradient of this tensor to the `.grad` of every leaf it was computed from.

        Args:
            gradient: dL/d(self), an array or tensor of this shape; may be left out for a scalar.
            retain_graph: keep the tape, so that it can be walked again.
            create_graph: False; PyTorch's True is refused.

        Raises:
            TypeError: create_graph is True: gradients of gradients come from `nnx.grad(f, x)`.
            RuntimeError: nothing behind this tensor requires a gradient, or the tape was freed.
            ValueError: the tensor is no scalar and no gradient was given, or its shape is wrong.
        """
        if create_graph:
            raise TypeError(
                "backward: create_graph=True is PyTorch's; gradients that are differentiated again "
                "come from a function here: nnx.grad(f, x), or nnx.grad(f, parameters=...)"
            )
        backward(self, gradient.data if isinstance(gradient, Node) else gradient, retain_graph)

    def register_hook(self, hook: Callable[[Array], Any]) -> TensorHook:
        """Call `hook(gradient)` when the gradient of this tensor is known; remove() takes it off.

        Args:
            hook: gets the gradient, an array of this tensor's shape.  What it returns takes the
                gradient's place on the way back; None: it stays as it is.

        Raises:
            RuntimeError: the tensor requires no gradient; later, in `backward`, gradients of leaves
                are collected for several ranks.
            ValueError: later: the hook returned something of another shape or dtype.
        """
        return hooks.register(self, hook)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Turn gradients of this leaf on (requires_grad=True) or off; returns it.

        Raises:
            RuntimeError: they are turned off, and it is no leaf: it was computed from others.
            TypeError: it holds integers or booleans.
        """
        self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """The array in a tensor of the same shape, off the tape; neither sees the other change."""
        return Tensor(self.data)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if self.creator is not None:
            raise RuntimeError(
                f"deepcopy: only a leaf can be copied, and this tensor of shape {self.shape} was "
                f"made by {type(self.creator).__name__}; copy detach()"
            )
        twin = memo[id(self)] = type(self).__new__(type(self))
        for kind in type(self).__mro__:
            for name in getattr(kind, "__slots__", ()):
                if name != "__weakref__":
                    setattr(twin, name, copy.deepcopy(getattr(self, name), memo))
        for name, value in getattr(self, "__dict__", {}).items():
            setattr(twin, name, copy.deepcopy(value, memo))
        return twin

    # ---- to other places ----

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number; a GPU is waited for.

        Raises:
            ValueError: it has more elements than one, or none.
        """
        if self.size != 1:
            raise ValueError(f"item: only a tensor of one element has one; shape {self.shape}")
        return backend_of(self.data).to_numpy(self.data).reshape(()).item()

    def numpy(self) -> np.ndarray:
        """The values in host memory, in the same shape; shared, not copied, where that is possible.

        Raises:
            RuntimeError: the tensor is on the tape, where its gradient would be lost silently.
        """
        if self.requires_grad:
            raise RuntimeError("numpy(): this tensor requires a gradient; use detach().numpy()")
        return backend_of(self.data).to_numpy(self.data)

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return backend_of(self.data).to_numpy(self.data).tolist()

    @names_ours
    def to(self, backend: Any, dtype: Any = None) -> Tensor:
        """This tensor, in its shape, on another backend, in another dtype, or both.

        Args:
            backend: "numpy", "cupy", ..., as in `get_backend`: the copy is off the tape.  Or a
                dtype, as in `astype`, which stays on it.  A tensor that is there already is
                returned itself.
            dtype: beside a backend.

        Raises:
            ValueError: there is no such backend.
        """
        if names_dtype(backend):
            return self.astype(backend)
        home, target = backend_of(self.data), get_backend(backend)
        if home is target and target.device is None:
            moved = self
        else:
            moved = Tensor(target.from_numpy(home.to_numpy(self.data)), self.requires_grad)
        return moved if dtype is None else moved.astype(dtype)

    def to_device(self, device: Any) -> Tensor:
        """`to`, by the standard's name: a backend ("numpy", "cupy") or a device of this library.

        Args:
            device: where the values are to lie, in the same shape and dtype; the copy is off the
                tape.  A tensor that is there already is returned itself.
        """
        if device == self.device:
            return self
        if isinstance(device, str):
            return self.to(device)
        home = backend_of(self.data)
        return Tensor(home.xp.asarray(self.data, device=device), self.requires_grad)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        home = backend_of(self.data)
        if home.xp is not np:
            raise TypeError(
                f"np.asarray of a {home.name} tensor would move it silently; call .numpy()"
            )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise BufferError("__dlpack__: this tensor requires a gradient; export detach()")
        return self.data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()


Function.tensor_type = Tensor


def _corners(data: Array) -> Any:
    """The numbers of a vector or a matrix that a notebook shows, as lists; no others are read."""
    from .notebook import ends

    home, cuts = backend_of(data), []
    for n in data.shape:
        kept = ends(n)
        half = kept.index(None) if None in kept else n
        cuts.append([slice(half), slice(n - half, n)][: 1 + (half < n)])
    *above, across = cuts
    lines = [home.xp.concat([data[(*row, c)] for c in across], axis=-1) for row in product(*above)]
    return home.to_numpy(home.xp.concat(lines, axis=0)).tolist()


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dictionaries, in their order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return [t for part in value for t in tensors_in(part)]
    return []


def tensor(
    values: Any, dtype: Any = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """A new tensor on the active backend.

    Args:
        values: nested lists, numbers, a tensor or an array of any library; they are copied, in
            their shape.
        dtype: None: Python floats become float32, arrays keep theirs.
        requires_grad: whether `backward` shall compute its gradient.
        device: a backend ("numpy", "cupy"), or a device of the active one's library; None: the
            active backend's.

    Raises:
        TypeError: a gradient is required of integers or booleans.
        ValueError: there is no such device.
    """
    backend, where = place("tensor", device)
    if isinstance(values, Node):
        values = values.data
    values = from_table(values)
    if not isinstance(values, np.ndarray) and hasattr(values, "shape") and hasattr(values, "dtype"):
        values = backend_of(values).to_numpy(values)
    array = backend.asarray(values, dtype)
    if where is not backend.device:
        array = backend.xp.asarray(array, device=where)
    return Tensor(array, requires_grad)
