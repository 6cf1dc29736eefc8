"""Expressions of numbers: what is printed, and what its value is, from one tree.

A number in an expression has a value and, where it stands for something, a name.  The same tree is
therefore printed with names, with numbers, and with its inner parts worked out one after another;
and it can be evaluated with the numbers as they are, or as they were printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

SHOWN_TERMS = 3  # of a long sum
LONG = 10  # a sum of more terms is long

# How tightly what is printed holds together.
SUM, PRODUCT, POWER, ATOM = range(4)


class Value(NamedTuple):
    """A number, and how far rounding may have carried it; of `Several`, arrays of both."""

    number: float
    error: float


Leaf = Callable[["Num"], Value]


class Expr:
    """Numbers and what is done with them."""

    tightness = ATOM

    def children(self) -> tuple[Expr, ...]:
        return ()

    def rebuilt(self, children: Sequence[Expr]) -> Expr:
        """The same operation on others."""
        return self

    def worked_out(self, parts: Sequence[Value], eps: float) -> Value:
        """The value, given the children's."""
        raise NotImplementedError

    def value(self, eps: float, leaf: Leaf | None = None) -> Value:
        """The value, and what rounding in steps of `eps` may have done to it.

        Args:
            eps: the distance from 1 to the next number of the dtype that was computed in.
            leaf: what a number counts as, if not as itself.
        """
        return self.worked_out([c.value(eps, leaf) for c in self.children()], eps)

    def simpler(self, eps: float) -> Expr | None:
        """The expression with those parts worked out that are made of numbers only; None where
        that is the whole."""
        if all(isinstance(c, Num) for c in self.children()):
            return None
        return self.rebuilt([_simpler(c, eps) for c in self.children()])

    def conditions(self) -> Iterator[Condition]:
        """What is asserted along the way."""
        for child in self.children():
            yield from child.conditions()

    # ---- how it is written in Python ----

    def __add__(self, other: Expr | float) -> Expr:
        return total([self, wrapped(other)])

    def __radd__(self, other: float) -> Expr:
        return total([wrapped(other), self])

    def __sub__(self, other: Expr | float) -> Expr:
        return total([self, Negative(wrapped(other))])

    def __rsub__(self, other: float) -> Expr:
        return total([wrapped(other), Negative(self)])

    def __mul__(self, other: Expr | float) -> Expr:
        return Product((self, wrapped(other)))

    def __rmul__(self, other: float) -> Expr:
        return Product((wrapped(other), self))

    def __truediv__(self, other: Expr | float) -> Expr:
        return Quotient(self, wrapped(other))

    def __rtruediv__(self, other: float) -> Expr:
        return Quotient(wrapped(other), self)

    def __neg__(self) -> Expr:
        return Negative(self)


def _simpler(part: Expr, eps: float) -> Expr:
    if isinstance(part, Num):
        return part
    simpler = part.simpler(eps)
    return Num(*part.value(eps)) if simpler is None else simpler


class Num(Expr):
    """A number, which may have a name; `error` is what rounding may have done to it before.

    Args:
        number, error: as above.
        name: "", or that of an array, where `index` says which element this is.
        index: of the element.
    """

    __slots__ = ("_index", "_name", "error", "number")

    def __init__(
        self, number: float, error: float = 0.0, name: str = "", index: Sequence[int] = ()
    ) -> None:
        self.number, self.error = float(number), float(error)
        self._name, self._index = name, index

    def value(self, eps: float, leaf: Leaf | None = None) -> Value:
        return Value(self.number, self.error) if leaf is None else leaf(self)

    @property
    def name(self) -> str:
        """x[0, 1]; made when it is asked for, as most numbers are never printed."""
        return element(self._name, self._index)


class Sum(Expr):
    """Terms that are added, from left to right."""

    __slots__ = ("terms",)
    tightness = SUM

    def __init__(self, terms: tuple[Expr, ...]) -> None:
        self.terms = terms

    def children(self) -> tuple[Expr, ...]:
        return self.terms

    def rebuilt(self, children: Sequence[Expr]) -> Expr:
        return Sum(tuple(children))

    def worked_out(self, parts: Sequence[Value], eps: float) -> Value:
        size = fsum([abs(p.number) for p in parts])
        error = fsum([p.error for p in parts]) + eps * size
        return Value(fsum([p.number for p in parts]), error)

    def __len__(self) -> int:
        return len(self.terms)

    def term(self, k: int) -> Expr:
        """The term number k."""
        return self.terms[k]

    def values(self, eps: float) -> tuple[list[float], list[float]]:
        """The terms' numbers, and how far rounding may have carried each."""
        parts = [t.value(eps) for t in self.terms]
        return [p.number for p in parts], [p.error for p in parts]


class Negative(Expr):
    """Minus something."""

    __slots__ = ("inner",)
    tightness = SUM

    def __init__(self, inner: Expr) -> None:
        self.inner = inner

    def children(self) -> tuple[Expr, ...]:
        return (self.inner,)

    def rebuilt(self, children: Sequence[Expr]) -> Expr:
        return Negative(children[0])

    def worked_out(self, parts: Sequence[Value], eps: float) -> Value:
        return Value(-parts[0].number, parts[0].error)


class Product(Expr):
    """Factors."""

    __slots__ = ("factors",)
    tightness = PRODUCT
    factors: tuple[Expr, ...]

    def __init__(self, factors: tuple[Expr, ...]) -> None:
        flat: list[Expr] = []
        for factor in factors:
            flat += factor.factors if isinstance(factor, Product) else [factor]
        self.factors = tuple(flat)

    def children(self) -> tuple[Expr, ...]:
        return self.factors

    def rebuilt(self, children: Sequence[Expr]) -> Expr:
        return Product(tuple(children))

    def worked_out(self, parts: Sequence[Value], eps: float) -> Value:
        number, error = 1.0, 0.0
        for part in parts:
            error = abs(number) * part.error + abs(part.number) * error
            number *= part.number
            error += eps * abs(number)
        return Value(number, error)


class Quotient(Expr):
    """One number divided by another."""

    __slots__ = ("above", "below")
    tightness = PRODUCT

    def __init__(self, above: Expr, below: Expr) -> None:
        self.above, self.below = above, below

    def children(self) -> tuple[Expr, ...]:
        return (self.above, self.below)

    def rebuilt(self, children: Sequence[Expr]) -> Expr:
        return Quotient(*children)

    def worked_out(self, parts: Sequence[Value], eps: float) -> Value:
        above, below = parts
        if below.number == 0.0:
            return Value(math.nan, math.inf)
        number = above.number / below.number
        error = (above.error + abs(number) * below.error) / abs(below.number)
        return Value(number, error + eps * abs(number))


@dataclass(frozen=True)
class Known:
    """A function of one number: how it is computed, its slope, and how it is written."""

    compute: Callable[[float], float]
    slope: Callable[[float], float]
    before: str
    after: str = ""  # where there is one, no brackets are needed
    of_arrays: bool = False  # whether both functions take arrays


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


FUNCTIONS = {
    "exp": Known(lambda x: math.exp(min(x, 709.0)), lambda x: math.exp(min(x, 709.0)), "exp"),
    "log": Known(math.log, lambda x: 1 / x, "log"),
    "log1p": Known(math.log1p, lambda x: 1 / (1 + x), "log(1 + ", ")"),
    "tanh": Known(math.tanh, lambda x: 1 - math.tanh(x) ** 2, "tanh"),
    "sigmoid": Known(_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x), "σ"),
    "erf": Known(math.erf, lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x), "erf"),
    "sin": Known(math.sin, math.cos, "sin"),
    "cos": Known(math.cos, lambda x: -math.sin(x), "cos"),
    "tan": Known(math.tan, lambda x: 1 + math.tan(x) ** 2, "tan"),
    "sinh": Known(math.sinh, math.cosh, "sinh"),
    "cosh": Known(math.cosh, math.sinh, "cosh"),
    "abs": Known(abs, lambda x: 1.0, "|", "|"),
    "sqrt": Known(math.sqrt, lambda x: 0.5 / math.sqrt(x) if x > 0 else math.inf, "√"),
    "square": Known(lambda x: x * x, lambda x: 2 * x, "", "²", of_arrays=True),
}


class Call(Expr):
    """A function of one number."""

    __slots__ = ("inner", "name")

    def __init__(self, name: str, inner: Expr) -> None:
        self.name, self.inner = name, inner

    @property
    def tightness(self) -> int:  # type: ignore[override]
        return POWER if self.name == "square" else ATOM

    def children(self) -> tuple[Expr, ...]:
        return (self.inner,)

    def rebuilt(self, children: Sequence[Expr]) -> Expr:
        return Call(self.name, children[0])

    def worked_out(self, parts: Sequence[Value], eps: float) -> Value:
        known, (x, error) = FUNCTIONS[self.name], parts[0]
        if isinstance(x, np.ndarray) and not known.of_arrays:
            several = [self.worked_out([Value(*pair)], eps) for pair in _pairs(x, error)]
            return Value(*np.asarray(several).T)
        number = known.compute(x)
        certain = isinstance(error, float) and not error
        through = 0.0 if certain else abs(known.slope(x)) * error
        return Value(number, through + eps * abs(number))


class Extreme(Expr):
    """The largest of some numbers, or the smallest."""

    __slots__ = ("inner", "largest")

    def __init__(self, inner: tuple[Expr, ...], largest: bool = True) -> None:
        self.inner, self.largest = inner, largest

    def children(self) -> tuple[Expr, ...]:
        return self.inner

    def rebuilt(self, children: Sequence[Expr]) -> Expr:
        return Extreme(tuple(children), self.largest)

    def worked_out(self, parts: Sequence[Value], eps: float) -> Value:
        choose = max if self.largest else min
        return Value(choose(p.number for p in parts), max(p.error for p in parts))


class Condition(NamedTuple):
    """What decided which piece of a function holds: left, "<" or the like, right."""

    left: Expr
    sign: str
    right: Expr

    def holds(self) -> bool:
        """Whether it is so, of the numbers as they are."""
        a, b = self.left.value(0.0).number, self.right.value(0.0).number
        return {"<": a < b, ">": a > b, "≤": a <= b, "≥": a >= b, "=": a == b}[self.sign]


class When(Expr):
    """An expression that holds since conditions do; it is printed as the expression."""

    __slots__ = ("because", "inner")

    def __init__(self, inner: Expr, *because: Condition) -> None:
        self.inner, self.because = inner, because

    @property
    def tightness(self) -> int:  # type: ignore[override]
        return self.inner.tightness

    def children(self) -> tuple[Expr, ...]:
        return (self.inner,)

    def rebuilt(self, children: Sequence[Expr]) -> Expr:
        return children[0]

    def simpler(self, eps: float) -> Expr | None:
        return None if isinstance(self.inner, Num) else self.inner.simpler(eps)

    def worked_out(self, parts: Sequence[Value], eps: float) -> Value:
        if not all(condition.holds() for condition in self.because):
            return Value(math.nan, 0.0)  # equal to nothing: the line does not hold
        return parts[0]

    def conditions(self) -> Iterator[Condition]:
        yield from self.because
        yield from super().conditions()


def wrapped(x: Expr | float) -> Expr:
    """A plain number as an expression."""
    return x if isinstance(x, Expr) else Num(x)


def total(terms: Sequence[Expr]) -> Expr:
    """A sum, without sums inside at its beginning; of one term that term, of none 0."""
    flat: list[Expr] = []
    for term in terms:
        flat += term.terms if isinstance(term, Sum) else [term]
    if not flat:
        return Num(0.0)
    return flat[0] if len(flat) == 1 else Sum(tuple(flat))


def call(name: str, x: Expr | float) -> Expr:
    """A function of `FUNCTIONS` of an expression."""
    return Call(name, wrapped(x))


def largest(*inner: Expr | float) -> Expr:
    """The largest of some expressions."""
    return Extreme(tuple(map(wrapped, inner))) if len(inner) > 1 else wrapped(inner[0])


def smallest(*inner: Expr | float) -> Expr:
    """The smallest of some expressions."""
    return Extreme(tuple(map(wrapped, inner)), largest=False)


def fsum(terms: Sequence[Any]) -> Any:
    """The sum, rounded once; of arrays, element by element."""
    if not any([isinstance(term, np.ndarray) for term in terms]):
        return math.fsum(terms)
    if len(terms) == 2:
        return terms[0] + terms[1]
    return np.asarray([math.fsum(column) for column in _pairs(*terms)])


def _pairs(*columns: Any) -> Iterator[tuple[float, ...]]:
    """The elements of arrays, and of numbers that stand beside each, together."""
    return zip(*[column.tolist() for column in np.broadcast_arrays(*columns)], strict=True)


class Rest(NamedTuple):
    """What a long sum is printed without."""

    name: str
    terms: int
    of: int
    number: float


def abridged(e: Expr, eps: float, rests: list[Rest]) -> Expr:
    """The expression with long sums cut: a few terms, and one number for all the others.

    Args:
        e: the expression.
        eps: as in `Expr.value`.
        rests: what is left out is added to these.
    """
    if isinstance(e, When):
        return When(abridged(e.inner, eps, rests), *e.because)
    if isinstance(e, Sum) and len(e) > LONG:
        numbers, errors = e.values(eps)
        some = [k for k, number in enumerate(numbers) if number][:SHOWN_TERMS]
        first = [e.term(k) for k in some]  # of the terms that add something
        others = [Value(numbers[k], errors[k]) for k in range(len(e)) if k not in some]
        number, error = e.worked_out(others, eps)
        name = "R" + "′" * len(rests)
        rests.append(Rest(name, len(others), len(e), number))
        return Sum((*(abridged(t, eps, rests) for t in first), Num(number, error, name)))
    return e.rebuilt([abridged(c, eps, rests) for c in e.children()])


def element(name: str, index: Sequence[int]) -> str:
    """x[0, 1]; x itself where there is no index."""
    return f"{name}[{', '.join(str(int(k)) for k in index)}]" if len(index) else name
