"""`nnx launch`."""

from __future__ import annotations

import shlex

import click

from ..backends.forks import processors
from ..parallel.launch import CannotLaunch, Ranks, command_line, launch
from .main import as_click_error


@click.command(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
    },
    options_metavar="[OPTIONS]",
)
@click.option("-n", "--ranks", type=click.IntRange(min=1), help="Processes.  [default: processors]")
@click.option(
    "--restarts",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Where a rank is lost, go on from the last checkpoint with one less, so often at most.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds without a sign of life after which a rank counts as lost.  [default: 5]",
)
@click.option("--oversubscribe", is_flag=True, help="Start more ranks than there are processors.")
@click.option("--allow-root", is_flag=True, help="Start ranks as root, as in a container.")
@click.option("--host", help="Where: machine:ranks,machine:ranks (needs ssh and one file system).")
@click.option("--mpiexec", "more", multiple=True, help="A further option for mpiexec, as one word.")
@click.option("--dry-run", is_flag=True, help="Show what would be started.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    ranks: int | None,
    restarts: int,
    timeout: float | None,
    oversubscribe: bool,
    allow_root: bool,
    host: str | None,
    more: tuple[str, ...],
    dry_run: bool,
    command: tuple[str, ...],
) -> int:
    """Start a command in several processes, which train one model together.

    \b
        nnx launch -n 4 train mnist-cnn
        nnx launch -n 4 script.py
        nnx launch -n 2 --restarts 3 train imdb-gru --epochs 4

    The result does not depend on how many there are.  COMMAND is a command of nnx, a script whose
    name ends in .py, or -m and a module.
    """
    start = Ranks(ranks or processors(), oversubscribe, allow_root, host, more)
    try:
        if dry_run:
            click.echo(shlex.join(command_line(command, start)))
            return 0
        return launch(command, start, restarts, timeout)
    except CannotLaunch as error:
        raise as_click_error(error) from None
