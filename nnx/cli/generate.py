"""`nnx generate`."""

from __future__ import annotations

import sys

import click

from ..backends import set_backend
from ..io import printable
from ..recipes import Run


@click.command()
@click.argument("run", type=click.Path())
@click.option("--text", default="\n", help="What goes before; the model writes on from it.")
@click.option(
    "--length",
    type=click.IntRange(min=1),
    default=400,
    show_default=True,
    help="Characters that are written.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    default=0.7,
    show_default=True,
    help="Below 1 the probable becomes more probable; 0: always the most probable.",
)
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True)
@click.option("--backend", help="The array library to compute with.")
def command(
    run: str, text: str, length: int, temperature: float, seed: int, backend: str | None
) -> None:
    """Write text with a trained RUN of char-lm (its folder), a character at a time."""
    if backend:
        set_backend(backend)
    trained = Run(run)
    write = trained.recipe.generate(trained, text, length, temperature, seed)
    click.echo(printable(text.lstrip("\n")), nl=False)
    for character in write:
        click.echo(character if character == "\n" else printable(character), nl=False)
        sys.stdout.flush()
    click.echo()
