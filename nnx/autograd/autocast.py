"""`autocast`: whether operations compute in low precision, and in which."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ..scoped import Block, Scoped

LOW = ("float16", "bfloat16")

_dtype: Scoped[str] = Scoped("nnx autocast")
blocks = _dtype.open  # of all threads: where there is none, nobody need ask


def autocast_dtype() -> str | None:
    """The name of the dtype of low precision; None outside of `autocast`."""
    return _dtype.get() or None


class autocast(Block[str]):
    """Compute products in 16 bits, and what needs the range or the digits in float32.

        with nnx.autocast("float16"):
            loss = loss_of(model(x), y)
        loss.backward()                     # outside: an operation's gradient is as it was itself

    Parameters stay in float32 and are cast where they are used (Micikevicius et al. 2018); so are
    their gradients.  What is computed in which dtype are PyTorch's lists:

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
        super().__init__(_dtype, dtype if enabled else "")

    def __call__(self, function: Callable[..., Any]) -> Any:
        """`@autocast("bfloat16")` above a function: its body is the block."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with Block(self.scoped, self.value):
                return function(*args, **kwargs)

        return call
