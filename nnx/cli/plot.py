"""`nnx plot`: a subcommand for each kind of picture.

To add one: a function with `@command.command()` that takes RUN folders and an `--out` file.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from .. import nn, ops, plots
from ..autograd import no_grad
from ..backends import backend_of
from ..plots import available, compare_curves
from ..recipes import Run
from ..recipes.images import ImageRecipe
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


@command.command()
@click.argument("run", type=click.Path())
@click.option("--layer", help="The convolution's name, such as 3.  [default: the first]")
@click.option("--out", type=click.Path(), help="The PNG file.  [default: RUN/filters.png]")
def filters(run: str, layer: str | None, out: str | None) -> None:
    """The kernels that a convolution of RUN has learnt."""
    trained = _open(run)
    model = _model(trained)
    found = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    if not found:
        raise click.ClickException(f"{run} has no convolution whose filters could be shown")
    name = next(iter(found)) if layer is None else layer
    if name not in found:
        raise click.UsageError(f"--layer must be one of {', '.join(found)}; got {name}")
    weight = found[name].weight.data
    path = Path(out) if out else trained.folder / "filters.png"
    plots.filters(
        np.array(backend_of(weight).to_numpy(weight)),
        path,
        f"{trained.folder.name}, layer {name}: {found[name].extra_repr()}",
    )
    click.echo(f"picture {path}")


@command.command()
@click.argument("run", type=click.Path())
@click.option("--out", type=click.Path(), help="The PNG file.  [default: RUN/errors.png]")
def errors(run: str, out: str | None) -> None:
    """The test images that RUN gets wrong, and its confusion matrix."""
    trained = _open(run)
    recipe = trained.recipe
    if not isinstance(recipe, ImageRecipe):
        raise click.ClickException(f"{run} ({recipe.name}) does not classify images")
    try:
        x, truth = recipe.data(trained.options).test
        logits = trained.predict(x)
    except (ValueError, OSError) as error:
        raise told(error) from error
    with no_grad():
        p = ops.softmax(logits, axis=1).numpy()
    path = Path(out) if out else trained.folder / "errors.png"
    pictures = np.asarray(x).reshape(-1, *recipe.size)
    plots.errors(pictures, np.asarray(truth), p, recipe.classes, path, trained.folder.name)
    click.echo(f"picture {path}")


def _open(folder: str) -> Run:
    try:
        return Run(folder)
    except (ValueError, OSError) as error:
        raise told(error) from error


def _model(run: Run) -> nn.Module:
    try:
        return run.model()
    except (ValueError, OSError) as error:
        raise told(error) from error
