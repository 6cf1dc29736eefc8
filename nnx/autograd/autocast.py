"""`autocast`: whether operations compute in low precision, and in which."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, NamedTuple

from ..backends import Array
from ..scoped import Block, Scoped
from .function import Node

LOW = ("float16", "bfloat16")


class _Kept(NamedTuple):
    """A parameter as it was when it was cast, and the array that it was cast to."""

    parameter: weakref.ref[Node]
    data: Array
    written: int  # when it was last written in place: see `writes`
    cast: Array


class _State(NamedTuple):
    """What holds inside of a block."""

    dtype: str  # "": everything computes as it comes
    casts: dict[tuple[int, Hashable], _Kept]  # of the outermost block, and gone with it


_state: Scoped[_State] = Scoped("nnx autocast")
blocks = _state.open  # of all threads: where there is none, nobody need ask


def autocast_dtype() -> str | None:
    """The name of the dtype of low precision; None outside of `autocast`."""
    state = _state.get()
    return (state.dtype or None) if state is not None else None


def cast_once(x: Node, into: Hashable, cast: Callable[[Array], Array]) -> Array:
    """cast(x.data); of a leaf that learns it is kept until the outermost block is left.

    A parameter that is used many times within a step, in each of a cell's steps or in layers that
    share it, is so cast once.  Only the array is kept: on the tape each use is its own, and brings
    its gradient to the parameter in float32.

    Args:
        x: the tensor, of any shape.
        into: names what `cast` makes of it.
        cast: makes an array of x's shape.
    """
    state = _state.get()
    if state is None or x.creator is not None or not x.requires_grad:
        return cast(x.data)
    key = id(x), into
    kept = state.casts.get(key)
    if kept and kept.parameter() is x and kept.data is x.data and kept.written == x.slot:
        return kept.cast
    made = cast(x.data)
    state.casts[key] = _Kept(weakref.ref(x), x.data, x.slot, made)
    return made


def casts_apart() -> Block[_State]:
    """A block that neither uses what was cast outside of it nor leaves its own behind."""
    return Block(_state, _State(autocast_dtype() or "", {}))


class autocast(Block[_State]):
    """Compute products in 16 bits, and what needs the range or the digits in float32.

        with nnx.autocast("float16"):
            loss = loss_of(model(x), y)
        loss.backward()                     # outside: an operation's gradient is as it was itself

    Parameters stay in float32 and are cast where they are used (Micikevicius et al. 2018); so are
    their gradients.  A parameter is cast once in the outermost block, and anew where it has another
    array since, or an optimizer wrote into it; what you write into its array by hand is not seen
    before the block ends.  What is computed in which dtype are PyTorch's lists:

    | in the low dtype | dense layers, convolutions, recurrent layers and cells, matrix products |
    | in float32 | losses, softmax, exp, log, powers, sums, products, norms, layer and group norm |
    | in float32, stored as x is | batch norm, averages, variances, activations other than ReLU |
    | as it comes | all else; of two dtypes the wider one |

    Numbers are stored in 16 bits, and summed in float32, on every library: a product of float16
    arrays is the product in float32, rounded.  float64 tensors stay as they are.  NumPy and CuPy
    have no bfloat16: there such numbers stand in float32 arrays, rounded to bfloat16's 8 digits
    where PyTorch would cast; the results are bfloat16's, and the memory is float32's.

    In float16, which ends at 65,504 and has nothing below 6e-8, gradients are scaled by a
    `nnx.amp.GradScaler`; bfloat16 has float32's range and needs none.

    Args:
        dtype: "float16" or "bfloat16".
        enabled: False: a block inside an `autocast` where everything computes as it comes.

    Raises:
        ValueError: another dtype.
    """

    __slots__ = ()

    def __init__(self, dtype: str = "float16", enabled: bool = True) -> None:
        if dtype not in LOW:
            raise ValueError(f'autocast: dtype must be "float16" or "bfloat16", got {dtype!r}')
        super().__init__(_state, _State(dtype if enabled else "", {}))

    def _entered(self) -> _State:
        around = _state.get()
        return _State(self.value.dtype, {} if around is None else around.casts)

    def __call__(self, function: Callable[..., Any]) -> Any:
        """`@autocast("bfloat16")` above a function: its body is the block."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.value.dtype or LOW[0], bool(self.value.dtype)):
                return function(*args, **kwargs)

        return call
