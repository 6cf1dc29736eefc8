"""The command itself: its subcommands, imported when they are called, and its errors."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Any

import click

from .. import __version__

# name -> the file in this folder that defines `command`, and the line in `nnx --help`
_COMMANDS = {
    "train": ("train", "Train a network: an experiment of the textbooks."),
    "launch": ("launch", "Start a command in several processes that train one model."),
    "predict": ("predict", "Say what a trained run makes of images or text."),
    "plot": ("plot", "Draw pictures of trained runs."),
    "bench": ("bench", "Time one way to compute beside another."),
    "info": ("info", "Show versions and backends: what is used, and what is missing."),
    "doctor": ("doctor", "Examine this installation, and check that it computes right."),
}


class _Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        return import_module(f".{_COMMANDS[name][0]}", __package__).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nnx")
def cli() -> None:
    """Neural networks to read and to run."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command, and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command; its exit code.

    What a user can cause (a file that is not there, a value that makes no sense, training that
    diverges) is told in a line; a fault of the program keeps its traceback.
    """
    from ..train import NonFinite

    try:
        code = cli.main(arguments, prog_name="nnx", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        where = f"  (see {error.ctx.command_path} --help)" if error.ctx else ""
        _tell(f"error: {error.format_message()}{where}")
        return error.exit_code
    except click.ClickException as error:
        _tell(f"error: {error.format_message()}")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _tell("interrupted")
        return 130
    except NonFinite as error:
        _tell(f"training failed: {error}")
        return 1
    except OSError as error:
        if error.errno == errno.EPIPE:  # `nnx ... | head`: nobody is reading any more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        _tell(f"error: {_said(error)}")
        return 1


def told(error: Exception) -> click.ClickException:
    """A user's mistake as the one line that the command prints."""
    return click.ClickException(_said(error))


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or ''}: {error.strerror}".removeprefix(": ")
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error)


def _tell(line: str) -> None:
    """Print the line; where several processes work together, one of them does, and all end."""
    ranks = sys.modules.get("nnx.parallel.world")
    if ranks is not None and ranks.world().size > 1:
        ranks.world().abort(f"rank {ranks.world().rank} of {ranks.world().size} failed: {line}")
    click.echo(line, err=True)


def table(columns: Any, rows: Any) -> None:
    """Print a table, folded to the terminal's width; in a pipe each row stays one line."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    made = Table(*columns, box=box.SIMPLE_HEAD, show_header=any(columns), pad_edge=False)
    for row in rows:
        made.add_row(*[str(value) for value in row])
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 1000
    console.print(made)
