"""`Precision`: what a training loop does otherwise where it computes in 16 bits."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..autograd import autocast
from ..optim import Optimizer
from ..tensor import Tensor
from .grad_scaler import GradScaler

NAMES = ("float32", "float16", "bfloat16")


class Precision:
    """The dtype that a Trainer's products are computed in, and what goes with it.

    Args:
        dtype: "float32", where it changes nothing; "bfloat16", with `autocast`; or "float16", with
            that and a `GradScaler`.

    Attributes:
        scaler: the GradScaler of float16, else None.

    Raises:
        ValueError: another dtype.
    """

    def __init__(self, dtype: str = "float32") -> None:
        if dtype not in NAMES:
            raise ValueError(f"precision must be one of {', '.join(NAMES)}, got {dtype!r}")
        self.dtype = dtype
        self.scaler = GradScaler() if dtype == "float16" else None

    def autocast(self) -> AbstractContextManager[Any]:
        """The block that a forward pass runs in."""
        return nullcontext() if self.dtype == "float32" else autocast(self.dtype)

    def backward(self, loss: Tensor) -> None:
        """The gradients of a loss, of shape (): scaled, in float16."""
        loss.backward(None if self.scaler is None else self.scaler.seed(loss))

    def unscale_(self, optimizer: Optimizer) -> None:
        """Make the gradients of the optimizer's parameters what they are without a scale."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """The optimizer's step, unless a gradient overflowed."""
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The dtype, and the scaler's state where there is one."""
        scaler = None if self.scaler is None else self.scaler.state_dict()
        return {"dtype": self.dtype, "scaler": scaler}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict()` was taken.

        Args:
            state: what it returned.

        Raises:
            ValueError: it was taken with another dtype, or its numbers make no sense.
        """
        if state["dtype"] != self.dtype:
            raise ValueError(
                f"was trained in {state['dtype']}, this is {self.dtype}: the steps would be others"
            )
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
