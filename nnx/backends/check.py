"""`NNX_KERNELS=check`: run each kernel and its portable twin, and compare."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from .base import ARRAY_METHODS, Backend, Residuals, dtype_name
from .portable import PortableKernels

# A kernel may sum in another order than its twin.  Relative to the largest value of the array.
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


class KernelMismatch(AssertionError):
    """A fast kernel and its portable twin gave different numbers."""


class CheckBackend(Backend):
    """Answers every kernel call with `fast`'s result, after comparing it with `portable`'s."""

    def __init__(self, fast: Backend, portable: Backend) -> None:
        super().__init__(fast.xp, fast.name, fast.device)
        self.fast, self.portable = fast, portable
        self.fuses_convolution = fast.fuses_convolution
        for name in ARRAY_METHODS:
            setattr(self, name, getattr(fast, name))
        for name, _ in inspect.getmembers(PortableKernels, inspect.isfunction):
            if not name.startswith("_"):
                setattr(self, name, self._checked(name))

    def _checked(self, name: str) -> Any:
        fast, portable = getattr(self.fast, name), getattr(self.portable, name)

        def kernel(*args: Any, **kwargs: Any) -> Any:
            copies = [self._copy(_side(a, 1)) if name.endswith("_") else _side(a, 1) for a in args]
            given = self._largest(copies)
            expected = portable(*copies, **kwargs)
            actual = fast(*[_side(a, 0) for a in args], **kwargs)
            return self._compare(name, actual, expected, given)

        return kernel

    def _copy(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._copy(v) for v in value)
        return self.xp.asarray(value, copy=True) if hasattr(value, "dtype") else value

    def _largest(self, x: Any) -> float:
        """The largest finite |value| of an array, or of any in a list; of anything else, 0."""
        if isinstance(x, Residuals) or not (isinstance(x, list | tuple) or hasattr(x, "dtype")):
            return 0.0
        if isinstance(x, list | tuple):
            return max(map(self._largest, x), default=0.0)
        values = np.abs(self.to_numpy(x))
        return float(np.max(values, initial=0.0, where=np.isfinite(values)))

    def _compare(self, name: str, actual: Any, expected: Any, given: float) -> Any:
        """`actual`, if it is what was expected; `given` is the largest of the arguments."""
        if isinstance(actual, Residuals):
            return Residuals((actual, expected))
        if isinstance(actual, list | tuple):
            pairs = zip(actual, expected, strict=True)
            return type(actual)(
                self._compare(f"{name}[{k}]", a, e, given) for k, (a, e) in enumerate(pairs)
            )
        if not hasattr(actual, "dtype"):
            if actual != expected:
                raise KernelMismatch(f"{name}: kernel gave {actual!r}, its twin {expected!r}")
            return actual
        if actual.dtype != expected.dtype or tuple(actual.shape) != tuple(expected.shape):
            raise KernelMismatch(
                f"{name}: kernel gave {actual.dtype} {tuple(actual.shape)}, "
                f"its twin {expected.dtype} {tuple(expected.shape)}"
            )
        a, e = self.to_numpy(actual), self.to_numpy(expected)
        with np.errstate(all="ignore"):
            bound = TOLERANCE.get(dtype_name(actual.dtype), 0.0) * max(
                self._largest(expected), 1e-30
            )
            if bound > 0:  # sums that cancel out leave rounding errors, of the size of their terms
                bound = max(bound, 32 * float(np.finfo(a.dtype).eps) * given)
            wrong = ~((np.abs(a - e) <= bound) | (a == e)) if a.dtype != bool else a != e
            wrong &= ~((a != a) & (e != e))  # NaN agrees with NaN
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise KernelMismatch(
                f"{name}: {int(wrong.sum())} of {a.size} values differ from the portable twin by "
                f"more than {bound:g}; first at {at}: kernel {a[at]!r}, twin {e[at]!r}; "
                f"shape {a.shape}, {a.dtype}"
            )
        return actual


def _side(value: Any, side: int) -> Any:
    """What `fast` (side 0) or `portable` (side 1) kept for its own backward."""
    return value[side] if isinstance(value, Residuals) else value
