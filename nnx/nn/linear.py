"""The dense layer, and the bilinear one."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..tensor import Tensor
from . import init
from .module import Module
from .state import Parameter, new_parameter


class Linear(Module):
    """y = x Wᵀ + b: x (..., in_features) -> y (..., out_features) (Xu 3.2).

    Leading axes are rows like any other.

    Args:
        in_features: the length of x's last axis.
        out_features: the length of y's.
        bias: False: there is no b.
        device: None, or where the active backend makes arrays.
        dtype: of W and b; x must have the same.

    Parameters: weight W (out_features, in_features), bias b (out_features,).  Both start from
    U(-1/√in_features, 1/√in_features), PyTorch's default; Xu starts W from N(0, 0.01²) and b from
    0, which `init.normal_(layer.weight, std=0.01)` and `init.zeros_(layer.bias)` give.

    Raises:
        ValueError: in_features or out_features is not positive.
        TypeError: x and W are of different dtypes.
    """

    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        if in_features < 1 or out_features < 1:
            raise ValueError(
                "Linear: in_features and out_features must be positive; "
                f"got {in_features} and {out_features}"
            )
        self.in_features, self.out_features = in_features, out_features
        self.weight = new_parameter((out_features, in_features), dtype, device)
        self.register_parameter(
            "bias", new_parameter((out_features,), dtype, device) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new W and b from U(-1/√in_features, 1/√in_features)."""
        bound = 1 / math.sqrt(self.in_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Bilinear(Module):
    """y_o = x1ᵀ W_o x2 + b_o: x1 (..., I), x2 (..., J) -> (..., O), of features 1, 2 and out.

    Args:
        in1_features, in2_features: the lengths of the inputs' last axes; the others agree.
        out_features: the length of y's.
        bias: False: there is no b.
        device: None, or where the active backend makes arrays.
        dtype: of W and b; the inputs must have the same.

    Parameters: weight W (out_features, in1_features, in2_features), bias b (out_features,), from
    U(-1/√in1_features, 1/√in1_features), PyTorch's default.

    Raises:
        ValueError: a size is not positive; when called, shapes that do not fit.
        TypeError: the inputs and W are of different dtypes.
    """

    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        if min(in1_features, in2_features, out_features) < 1:
            raise ValueError(
                "Bilinear: in1_features, in2_features and out_features must be positive; "
                f"got {in1_features}, {in2_features} and {out_features}"
            )
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        self.weight = new_parameter((out_features, in1_features, in2_features), dtype, device)
        self.register_parameter(
            "bias", new_parameter((out_features,), dtype, device) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new W and b from U(-1/√in1_features, 1/√in1_features)."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return ops.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
