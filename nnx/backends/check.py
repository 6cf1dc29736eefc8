"""`NNX_KERNELS=check`: run each kernel and its portable twin, and compare."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .base import ARRAY_METHODS, Backend, Residuals, dtype_name
from .portable import PortableKernels

# A kernel may sum in another order than its twin.  Relative to the largest value of the array.
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
TRIALS = 4  # how often the twin is asked again before a kernel is called wrong

Again = Callable[[int], Any]


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
            if name.endswith("_"):  # the arguments are not what they were
                return self._compare(name, actual, expected, given, None)
            return self._compare(
                name, actual, expected, given,
                lambda trial: portable(*[self._moved(a, trial) for a in args], **kwargs),
            )  # fmt: skip

        return kernel

    def _moved(self, x: Any, trial: int) -> Any:
        """An argument for the twin with the last bit of every float up, down or as it was."""
        if isinstance(x, Residuals):
            return x[2](trial)
        if isinstance(x, list | tuple) and not hasattr(x, "_fields"):
            return type(x)(self._moved(v, trial) for v in x)
        if not (hasattr(x, "dtype") and self.is_float(x.dtype)):
            return x
        host = self.to_numpy(x)
        steps = np.random.default_rng(trial).integers(-1, 2, host.shape)
        moved = host * (1 + steps * np.finfo(host.dtype).eps)
        return self.from_numpy(np.asarray(moved, host.dtype))

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

    def _compare(
        self, name: str, actual: Any, expected: Any, given: float, again: Again | None
    ) -> Any:
        """`actual`, if it is what was expected.

        `given` is the largest of the arguments.  `again(trial)` is what the twin makes of arguments
        that differ in their last bits: it is asked before a kernel is called wrong, for the two
        may differ by as much as those do.
        """
        if isinstance(actual, Residuals):
            return Residuals((actual, expected, again))
        if isinstance(actual, list | tuple):
            pairs = zip(actual, expected, strict=True)
            return type(actual)(
                self._compare(f"{name}[{k}]", a, e, given, _part(again, k))
                for k, (a, e) in enumerate(pairs)
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
            if again is not None and bound > 0 and wrong.any():
                near = [self._largest(self.to_numpy(again(k)) - e) for k in range(TRIALS)]
                bound = max(bound, 16 * max(near))
                wrong &= ~(np.abs(a - e) <= bound)
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


def _part(again: Again | None, k: int) -> Again | None:
    """The same for one of several results."""
    return None if again is None else lambda trial: again(trial)[k]
