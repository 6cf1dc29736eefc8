"""`nnx compile`."""

from __future__ import annotations

from itertools import count as count_from

import click

from ..backends.compiles import by_others
from ..recipes import NAMES
from ..recipes.runner import outline
from ..tools.warm import compile_kernels
from .main import as_click_error
from .terminal import say


@click.command()
@click.argument("experiments", nargs=-1, metavar="[NAME]...", type=click.Choice(NAMES))
def command(experiments: tuple[str, ...]) -> None:
    """Compile the kernels for this processor ahead of time, so that no training waits for it.

    All of them; or with the NAME of an experiment (`nnx train --list`) those that it calls, for
    which its data are read.  They are kept on disk, in numba's cache (NUMBA_CACHE_DIR chooses the
    folder); as many processes compile as there are threads (NNX_NUM_THREADS).
    """
    told = count_from(1)

    def tell(name: str) -> None:
        number, total = next(told), by_others()[1]
        say(f"compiling {number} of {max(number, total)}: {name}" if total else f"compiling {name}")

    try:
        steps = [outline(name) for name in experiments]
        count, seconds = compile_kernels(tell, steps)
    except ImportError as error:
        raise as_click_error(error) from None
    say(f"{count} kernels compiled in {seconds:.0f} s" if count else "all kernels are compiled")
