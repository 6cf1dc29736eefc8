"""Penalties on weights, beside the loss: L1 and L2 regularisation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import Array, backend_of
from ..nn import Module
from ..tensor import Tensor


class Penalty:
    """l1 Σ|p| + l2/2 Σ p² over chosen parameters, which a Trainer adds to the loss.

        Trainer(model, loss, optimizer, penalty=Penalty(l2=1e-4))        # weights, not biases

    Its gradient, l1 sign(p) + l2 p (Xu 3.3-3.5), is added to the loss's before the optimizer sees
    it, so plain SGD makes of l2 what its `weight_decay` makes of it; Adam divides it by √s like the
    rest.  λ/2 |w|² is the penalty of Xu, Saito and the lecture notes; Wang's λ |w|² is l2 = 2 λ.

    Where the loss is shown, the penalty stands beside it, in a column of its own; the two together
    are what is minimised (the loss that Xu shows).  The gradient of |p| is 0 at 0 and does not
    shrink near it: weights end near zero, not at it.  `nnx.linear_model.Lasso` gives real zeros.

    Args:
        l1, l2: λ of each, at least 0.
        parameters: which ones: tensors, or (name, tensor) pairs; those of the model that have two
            axes or more (weights, not biases and not the scales of normalisation) where left out.

    Raises:
        ValueError: a λ is negative, or there are no such parameters.
    """

    def __init__(
        self, *, l1: float = 0.0, l2: float = 0.0, parameters: Iterable[Any] | None = None
    ) -> None:
        if not (l1 >= 0 and l2 >= 0):
            raise ValueError(f"Penalty: l1 and l2 must be at least 0; l1 {l1}, l2 {l2}")
        self.l1, self.l2 = l1, l2
        self.parameters: list[Tensor] | None = None
        if parameters is not None:
            self.parameters = [p[1] if isinstance(p, tuple) else p for p in parameters]
            if not self.parameters:
                raise ValueError("Penalty: there are no parameters to penalise")

    def on(self, model: Module) -> list[Tensor]:
        """The parameters that are penalised, each in its own shape.

        Args:
            model: where they are looked for, at the first call, if none were named.

        Raises:
            ValueError: the model has no parameter of two axes or more.
        """
        if self.parameters is None:
            self.parameters = [p for p in model.parameters() if p.ndim > 1]
            if not self.parameters:
                raise ValueError(
                    "Penalty: the model has no parameter of two axes or more; name those to "
                    "penalise by parameters="
                )
        return self.parameters

    def add_gradients(self, model: Module) -> None:
        """Add the gradient to the `.grad` of every parameter `on(model)` that has one.

        Raises:
            ValueError: there are none.
        """
        for p in self.on(model):
            if p.grad is None:  # frozen, or not used in this step
                continue
            if self.l2:
                p.grad = p.grad + self.l2 * p.data
            if self.l1:
                p.grad = p.grad + self.l1 * backend_of(p.data).xp.sign(p.data)

    def value(self, model: Module) -> float:
        """The penalty at the present parameters of the model: l1 Σ|p| + l2/2 Σ p², one number.

        Raises:
            ValueError: there are none.
        """
        terms: list[Array] = []
        for p in self.on(model):
            xp = backend_of(p.data).xp
            terms.append(self.l1 * xp.sum(xp.abs(p.data)) + self.l2 / 2 * xp.sum(p.data * p.data))
        return sum(float(term) for term in terms)

    def __repr__(self) -> str:
        return f"Penalty(l1={self.l1}, l2={self.l2})"
