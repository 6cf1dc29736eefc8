"""`nnx predict`."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from ..backends import set_backend
from ..recipes import Run
from .main import as_click_error
from .terminal import complain, say, table


@click.command()
@click.argument("run", type=click.Path())
@click.argument("files", nargs=-1, type=click.Path())
@click.option("--text", help="A text to judge, for a run that was trained on texts.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="Rows to show; 0 for all.",
)
@click.option(
    "--show", type=click.Path(), help="Draw what the network saw to this file, such as out.png."
)
@click.option("--backend", help="The array library to compute with.")
def command(
    run: str,
    files: tuple[str, ...],
    text: str | None,
    limit: int,
    show: str | None,
    backend: str | None,
) -> None:
    """Say what a trained RUN (its folder) makes of image FILES: PNG, JPEG, NPY, IDX and more.

    Pictures of any size are taken, photographs too: the figure is found on its paper, cut out and
    scaled, and dark ink on light paper is inverted; the table says what was done.  What cannot be
    read, or has no one clear figure, is told at the end, and the exit status is then 1.

    A run of csi300-lstm says the 20 days after the last one of FILE (day, close, volume, turnover
    in a line), or, without a file, after the last one there is.
    """
    from .. import plots

    if show is not None and (text is not None or not plots.available()):
        raise click.UsageError(
            "--show is for image files"
            if text is not None
            else "pictures need matplotlib: pip install matplotlib"
        )
    if not files and text is None and not _looks_ahead(run):
        raise click.UsageError("give image files, or --text")
    if backend:
        set_backend(backend)
    trained = Run(run)
    if text is not None:
        said = trained.recipe.predict_text(trained, text)
    else:
        said = trained.recipe.predict_files(trained, [Path(file) for file in files])
    if said.failed and not said.rows and len(said.failed) == 1:
        raise as_click_error(said.failed[0])
    shown = said.rows[:limit] if limit else said.rows
    if said.rows:
        table(said.columns, shown)
    if len(shown) < len(said.rows):
        say(f"... and {len(said.rows) - len(shown)} more (--limit 0 shows all)")
    for note in said.notes:
        say(note)
    if show is not None and said.seen:
        names, pictures = zip(*said.seen, strict=True)
        plots.sheet(1 - np.stack(pictures), names, show)
        say(f"what the network saw is in {show}")
    for failure in said.failed:
        complain(f"error: {as_click_error(failure).format_message()}")
    if said.failed:
        raise click.exceptions.Exit(1)


def _looks_ahead(folder: str) -> bool:
    """Whether this is a run whose recipe says what comes next, without a file."""
    return Path(folder).is_dir() and Run(folder).recipe.looks_ahead
