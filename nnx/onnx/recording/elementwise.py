"""Elementwise functions of the array API as ONNX operators."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .source import cast
from .value import Recording, Value, binary, floor_divide, remainder

# array API -> ONNX, where one operator does it
UNARY = {
    "abs": "Abs",
    "acos": "Acos",
    "acosh": "Acosh",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "ceil": "Ceil",
    "cos": "Cos",
    "cosh": "Cosh",
    "exp": "Exp",
    "floor": "Floor",
    "log": "Log",
    "negative": "Neg",
    "reciprocal": "Reciprocal",
    "round": "Round",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "sqrt": "Sqrt",
    "tan": "Tan",
    "tanh": "Tanh",
}
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "divide": operator.truediv,
    "equal": operator.eq,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "less": operator.lt,
    "less_equal": operator.le,
    "logical_and": operator.and_,
    "logical_or": operator.or_,
    "logical_xor": operator.xor,
    "matmul": operator.matmul,
    "multiply": operator.mul,
    "not_equal": operator.ne,
    "pow": operator.pow,
    "subtract": operator.sub,
}


class Elementwise:
    """Part of `Namespace`."""

    recording: Recording
    own: Any  # the whole namespace

    def _v(self, x: Any, like: Any = None) -> Value:
        return self.recording.value(x, getattr(like, "dtype", None))

    def _pair(self, a: Any, b: Any) -> tuple[Value, Value]:
        """Two operands as values; a number takes the other's dtype."""
        x, y = self._v(a, b), self._v(b, a)
        dtype = np.result_type(x.dtype, y.dtype)
        return cast(self.recording, x, dtype), cast(self.recording, y, dtype)

    def expm1(self, x: Any) -> Value:
        """e^x - 1: exact near 0 as 2 tanh(x/2) / (1 - tanh(x/2)), since e^x = (1 + t) / (1 - t).

        Beyond 1 the plain difference is exact, and where t rounds to 1 the fraction is not.
        """
        x = self._v(x)
        near = self.clip(x, -1.0, 1.0)
        t = self.own.tanh(near * 0.5)
        return self.where(
            self.own.abs(x) < 1,
            t * 2.0 / (1.0 - t),
            self.own.exp(x) - 1.0,
        )

    def log1p(self, x: Any) -> Value:
        """log(1 + x): with u = 1 + x rounded, x log(u) / (u - 1) takes the rounding back (Kahan).

        Where u = 1 it is x, and where x is infinite, x.
        """
        x = self._v(x)
        u = x + 1.0
        flat = (u == 1) | (u == np.inf)
        safe = self.where(flat, self.own.full_like(x, 2.0), u)
        return self.where(flat, x, self.own.log(safe) * (x / (safe - 1.0)))

    def log2(self, x: Any) -> Value:
        """The logarithm to the base 2."""
        return self.own.log(x) * (1 / np.log(2))

    def log10(self, x: Any) -> Value:
        """The logarithm to the base 10."""
        return self.own.log(x) * (1 / np.log(10))

    def logaddexp(self, a: Any, b: Any) -> Value:
        """log(e^a + e^b) = the larger + log1p(e^-|a - b|), which is 0 apart for two infinities."""
        x, y = self._pair(a, b)
        top = self.maximum(x, y)
        same = x == y
        gap = self.where(same, self.own.zeros_like(top), x - y)
        return top + self.log1p(self.own.exp(-self.own.abs(gap)))

    def square(self, x: Any) -> Value:
        """x x."""
        x = self._v(x)
        return x * x

    def trunc(self, x: Any) -> Value:
        """x rounded towards 0: sign(x) floor(|x|)."""
        x = self._v(x)
        if x.dtype.kind != "f":
            return x
        return self.own.sign(x) * self.own.floor(self.own.abs(x))

    def hypot(self, a: Any, b: Any) -> Value:
        """√(a² + b²), by the larger of the two, so that no square overflows."""
        x, y = self._pair(a, b)
        x, y = abs(x), abs(y)
        large, small = self.maximum(x, y), self.minimum(x, y)
        share = small / self.where(large == 0, self.own.ones_like(large), large)
        return large * self.own.sqrt(share * share + 1.0)

    def atan2(self, a: Any, b: Any) -> Value:
        """The angle of (b, a): atan(a / b), moved by ±π where b < 0, ±π/2 where b = 0."""
        y, x = self._pair(a, b)
        safe = self.where(x == 0, self.own.ones_like(x), x)
        angle = self.own.atan(y / safe)
        side = self.where(y < 0, self.own.full_like(y, -np.pi), self.own.full_like(y, np.pi))
        turned = self.where(x < 0, angle + side, angle)
        upright = self.own.sign(y) * (np.pi / 2)
        return self.where(x == 0, upright, turned)

    def signbit(self, x: Any) -> Value:
        """Whether x is negative, -0 too, whose inverse is."""
        x = self._v(x)
        if x.dtype.kind != "f":
            return x < 0
        zero = x == 0
        return (x < 0) | (zero & (1.0 / self.where(zero, x, self.own.ones_like(x)) < 0))

    def copysign(self, a: Any, b: Any) -> Value:
        """|a| with the sign of b."""
        x, y = self._pair(a, b)
        size = abs(x)
        return self.where(self.signbit(y), -size, size)

    def positive(self, x: Any) -> Value:
        """x."""
        return self._v(x)

    conj = real = positive

    def maximum(self, a: Any, b: Any) -> Value:
        """The larger; NaN wins."""
        return binary(self.recording, "Max", *self._pair(a, b), np.maximum)

    def minimum(self, a: Any, b: Any) -> Value:
        """The smaller; NaN wins."""
        return binary(self.recording, "Min", *self._pair(a, b), np.minimum)

    def floor_divide(self, a: Any, b: Any) -> Value:
        """The quotient, rounded down."""
        return floor_divide(self.recording, a, b)

    def remainder(self, a: Any, b: Any) -> Value:
        """What is left, with the divisor's sign."""
        return remainder(self.recording, a, b)

    def clip(self, x: Any, min: Any = None, max: Any = None) -> Value:
        """x held between two bounds."""
        x = self._v(x)
        if min is not None:
            x = self.maximum(x, min)
        return x if max is None else self.minimum(x, max)

    def where(self, condition: Any, a: Any, b: Any) -> Value:
        """a where the condition holds, else b."""
        mask = self._v(condition)
        x, y = self._pair(a, b)
        return self.recording.step("Where", [mask, x, y], np.where(mask.data, x.data, y.data))

    def logical_not(self, x: Any) -> Value:
        """not x."""
        return ~self._v(x)

    def bitwise_invert(self, x: Any) -> Value:
        """The other bits."""
        return ~self._v(x)

    def isnan(self, x: Any) -> Value:
        """Where x is not a number."""
        x = self._v(x)
        if x.dtype.kind != "f":
            return self.own.zeros_like(x, dtype=np.bool_)
        return self.recording.step("IsNaN", [x], np.isnan(x.data))

    def isinf(self, x: Any) -> Value:
        """Where x is infinite."""
        x = self._v(x)
        if x.dtype.kind != "f":
            return self.own.zeros_like(x, dtype=np.bool_)
        return self.recording.step("IsInf", [x], np.isinf(x.data))

    def isfinite(self, x: Any) -> Value:
        """Where x is neither."""
        return ~(self.isnan(x) | self.isinf(x))

    def astype(self, x: Any, dtype: Any, copy: bool = True, device: Any = None) -> Value:
        """x in another dtype."""
        return cast(self.recording, self._v(x), dtype)


def _unary(op: str, compute: Callable[[Any], Any]) -> Callable[[Elementwise, Any], Value]:
    def function(self: Elementwise, x: Any) -> Value:
        x = self._v(x)
        if x.dtype.kind in "iu" and op in ("Ceil", "Floor", "Round"):
            return x
        return self.recording.step(op, [x], compute(x.data))

    return function


def _operator(compute: Callable[[Any, Any], Any]) -> Callable[[Elementwise, Any, Any], Value]:
    def function(self: Elementwise, a: Any, b: Any) -> Value:
        result: Value = compute(self._v(a, b), self._v(b, a))
        return result

    return function


for _name, _op in UNARY.items():
    setattr(Elementwise, _name, _unary(_op, getattr(np, _name)))
for _name, _compute in OPERATORS.items():
    setattr(Elementwise, _name, _operator(_compute))
