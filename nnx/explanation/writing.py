"""How expressions are written: as a line of text, and as MathML."""

from __future__ import annotations

import math
from html import escape

from .expression import (
    ATOM,
    FUNCTIONS,
    POWER,
    PRODUCT,
    SUM,
    Call,
    Condition,
    Expr,
    Extreme,
    Leaf,
    Negative,
    Num,
    Product,
    Quotient,
    Sum,
    Value,
    When,
)


def shown(number: float, digits: int) -> str:
    """A number, rounded to so many digits: 0.25, -12345, 1e-07."""
    if not math.isfinite(number):
        return {math.inf: "∞", -math.inf: "-∞"}.get(number, "NaN")
    if 10**digits <= abs(number) < 1e9:
        text = f"{number:.0f}"
    else:
        text = f"{number:.{digits}g}"
    return "0" if text == "-0" else text


def as_printed(digits: int) -> Leaf:
    """For `Expr.value`: a number counts as what is printed of it."""

    def leaf(number: Num) -> Value:
        if not math.isfinite(number.number):
            return Value(number.number, 0.0)
        printed = float(shown(number.number, digits))
        return Value(printed, abs(printed - number.number))

    return leaf


class Writing:
    """One way of writing: with names or with numbers, of so many digits.

    Args:
        names: write a number that has a name by its name.
        digits: of a number.
    """

    def __init__(self, names: bool, digits: int) -> None:
        self.names, self.digits = names, digits

    # ---- text ----

    def text(self, e: Expr) -> str:
        """The expression as one line."""
        return self._text(e, SUM)

    def condition(self, condition: Condition) -> str:
        """x[0, 1] = 2 > 0."""
        left, sign, right = condition
        names, numbers = Writing(True, self.digits), Writing(False, self.digits)
        name, number = names.text(left), numbers.text(left)
        both = name if name == number else f"{name} = {number}"
        end, value = names.text(right), numbers.text(right)
        return f"{both} {sign} {end}" + ("" if end == value else f" = {value}")

    def _text(self, e: Expr, tightness: int) -> str:
        if isinstance(e, When):
            return self._text(e.inner, tightness)
        if isinstance(e, Num):
            return self._number(e, tightness)
        text = self._compound(e)
        return f"({text})" if e.tightness < tightness else text

    def _number(self, e: Num, tightness: int) -> str:
        if self.names and e.name:
            return e.name
        text = shown(e.number, self.digits)
        return f"({text})" if text.startswith("-") and tightness > SUM else text

    def _compound(self, e: Expr) -> str:
        if isinstance(e, Sum):
            return self._sum(e)
        if isinstance(e, Negative):
            return "-" + self._text(e.inner, PRODUCT)
        if isinstance(e, Product):
            return "·".join(self._text(f, POWER) for f in e.factors)
        if isinstance(e, Quotient):
            above = self._text(e.above, SUM if isinstance(e.above, Num) else PRODUCT)
            return f"{above} / {self._text(e.below, POWER)}"
        if isinstance(e, Extreme):
            inner = ", ".join(self._text(part, SUM) for part in e.inner)
            return f"{'max' if e.largest else 'min'}({inner})"
        assert isinstance(e, Call)
        known = FUNCTIONS[e.name]
        if e.name == "square":
            return self._text(e.inner, ATOM) + known.after
        inner = self._text(e.inner, SUM)
        return f"{known.before}{inner}{known.after}" if known.after else f"{known.before}({inner})"

    def _sum(self, e: Sum) -> str:
        parts: list[str] = []
        for term in e.terms:
            minus = isinstance(term, Negative)
            inner = term.inner if isinstance(term, Negative) else term
            text = self._text(inner, PRODUCT if minus else SUM)
            if not minus and isinstance(inner, Num) and text.startswith("-") and parts:
                minus, text = True, text[1:]  # 1 + (-2) is written 1 - 2
            parts.append((" - " if minus else " + ") + text)
        line = "".join(parts)
        return "-" + line[3:] if line.startswith(" - ") else line[3:]

    # ---- MathML ----

    def mathml(self, e: Expr) -> str:
        """The expression as the inside of a `<math>`."""
        return self._math(e, SUM)

    def _math(self, e: Expr, tightness: int) -> str:
        if isinstance(e, When):
            return self._math(e.inner, tightness)
        if isinstance(e, Num):
            text = self._number(e, tightness)
            return mathml_name(text) if self.names and e.name else f"<mn>{escape(text)}</mn>"
        if isinstance(e, Quotient):  # a bar needs no brackets
            above, below = self._math(e.above, SUM), self._math(e.below, SUM)
            return f"<mfrac><mrow>{above}</mrow><mrow>{below}</mrow></mfrac>"
        text = self._math_compound(e)
        return _bracketed(text) if e.tightness < tightness else f"<mrow>{text}</mrow>"

    def _math_compound(self, e: Expr) -> str:
        if isinstance(e, Sum):
            return self._math_sum(e)
        if isinstance(e, Negative):
            return "<mo>-</mo>" + self._math(e.inner, PRODUCT)
        if isinstance(e, Product):
            return "<mo>·</mo>".join(self._math(f, POWER) for f in e.factors)
        if isinstance(e, Extreme):
            inner = "<mo>,</mo>".join(self._math(part, SUM) for part in e.inner)
            return f"<mi>{'max' if e.largest else 'min'}</mi>{_bracketed(inner)}"
        assert isinstance(e, Call)
        if e.name == "square":
            return f"<msup><mrow>{self._math(e.inner, ATOM)}</mrow><mn>2</mn></msup>"
        inner = self._math(e.inner, SUM)
        if e.name == "sqrt":
            return f"<msqrt>{inner}</msqrt>"
        if e.name == "abs":
            return f"<mo>|</mo>{inner}<mo>|</mo>"
        if e.name == "log1p":
            return f"<mi>log</mi>{_bracketed(f'<mn>1</mn><mo>+</mo>{inner}')}"
        return f"<mi>{FUNCTIONS[e.name].before}</mi>{_bracketed(inner)}"

    def _math_sum(self, e: Sum) -> str:
        parts: list[str] = []
        for term in e.terms:
            minus = isinstance(term, Negative)
            inner = term.inner if isinstance(term, Negative) else term
            number = isinstance(inner, Num) and not (self.names and inner.name)
            if not minus and number and parts and inner.number < 0:  # type: ignore[attr-defined]
                minus, inner = True, Num(-inner.number)  # type: ignore[attr-defined]
            sign = "<mo>-</mo>" if minus else "<mo>+</mo>" if parts else ""
            parts.append(sign + self._math(inner, PRODUCT if minus else SUM))
        return "".join(parts)


def mathml_name(text: str) -> str:
    """x[0, 1] as x with an index; L(x[0, 1] + h) as it is; a plain number as such."""
    name, bracket, index = text.partition("[")
    if bracket and text.endswith("]") and "(" not in name:
        return f"<msub><mi>{escape(name)}</mi><mn>{escape(index[:-1])}</mn></msub>"
    number = text[:1].isdigit() or text[:1] in "-("
    tag = "mtext" if bracket else "mn" if number else "mi"
    return f"<{tag}>{escape(text)}</{tag}>"


def _bracketed(inner: str) -> str:
    return f"<mrow><mo>(</mo>{inner}<mo>)</mo></mrow>"
