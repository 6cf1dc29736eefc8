"""Places in arrays, as compiled code needs them and without what numba takes for it.

What numba has for slices, assignments to them and addresses is made for all arrays, counts
references and takes it a tenth of a second to compile, each time anew for every type.  These are a
few instructions each, written where they are called.  They take contiguous arrays and trust their
arguments: nothing asks whether a place is inside its array.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

WORD = ir.IntType(64)


@intrinsic
def address_of(typing, a, *at):
    """The address of an array's first number, or of that which indices along the first axes say."""
    at = at[0] if len(at) == 1 and isinstance(at[0], types.BaseTuple) else types.Tuple(at)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = make_array(signature.args[0])(context, builder, values[0])
        place = builder.ptrtoint(array.data, WORD)
        strides = cgutils.unpack_tuple(builder, array.strides)
        indices = cgutils.unpack_tuple(builder, values[1])
        for index, kind, stride in zip(indices, signature.args[1], strides, strict=False):
            word = context.cast(builder, index, kind, types.int64)
            place = builder.add(place, builder.mul(word, stride))
        return place

    return types.int64(a, at), emit


@intrinsic
def row(typing, a, start, count):
    """`count` numbers from `start` on, which must live as long as this is used.

    The loops index such rows from 0 on: other indices might be negative, which in Python counts
    from the end; LLVM allows for that and then works on one number at a time.
    """
    view = types.Array(a.dtype, 1, "C")

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        made = make_array(view)(context, builder)
        size = context.get_abi_sizeof(context.get_data_type(a.dtype))
        step = context.get_constant(types.intp, size)
        populate_array(
            made,
            data=_at(context, builder, signature, values, 0),
            shape=[values[2]],
            strides=[step],
            itemsize=step,
            meminfo=None,
        )
        return made._getvalue()

    return view(a, types.int64, types.int64), emit


@intrinsic
def copy(typing, source, start, target, to, count):
    """target[to :] = source[start :], `count` numbers."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        read = _at(context, builder, signature, values, 0)
        written = _at(context, builder, signature, values, 2)
        with cgutils.for_range(builder, values[4], intp=WORD) as k:
            builder.store(
                builder.load(builder.gep(read, [k.index])), builder.gep(written, [k.index])
            )
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64, types.int64), emit


@intrinsic
def clear(typing, target, start, count):
    """target[start :] = 0, `count` numbers."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        written = _at(context, builder, signature, values, 0)
        zero = ir.Constant(written.type.pointee, 0)
        with cgutils.for_range(builder, values[2], intp=WORD) as k:
            builder.store(zero, builder.gep(written, [k.index]))
        return context.get_dummy_value()

    return types.void(target, types.int64, types.int64), emit


def _first(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return make_array(kind)(context, builder, value).data


def _at(context: Any, builder: Any, signature: Any, values: Any, which: int) -> Any:
    """The place of an array argument that the argument behind it says."""
    first = _first(context, builder, signature.args[which], values[which])
    return builder.gep(first, [values[which + 1]])
