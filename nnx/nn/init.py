"""Initial values of parameters.

Every function gives a tensor new values, in the library, on the device and in the dtype it has,
and returns it.  They are drawn from nnx's shared generator (`nnx.manual_seed`), or from one's own
by `generator=`, and are bit-identical on every backend.

How large should they be?  In a layer y[o] = sum_i W[o, i] x[i] with `fan_in` terms and weights of
variance σ², independent of x and of mean zero, var(y) = fan_in σ² E[x²]: the signal keeps its size
from layer to layer if σ² = gain² / fan_in, where `gain` makes up for what the activation function
takes away (√2 for ReLU, which halves E[x²]).  The gradient, which passes the layer the other way,
asks for fan_out instead.  Xavier's rule is the mean of the two, Kaiming's chooses one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..autograd.function import UNRECORDED
from ..backends import active_backend, copy_beside, dtype_name
from ..names import answers
from ..random import Generator, default_generator
from ..tensor import Tensor
from .state import ComputedParameter

__all__ = [
    "calculate_gain",
    "constant_",
    "eye_",
    "fans",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

T = TypeVar("T", bound=Tensor)

GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 0.75}


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> T:
    """Draw from the uniform distribution on [a, b).

    Args:
        tensor: of any shape; so is what is returned, the tensor itself.
        a, b: the bounds.
        generator: None: the shared one.

    Raises:
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    source = generator or default_generator()
    require_leaf("uniform_", tensor)
    tensor.data = source.uniform(tensor.shape, a, b, dtype_name(tensor.dtype), like=tensor.data)
    return tensor


def normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> T:
    """Draw from the normal distribution N(mean, std²).

    Args:
        tensor: of any shape; so is what is returned, the tensor itself.
        mean, std: of the distribution; Xu starts weights from 0 and 0.01.
        generator: None: the shared one.

    Raises:
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    source = generator or default_generator()
    require_leaf("normal_", tensor)
    return _fill(tensor, source.normal(tensor.shape, mean, std, dtype_name(tensor.dtype)))


def trunc_normal_(
    tensor: T,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> T:
    """Draw from the normal distribution N(mean, std²), given that a <= x <= b.

    Args:
        tensor: of any shape; so is what is returned, the tensor itself.
        mean, std: of the distribution before it was cut.
        a, b: the bounds, as values and not as multiples of std.
        generator: None: the shared one.

    Raises:
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    source = generator or default_generator()
    require_leaf("trunc_normal_", tensor)
    values = source.truncated_normal(tensor.shape, mean, std, a, b, dtype_name(tensor.dtype))
    return _fill(tensor, values)


def constant_(tensor: T, value: float) -> T:
    """Set every element of a tensor, of any shape, to `value`.

    Raises:
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    require_leaf("constant_", tensor)
    return _fill(tensor, np.full(tensor.shape, value, np.float64))


def zeros_(tensor: T) -> T:
    """Set every element of a tensor, of any shape, to 0.

    Raises:
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    return constant_(tensor, 0.0)


def ones_(tensor: T) -> T:
    """Set every element of a tensor, of any shape, to 1.

    Raises:
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    return constant_(tensor, 1.0)


def eye_(tensor: T) -> T:
    """Make a matrix, tensor (m, n), the identity: 1 on its diagonal, 0 elsewhere.

    Raises:
        ValueError: the tensor is no matrix.
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    require_leaf("eye_", tensor)
    if tensor.ndim != 2:
        raise ValueError(f"eye_: the tensor must be a matrix; shape {tensor.shape}")
    return _fill(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """U(-b, b) with b = gain √(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    U(-b, b) has variance b²/3, so σ² = gain² 2 / (fan_in + fan_out).

    Args:
        tensor: a weight (out, in, *window).
        gain: what the activation function needs; see `calculate_gain`.
        generator: None: the shared one.

    Raises:
        ValueError: the tensor has less than two axes.
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    bound = gain * math.sqrt(6.0 / max(1, sum(fans(tensor))))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """N(0, σ²) with σ = gain √(2 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    What Saito 6.2.3 calls Xavier's, σ = √(1 / fan_in), is `kaiming_normal_(nonlinearity="linear")`:
    the same where a layer is as wide as the one before, else √((1 + fan_out/fan_in) / 2) times
    this.

    Args:
        tensor: a weight (out, in, *window).
        gain: what the activation function needs; see `calculate_gain`.
        generator: None: the shared one.

    Raises:
        ValueError: the tensor has less than two axes.
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / max(1, sum(fans(tensor)))), generator)


def kaiming_uniform_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """U(-b, b) with b = gain √(3 / fan) (He et al. 2015).

    Args:
        tensor: a weight (out, in, *window).
        a: the negative slope of the leaky ReLU that follows (0: ReLU).
        mode: "fan_in" keeps the size of the signal, "fan_out" that of the gradient.
        nonlinearity: which activation function follows; see `calculate_gain`.
        generator: None: the shared one.

    Raises:
        ValueError: the tensor has less than two axes, or an unknown mode or nonlinearity.
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / _fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """N(0, σ²) with σ = gain / √fan (He et al. 2015).

    Args:
        tensor: a weight (out, in, *window).
        a: the negative slope of the leaky ReLU that follows (0: ReLU).
        mode: "fan_in" keeps the size of the signal, "fan_out" that of the gradient.
        nonlinearity: which activation function follows; see `calculate_gain`.
        generator: None: the shared one.

    Raises:
        ValueError: the tensor has less than two axes, or an unknown mode or nonlinearity.
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Rows (or columns, where there are more rows) of length `gain`, at right angles to each other.

    The axes after the first are taken as one.  Q of a QR decomposition of normal draws, with the
    signs that make R's diagonal positive, is uniform over all such matrices (Mezzadri 2007; Saxe
    et al. 2014 for the use).  Computed in host memory in float64.

    Args:
        tensor: (rows, ...), of two axes or more.
        gain: the rows' length.
        generator: None: the shared one.

    Raises:
        ValueError: the tensor has less than two axes.
        TypeError: it is no tensor, but an array.
        RuntimeError: it was computed, and would not keep its values.
    """
    require_leaf("orthogonal_", tensor)
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: the tensor needs two axes or more; shape {tensor.shape}")
    rows = tensor.shape[0]
    columns = math.prod(tensor.shape[1:])
    if not rows * columns:
        return tensor
    source = generator or default_generator()
    draws = source.normal((max(rows, columns), min(rows, columns)), dtype="float64")
    q, r = np.linalg.qr(active_backend().to_numpy(draws))
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return _fill(tensor, gain * np.reshape(q if rows >= columns else q.T, tensor.shape))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """What the weights must make up for, given the activation function that follows.

    "linear", "conv1d" and the like, "sigmoid": 1; "tanh": 5/3; "relu": √2;
    "leaky_relu": √(2 / (1 + slope²)); "selu": 3/4.  (He et al. 2015 for the rectifiers.)

    Args:
        nonlinearity: one of those names.
        param: the slope of the leaky ReLU; None: 0.01.

    Raises:
        ValueError: an unknown name.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity.startswith("conv"):
        return 1.0
    if nonlinearity not in GAINS:
        raise ValueError(
            f"calculate_gain: unknown nonlinearity {nonlinearity!r}; known are "
            f"{', '.join([*GAINS, 'leaky_relu'])}"
        )
    return GAINS[nonlinearity]


def require_leaf(name: str, tensor: Any) -> None:
    """Refuse what no parameter is, for the initialiser `name`.

    Args:
        name: for messages.
        tensor: what is to get new values.

    Raises:
        TypeError: it is an array, such as a parameter's `data`.
        RuntimeError: it was computed, inside `no_grad` too, such as a weight by `spectral_norm`, or
            a slice: its new values would be lost, and nobody would know.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"{name}: needs a tensor, got {type(tensor).__name__}; give it the parameter, "
            "layer.weight, not its array, layer.weight.data"
        )
    if isinstance(tensor, ComputedParameter):
        raise tensor.lost(name)
    if tensor.creator is not None or tensor.slot == UNRECORDED:
        raise RuntimeError(
            f"{name}: this tensor of shape {tensor.shape} was computed from others, which would "
            "not see its new values: they would be lost; initialise what it is computed from, or "
            f"assign: with nnx.no_grad(): weight[part] = init.{name}(nnx.empty(shape))"
        )


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *window): in and out, times the window's size.

    Args:
        tensor: the weight.

    Raises:
        ValueError: the tensor has less than two axes, as a bias has.
    """
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(f"fans: a weight must be (out, in, *window); shape {shape}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'the mode must be "fan_in" or "fan_out", got {mode!r}')
    return max(1, fans(tensor)[mode == "fan_out"])  # 0 where there is nothing to draw


def _fill(tensor: T, values: Any) -> T:
    tensor.data = copy_beside(tensor.data, values)
    return tensor


if not TYPE_CHECKING:  # a type checker would take every name for one that is here
    __getattr__ = answers(__name__)
