"""The numbers of an optimizer's step: one small class for each update rule.

A kernel of `*/optim.py` takes arrays and one of these.  What the symbols mean stands with each
optimizer in `nnx.optim`, which makes them; a field is called as the optimizer's option of the same
meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What all rules have.

    Attributes:
        lr: the learning rate of this step.
        weight_decay: λ; λ p is added to the gradient.
        maximize: climb instead of descend: the gradient is turned round first.
        skip: an array of shape (), int32: where it is not 0, no step is made; SGD and Adam alone
            look at it.
    """

    lr: float
    weight_decay: float = 0.0
    maximize: bool = False
    skip: Any = None

    @classmethod
    def of(cls, group: Mapping[str, Any], **numbers: Any) -> Self:
        """The rule with these numbers; the others are a parameter group's, by their names."""
        options = {name: group[name] for name in cls.__dataclass_fields__ if name in group}
        return cls(**(options | numbers))

    @property
    def on_device(self) -> bool:
        """Whether some of its numbers are arrays."""
        return self.skip is not None

    @property
    def sign(self) -> float:
        """What the gradient is multiplied by."""
        return -1.0 if self.maximize else 1.0

    @property
    def decay(self) -> float:
        """How much of p is added to the gradient."""
        return self.weight_decay


@dataclass(frozen=True, kw_only=True, slots=True)
class SGD(Rule):
    """`momentum` is μ, `dampening` d."""

    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ASGD(Rule):
    """`lr` is η; `shrink` multiplies p before the step; `share` is how much of the way to the new
    p its average goes."""

    shrink: float
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Rprop(Rule):
    """`etas` are η⁻ and η⁺, `step_sizes` the least and the largest step."""

    etas: tuple[float, float]
    step_sizes: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Adagrad(Rule):
    """`lr` is what has become of the rate by this step; `eps` is ε."""

    eps: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RMSprop(Rule):
    """`alpha` is α, `momentum` μ."""

    alpha: float
    eps: float
    momentum: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Adadelta(Rule):
    """`rho` is ρ."""

    rho: float
    eps: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Adamax(Rule):
    """`lr` is divided by 1 - β1^t."""

    betas: tuple[float, float]
    eps: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments(Rule):
    """What Adam's relatives have.

    Attributes:
        betas: β1 and β2.
        decoupled: p shrinks by lr λ p before the step instead (AdamW).
    """

    betas: tuple[float, float]
    eps: float
    decoupled: bool = False

    @property
    def decay(self) -> float:
        return 0.0 if self.decoupled else self.weight_decay

    @property
    def shrink(self) -> float:
        """What p is multiplied by before the step."""
        return 1 - self.lr * self.weight_decay if self.decoupled else 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Adam(Moments):
    """`step` counts from 1; an array of shape (), int64, where a device counts itself."""

    step: Any

    @property
    def rate(self) -> float:
        """lr / (1 - β1^t)."""
        return float(self.lr / (1 - self.betas[0] ** self.step))

    @property
    def counts_on_device(self) -> bool:
        """Whether `step` is an array."""
        return hasattr(self.step, "dtype")

    @property
    def on_device(self) -> bool:
        return self.skip is not None or self.counts_on_device

    @property
    def root(self) -> float:
        """√(1 - β2^t)."""
        return math.sqrt(1 - self.betas[1] ** self.step)


@dataclass(frozen=True, kw_only=True, slots=True)
class NAdam(Adam):
    """`gradient_rate` and `average_rate` multiply g and m."""

    gradient_rate: float
    average_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RAdam(Moments):
    """`average_rate` multiplies m while `adaptive_rate` is 0; then that multiplies m / (√s + ε)."""

    average_rate: float
    adaptive_rate: float
