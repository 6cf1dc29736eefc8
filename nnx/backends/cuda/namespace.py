"""CuPy's array namespace, without what makes the host wait.

array-api-compat writes `clip` and `sign` for CuPy with boolean indices, and CuPy reads back how
many places such an index has: several launches, and a wait for all work before.  Neither can be
part of a captured step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...typing import Array

# CuPy copies up to 8 arrays one by one; more, by one launch and a table of addresses that it sends
# from host memory, which a replay would look for again.
MOST_JOINED = 8


class CudaNamespace:
    """array-api-compat's namespace `compat`, a few of its functions written anew.

    Args:
        compat: `array_api_compat.cupy`.
        cupy: the library itself.
        product: matrix products, as `CupyBackend.product`.
        recording: whether what this thread asks of the device is being recorded.
    """

    def __init__(
        self,
        compat: Any,
        cupy: Any,
        product: Callable[..., Array],
        recording: Callable[[], bool],
    ) -> None:
        self.compat, self.cupy = compat, cupy
        self.product, self.recording = product, recording
        self.sign_keeps_nan = int(cupy.__version__.partition(".")[0]) >= 14

    def __getattr__(self, name: str) -> Any:
        return getattr(self.compat, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.compat.__name__}>"

    def matmul(self, a: Array, b: Array, /, *, out: Array | None = None) -> Array:
        """The product of matrices, of vectors, of stacks; no operand is copied."""
        return self.product(a, b, out)

    def clip(
        self, x: Array, /, min: float | Array | None = None, max: float | Array | None = None
    ) -> Array:
        """x within the bounds, in x's dtype; NaN in x or in a bound is NaN; one launch for bounds
        that are numbers."""
        low, high = self._bound(x, min), self._bound(x, max)
        if self.compat.isdtype(x.dtype, "integral"):  # bounds that no value of x can pass
            limits = self.compat.iinfo(x.dtype)
            low = None if isinstance(low, int) and low <= limits.min else low
            high = None if isinstance(high, int) and high >= limits.max else high
        if low is None and high is None:
            return x.copy()
        if all(b is None or (isinstance(b, int | float) and b == b) for b in (low, high)):
            return self.cupy.clip(x, low, high)
        if low is not None:
            x = self.cupy.maximum(x, low)
        return x if high is None else self.cupy.minimum(x, high)

    def _bound(self, x: Array, bound: float | Array | None) -> float | Array | None:
        """As x's dtype has it: the standard casts bounds, not x."""
        if hasattr(bound, "dtype"):
            return bound.astype(x.dtype, copy=False)  # type: ignore[union-attr]
        if isinstance(bound, float) and self.compat.isdtype(x.dtype, "integral"):
            return int(bound)
        return bound

    def sign(self, x: Array, /) -> Array:
        """-1, 0 or 1; NaN stays NaN."""
        y = self.cupy.sign(x)
        if self.sign_keeps_nan or not self.compat.isdtype(x.dtype, "real floating"):
            return y
        return self.cupy.where(self.cupy.isnan(x), x, y)

    def concat(self, arrays: Any, /, *, axis: int | None = 0) -> Array:
        """Joined along an axis; in a recorded step at most `MOST_JOINED` at a time."""
        arrays = list(arrays)
        while len(arrays) > MOST_JOINED and self.recording():
            arrays = [
                self.cupy.concatenate(arrays[k : k + MOST_JOINED], axis=axis)
                for k in range(0, len(arrays), MOST_JOINED)
            ]
        return self.cupy.concatenate(arrays, axis=axis)

    def stack(self, arrays: Any, /, *, axis: int = 0) -> Array:
        """Joined along a new axis."""
        arrays = list(arrays)
        if len(arrays) <= MOST_JOINED or not self.recording():
            return self.cupy.stack(arrays, axis=axis)
        return self.concat([self.cupy.expand_dims(a, axis) for a in arrays], axis=axis)
