"""How much faster each step from the definition of a convolution to a tuned kernel is.

The steps of the textbook (Xu, chapters 4 and 5), and those beyond it, on the two convolutions of
its network.  All are given the same arrays, and held to one another before they are timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import reference
from ..backends import Backend, jit_enabled
from ..backends.jit import JitBackend
from ..backends.numpy import NumpyBackend
from ..backends.portable.window import Window
from ..typing import Array
from .timing import interleaved, percentile

__all__ = ["LAYERS", "Layer", "Method", "Timed", "methods", "time_layer"]

TOLERANCE = 1e-4  # of a result's largest value: float32 sums of some thousand products
FEW = 1  # images for the definition, which is too slow for more


class Layer(NamedTuple):
    """A convolution of the textbook's network: stride 1, the size kept.

    Args:
        name: what the table calls it.
        channels: of the image.
        filters: how many outputs there are.
        size: rows and columns of the image.
        kernel: rows and columns of the window, odd.
        needs_input: whether somebody before it learns, so that x needs a gradient.
    """

    name: str
    channels: int
    filters: int
    size: int
    kernel: int = 5
    needs_input: bool = True

    @property
    def padding(self) -> int:
        """Rows and columns of zeros on every side."""
        return self.kernel // 2


LAYERS = (
    Layer("1 -> 32 channels, 28x28 pixels, kernel 5x5", 1, 32, 28, needs_input=False),
    Layer("32 -> 64 channels, 14x14 pixels, kernel 5x5", 32, 64, 14),
)


class Method(NamedTuple):
    """A way to convolve.

    Args:
        name: what the table calls it.
        forward: x, weight, bias -> y and what `backward` is given with the gradient.
        backward: that of y, and what was kept -> those of x (or None), weight and bias.
        slow: whether it is timed with few images.
    """

    name: str
    forward: Callable[[Array, Array, Array], tuple[Array, Any]]
    backward: Callable[[Array, Any], tuple[Array | None, Array, Array]]
    slow: bool = False


def methods(layer: Layer) -> Iterator[Method]:
    """Every way to convolve as a layer does, from the definition upwards."""
    p, needs = layer.padding, layer.needs_input
    border = ((p, p), (p, p))
    window = Window((layer.kernel, layer.kernel), padding=border)

    def readable(
        name: str,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        padding: Any,
        slow: bool = False,
    ) -> Method:
        return Method(
            name,
            lambda x, w, b: (forward(x, w, b, padding=padding), (x, w)),
            lambda g, saved: backward(g, *saved, padding=padding, needs_input=needs),
            slow,
        )

    def kernel(name: str, backend: Backend) -> Method:
        return Method(
            name,
            lambda x, w, b: backend.conv2d(x, w, b, window, 1),
            lambda g, saved: backend.conv2d_backward(g, saved, (needs, True, True)),
        )

    r = reference
    yield readable("definition, four loops", r.conv2d, r.conv2d_backward, border, slow=True)
    yield readable("sliced, two loops", r.conv2d_sliced, r.conv2d_sliced_backward, p)
    yield readable("im2col, the textbook's", r.conv2d_columns, r.conv2d_columns_backward, p)
    yield kernel("im2col, portable kernel", Backend(np, "numpy"))
    yield kernel("NumPy kernel", NumpyBackend())
    if jit_enabled():
        yield kernel("numba kernel", JitBackend())


@dataclass(frozen=True)
class Timed:
    """How long a method takes.

    Args:
        method: its name.
        images: of the batch that was timed.
        forward: seconds for one image.
        both: seconds for one image, forward and backward.
    """

    method: str
    images: int
    forward: float
    both: float


def time_layer(layer: Layer, batch: int, rounds: int, seconds: float = 0.05) -> list[Timed]:
    """Check every method of a layer, then time them in turns.

    Each is given its images and gradients laid out in memory as its own result is: as the layers
    around it, computed likewise, would hand them over.

    Args:
        layer: one of `LAYERS`.
        batch: how many images, for the methods that are not slow.
        rounds, seconds: turns of each, and how long one is, as in `timing.interleaved`; what counts
            is the time that a tenth of the calls does not exceed.

    Raises:
        RuntimeError: two methods do not agree.
    """
    x, w, b, g = operands(layer, batch)
    found = list(methods(layer))
    few = min(FEW, batch)
    agree({m.name: results(m, x[:few], w, b, g[:few]) for m in found})
    agree({m.name: results(m, x, w, b, g) for m in found if not m.slow})
    sizes = {m.name: few if m.slow else batch for m in found}
    steps: dict[str, Callable[[], Any]] = {}
    for m in found:
        n = sizes[m.name]
        y, _ = m.forward(x[:n], w, b)
        image, gradient = laid_out_as(y, x[:n]), laid_out_as(y, g[:n])
        steps[f"{m.name}/forward"] = partial(m.forward, image, w, b)
        steps[f"{m.name}/both"] = partial(results, m, image, w, b, gradient)
    low = {name: percentile(t, 0.1) for name, t in interleaved(steps, rounds, seconds).items()}
    return [
        Timed(name, n, low[f"{name}/forward"] / n, low[f"{name}/both"] / n)
        for name, n in sizes.items()
    ]


def operands(layer: Layer, batch: int) -> tuple[Array, ...]:
    """x, weight, bias and a gradient for the result, float32."""
    rng = np.random.default_rng(0)
    image = (layer.size, layer.size)
    shapes = (
        (batch, layer.channels, *image),
        (layer.filters, layer.channels, layer.kernel, layer.kernel),
        (layer.filters,),
        (batch, layer.filters, *image),
    )
    return tuple(rng.standard_normal(shape).astype("float32") for shape in shapes)


def laid_out_as(y: Array, array: Array) -> Array:
    """A copy of an array whose axes follow one another in memory as those of y do."""
    out = np.empty_like(y, shape=array.shape)
    out[...] = array
    return out


def results(method: Method, x: Array, w: Array, b: Array, g: Array) -> tuple[Array | None, ...]:
    """y, and the gradients of x (where somebody needs it), weight and bias."""
    y, saved = method.forward(x, w, b)
    gx, gw, gb = method.backward(g, saved)
    return y, gx, gw, gb


def agree(found: dict[str, tuple[Array | None, ...]]) -> None:
    """Hold what the methods found to the first one's."""
    (first, expected), *others = found.items()
    for name, got in others:
        for what, a, e in zip(("y", "dx", "dweight", "dbias"), got, expected, strict=True):
            if a is None or e is None:
                continue
            far = float(np.abs(a - e).max(initial=0.0))
            if not far <= TOLERANCE * float(np.abs(e).max(initial=0.0)):
                raise RuntimeError(f"{name} and {first} differ in {what} by {far:.3g}")
