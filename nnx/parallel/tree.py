"""The fixed tree along which the parts of a batch are summed, whoever computes them.

A batch has P parts, P a power of two, and what each part gives is a leaf of the binary tree
((0+1)+(2+3))+((4+5)+(6+7)).  A sum of floating-point numbers depends on the order of its additions;
here the order is the tree's, so the result does not depend on how the leaves are dealt out.

A rank holds a run of leaves, and of them the sums of the largest whole subtrees: its *nodes*.  With
a power of two of ranks that is one node each, else a few.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
Span = tuple[int, int]  # the leaves low..high-1 of a whole subtree


def share(count: int, of: int, number: int) -> Span:
    """The `number`-th of `of` runs of range(count), as even as can be: (first, end)."""
    return count * number // of, count * (number + 1) // of


def rows_of_part(examples: int, parts: int, part: int) -> Span:
    """Which rows of a batch are a part: the first parts have one more where it does not divide.

    With fewer examples than parts the last parts are empty.
    """
    least, more = divmod(examples, parts)
    first = part * least + min(part, more)
    return first, first + least + (part < more)


def rows_of_parts(examples: int, parts: int, first: int, end: int) -> Span:
    """Which rows of a batch are the parts first..end-1."""
    return rows_of_part(examples, parts, first)[0], rows_of_part(examples, parts, end - 1)[1]


def spans(first: int, end: int) -> list[Span]:
    """The largest whole subtrees of the leaves first..end-1, from left to right."""
    found: list[Span] = []
    while first < end:
        size = first & -first or 1 << (end - first).bit_length()
        while first + size > end:
            size //= 2
        found.append((first, first + size))
        first += size
    return found


class Nodes:
    """Sums over subtrees: leaves go in from left to right, and join as soon as the tree lets them.

    `spans` and `sums` are what is there, from left to right.  Of the arrays that are given the left
    ones are written into, the others can be used again.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.sums: list[Array] = []

    def add(self, span: Span, value: Array) -> None:
        """The sum over a subtree, right of all that are there."""
        self.spans.append(span)
        self.sums.append(value)
        while len(self.spans) > 1 and _siblings(*self.spans[-2:]):
            _, end = self.spans.pop()
            right = self.sums.pop()
            self.spans[-1] = (self.spans[-1][0], end)
            self.sums[-1] = plus(self.sums[-1], right)

    def total(self) -> Array:
        """The sum of all that is there: the root, where all leaves of the tree went in."""
        first, *others = self.take()
        for other in others:
            first = plus(first, other)
        return first

    def take(self) -> list[Array]:
        """The sums; afterwards nothing is there."""
        sums = self.sums
        self.spans, self.sums = [], []
        return sums


def plus(left: Array, right: Array) -> Array:
    """left + right, vectors of NumPy or CuPy, in the memory of `left`.

    What overflowed in float16 comes as infinities, and leaves as NaN where they differ in sign:
    that is looked for where the sum is used, and no cause for a warning here.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        left += right
    return left


def _siblings(left: Span, right: Span) -> bool:
    """Whether two neighbouring subtrees are the two halves of one."""
    size = left[1] - left[0]
    return size == right[1] - right[0] and left[0] % (2 * size) == 0
