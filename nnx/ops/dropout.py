"""Dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..backends import Array, backend_of
from ..tensor import Tensor
from ._function import Unary
from ._operands import as_tensor, require_one_dtype
from .arithmetic import multiply

if TYPE_CHECKING:
    from ..random import Generator


class Dropout(Unary):
    """y = x m / (1 - p), m = 1 with probability 1 - p and else 0, for each number on its own.

    Scaling here rather than at test time ("inverted" dropout) leaves the expectation of y at x.

    Backward.  dx = g m / (1 - p): the same function of g.  The mask is a function of where in the
    random stream it was drawn, so it is drawn again and not kept.
    """

    def __init__(self, p: float, generator: Generator) -> None:
        self.keep, self.generator = 1.0 - p, generator

    def forward(self, x: Array) -> Array:
        n = 1
        for length in x.shape:
            n *= length
        self.place = self.generator.reserve(n)
        return self._masked(x)

    def backward(self, g: Array) -> Array:
        return self._masked(g)

    def _masked(self, x: Array) -> Array:
        scale = 1.0 / self.keep if self.keep else 0.0
        return self.backend.dropout(x, *self.place, round(self.keep * 2**32), scale)


class AlphaDropout(Unary):
    """y = a (m x + (1 - m) v) + b, m = 1 with probability q = 1 - p and else 0:  dx = g a m.

    v = -s α is what `selu` goes to far below 0, s = 1.0507 and α = 1.6733.  With x of mean 0 and
    variance 1, m x + (1 - m) v has the mean p v and the variance q + p v² - p² v² = q (1 + p v²);
    so a = (q (1 + p v²))^(-1/2) and b = -a p v give y mean 0 and variance 1 again.

    With `maps`, one m is drawn for each of so many leading axes, and holds for all the others.
    """

    floats_only = True
    value = -1.0507009873554804934193352946 * 1.6732632423543772848170429916717

    def __init__(self, p: float, generator: Generator, maps: int | None = None) -> None:
        self.p, self.generator, self.maps = p, generator, maps

    def forward(self, x: Array) -> Array:
        xp, p, v = self.backend.xp, self.p, self.value
        shape = tuple(x.shape)
        if self.maps is not None:
            shape = shape[: self.maps] + (1,) * (len(shape) - self.maps)
        keep = self.generator.bernoulli(1.0 - p, shape, like=x)
        a = ((1.0 - p) * (1.0 + p * v * v)) ** -0.5 if p < 1 else 0.0
        kept = xp.astype(keep, x.dtype)
        self.scale = kept * a
        return x * self.scale + ((1 - kept) * (a * v) - a * p * v)

    def backward(self, g: Array) -> Array:
        return g * self.scale


def dropout(
    x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Zero each number with probability p and divide the others by 1 - p (Srivastava et al. 2014;
    Xu 9.26-9.29, which counts in the probability to *keep*); x itself where `training` is False.

    The result has x's shape.

    The mask comes from `generator`, or from the generator that `nnx.manual_seed` sets.

    Raises:
        ValueError: p is not between 0 and 1.
        TypeError: x is not of a floating-point dtype.
    """
    _check_p("dropout", p)
    x = as_tensor("dropout", x)
    if not training or p == 0.0:
        return x
    require_one_dtype("dropout", x=x)
    return Dropout(p, generator or _shared_generator())(x)


def dropout1d(
    x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """`dropout` of whole channels: x (N, C, L) or (C, L) -> the same shape (Tompson et al. 2015).

    Args:
        x: sequences.
        p: the probability to drop a channel.
        training: False: x itself.
        generator: where the mask comes from; None: what `nnx.manual_seed` sets.

    Raises:
        ValueError: p is not between 0 and 1, or x has other axes.
        TypeError: x is not of a floating-point dtype.
    """
    return _of_channels("dropout1d", (2, 3), x, p, training, generator)


def dropout2d(
    x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """`dropout` of whole feature maps: x (N, C, H, W) -> the same shape (Tompson et al. 2015).

    Args:
        x: images.  One without N is refused: PyTorch takes (C, H, W) for (N, C, L).
        p: the probability to drop a map.
        training: False: x itself.
        generator: where the mask comes from; None: what `nnx.manual_seed` sets.

    Raises:
        ValueError: p is not between 0 and 1, or x has other axes.
        TypeError: x is not of a floating-point dtype.
    """
    return _of_channels("dropout2d", (4,), x, p, training, generator)


def dropout3d(
    x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """`dropout` of whole channels of volumes: x (N, C, D, H, W) or (C, D, H, W) -> the same shape.

    Args:
        x: volumes.
        p: the probability to drop a channel.
        training: False: x itself.
        generator: where the mask comes from; None: what `nnx.manual_seed` sets.

    Raises:
        ValueError: p is not between 0 and 1, or x has other axes.
        TypeError: x is not of a floating-point dtype.
    """
    return _of_channels("dropout3d", (4, 5), x, p, training, generator)


FORMS = {
    "dropout1d": "(N, C, L) or (C, L)",
    "dropout2d": "(N, C, H, W)",
    "dropout3d": "(N, C, D, H, W) or (C, D, H, W)",
}


def _of_channels(
    name: str,
    ranks: tuple[int, ...],
    x: Tensor,
    p: float,
    training: bool,
    generator: Generator | None,
) -> Tensor:
    """Ones for each channel, dropped; x times that."""
    _check_p(name, p)
    x = as_tensor(name, x)
    if x.ndim not in ranks:
        raise ValueError(f"{name}: x must be {FORMS[name]}; x has shape {x.shape}")
    if not training or p == 0.0:
        return x
    require_one_dtype(name, x=x)
    maps = x.ndim - max(ranks) + 2
    shape = x.shape[:maps] + (1,) * (x.ndim - maps)
    ones = Tensor(backend_of(x.data).xp.ones(shape, dtype=x.dtype, device=x.device))
    return multiply(x, dropout(ones, p, True, generator))


def alpha_dropout(
    x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Dropout that keeps mean 0 and variance 1, for `selu` networks (Klambauer et al. 2017).

    What is dropped becomes -1.758, what `selu` goes to far below 0, and the result, of x's shape,
    is scaled and shifted.

    Args:
        x: of any shape; x itself comes back where p is 0.
        p: the probability to drop a number.
        training: False: x itself.
        generator: where the mask comes from; None: what `nnx.manual_seed` sets.

    Raises:
        ValueError: p is not between 0 and 1.
        TypeError: x is not of a floating-point dtype.
    """
    return _alpha("alpha_dropout", x, p, training, generator, None)


def feature_alpha_dropout(
    x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """`alpha_dropout` of whole channels: x (N, C, ...) -> the same shape.

    Args:
        x: at least two axes; x itself comes back where p is 0.
        p: the probability to drop a channel.
        training: False: x itself.
        generator: where the mask comes from; None: what `nnx.manual_seed` sets.

    Raises:
        ValueError: p is not between 0 and 1, or x has fewer axes.
        TypeError: x is not of a floating-point dtype.
    """
    return _alpha("feature_alpha_dropout", x, p, training, generator, 2)


def _alpha(
    name: str,
    x: Tensor,
    p: float,
    training: bool,
    generator: Generator | None,
    maps: int | None,
) -> Tensor:
    _check_p(name, p)
    x = as_tensor(name, x)
    if maps is not None and x.ndim < maps:
        raise ValueError(f"{name}: x must be (N, C, ...); x has shape {x.shape}")
    if not training or p == 0.0:
        return x
    require_one_dtype(name, x=x)
    return AlphaDropout(p, generator or _shared_generator(), maps)(x)


def _check_p(name: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name}: p must be between 0 and 1, got {p}")


def _shared_generator() -> Generator:
    from ..random import default_generator  # here, so that `import nnx` need not load it

    return default_generator()
