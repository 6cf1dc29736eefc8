"""What the explanations of layers are written with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .arrays import Named
from .differences import STEP, Differences
from .expression import Expr, Num, Value, element
from .measured import Measured
from .page import Explanation
from .sentences import SENTENCES
from .steps import Equality, Formula, Heading, Numbers, Sentence, Verdict, equality

MANY = 64  # elements of an array that are all evaluated; of more, a sample
SAMPLE = 16
SLACK = 16  # roundings more than the formula has, in a layer that computes in another order

Index = tuple[int, ...]
Element = Callable[[Index], Expr]


class Writer:
    """Adds to an explanation what a layer's explainer says.

    Args:
        measured: what the layer did.
        page: what is written on.
        at: which element of an array is spelled out, by the array's name.
        digits: that numbers are rounded to.
        level: of the headings.
    """

    def __init__(
        self,
        measured: Measured,
        page: Explanation,
        at: Mapping[str, Index],
        digits: int,
        level: int = 1,
    ) -> None:
        self.measured, self.page, self.digits, self.level = measured, page, digits, level
        self.at = dict(at)
        self.inside = False  # of a model, whose gradients are checked at its end
        self.handed = False  # the upstream gradient is that of the layer after this one
        self.derived: list[str] = []  # names of arrays
        self.spelled: dict[str, Index] = {}  # which element of each gradient was

    # ---- words ----

    def words(self, key: str, **parts: Any) -> str:
        """A sentence of the page's language."""
        return SENTENCES[self.page.language][key].format(**parts)

    def heading(self, key: str, **parts: Any) -> None:
        """A heading below this page's own."""
        self.page.steps.append(Heading(self.words(key, **parts), self.level + 1))

    def title(self, text: str) -> None:
        """The heading of the layer."""
        self.page.steps.append(Heading(text, self.level))

    def say(self, key: str, **parts: Any) -> None:
        """A sentence."""
        self.page.steps.append(Sentence(self.words(key, **parts)))

    def formula(self, text: str, shapes: str = "", source: str = "") -> None:
        """A formula in general: `y = x @ x > 0 ; a x` is x where x > 0, else a x."""
        *pieces, last = text.split(" ; ")
        if pieces:
            pieces = [
                self.words("where", value=value, condition=condition)
                for value, condition in (piece.split(" @ ") for piece in pieces)
            ]
            text = self.words("pieces", pieces=", ".join(pieces), last=last)
        self.page.steps.append(Formula(text, shapes, source))

    def show(self, *arrays: Named) -> None:
        """The values of arrays."""
        for a in arrays:
            self.page.steps.append(Numbers(a.name, a.array))

    # ---- parts that all layers have ----

    def named_input(self, k: int, name: str) -> Named:
        """An input of the layer."""
        return Named(name, self.measured.inputs[k])

    def parameter(self, key: str, name: str) -> Named | None:
        """A parameter of the layer, or None where it has no such."""
        values = self.measured.parameters.get(key)
        return None if values is None else Named(name, values)

    def forward(self, *given: Named | None) -> None:
        """The heading of the forward half, and what is given."""
        self.heading("forward")
        self.show(*(a for a in given if a is not None))

    def backward(self) -> Named:
        """The heading of the backward half, and the upstream gradient."""
        self.heading("backward")
        g = Named("g", self.measured.upstream)
        m = self.measured
        default = "upstream_loss" if m.y.size == 1 else "upstream_default"
        given = "upstream" if m.given else default
        self.say("upstream_handed" if self.handed else given)
        self.show(g)
        return g

    # ---- numbers ----

    def value(self, name: str, e: Expr, other: float | None = None, by_layer: bool = False) -> Num:
        """A number on the way: spelled out, and given a name.

        Args:
            name: what it is called.
            e: its expression.
            other: what it is by another way of computing it.
            by_layer: whether that is the layer's.
        """
        v = e.value(self.measured.eps)
        self._add(name, e, v, other, not by_layer)
        return Num(*v, name)

    def spell(self, name: str, e: Expr, layer: float) -> Equality:
        """A number that the layer computed, spelled out."""
        return self._add(name, e, e.value(self.measured.eps), layer, False)

    def _add(self, name: str, e: Expr, v: Value, other: float | None, between: bool) -> Equality:
        eps, tolerance = self.measured.eps, self.tolerance(v)
        line = equality(name, e, v.number, other, eps, tolerance, self.digits, between)
        self.page.steps.append(line)
        return line

    def tolerance(self, v: Value) -> float:
        """How far the layer's number may be from an expression's value."""
        if not math.isfinite(v.number):
            return 0.0
        m = self.measured
        return SLACK * (v.error + m.eps * abs(v.number)) + 4 * m.tiny

    def derive(
        self,
        name: str,
        array: np.ndarray,
        element_of: Element,
        formula: str,
        shapes: str = "",
        source: str = "",
        key: int | str | None = None,
    ) -> None:
        """An array that the layer computed: the formula, one element spelled out, all evaluated.

        Args:
            name: what the array is called.
            array: what the layer computed.
            element_of: the expression of an element, by its index.
            formula: of an element in general.
            shapes: what becomes of which shapes.
            source: where the formula stands.
            key: of a gradient, what it is the gradient of: a number of an input or a parameter's
                name.
        """
        self.derived.append(name)
        self.formula(formula, shapes, source)
        self.show(Named(name, array))
        at = self.chosen(name, array)
        if key is not None:
            self.spelled[name] = at
        line = self.spell(element(name, at), element_of(at), float(array[at]))
        self.verdict(name, array, element_of, line.holds)

    def chosen(self, name: str, array: np.ndarray) -> Index:
        """Which element is spelled out: the one asked for, or the first that is not 0."""
        if name in self.at:
            return at_of(name, self.at[name], array.shape)
        if not array.size:
            return (0,) * array.ndim
        return tuple(int(k) for k in np.unravel_index(np.argmax(array != 0), array.shape))

    def verdict(self, name: str, array: np.ndarray, element_of: Element, spelled: bool) -> None:
        """All elements of an array, or a sample of many, evaluated as one of them was."""
        if array.size == 1:
            return
        every = indices(array.shape, MANY, SAMPLE)
        wrong = []
        for index in every:
            v = element_of(index).value(self.measured.eps)
            if not abs(v.number - float(array[index])) <= self.tolerance(v):
                wrong.append(index)
        if wrong and spelled:
            e = element_of(wrong[0])
            self.spell(element(name, wrong[0]), e, float(array[wrong[0]]))
        key = "some_hold" if len(every) < array.size else "all_hold"
        if wrong:
            key = "some_fail" if len(every) < array.size else "all_fail"
        text = self.words(key, name=name, count=len(every), size=array.size, wrong=len(wrong))
        self.page.steps.append(Verdict(text, not wrong))

    # ---- the check at the end ----

    def check(self, gradients: Sequence[tuple[str, int | str, str]]) -> None:
        """Gradients beside differences of the loss.

        Args:
            gradients: for each its name ("dW"), what it is of (a number of an input, or a
                parameter's name), and that one's name here ("W").
        """
        m = self.measured
        known = [entry for entry in gradients if entry[1] in m.gradients]
        if not known or self.inside:
            return None
        self.heading("check")
        if not m.computes_the_same_in_float64():
            return self.say("unchecked", name=m.name)
        self.say("check_what", h=f"{STEP:g}")
        for name, key, of in known:
            at = self.spelled.get(name) or self.chosen(name, m.gradients[key])
            self.page.steps += Differences(m, name, key, of, at, self.words).steps()
        return None


def indices(shape: tuple[int, ...], many: int, sample: int) -> list[Index]:
    """All indices of an array of few elements, or some of one of many, spread over all of it."""
    size = math.prod(shape)
    if size <= many:
        flat = np.arange(size)
    else:
        flat = np.unique(np.linspace(0, size - 1, sample).round().astype(int))
    return [tuple(int(k) for k in np.unravel_index(int(f), shape)) for f in flat]


def at_of(name: str, at: Any, shape: tuple[int, ...]) -> Index:
    """An index that was asked for, checked; negative ones count from the end.

    Raises:
        IndexError: the array has no such element.
    """
    index = (at,) if isinstance(at, int) else tuple(at)
    if len(index) != len(shape) or not all(-n <= k < n for k, n in zip(index, shape, strict=True)):
        raise IndexError(f"explain: {name} of shape {shape} has no element {index}")
    return tuple(int(k) % n for k, n in zip(index, shape, strict=True))
