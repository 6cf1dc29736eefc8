"""Data frames and series of other libraries (pandas, polars, ...) as NumPy arrays.

None of these libraries is imported: whatever has a `shape` and `to_numpy` is a table.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def from_table(table: Any) -> Any:
    """What is no table, as it is; a data frame (N, D) or a series (N,) as a NumPy array.

    Numbers that are missing become NaN.

    Raises:
        TypeError: some columns of a frame are no numbers.
    """
    if not (hasattr(table, "shape") and hasattr(table, "to_numpy")):
        return table
    array = np.asarray(table.to_numpy())
    if array.dtype != object:
        return array
    names = list(getattr(table, "columns", ()))
    columns = [table[name] for name in names] if names else [table]
    made, others = [], []
    for name, column in zip(names or [getattr(table, "name", None)], columns, strict=True):
        plain = np.asarray(column.to_numpy())
        if plain.dtype == object:
            try:
                plain = np.array([np.nan if _missing(v) else v for v in plain.tolist()])
                plain = plain.astype(np.float64) if plain.dtype.kind not in "biuf" else plain
            except (TypeError, ValueError):
                plain = np.empty(0, object)
        if plain.dtype.kind not in "biuf":
            others.append(str(name))
        made.append(plain)
    if not names:
        return array if others else made[0]  # a column of texts, which can still be split
    if others:
        raise TypeError(
            f"the columns {', '.join(others)} of the table are no numbers; leave them out, or make "
            "numbers of them first: np.unique(column, return_inverse=True)[1]"
        )
    return np.stack(made, axis=1)


def _missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType")
