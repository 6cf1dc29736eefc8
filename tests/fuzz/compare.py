"""When two results are the same."""

from __future__ import annotations

import numpy as np

EPS = {"float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}
FLOOR = {"float16": 1e-7, "float32": 1e-33, "float64": 1e-290}  # what is less may be 0
UNITS = 64  # how many roundings of the largest value (or of each, if relative) are forgiven


def difference(
    actual: np.ndarray,
    expected: np.ndarray,
    moved: np.ndarray | None,
    native: np.ndarray,
    relative: bool,
    largest: float | None,
    slack: float,
) -> str | None:
    """What is wrong with `actual`, in one line; None: nothing.

    Args:
        expected: the answer, in float64.
        moved: how far the answer moves when every input is changed by its last bit.
        native: the answer key's own result in the dtype of `actual`, asked only where there are
            infinities and NaN: float64 overflows later than float32.
        relative: see `Case`.
        largest: the size of the terms that the result may be a difference of, or None.
        slack: see `Case`.
    """
    if actual.dtype.kind != "f":
        wrong = actual != expected
    else:
        wrong = _far(actual, expected, moved, relative, largest, slack)
        if wrong.any():
            odd = ~(np.isfinite(expected) & np.isfinite(native))
            wrong &= ~(odd & ((actual == native) | (np.isnan(actual) & np.isnan(native))))
    if not wrong.any():
        return None
    at = tuple(int(k) for k in np.argwhere(wrong)[0])
    return (
        f"{int(wrong.sum())} of {actual.size} values differ, first at {at}: "
        f"{actual[at]!r} and not {expected[at]!r}"
    )


def _far(
    actual: np.ndarray,
    expected: np.ndarray,
    moved: np.ndarray | None,
    relative: bool,
    largest: float | None,
    slack: float,
) -> np.ndarray:
    info = np.finfo(actual.dtype)
    unit = UNITS * slack * EPS[actual.dtype.name]
    with np.errstate(all="ignore"):
        size = np.abs(expected)
        finite = np.where(np.isfinite(size), size, 0)
        allowed = unit * (finite if relative else finite.max(initial=0.0))
        allowed = allowed + unit * (largest or 0.0) + FLOOR[actual.dtype.name]
        if moved is not None:
            allowed = allowed + 16 * slack * (moved if relative else moved.max(initial=0.0))
        near = np.abs(actual - expected) <= allowed
        near |= (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        near |= np.isinf(actual) & (np.sign(actual) * expected > float(info.max) * (1 - unit))
    return ~near
