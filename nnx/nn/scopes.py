"""What a `with` block sets for a model: its modes, and who watches its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..scoped import Block, Scoped

modes: Scoped[dict[int, bool]] = Scoped("nnx modes")  # id of a module -> whether it trains

Watch = Callable[[Any, tuple[Any, ...], Any], None]  # of a module, its inputs and its output


class Watching(NamedTuple):
    """Who hears of a module's call: when it ends, and, if wanted, when it begins."""

    after: Watch
    before: Callable[[Any], None] | None = None


watchers: Scoped[Watching] = Scoped("nnx watch")


def watching(watch: Watch, before: Callable[[Any], None] | None = None) -> Block[Watching]:
    """A `with` block in which `watch(module, inputs, output)` follows every module's forward, and
    `before(module)` precedes it.

    Unlike a hook it leaves nothing behind, and hears nothing of what other threads compute.
    """
    return watchers(Watching(watch, before))
