"""`nnx predict`."""

from __future__ import annotations

from pathlib import Path

import click

from ..backends import set_backend
from ..recipes import Run
from .main import as_click_error
from .terminal import say, table


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
@click.option("--backend", help="The array library to compute with.")
def command(
    run: str, files: tuple[str, ...], text: str | None, limit: int, backend: str | None
) -> None:
    """Say what a trained RUN (its folder) makes of image FILES: PNG, NPY or IDX.

    Pictures of any size are taken: the figure is cut out and scaled, and dark ink on light
    paper is inverted; the table says what was done.
    """
    if not files and text is None:
        raise click.UsageError("give image files, or --text")
    try:
        if backend:
            set_backend(backend)
        trained = Run(run)
        if text is not None:
            said = trained.recipe.predict_text(trained, text)
        else:
            said = trained.recipe.predict_files(trained, [Path(file) for file in files])
    except (ValueError, TypeError) as error:
        raise as_click_error(error) from error
    shown = said.rows[:limit] if limit else said.rows
    table(said.columns, shown)
    if len(shown) < len(said.rows):
        say(f"... and {len(said.rows) - len(shown)} more (--limit 0 shows all)")
    for note in said.notes:
        say(note)
