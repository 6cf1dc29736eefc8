"""`Function`, `Unary` and `Binary` as operations know them: a call gives a Tensor.

The tape lies below `Tensor` and cannot name it.  At run time these are the tape's own classes;
`Several` is Function too, where a call gives several tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import autograd

if TYPE_CHECKING:
    from ..tensor import Tensor

    class Function(autograd.Function):
        def __call__(self, *inputs: Any) -> Tensor: ...

    class Several(autograd.Function):
        def __call__(self, *inputs: Any) -> tuple[Tensor, ...]: ...

    class Unary(autograd.Unary, Function):
        def __call__(self, x: Any) -> Tensor: ...

    class Binary(autograd.Binary, Function):
        def __call__(self, a: Any, b: Any) -> Tensor: ...
else:
    Function = Several = autograd.Function
    Unary, Binary = autograd.Unary, autograd.Binary
