"""Whole vectors of float32 as values in compiled code, for the pointwise half of a time step.

numba leaves it to LLVM to work on eight or sixteen numbers at a time, and LLVM refuses where it
cannot show that the arrays which a loop reads and writes do not overlap.  A recurrent cell reads
and writes about ten arrays: too many pairs to be compared before the loop, so it would run on one
number at a time.  Here a loop over units says itself what a vector holds:

    for j in range(0, units, LANES):
        store(h, j, sigmoid(load(o, j)) * tanh(load(c, j)))

`load` and `store` take an address and how many numbers beyond it; `+ - * /` take two vectors, or
a vector and a number; a product and a sum may be fused into one rounding.  How many numbers a
vector holds is the processor's matter (`microkernel.py`); arrays are therefore made with a
multiple of LANES units.

tanh and sigmoid are made of e^x = 2^n e^r with |r| at most half of log 2, as in `elementary.py`;
e^r - 1 is r + r² times a polynomial, the minimax fit of its degree (relative error 1.4e-8), found
by iteratively reweighted least squares.  Both are within 3 units in the last place of what they
should be, and reach the numbers that float32 rounds them to: ±1, 0 and 1.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import datamodel
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_jitable, register_model

from .microkernel import lanes

LANES = lanes(4)
SIZE = 4  # bytes of a number
_LLVM = ir.VectorType(ir.FloatType(), LANES)

# tanh rounds to ±1 from here on; e^-x is infinite down there, and up here nothing beside 1.
TANH_END, INFINITE, NOTHING = np.float32(9.1), np.float32(-88.9), np.float32(80)

LOG2_E, TWICE_LOG2_E = np.float32(1.4426950408889634), np.float32(2 * 1.4426950408889634)
HALF_LOG_2 = np.float32(0.34657359027997264)
# log 2 in two parts: a small integer times the first is exact.
LOG_2, LOG_2_REST = np.float32(0.693359375), np.float32(-2.1219444005469057e-4)
# Added to a small number, it leaves the number rounded to an integer, and 127, in the lowest bits.
ROUNDER = np.float32(1.5 * 2**23 + 127)
E2, E3, E4 = np.float32(0.5), np.float32(0.16666542), np.float32(0.04166628)
E5, E6 = np.float32(0.00836678), np.float32(0.00139468)
D1, D2, D3, D4, D5, D6 = (  # of e^2r - 1
    np.float32(2**k * e) for k, e in enumerate((1, E2, E3, E4, E5, E6), 1)
)
ONE = np.float32(1)
TWO = np.float32(2)
ZERO = np.float32(0)


class Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"Vector({LANES})")


VECTOR = Vector()


@register_model(Vector)
class _Model(datamodel.models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _LLVM)


def _spread(builder: Any, number: Any) -> Any:
    """A number in every place of a vector."""
    nothing = ir.Constant(_LLVM, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, nothing, places)


def _define(symbol: Any, instruction: str) -> None:
    """Let `symbol` take two vectors, or a vector and a number."""
    pairs = [(VECTOR, VECTOR), (VECTOR, types.float32), (types.float32, VECTOR)]
    signatures = [signature(VECTOR, *pair) for pair in pairs]

    class Operator(ConcreteTemplate):
        cases = signatures

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = [
            value if kind == VECTOR else _spread(builder, value)
            for value, kind in zip(arguments, signature.args, strict=True)
        ]
        return getattr(builder, instruction)(*vectors, flags=("contract",))

    infer_global(symbol)(Operator)
    for pair in pairs:
        lower_builtin(symbol, *pair)(emit)


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
_define(operator.truediv, "fdiv")


def _at(builder: Any, address: Any, index: Any) -> Any:
    offset = builder.mul(index, ir.Constant(ir.IntType(64), SIZE))
    return builder.inttoptr(builder.add(address, offset), _LLVM.as_pointer())


@intrinsic
def load(typing, address, index):
    """LANES numbers, from `index` numbers beyond the address on."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_at(builder, *arguments), align=SIZE)

    return VECTOR(types.int64, types.int64), emit


@intrinsic
def store(typing, address, index, vector):
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, index, vector = arguments
        builder.store(vector, _at(builder, address, index), align=SIZE)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, VECTOR), emit


@intrinsic
def spread(typing, number):
    """The same number in every place."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(builder, arguments[0])

    return VECTOR(types.float32), emit


@intrinsic
def between(typing, x, low, high):
    """x, or `low` or `high` where it lies beyond; NaN stays NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, low, high = arguments
        for sign, bound in (("<", low), (">", high)):
            far = _spread(builder, bound)
            x = builder.select(builder.fcmp_ordered(sign, x, far), far, x)
        return x

    return VECTOR(VECTOR, types.float32, types.float32), emit


@intrinsic
def power_of_two(typing, rounded):
    """2^n, for n + 127 in the lowest bits: they are moved to where the exponent stands."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = ir.VectorType(ir.IntType(32), LANES)
        bits = builder.bitcast(arguments[0], whole)
        return builder.bitcast(builder.shl(bits, ir.Constant(whole, [23] * LANES)), _LLVM)

    return VECTOR(VECTOR), emit


@intrinsic
def where_positive(typing, sign, x):
    """x where `sign` is positive, else 0, also where it is NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sign, x = arguments
        zero = ir.Constant(_LLVM, [0.0] * LANES)
        return builder.select(builder.fcmp_ordered(">", sign, zero), x, zero)

    return VECTOR(VECTOR, VECTOR), emit


@register_jitable(inline="always")
def relu(x):
    """NaN stays NaN."""
    minus = ZERO - x
    return x + where_positive(minus, minus)


@register_jitable(inline="always")
def tanh(x):
    """By t = e^2x - 1, which is 2^n (e^r - 1) + (2^n - 1), as t / (t + 2); NaN stays NaN.

    Half of r is n half-logs from x, in one step: what that costs where n is large is lost beside
    the 2.
    """
    x = between(x, -TANH_END, TANH_END)
    n = x * TWICE_LOG2_E + ROUNDER
    r = x - (n - ROUNDER) * HALF_LOG_2
    less_one = r * (D1 + r * (D2 + r * (D3 + r * (D4 + r * (D5 + r * D6)))))
    scale = power_of_two(n)
    t = scale * less_one + (scale - ONE)
    return t / (t + TWO)


@register_jitable(inline="always")
def sigmoid(x):
    """1 / (1 + e^-x); NaN stays NaN."""
    x = between(x, INFINITE, NOTHING)
    n = x * -LOG2_E + ROUNDER
    k = n - ROUNDER
    r = (x + k * LOG_2) + k * LOG_2_REST  # -r, and so odd powers count as negative
    one_or_so = ONE + r * (r * (E2 + r * (-E3 + r * (E4 + r * (-E5 + r * E6)))) - ONE)
    return ONE / (ONE + power_of_two(n) * one_or_so)
