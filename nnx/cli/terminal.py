"""The door to the terminal: whatever the command prints goes through here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from ..io import printable

CELL = 400  # characters that a cell of a table shows


def say(line: object) -> None:
    """Print a line, with nothing in it that would act on a terminal."""
    click.echo(printable(line))


def complain(line: object) -> None:
    """The same on standard error; where that cannot be written to, nothing."""
    with suppress(OSError, ValueError):
        click.echo(printable(line), err=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table, folded to the terminal's width; in a pipe each row stays one line."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    made = Table(*columns, box=box.SIMPLE_HEAD, show_header=any(columns), pad_edge=False)
    for row in rows:
        made.add_row(*[printable(value, CELL) for value in row])
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 1000
    console.print(made)


@contextmanager
def streams_prepared() -> Iterator[None]:
    """Inside a `with` block there are standard streams, and what one cannot encode is replaced.

    A closed stream (`nnx info >&-`) is opened again on nothing; else the next file that is opened
    would take its number, and what libraries print would go into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            _occupy(number)
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: PTH123
        elif number and hasattr(stream, "reconfigure"):
            with suppress(OSError, ValueError):
                stream.reconfigure(errors="replace" if number == 1 else "backslashreplace")
    yield


def _occupy(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        with suppress(OSError):
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def give_up_output() -> None:
    """Nobody can read what is printed any more: what is left of it goes nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
