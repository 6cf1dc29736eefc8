"""Operations on the bits of integers, and of booleans, which are one bit each.  No gradient."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from ...backends import backend_of, dtype_name
from ...tensor import Tensor
from .._operands import as_tensor
from ..compare import of_pair


def _bits(name: str, function: Callable[[Any, Any], Any], a: Any, b: Any, shift: bool) -> Tensor:
    """function(a, b) of integers, or (unless it is a shift) of booleans."""
    beside = next((x for x in (a, b) if isinstance(x, Tensor)), None)
    a, b = (x if type(x) in (int, bool) else as_tensor(name, x, beside) for x in (a, b))
    for x in (a, b):
        if isinstance(x, Tensor):
            _require_bits(name, x, shift)
        elif shift and type(x) is bool:
            raise TypeError(f"{name}: the operands must be of integers, not {x}")
    return of_pair(name, function, a, b)


def _require_bits(name: str, x: Tensor, shift: bool = False) -> None:
    home = backend_of(x.data)
    if home.is_integer(x.dtype) or (x.dtype == home.xp.bool and not shift):
        return
    kinds = "integers" if shift else "integers or booleans"
    raise TypeError(f"{name}: the operands must be of {kinds}, not {dtype_name(x.dtype)}")


def bitwise_and(a: Any, b: Any) -> Tensor:
    """The bits that a and b both have, elementwise, broadcast: a & b; one may be a number.

    Raises:
        TypeError: an operand is neither of integers nor of booleans.
        ValueError: the shapes cannot be broadcast.
    """
    return _bits("bitwise_and", operator.and_, a, b, False)


def bitwise_or(a: Any, b: Any) -> Tensor:
    """The bits that a or b has, elementwise, broadcast: a | b; one may be a number.

    Raises:
        TypeError: an operand is neither of integers nor of booleans.
        ValueError: the shapes cannot be broadcast.
    """
    return _bits("bitwise_or", operator.or_, a, b, False)


def bitwise_xor(a: Any, b: Any) -> Tensor:
    """The bits that one of a and b has, elementwise, broadcast: a ^ b; one may be a number.

    Raises:
        TypeError: an operand is neither of integers nor of booleans.
        ValueError: the shapes cannot be broadcast.
    """
    return _bits("bitwise_xor", operator.xor, a, b, False)


def bitwise_left_shift(a: Any, b: Any) -> Tensor:
    """a times 2 to the power b, by its bits: a << b, elementwise, broadcast; one may be a number.

    Raises:
        TypeError: an operand is not of integers.
        ValueError: the shapes cannot be broadcast.
    """
    return _bits("bitwise_left_shift", operator.lshift, a, b, True)


def bitwise_right_shift(a: Any, b: Any) -> Tensor:
    """floor(a / 2^b) by its bits: a >> b, elementwise, broadcast; one may be a number.

    Raises:
        TypeError: an operand is not of integers.
        ValueError: the shapes cannot be broadcast.
    """
    return _bits("bitwise_right_shift", operator.rshift, a, b, True)


def bitwise_invert(x: Tensor) -> Tensor:
    """Every bit of x turned, elementwise: ~x, of booleans `logical_not`.

    Raises:
        TypeError: x is neither of integers nor of booleans.
    """
    x = as_tensor("bitwise_invert", x)
    _require_bits("bitwise_invert", x)
    return Tensor(~x.data)
