"""Where the bar of `Progress` is shown: in a terminal, or in a notebook."""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import Any


class Terminal:
    """A bar in the last line of a terminal; what is printed stands above it.

    Args:
        total: the steps of an epoch, or None where nobody knows.
    """

    def __init__(self, total: int | None) -> None:
        self.bar = _bar(transient=True)
        self.task = self.bar.add_task("", total=total, shown="")
        self.bar.start()

    def update(self, **fields: Any) -> None:
        """Show the bar with these fields changed, as rich's `Progress.update` takes them."""
        self.bar.update(self.task, **fields, refresh=True)

    def reset(self, total: int | None) -> None:
        """Begin again at 0."""
        self.bar.reset(self.task, total=total, shown="")

    def print(self, line: str) -> None:
        """Print a line."""
        self.bar.console.print(line, markup=False, highlight=False)

    def stop(self) -> None:
        """Take the bar away."""
        self.bar.stop()


class Notebook(Terminal):
    """A bar in an output of its own of a notebook's cell, which is rewritten.

    Rich draws it; but rich's own way to show it needs ipywidgets, and warns where that is missing.
    """

    def __init__(self, total: int | None) -> None:
        from rich.console import Console

        page = Console(file=io.StringIO(), width=100, force_terminal=False, force_jupyter=False)
        self.bar = _bar(console=page)
        self.task = self.bar.add_task("", total=total, shown="")
        display = import_module("IPython.display").display
        self.handle = display({"text/plain": ""}, raw=True, display_id=True)

    def update(self, **fields: Any) -> None:
        self.bar.update(self.task, **fields)
        with self.bar.console.capture() as drawn:
            self.bar.console.print(self.bar.get_renderable())
        self._show(drawn.get().strip())

    def print(self, line: str) -> None:
        print(line, flush=True)

    def stop(self) -> None:
        self._show("")

    def _show(self, text: str) -> None:
        self.handle.update({"text/plain": text}, raw=True)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook; IPython is not imported for it."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _bar(**options: Any) -> Any:
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=20),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[shown]}"),
        progress.TimeRemainingColumn(compact=True),
        auto_refresh=False,  # no second thread that takes time from the step
        **options,
    )
