"""A case: inputs, what nnx makes of them, and what the answer key does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Input:
    """An array that both sides get.

    Attributes:
        values: what stands in it; floats are also given to the answer key in float64.
        grad: whether its gradient is wanted (of floats only).
        layout: how it lies in memory, see `draw.LAYOUTS`.
        parameter: give it to nnx as an `nn.Parameter`.
        form: how it comes to nnx: as a "tensor", a bare "array", a "list", or as a "foreign"
            array, of the other byte order.
    """

    values: np.ndarray
    grad: bool = True
    layout: str = "C"
    parameter: bool = False
    form: str = "tensor"

    def __post_init__(self) -> None:
        self.grad = self.grad and self.values.dtype.kind == "f" and self.form == "tensor"

    def __str__(self) -> str:
        x = self.values
        text = f"{x.dtype}{list(x.shape)}"
        text += "" if self.layout == "C" else f" {self.layout}"
        return text + ("" if self.form == "tensor" else f" as {self.form}")


@dataclass
class Case:
    """One thing to be tried.

    Attributes:
        says: what is computed, for the reader of a failure.
        inputs: the arrays.
        ours: called with the inputs as nnx's tensors; returns one result or several: tensors,
            arrays or numbers.
        theirs: the same on PyTorch's tensors; None: the answer key is `ours` itself, computed by
            the portable kernels in float64.
        exact: no rounding happens, or none that can change which of two branches is taken; then
            nothing is forgiven where the result jumps.
        relative: every element of the outputs is as exact as its own size asks for, and not only
            as the largest one's.
        cancels: a result can be a small difference of large terms, as large as the largest input
            or larger: what PyTorch's own rounding does to it counts too.
        same_dtype: PyTorch's dtypes are the right ones.
        ours_may_accept: nnx takes more than PyTorch does here.
        ours_may_refuse: nnx says no, on purpose, where PyTorch gives NaN or knows better.
        slack: how many times the usual tolerance.
    """

    says: str
    inputs: Sequence[Input]
    ours: Callable[..., Any]
    theirs: Callable[..., Any] | None = None
    exact: bool = False
    relative: bool = False
    cancels: bool = False
    same_dtype: bool = True
    ours_may_accept: bool = False
    ours_may_refuse: bool = False
    slack: float = 1.0

    def __str__(self) -> str:
        return f"{self.says}; {', '.join(map(str, self.inputs))}"
