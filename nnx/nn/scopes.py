"""What a `with` block sets for a model: its modes, and who watches its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..scoped import Block, Scoped

if TYPE_CHECKING:
    from .module import Module

modes: Scoped[dict[int, bool]] = Scoped("nnx modes")  # id of a module -> whether it trains


def temporary_modes(model: Module) -> Block[dict[int, bool]]:
    """A `with` block in which `train()` and `eval()` of a model hold for the block alone.

    The model itself is not touched: another thread may train it at the same time, and nothing is
    left to put back when the block ends.
    """
    here = {id(module): module.training for module in model.modules()}
    return modes({**(modes.get() or {}), **here})


Watch = Callable[["Module", tuple[Any, ...], Any], None]
watchers: Scoped[Watch] = Scoped("nnx watch")


def watching(watch: Watch) -> Block[Watch]:
    """A `with` block in which `watch(module, inputs, output)` follows every module's forward.

    Unlike a hook it leaves nothing behind, and hears nothing of what other threads compute.
    """
    return watchers(watch)


def is_watched(module: Module) -> bool:
    """Whether somebody wants to see, or to change, what goes in and out of this module."""
    return bool(module._before or module._after) or watchers.get() is not None
