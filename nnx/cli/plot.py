"""`nnx plot`: a subcommand for each kind of picture.

To add one: a function with `@command.command()` that takes RUN folders and an `--out` file.
"""

from __future__ import annotations

from pathlib import Path

import click

from ..plots import available, compare_curves
from ..recipes import Run
from .main import told


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Draw pictures of trained runs.  Needs matplotlib: pip install 'nnx-array[plot]'."""
    if not available():
        raise click.ClickException("pictures need matplotlib: pip install 'nnx-array[plot]'")


@command.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("--out", type=click.Path(), help="The PNG file.  [default: RUN/curves.png]")
def curves(runs: tuple[str, ...], out: str | None) -> None:
    """The learning curves of RUNS, in one picture."""
    try:
        histories = {}
        for folder in runs:
            run = Run(folder)
            histories[run.folder.name] = run.history.rows
            if not run.history.rows:
                raise ValueError(f"{folder} has no history: no epoch was completed")
    except ValueError as error:
        raise told(error) from error
    if out is None and len(runs) > 1:
        raise click.UsageError("for several runs, say with --out where the picture shall go")
    path = Path(out) if out else Path(runs[0]) / "curves.png"
    title = next(iter(histories)) if len(histories) == 1 else ""
    compare_curves(histories if len(histories) > 1 else {"": histories[title]}, path, title)
    click.echo(f"picture {path}")
