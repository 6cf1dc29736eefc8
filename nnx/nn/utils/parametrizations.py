"""Weights that are computed from others: weight norm and spectral norm.

The layer's parameter makes way for what it is computed from, under PyTorch's names, and its own
name reads the result, computed anew each time.  For that the layer becomes of a class of its own,
`ParametrizedLinear` for a `Linear`, derived from the one it was of.

`older_names` has what the parts were called before PyTorch 1.9 and 2.0 gave them those names:
`weight_g` for `parametrizations.weight.original0`.  A state with such names is loaded.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, TypeVar

from ... import ops
from ...backends import Array, backend_of, copy_beside
from ...random import default_generator
from ...tensor import Tensor
from ..container import ModuleDict
from ..module import Module
from ..state import ComputedParameter, Parameter

__all__ = ["is_parametrized", "norms_of", "remove_parametrizations", "spectral_norm", "weight_norm"]

M = TypeVar("M", bound=Module)
COMPUTED = "_has_computed_parameters"  # what marks the classes that are made here


class WeightNorm(Module):
    """w = g v / ‖v‖, the norm over all axes but `dim` (Salimans and Kingma 2016).

    By the chain rule, with G = dL/dw and v̂ = v / ‖v‖:  dL/dg = G · v̂,  and
    dL/dv = g / ‖v‖ (G - (G · v̂) v̂): at right angles to v, whose length means nothing.

    Parameters: original0, g, and original1, v.
    """

    older_names: ClassVar = {"_g": "original0", "_v": "original1"}

    def __init__(self, weight: Parameter, dim: int | None) -> None:
        # -1 is the whole tensor, as in PyTorch.
        axes = None if dim in (None, -1) else [k for k in range(weight.ndim) if k != dim]
        self.axes = axes if axes is None else tuple(axes)
        length = self._length(Tensor(weight.data))
        self.original0 = Parameter(length.data, weight.requires_grad)
        self.original1 = Parameter(weight.data, weight.requires_grad)

    def _length(self, v: Tensor) -> Tensor:
        return ops.norm(v, 2, axis=self.axes, keepdims=self.axes is not None)

    def forward(self) -> Tensor:
        g, v = self.original0, self.original1
        return ops.multiply(v, ops.divide(g, self._length(v)))


class SpectralNorm(Module):
    """w / σ, σ the largest singular value of w as a matrix (Miyato et al. 2018).

    W (rows, columns) is w with axis `dim` first, the others joined.  Power iteration,

        u = W v / ‖W v‖,   v = Wᵀ u / ‖Wᵀ u‖,

    turns v towards the first right singular vector; one step at each reading in training is
    enough, as W changes slowly.  σ = uᵀ W v, and with u and v taken as constants, as the paper
    does, dσ/dW = u vᵀ: the gradient of the largest singular value, once u and v have arrived.

    Buffers: _u (rows,), _v (columns,).
    """

    _u: Array
    _v: Array

    def __init__(self, weight: Tensor, steps: int, dim: int, eps: float) -> None:
        if steps < 1:
            raise ValueError(f"spectral_norm: n_power_iterations must be positive, got {steps}")
        self.steps, self.dim, self.eps = steps, dim % weight.ndim if weight.ndim else 0, eps
        matrix = self._matrix(Tensor(weight.data)).data
        for name, length in (("_u", matrix.shape[0]), ("_v", matrix.shape[1])):
            self.register_buffer(name, self._unit(_drawn(matrix, length)))
        self._iterate(matrix, 15)

    def _matrix(self, w: Tensor) -> Tensor:
        w = ops.moveaxis(w, self.dim, 0)
        return ops.reshape(w, (w.shape[0], math.prod(w.shape[1:])))

    def _unit(self, a: Array) -> Array:
        xp = backend_of(a).xp
        return a / xp.clip(xp.sqrt(xp.sum(a * a)), self.eps, None)

    def _iterate(self, matrix: Array, steps: int) -> None:
        xp = backend_of(matrix).xp
        for _ in range(steps):
            self._u = self._unit(xp.matmul(matrix, self._v))
            self._v = self._unit(xp.matmul(xp.matrix_transpose(matrix), self._u))

    def forward(self, w: Tensor) -> Tensor:
        matrix = self._matrix(w)
        if self.training:
            self._iterate(matrix.data, self.steps)
        stretched = ops.matmul(matrix, Tensor(self._v))
        return ops.divide(w, ops.sum(ops.multiply(Tensor(self._u), stretched)))


class Parametrized(Module):
    """What one name of a layer is computed from: `original`, and in "0" the map."""

    older_names: ClassVar = {"_orig": "original", "_u": "0._u", "_v": "0._v"}

    def __init__(self, original: Parameter, function: Module) -> None:
        self.original = Parameter(original.data, original.requires_grad)
        self.add_module("0", function)

    def forward(self) -> Tensor:
        value: Tensor = getattr(self, "0")(self.original)
        return value


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Learn a weight as a length and a direction, w = g v / ‖v‖ (Salimans and Kingma 2016).

    In the module's state `name` becomes parametrizations.name.original0, g, and .original1, v, as
    in PyTorch; v starts as w and g as its length, so that nothing changes at first.

    Args:
        module: a layer; optimizers are to be made after this.
        name: of the parameter.
        dim: the axis of which each slice has a g of its own; None, or -1, as in PyTorch: one g.

    Returns:
        The module itself.

    Raises:
        AttributeError: it has no such parameter.
        ValueError: the parameter is computed already, or has no axis `dim`.
    """
    weight = _parameter("weight_norm", module, name)
    if dim not in (None, -1) and not 0 <= dim < weight.ndim:
        raise ValueError(f"weight_norm: {name} of shape {weight.shape} has no axis {dim}")
    return _compute(module, name, WeightNorm(weight, dim))


def spectral_norm(
    module: M,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> M:
    """Divide a weight by its largest singular value: the layer's Lipschitz constant is then 1.

    (Miyato et al. 2018.)  In the module's state `name` becomes parametrizations.name.original, and
    beside it stand the buffers .0._u and .0._v, as in PyTorch.

    Args:
        module: a layer; optimizers are to be made after this.
        name: of the parameter.
        n_power_iterations: steps at each reading in training; in evaluation there are none.
        eps: keeps lengths away from 0.
        dim: the axis of the outputs; None: 1 for transposed convolutions, 0 for all others.

    Returns:
        The module itself.

    Raises:
        AttributeError: it has no such parameter.
        ValueError: the parameter is computed already, or is no matrix, n_power_iterations is not
            positive.
    """
    weight = _parameter("spectral_norm", module, name)
    if weight.ndim < 2:
        raise ValueError(
            f"spectral_norm: {name} must have two axes or more; it has shape {weight.shape}"
        )
    if dim is None:
        dim = 1 if getattr(module, "transposed", False) else 0
    function = SpectralNorm(weight, n_power_iterations, dim, eps)
    return _compute(module, name, Parametrized(weight, function.train(module.training)))


def is_parametrized(module: Module, name: str | None = None) -> bool:
    """Whether a parameter of the module, or any of them, is computed from others.

    Args:
        module: a layer.
        name: of the parameter; None: any.
    """
    held = vars(module).get("parametrizations")
    return isinstance(held, ModuleDict) and (name is None or name in held)


def norms_of(module: Module) -> dict[str, tuple[str, dict[str, Any]]]:
    """How a layer's parameters are computed: by name, the function that made them so, and its
    options: `{"weight": ("spectral_norm", {"n_power_iterations": 1, "eps": 1e-12, "dim": 0})}`.

    Args:
        module: a layer.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    held: Any = vars(module)["parametrizations"] if is_parametrized(module) else {}
    for name, source in held.items():
        if isinstance(source, WeightNorm):
            axes, ndim = source.axes, source.original1.ndim
            dim = None if axes is None else next(k for k in range(ndim) if k not in axes)
            found[name] = "weight_norm", {"dim": dim}
        else:
            norm = getattr(source, "0")
            options = {"n_power_iterations": norm.steps, "eps": norm.eps, "dim": norm.dim}
            found[name] = "spectral_norm", options
    return found


def remove_parametrizations(module: M, name: str, leave_parametrized: bool = True) -> M:
    """Make `name` a parameter again.

    Args:
        module: a layer.
        name: of what was a parameter.
        leave_parametrized: its values become those that are computed; False, for spectral norm
            only: those it was computed from.

    Returns:
        The module itself.

    Raises:
        ValueError: the name is not computed, or leave_parametrized=False where there are two
            parameters.
    """
    if not is_parametrized(module, name):
        raise ValueError(f"remove_parametrizations: {type(module).__name__}.{name} is not computed")
    held: Any = vars(module)["parametrizations"]
    source: Any = held[name]
    if not leave_parametrized and not isinstance(source, Parametrized):
        raise ValueError(
            "remove_parametrizations: weight norm computes from two parameters; "
            "leave_parametrized must be True"
        )
    trained = next(source.parameters()).requires_grad
    value = source().data if leave_parametrized else source.original.data
    del held[name]
    if not held:
        delattr(module, "parametrizations")
    _dress(module)
    setattr(module, name, Parameter(value, trained))
    return module


def _parameter(operation: str, module: Module, name: str) -> Parameter:
    if is_parametrized(module, name):
        raise ValueError(f"{operation}: {type(module).__name__}.{name} is computed already")
    held = vars(module).get(name)
    if not isinstance(held, Parameter):
        raise AttributeError(f"{operation}: {type(module).__name__} has no parameter {name!r}")
    return held


def _compute(module: M, name: str, source: Module) -> M:
    """Let `module.name` read what `source()` gives."""
    delattr(module, name)
    if not is_parametrized(module):
        module.add_module("parametrizations", ModuleDict())
    held: Any = vars(module)["parametrizations"]
    held[name] = source
    return _dress(module)


def plain_class(module: Module) -> type:
    """The class of a layer before any of its parameters was computed.

    Args:
        module: any module.
    """
    return next(kind for kind in type(module).__mro__ if COMPUTED not in vars(kind))


def _dress(module: M) -> M:
    """Give the module the class whose properties are the names that are computed, if there are."""
    own = plain_class(module)
    held: Any = vars(module).get("parametrizations")
    if held:
        body = {name: Computed(name) for name in held}
        told = {COMPUTED: True, "__module__": own.__module__, "__doc__": own.__doc__}
        own = type(f"Parametrized{own.__name__}", (own,), {**body, **told})
    object.__setattr__(module, "__class__", own)
    return module


class Computed:
    """The attribute of a module that reads what `parametrizations` has under its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, module: Any, kind: type) -> Tensor:
        value: Tensor = vars(module)["parametrizations"][self.name]()
        if type(value) is Tensor:
            value.__class__ = ComputedParameter
        return value

    def __set__(self, module: Any, value: Any) -> None:
        raise AttributeError(
            f"{type(module).__name__}.{self.name} is computed from parametrizations.{self.name}: "
            "set what it is computed from, or remove_parametrizations first"
        )


def _drawn(like: Array, length: int) -> Array:
    """A vector from the normal distribution, beside another array."""
    return copy_beside(like, default_generator().normal((length,)))
