"""The tape: a Tensor remembers the Function that made it, and `backward` walks back.

Reverse-mode differentiation (Linnainmaa 1970; Liu, back-propagation on graphs).  One `Function`
instance per call is the tape entry.  Functions are numbered in the order they are called, and an
output is made before it is used: from the highest number down to the lowest, every call that used
a value comes before the call that made it.  No separate sort is needed, and no recursion.

An entry points at the makers of its inputs, not at the inputs: an array lives only as long as
somebody holds its tensor or some backward keeps it.
"""

from typing import TYPE_CHECKING

from ..names import answers
from .autocast import autocast
from .backward import backward, leaf_uses
from .calls import watching_calls
from .function import Binary, Function, Node, Unary, as_tensor, calls_made
from .mode import enable_grad, is_grad_enabled, no_grad
from .writes import wrote

__all__ = [
    "Binary",
    "Function",
    "Node",
    "Unary",
    "as_tensor",
    "autocast",
    "backward",
    "calls_made",
    "enable_grad",
    "is_grad_enabled",
    "leaf_uses",
    "no_grad",
    "watching_calls",
    "wrote",
]

if not TYPE_CHECKING:  # a type checker would take every name for one that is here
    __getattr__ = answers(__name__)
