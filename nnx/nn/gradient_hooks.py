"""Hooks on the gradients that pass through a module, for `Module.register_full_backward_hook`.

The inputs and the output are led through an operation that changes nothing: on the way back, the
first to be met has the gradient of the output, the other that of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd import Function, Node
from ..backends import Array


class _Gate(Function):
    """The tensors as they are; `seen` gets their gradients on the way back, and may change them."""

    def __init__(self, seen: Callable[[tuple[Array | None, ...]], Any]) -> None:
        self.seen = seen

    def forward(self, *arrays: Array) -> tuple[Array, ...]:
        return arrays

    def backward(self, *gradients: Array) -> tuple[Array, ...]:
        changed: tuple[Array, ...] | None = self.seen(gradients)
        return gradients if changed is None else changed


def call_between_gates(
    module: Any, hooks: tuple[Callable[..., Any], ...], args: tuple[Any, ...], kwargs: Any
) -> Any:
    """`module.forward(*args, **kwargs)`; on the way back the hooks see its gradients."""
    of_output: list[tuple[Array | None, ...]] = []
    places = [i for i, x in enumerate(args) if isinstance(x, Node) and x.requires_grad]

    def leave(gradients: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        """The walk comes to the inputs: all gradients of the module are known."""
        shown: list[Array | None] = [None] * len(args)
        for place, g in zip(places, gradients, strict=True):
            shown[place] = g
        for hook in hooks:
            changed = hook(module, tuple(shown), of_output[-1])
            if changed is not None:
                given = changed if isinstance(changed, tuple) else (changed,)
                shown = [g.data if isinstance(g, Node) else g for g in given]
                if len(shown) != len(args):
                    raise ValueError(
                        f"register_full_backward_hook: {len(args)} gradients of inputs wanted, "
                        f"and the hook returned {len(shown)}"
                    )
        return tuple(shown[place] for place in places)

    def enter(gradients: tuple[Array | None, ...]) -> None:
        """The walk comes to the output."""
        of_output.append(gradients)
        if not places:  # no input requires a gradient: nothing will be met further on
            for hook in hooks:
                hook(module, (None,) * len(args), gradients)

    if places:
        led = list(args)
        passed = _Gate(leave)(*[args[i] for i in places])
        for place, x in zip(places, passed, strict=True):
            led[place] = x
        args = tuple(led)
    y = module.forward(*args, **kwargs)
    several = isinstance(y, tuple)
    outputs = list(y) if several else [y]
    at = [i for i, x in enumerate(outputs) if isinstance(x, Node) and x.requires_grad]
    if at:
        for place, x in zip(at, _Gate(enter)(*[outputs[i] for i in at]), strict=True):
            outputs[place] = x
    return tuple(outputs) if several else outputs[0]
