"""`nnx compile`."""

from __future__ import annotations

import click

from ..tools.warm import compile_kernels
from .main import as_click_error
from .terminal import say


@click.command()
def command() -> None:
    """Compile the kernels for this processor ahead of time, so that no training waits for it.

    They are kept on disk, in numba's cache (NUMBA_CACHE_DIR chooses the folder).
    """
    try:
        count, seconds = compile_kernels(lambda name: say(f"compiling {name}"))
    except ImportError as error:
        raise as_click_error(error) from None
    say(f"{count} kernels compiled in {seconds:.0f} s" if count else "all kernels are compiled")
