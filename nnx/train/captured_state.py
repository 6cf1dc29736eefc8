"""What a captured step changes: arrays that a replay changes too, and counts that it would not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..backends import Array, Backend, backend_of
from ..nn import Module
from ..optim import Optimizer
from ..random import default_generator
from ..tensor import Tensor

Owner = Module | Optimizer


class Slot:
    """A place that holds an array of somebody's state."""

    def __init__(self, holder: Any, key: Any) -> None:
        self.holder, self.key = holder, key

    def __call__(self) -> Array:
        if isinstance(self.holder, dict):
            return self.holder[self.key]
        return getattr(self.holder, self.key)

    def set(self, array: Array) -> None:
        if isinstance(self.holder, dict):
            self.holder[self.key] = array
        else:
            setattr(self.holder, self.key, array)


def slots_of(owners: tuple[Owner, ...]) -> Iterator[Slot]:
    """Every array of their state, but gradients."""
    seen: set[int] = set()
    for owner in owners:
        for parameter in parameters_of(owner):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield Slot(parameter, "data")
        if isinstance(owner, Module):
            for module in owner.modules():
                for name in module._buffers:
                    if getattr(module, name) is not None:
                        yield Slot(module, name)
        else:
            for state in owner.state.values():
                for key, value in state.items():
                    if hasattr(value, "dtype"):
                        yield Slot(state, key)


def parameters_of(owner: Owner) -> Iterator[Tensor]:
    if isinstance(owner, Module):
        yield from owner.parameters()
    else:
        for group in owner.param_groups:
            yield from group["params"]


def backend_of_owners(owners: tuple[Owner, ...]) -> Backend:
    first, *others = [p.data for owner in owners for p in parameters_of(owner)]
    return backend_of(first, *others)


def options_of(owners: tuple[Owner, ...]) -> list[Any]:
    """What the optimizers' groups say, learning rates included: plain numbers in the record."""
    return [
        {key: value for key, value in group.items() if key != "params"}
        for owner in owners
        if isinstance(owner, Optimizer)
        for group in owner.param_groups
    ]


def counted(owners: tuple[Owner, ...]) -> Any:
    """The numbers that are kept on the host."""
    steps = [
        (type(owner).__name__, state, key, value)
        for owner in owners
        if isinstance(owner, Optimizer)
        for state in owner.state.values()
        for key, value in state.items()
        if not hasattr(value, "dtype")
    ]
    return steps, default_generator().state()


def moved(counted: Any) -> str | None:
    """Which of them the step has changed, and what to do about it; None where none."""
    steps, draws = counted
    for name, state, key, value in steps:
        if state[key] != value:
            return (
                f"{name} counts its steps on the host ({key!r}), and a replay would not: call "
                "optimizer.step() after the captured step instead of inside"
            )
    if default_generator().state() != draws:
        return (
            "the step draws random numbers (dropout?), and each replay would draw the same ones "
            "again: run this step uncaptured"
        )
    return None


def restore(counted: Any) -> None:
    steps, draws = counted
    for _, state, key, value in steps:
        state[key] = value
    default_generator().set_state(draws)
