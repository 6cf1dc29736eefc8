"""Several losses at once: their weighted sum is trained, and each is told of by its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..nn import Module, ModuleList
from ..tensor import Tensor

Loss = Callable[[Any, Any], Any]
Share = float | Mapping[str, float]


class Terms(dict[str, Any]):
    """Losses by name, (), with what each counts in their sum."""

    def __init__(self, losses: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        super().__init__(losses)
        self.weights = weights


class Losses(Module):
    """Several losses, whose weighted sum is trained: L = Σ_k λ_k l_k.

        Losses({"place": nn.L1Loss(), "kind": nn.CrossEntropyLoss()}, {"place": 0.1})
        Losses(vae_loss, {"reconstruction": 1.0, "kl": 0.5})    # a function that gives a dict

    Each l_k, without its λ_k, has a column of the history, of validation too, beside `loss`, which
    is L.  A function that gives a dict (or a named tuple) needs this class only where the λ_k are
    not 1, or where a callback watches one of its columns.

    Args:
        losses: by name, what is called with the model's output and the target; where one of these
            is a dict that has the name, with that entry.  Or one function of both that gives
            losses of shape () by name.
        weights: λ_k by name, 1 where it is left out; for a function, of all its losses.

    Raises:
        ValueError: there is no loss; a weight is not finite, or of a loss that there is not.
        TypeError: a loss cannot be called.
    """

    def __init__(
        self, losses: Mapping[str, Loss] | Loss, weights: Mapping[str, float] | None = None
    ) -> None:
        given = dict(weights or {})
        named: Mapping[str, Any] = losses if isinstance(losses, Mapping) else {}
        self.names = tuple(named) or tuple(given)
        if not self.names:
            raise ValueError(
                "Losses: there is no loss; name each, {name: loss}, or give the weights of all "
                "that the function gives"
            )
        for loss in named.values() or [losses]:
            if not callable(loss):
                raise TypeError(
                    f"Losses: a loss is called with output and target; got {loss!r:.60}"
                )
        unknown = sorted(given.keys() - set(self.names))
        if unknown:
            raise ValueError(
                f"Losses: there are weights of {', '.join(unknown)}, but the losses are "
                f"{', '.join(self.names)}"
            )
        self.weights = {name: float(given.get(name, 1.0)) for name in self.names}
        if not all(map(math.isfinite, self.weights.values())):
            raise ValueError(f"Losses: the weights must be finite, got {self.weights}")
        self.function = None if named else losses
        self.each = dict(named)  # none where one function gives them all
        # So that what they hold is found, and moved.
        self.held = ModuleList([f for f in (losses, *named.values()) if isinstance(f, Module)])

    def forward(self, output: Any, target: Any) -> Terms:
        """The losses by name, each of shape (), of a model's output and its target.

        Raises:
            ValueError: the function gives others than those that have a weight.
        """
        return self.of_each(lambda loss, *given: loss(*given), output, target)

    def of_each(self, call: Callable[..., Any], output: Any, target: Any) -> Terms:
        """`call(loss, output, target)` by name, for each loss with the part of both, of any
        shapes, that is its own.

        Raises:
            ValueError: the function gives others than those that have a weight.
        """
        if self.function is not None:
            found = by_name(call(self.function, output, target))
            if found is None or found.keys() != set(self.names):
                given = "one loss" if found is None else ", ".join(found)
                raise ValueError(
                    f"Losses: there are weights of {', '.join(self.names)}, but the function "
                    f"gives {given}"
                )
        else:
            found = {
                name: call(loss, _own(output, name), _own(target, name))
                for name, loss in self.each.items()
            }
        return Terms({name: found[name] for name in self.names}, self.weights)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}: {weight:g}" for name, weight in self.weights.items())


def _own(given: Any, name: str) -> Any:
    return given[name] if isinstance(given, Mapping) and name in given else given


def by_name(loss: Any) -> dict[str, Any] | None:
    """Several losses by name: of a dict, a named tuple, or a tuple (loss_1, loss_2, ...).

    None where it is one loss.
    """
    if isinstance(loss, Mapping):
        return dict(loss)
    if isinstance(loss, tuple | list):
        names = getattr(loss, "_fields", None) or [f"loss_{k}" for k in range(1, len(loss) + 1)]
        return dict(zip(names, loss, strict=True))
    return None


def total(loss: Any, share: Share = 1.0) -> tuple[Any, dict[str, Tensor]]:
    """The number that is trained, shape (), and the losses it is the sum of, by name.

    Args:
        loss: what `Trainer.compute` gave: one loss, or several by name.
        share: how much of it counts, as of a part of a batch; by name, where the losses differ in
            that.  One without a share is left out; of none the sum is None.

    Raises:
        TypeError, ValueError: a loss is no Tensor of shape (); there is none.
    """
    found = by_name(loss)
    if found is None:
        _require_number("the loss", loss)
        assert not isinstance(share, Mapping)
        return (None if not share else loss if share == 1.0 else loss * share), {}
    if not found:
        raise ValueError("fit: the loss is empty: it must be a Tensor, or some by name")
    weights = loss.weights if isinstance(loss, Terms) else {}
    terms: dict[str, Tensor] = {}
    result: Any = None
    for name, term in found.items():
        _require_number(f"the loss {name!r}", term)
        part = share[name] if isinstance(share, Mapping) else share
        if not part:
            continue
        terms[name] = term if part == 1.0 else term * part
        weight = weights.get(name, 1.0)
        counted = terms[name] if weight == 1.0 else terms[name] * weight
        result = counted if result is None else result + counted
    return result, terms


def _require_number(what: str, loss: Any) -> None:
    """Raise an error unless a loss is one number."""
    if not isinstance(loss, Tensor):
        raise TypeError(f"fit: {what} must be a Tensor of shape (), got {type(loss).__name__}")
    if loss.shape != ():
        raise ValueError(
            f"fit: {what} has shape {loss.shape}, but a step needs one number, of shape (): "
            'make the loss with reduction="mean" instead of "none", or take its mean()'
        )
