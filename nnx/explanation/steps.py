"""What an explanation is made of: headings, sentences, formulas, numbers, and their equalities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .expression import Expr, Num, Rest, Value, abridged
from .writing import Writing, as_printed, shown

MOST_ROWS = 6  # that work an expression out


@dataclass(frozen=True)
class Heading:
    """A title; level 1 is the whole explanation's."""

    text: str
    level: int


@dataclass(frozen=True)
class Sentence:
    """A sentence."""

    text: str


@dataclass(frozen=True)
class Formula:
    """A formula in general, the shapes that it makes of shapes, and where it stands."""

    text: str
    shapes: str = ""
    source: str = ""


@dataclass(frozen=True)
class Numbers:
    """The values of an array."""

    name: str
    array: np.ndarray


@dataclass(frozen=True)
class Row:
    """One row of an equality: `relation` is "=" where the numbers, as printed, give the result as
    printed, and "≈" where they give it but for the last digits."""

    relation: str
    expression: Expr
    names: bool
    text: str


@dataclass(frozen=True)
class Equality:
    """One number: its name, the formula with names, with numbers, worked out, and the result.

    Attributes:
        name: of the number, `y[0, 1]`.
        rows: the formula with names, with numbers, and so on to the result.
        since: conditions that decided which formula holds.
        rests: what is left out of long sums.
        digits: that numbers are rounded to.
        terms: what the terms give.
        layer: what the layer computed; of a number between, which no layer shows, what a second
            way of computing it gave, or None where there is none.
        between: whether it is such a number.
        tolerance: how far the two may be apart: what rounding in the layer's dtype can do.
    """

    name: str
    rows: tuple[Row, ...]
    since: tuple[str, ...]
    rests: tuple[Rest, ...]
    digits: int
    terms: float
    layer: float | None
    tolerance: float
    between: bool = False

    @property
    def holds(self) -> bool:
        """Whether the terms give what the layer computed."""
        if self.layer is None:
            return math.isfinite(self.terms)
        return abs(self.terms - self.layer) <= self.tolerance  # False for NaN

    @property
    def result(self) -> str:
        """The result as it is printed."""
        return self.rows[-1].text


@dataclass(frozen=True)
class Verdict:
    """A sentence that says how many numbers were evaluated like this, and whether all hold."""

    text: str
    holds: bool


Step = Heading | Sentence | Formula | Numbers | Equality | Verdict


def equality(
    name: str,
    e: Expr,
    terms: float,
    layer: float | None,
    eps: float,
    tolerance: float,
    digits: int,
    between: bool = False,
) -> Equality:
    """A number derived: the expression is evaluated, and all its rows, as they will be printed.

    Args:
        name: what the number is called.
        e: the expression.
        terms: its value.
        layer: what it is to be, or None.
        eps: of the dtype that the layer computed in.
        tolerance: how far apart the two may be.
        digits: the fewest that a number is rounded to; more where the rows would not add up.
        between: as in `Equality`.
    """
    rests: list[Rest] = []
    short = abridged(e, eps, rests)
    agrees = layer is not None and abs(terms - layer) <= tolerance
    result = layer if agrees and layer is not None else terms
    if abs(result) <= tolerance:  # what cancellation left of 0
        result = 0.0
    for more in range(digits, digits + 9, 2):
        rows = rows_of(short, result, eps, more)
        if all(_close(row, result, more) for row in rows):
            break
    since = tuple(dict.fromkeys(Writing(True, more).condition(c) for c in e.conditions()))
    return Equality(name, tuple(rows), since, tuple(rests), more, terms, layer, tolerance, between)


def rows_of(e: Expr, result: float, eps: float, digits: int) -> list[Row]:
    """The expression with names, with numbers, worked out step by step, and the result."""
    forms: list[tuple[Expr, bool]] = [(e, True)]
    form: Expr | None = e
    while form is not None and len(forms) < MOST_ROWS:
        forms.append((form, False))
        form = form.simpler(eps)
    end = Num(result)
    forms.append((end, False))
    rows: list[Row] = []
    for form, names in forms:
        text = Writing(names, digits).text(form)
        if rows and text == rows[-1].text:
            rows[-1] = Row(rows[-1].relation, form, False, text)  # no name in it
            continue
        relation = "="
        if rows and rows[-1].names:  # numbers in the place of names
            relation = "=" if _exact(form, eps, digits) else "≈"
        elif rows:
            there = shown(printed(rows[-1].expression, digits).number, digits)
            here = shown(printed(form, digits).number, digits)
            relation = "=" if there == here else "≈"
        rows.append(Row(relation, form, names, text))
    return rows


def printed(e: Expr, digits: int) -> Value:
    """What a reader with a calculator gets, and how far that is from the truth."""
    return e.value(0.0, as_printed(digits))


def _exact(e: Expr, eps: float, digits: int) -> bool:
    """Whether all numbers are printed as they are, but for what their dtype cannot hold."""
    if not isinstance(e, Num):
        return all(_exact(c, eps, digits) for c in e.children())
    _, error = as_printed(digits)(e)
    return error <= eps * abs(e.number)


def _close(row: Row, result: float, digits: int) -> bool:
    """Whether the row's numbers, as printed, give the result but for half a percent."""
    if row.names or not math.isfinite(result):
        return True
    got = printed(row.expression, digits).number
    return abs(got - result) <= 5e-3 * abs(result) + 1e-12
