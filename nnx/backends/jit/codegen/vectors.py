"""Whole registers of float32 as values in compiled code, for the pointwise half of a time step.

numba leaves it to LLVM to work on eight or sixteen numbers at a time, and LLVM refuses where it
cannot show that the arrays which a loop reads and writes do not overlap.  A recurrent cell reads
and writes about ten arrays: too many pairs to be compared before the loop, so it would run on one
number at a time.  Here a loop over units says itself what a register holds:

    for j in range(0, units, LANES):
        store(h, j, sigmoid(load(o, j)) * tanh(load(c, j)))

`load` and `store` take an address and how many numbers beyond it; `+ - * /` take two registers, or
a register and a number; a product and a sum may be fused into one rounding.  How many numbers a
register holds is the processor's matter (`microkernel.py`); arrays are therefore made with a
multiple of LANES units.

The numbers below are of a rational function, tanh x = x P(x²) / Q(x²), the minimax fit of its kind
on [0, 9] (relative error 2.1e-8), found by iteratively reweighted least squares.  Rounded in
float32 it is within 5.2 units in the last place of tanh (5.7 without fused multiply-adds), and
3.1e-7, everywhere; beyond LIMIT it stays what it is there, 1 or 1 - 1.2e-7.
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

LIMIT = np.float32(8.2)
P1 = np.float32(0.13381025195121765)
P2 = np.float32(0.0034955882001668215)
P3 = np.float32(2.0609082639566623e-05)
P4 = np.float32(1.3354664041287378e-08)
Q1 = np.float32(0.4671434164047241)
Q2 = np.float32(0.025876982137560844)
Q3 = np.float32(0.0003285635029897094)
Q4 = np.float32(7.776558845762338e-07)
ONE = np.float32(1)
HALF = np.float32(0.5)
ZERO = np.float32(0)


class Register(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"Register({LANES})")


REGISTER = Register()


@register_model(Register)
class _Model(datamodel.models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _LLVM)


def _spread(builder: Any, number: Any) -> Any:
    """A number in every place of a register."""
    nothing = ir.Constant(_LLVM, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, nothing, places)


def _define(symbol: Any, instruction: str) -> None:
    """Let `symbol` take two registers, or a register and a number."""
    pairs = [(REGISTER, REGISTER), (REGISTER, types.float32), (types.float32, REGISTER)]
    signatures = [signature(REGISTER, *pair) for pair in pairs]

    class Operator(ConcreteTemplate):
        cases = signatures

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        registers = [
            value if kind == REGISTER else _spread(builder, value)
            for value, kind in zip(arguments, signature.args, strict=True)
        ]
        return getattr(builder, instruction)(*registers, flags=("contract",))

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

    return REGISTER(types.int64, types.int64), emit


@intrinsic
def store(typing, address, index, register):
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, index, register = arguments
        builder.store(register, _at(builder, address, index), align=SIZE)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, REGISTER), emit


@intrinsic
def spread(typing, number):
    """The same number in every place."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(builder, arguments[0])

    return REGISTER(types.float32), emit


@intrinsic
def within(typing, x, limit):
    """x, or `limit` or -`limit` where it lies beyond; NaN stays NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, limit = arguments
        for sign, bound in ((">", limit), ("<", builder.fneg(limit))):
            far = _spread(builder, bound)
            x = builder.select(builder.fcmp_ordered(sign, x, far), far, x)
        return x

    return REGISTER(REGISTER, types.float32), emit


@intrinsic
def where_positive(typing, sign, x):
    """x where `sign` is positive, else 0, also where it is NaN."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sign, x = arguments
        zero = ir.Constant(_LLVM, [0.0] * LANES)
        return builder.select(builder.fcmp_ordered(">", sign, zero), x, zero)

    return REGISTER(REGISTER, REGISTER), emit


@register_jitable(inline="always")
def relu(x):
    """NaN stays NaN."""
    minus = ZERO - x
    return x + where_positive(minus, minus)


@register_jitable(inline="always")
def tanh(x):
    """Within 5.7 units in the last place; NaN stays NaN."""
    x = within(x, LIMIT)
    s = x * x
    p = ONE + s * (P1 + s * (P2 + s * (P3 + s * P4)))
    q = ONE + s * (Q1 + s * (Q2 + s * (Q3 + s * Q4)))
    return x * p / q


@register_jitable(inline="always")
def sigmoid(x):
    return HALF * tanh(HALF * x) + HALF
