"""Arrays whose elements have names, and sums over many of them.

A sum of a hundred thousand terms is evaluated as arrays; of its terms only those are made that are
printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from .expression import LONG, Condition, Expr, Num, Sum, Value, total

Columns = tuple[np.ndarray, ...]  # of many indices: those of each axis


class Several(Num):
    """Many numbers in one place, in an expression that is evaluated for all of them.

    Args:
        number, error: arrays.
    """

    __slots__ = ()

    def __init__(self, number: Any, error: Any) -> None:
        self.number, self.error = number, error


class Named:
    """An array whose elements have names: `x[0, 1]`.

    Args:
        name: the array's.
        array: its values.
        errors: what rounding may have done to them, an array of the same shape; None: they are
            given, and exact.
    """

    def __init__(self, name: str, array: Any, errors: Any = None) -> None:
        self.name = name
        self.array = np.asarray(array, dtype=np.float64)
        self.errors = None if errors is None else np.asarray(errors, dtype=np.float64)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def __getitem__(self, index: Any) -> Num:
        index = index if isinstance(index, tuple) else (index,)
        number = self.array[index]
        error = 0.0 if self.errors is None else self.errors[index]
        if isinstance(number, np.ndarray):
            return Several(number, error)
        return Num(number, error, self.name, index)


class Made(Named):
    """Numbers that are made of others, each when it is first read.

    Args:
        name: the array's.
        shape: its lengths.
        e: the expression of an element.
        eps: as in `Expr.value`.
        by_element: e takes arrays of indices too; else it is asked for each once.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        e: Callable[[Any], Expr],
        eps: float,
        by_element: bool = False,
    ) -> None:
        self.name, self._shape, self._e, self._eps = name, shape, e, eps
        self._by_element = by_element
        self._known: dict[Any, Num] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def __getitem__(self, index: Any) -> Num:
        index = index if isinstance(index, tuple) else (index,)
        if any([isinstance(k, np.ndarray) for k in index]):
            return self._several(index)
        if index not in self._known:
            self._known[index] = Num(*self._e(index).value(self._eps), self.name, index)
        return self._known[index]

    def _several(self, index: Any) -> Num:
        if self._by_element:
            return Several(*self._e(index).value(self._eps))
        flat = np.ravel_multi_index(np.broadcast_arrays(*index), self._shape)
        at, of = np.unique(flat, return_inverse=True)
        places = np.stack(np.unravel_index(at, self._shape), axis=1).tolist()
        some = [self[tuple(k)] for k in places]
        numbers, errors = np.asarray([num.number for num in some]), [num.error for num in some]
        return Several(numbers[of], np.asarray(errors)[of])

    def whole(self) -> Named:
        """All of them."""
        numbers = [self[at].number for at in np.ndindex(self._shape)]
        return Named(self.name, np.reshape(numbers, self._shape))


class Alike(Sum):
    """The terms e(i) of many indices i, and then some more.

    Args:
        e: from an index to a term, and from `Columns` to an expression of arrays; it has no
            conditions.
        columns: the indices.
        more: further terms.
    """

    def __init__(self, e: Callable[[Any], Expr], columns: Columns, more: tuple[Expr, ...]) -> None:
        self._e, self._columns, self._more = e, columns, more
        self._alike = len(columns[0])

    @cached_property
    def terms(self) -> tuple[Expr, ...]:  # type: ignore[override]
        return tuple([self.term(k) for k in range(len(self))])

    def __len__(self) -> int:
        return self._alike + len(self._more)

    def term(self, k: int) -> Expr:
        if k >= self._alike:
            return self._more[k - self._alike]
        return self._e(tuple([int(column[k]) for column in self._columns]))

    def values(self, eps: float) -> tuple[list[float], list[float]]:
        with np.errstate(all="ignore"):
            v = self._e(self._columns).value(eps)
        more = [e.value(eps) for e in self._more]
        numbers, errors = (np.broadcast_to(part, self._alike).tolist() for part in v)
        return numbers + [p.number for p in more], errors + [p.error for p in more]

    def value(self, eps: float, leaf: Any = None) -> Value:
        if leaf is not None:
            return super().value(eps, leaf)
        numbers, errors = self.values(eps)
        size = math.fsum(map(abs, numbers))
        return Value(math.fsum(numbers), math.fsum(errors) + eps * size)

    def conditions(self) -> Iterator[Condition]:
        return iter(())


def alike(e: Callable[[Any], Expr], columns: Columns, *more: Expr) -> Expr:
    """The sum of e(i) over many indices, and of some more terms.

    Args:
        e: as of `Alike`.
        columns: the indices, of each axis in an array.
        more: further terms.
    """
    terms = Alike(e, columns, more)
    return terms if len(terms) > LONG else total(terms.terms)


def box(*ranges: range) -> Columns:
    """All indices of a part of an array, row by row.

    Args:
        ranges: which places of each axis.
    """
    return tuple([axis.ravel() for axis in np.meshgrid(*ranges, indexing="ij")])
