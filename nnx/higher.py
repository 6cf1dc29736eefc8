"""Gradients of gradients: the tape, run on tensors.

An operation computes with arrays of any library that follows the array API.  Tensors follow it, so
they can stand where arrays stand; then whatever is computed, forward and backward, is recorded on
the tape *they* belong to.  `Taped` is such an array: a tensor under another name.  `grad` lets a
function compute with them, walks back, and hands out gradients that are tensors like all others.

Nothing about an operation's second derivative has to be written: its backward is array-API code, in
the portable kernels, and every function in that has a derivative.  The price is their speed.

This module is also the namespace of `Taped` arrays: what is not found here is `nnx`'s function of
that name.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import linalg as _linalg
from . import ops, standard
from .autograd import Function, Node, backward, enable_grad
from .backends import Array, Backend, active_backend, backend_of, use_backend
from .ops._broadcast import fit_broadcast
from .scoped import Scoped
from .tensor import Tensor

__all__ = ["grad", "hvp"]

_differentiated: Scoped[Mapping[int, Tensor]] = Scoped("nnx higher")  # parameters, by identity


def grad(function: Callable[..., Any], *inputs: Any, parameters: Iterable[Tensor] = ()) -> Any:
    """The gradient of function(*inputs), a scalar, by each input: tensors on the tape.

        slope = nnx.grad(lambda x: critic(x).sum(), images)          # a gradient penalty:
        loss = ((slope**2).sum(axis=(1, 2, 3)) ** 0.5 - 1) ** 2      # WGAN-GP (Gulrajani 2017)
        loss.mean().backward()                                       # reaches critic's parameters

    What comes back depends on the inputs that require a gradient, and on every parameter that the
    function uses.  Calls can be nested: the third derivative of f is
    grad(lambda x: grad(lambda x: grad(f, x), x), x) for a number x.

    Args:
        function: tensors of the inputs' shapes -> a tensor of one element.  It is called once.
        inputs: tensors or arrays; integers are handed on, and have no gradient.
        parameters: further leaves that the function uses, to differentiate by.

    Returns:
        a tensor of the input's shape; for several inputs and parameters a tuple of them, None for
        what the function does not depend on, or holds integers.

    Raises:
        ValueError: the function's result is no scalar.
        TypeError: there is no input, or what should be a function is a tensor.
    """
    if isinstance(function, Node):
        raise TypeError(
            "grad: needs a function and its inputs, not what it gives: "
            "nnx.grad(lambda x: model(x).sum(), x)"
        )
    if not inputs:
        raise TypeError("grad: give the inputs of the function, at least one")
    outer: list[Any] = [x if isinstance(x, Node) else Tensor(x) for x in inputs]
    known = list(parameters)
    home = backend_of(_bottom(outer[0]))
    leaves = [_leaf(x) for x in outer]
    lifted = {id(p): _leaf(p) for p in known}
    with use_backend(home), enable_grad(), _differentiated({**_known(), **lifted}):
        y: Any = function(*leaves)
        shape = tuple(y.shape) if hasattr(y, "shape") else type(y).__name__
        if not isinstance(y, Node) or shape != ():
            raise ValueError(
                f"grad: the function must return a scalar tensor, got {shape}; .sum() adds up rows"
            )
        if y.requires_grad:
            backward(y, None)
    found = [leaf.grad for leaf in [*leaves, *lifted.values()]]
    made = tuple(None if g is None else g.tensor for g in found)
    return made[0] if len(made) == 1 else made


def hvp(function: Callable[..., Any], x: Any, v: Any) -> Tensor:
    """H v, H the matrix of second derivatives of function(x) by x, without H: x's shape.

    H v = d/dx (g(x) · v), g the gradient (Pearlmutter 1994): two walks back, whatever x's size.

    Args:
        function: a tensor -> a tensor of one element.
        x: where, a tensor or an array.
        v: the vector, in x's shape.

    Raises:
        ValueError: v is not of x's shape, or the function's result is no scalar.
    """
    x = x if isinstance(x, Node) else Tensor(x)
    v = v if isinstance(v, Node) else Tensor(v)
    if tuple(v.shape) != tuple(x.shape):
        raise ValueError(f"hvp: v must have x's shape; v {v.shape}, x {x.shape}")

    def along(x: Tensor) -> Tensor:
        slope = grad(function, x)
        return ops.sum(x * 0 if slope is None else slope * v)

    made: Tensor | None = grad(along, x)
    return ops.zeros_like(x) if made is None else made


def _known() -> Mapping[int, Tensor]:
    return _differentiated.get() or {}


def _leaf(x: Tensor) -> Tensor:
    """A tensor to differentiate by, whose array is the tensor x."""
    return Tensor(Taped(x), requires_grad=backend_of(x.data).is_float(x.dtype))


def _bottom(x: Any) -> Any:
    """The array under a tensor, however many tapes lie above it."""
    while isinstance(x, Node | Taped):
        x = x.data if isinstance(x, Node) else x.tensor
    return x


# ---- a tensor as an array ----


class _Assigned(Function):
    """x with x[key] = v.  Backward: dx = g, but 0 at the key; dv = g[key], summed where v was
    broadcast."""

    def __init__(self, key: Any) -> None:
        self.key = key

    def forward(self, x: Array, v: Any) -> Array:
        y = self.backend.xp.asarray(x, copy=True)
        y[self.key] = v
        return y

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        dx = None
        if self.needs_input_grad[0]:
            dx = self.backend.xp.asarray(g, copy=True)
            dx[self.key] = 0
        return dx, g[self.key] if self.needs_input_grad[1] else None

    def unbroadcast(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        return fit_broadcast(self.backend.xp, gradient, shape, dtype)


class Taped:
    """A tensor where operations want an array."""

    __slots__ = ("__weakref__", "tensor")
    __array_ufunc__ = None  # of NumPy's operators: ours are used where the other operand is Taped

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return sys.modules[__name__]

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "ndim", "device", "size", "T", "mT"):
            return _taped(getattr(self.tensor, name))
        raise AttributeError(name)

    def __getitem__(self, key: Any) -> Any:
        return _taped(self.tensor[_plain(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        key, value = _plain(key), _plain(value)
        with enable_grad():
            self.tensor = _Assigned(key)(self.tensor, value)

    def __len__(self) -> int:
        return len(self.tensor)

    def __bool__(self) -> bool:
        return bool(self.tensor)

    def __float__(self) -> float:
        return float(self.tensor)

    def __int__(self) -> int:
        return int(self.tensor)

    def __index__(self) -> int:
        return operator.index(self.tensor)

    __hash__ = object.__hash__


def _plain(x: Any) -> Any:
    """Taped arrays as the tensors that they are, in tuples and lists too."""
    if isinstance(x, Taped):
        return x.tensor
    if type(x) in (tuple, list):
        return type(x)(_plain(v) for v in x)
    return x


def _taped(x: Any) -> Any:
    """Tensors as arrays, in tuples and named tuples too."""
    if isinstance(x, Node):
        return Taped(x)  # type: ignore[arg-type]
    if isinstance(x, tuple) and any(isinstance(v, Node) for v in x):
        made = [_taped(v) for v in x]
        return type(x)(*made) if hasattr(x, "_fields") else tuple(made)
    return x


def _lifted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors as a function of Taped arrays."""

    def call(*args: Any, **kwargs: Any) -> Any:
        named = {name: _plain(value) for name, value in kwargs.items()}
        return _taped(function(*[_plain(x) for x in args], **named))

    return call


def _give_operators() -> None:
    def binary(f: Callable[[Any, Any], Any]) -> Any:
        return lambda a, b: _taped(f(a.tensor, _plain(b)))

    def reflected(f: Callable[[Any, Any], Any]) -> Any:
        return lambda a, b: _taped(f(_plain(b), a.tensor))

    for name in "eq ne lt le gt ge".split():
        setattr(Taped, f"__{name}__", binary(getattr(operator, f"__{name}__")))
    for name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split():
        f = getattr(operator, f"__{name}__")
        setattr(Taped, f"__{name}__", binary(f))
        setattr(Taped, f"__r{name}__", reflected(f))
    for name in "neg pos abs invert".split():
        setattr(Taped, f"__{name}__", _lifted(getattr(operator, f"__{name}__")))


_give_operators()


# ---- the namespace, and the kernels on it ----


def asarray(x: Any, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
    """x as a Taped array.  A copy is the same tensor: to write into the one rebinds it alone."""
    if isinstance(x, Taped):
        same = dtype is None or x.dtype == dtype
        return Taped(x.tensor) if same else _taped(ops.astype(x.tensor, dtype))
    return _taped(ops.asarray(x, dtype=dtype, device=device))


def astype(x: Any, dtype: Any, copy: bool = True, device: Any = None) -> Any:
    """x in another dtype."""
    return _taped(ops.astype(_plain(x), dtype))


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    if name == "linalg":
        return SimpleNamespace(**{n: _lifted(getattr(_linalg, n)) for n in _linalg.__all__})
    for room in (ops, standard):
        found = getattr(room, name, None)
        if found is not None:
            return _lifted(found) if callable(found) and room is ops else found
    raise AttributeError(f"nnx has no {name!r}")


class TapedBackend(Backend):
    """Portable kernels on tensors; random words are those of the library below."""

    def __init__(self) -> None:
        super().__init__(sys.modules[__name__], __name__)

    lifts = True

    def lift(self, x: Any) -> Any:
        """An operand beside Taped arrays as a tensor that holds one; a number as it is."""
        if isinstance(x, Node):
            known = _known().get(id(x))
            if known is not None:
                return known
            return x if isinstance(x.data, Taped) else Tensor(Taped(x))  # type: ignore[arg-type]
        if not hasattr(x, "shape"):
            return x
        return Tensor(x if isinstance(x, Taped) else Taped(Tensor(x)))

    def is_float(self, dtype: Any) -> bool:
        return self._kind(dtype) == "float"  # dtypes of several libraries are not compared

    def is_integer(self, dtype: Any) -> bool:
        return self._kind(dtype) == "integer"

    def _kind(self, dtype: Any) -> str:
        kind = super()._kind(dtype)
        self._kinds.clear()
        return kind

    def grounded(self, x: Array) -> Array:
        bottom: Array = _bottom(x)
        return bottom

    def track_moments_(
        self,
        running: tuple[Array, Array, Array],
        mean: Array,
        variance: Array,
        fresh: float,
        unbiased: float,
    ) -> tuple[Array, Array, Array]:
        """Running statistics are no part of what is differentiated, and stay arrays."""
        mean, variance = _bottom(mean), _bottom(variance)
        return backend_of(mean).track_moments_(running, mean, variance, fresh, unbiased)

    def one(self, data: Array) -> Array:
        return _taped(ops.ones_like(data.tensor))

    def to_numpy(self, x: Array) -> np.ndarray:
        bottom = _bottom(x)
        return backend_of(bottom).to_numpy(bottom)

    def from_numpy(self, x: np.ndarray) -> Array:
        return Taped(Tensor(active_backend().from_numpy(x)))

    def is_only_view(self, x: Array) -> bool:
        return True

    def philox(self, key: tuple[int, int], counter: int, n: int, device: Any = None) -> Array:
        return Taped(Tensor(active_backend().philox(key, counter, n)))

    def random_uniform(
        self, key: tuple[int, int], counter: int, n: int, dtype: str, device: Any = None
    ) -> Array:
        return Taped(Tensor(active_backend().random_uniform(key, counter, n, dtype)))

    def random_mask(
        self, key: tuple[int, int], counter: int, n: int, threshold: int, device: Any = None
    ) -> Array:
        return Taped(Tensor(active_backend().random_mask(key, counter, n, threshold)))


NNX_BACKEND = TapedBackend  # what `nnx.backends` computes with, for arrays of this namespace
