"""`nnx plot`: a subcommand for each kind of picture.

To add one: a function with `@command.command()` that takes RUN folders and an `--out` file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import nn, ops, plots
from ..autograd import no_grad
from ..backends import backend_of
from ..plots import available, compare_curves
from ..recipes import Run, find
from ..recipes.images import ImageRecipe
from ..recipes.series import SeriesRecipe
from ..train.batches import to_tensors
from .terminal import say

MOST_SHOWN = 64  # pictures on a sheet


def _out(default: str) -> Callable[..., Any]:
    """The option that says where the picture goes."""
    return click.option(
        "--out",
        type=click.Path(dir_okay=False),
        help=f"The picture: .png, .pdf, .svg or what else matplotlib writes.  [default: {default}]",
    )


def _place(out: str | None, trained: Run, name: str) -> Path:
    """Where the picture goes: into the run's folder, where nothing else is said."""
    return Path(out) if out else trained.folder / name


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Draw pictures of trained runs.  Needs matplotlib: pip install matplotlib."""
    if not available():
        raise click.ClickException("pictures need matplotlib: pip install matplotlib")


@command.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("--steps", is_flag=True, help="The loss of every step, a mean of 20, not of epochs.")
@_out("RUN/curves.png, or RUN/steps.png")
def curves(runs: tuple[str, ...], steps: bool, out: str | None) -> None:
    """The learning curves of RUNS, in one picture."""
    if steps:
        _draw_steps(runs, out)
        return
    histories = {}
    for folder, name in zip(runs, _told_apart(runs), strict=True):
        rows = Run(folder).history.rows
        if not rows:
            raise click.ClickException(f"{folder} has no history: no epoch was completed")
        histories[name] = rows
    if out is None and len(runs) > 1:
        raise click.UsageError("for several runs, say with --out where the picture shall go")
    path = Path(out) if out else Path(runs[0]) / "curves.png"
    title = next(iter(histories)) if len(histories) == 1 else ""
    compare_curves(histories if len(histories) > 1 else {"": histories[title]}, path, title)
    say(f"picture {path}")


def _draw_steps(runs: Sequence[str], out: str | None) -> None:
    """The running mean of each run's losses by step."""
    lines = {}
    for folder, name in zip(runs, _told_apart(runs), strict=True):
        losses = np.asarray(Run(folder).history.step_losses)
        if not len(losses):
            raise click.ClickException(f"{folder} has no losses by step")
        width = min(20, len(losses))
        mean = np.convolve(losses, np.ones(width) / width, mode="valid")
        lines[name] = (np.arange(width, len(losses) + 1), mean)
    if out is None and len(runs) > 1:
        raise click.UsageError("for several runs, say with --out where the picture shall go")
    path = Path(out) if out else Path(runs[0]) / "steps.png"
    title = next(iter(lines)) if len(lines) == 1 else ""
    plots.lines({"": lines}, path, title, xlabel="step", ylabel="loss, a mean of 20 steps")
    say(f"picture {path}")


@command.command()
@click.argument("run", type=click.Path())
@click.option("--layer", help="The convolution's name, such as 3.  [default: the first]")
@_out("RUN/filters.png")
def filters(run: str, layer: str | None, out: str | None) -> None:
    """The kernels that a convolution of RUN has learnt."""
    trained = Run(run)
    model = trained.model()
    found = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    if not found:
        raise click.ClickException(f"{run} has no convolution whose filters could be shown")
    name = next(iter(found)) if layer is None else layer
    if name not in found:
        raise click.UsageError(f"--layer must be one of {', '.join(found)}; got {name}")
    weight = found[name].weight.data
    path = _place(out, trained, "filters.png")
    plots.filters(
        np.array(backend_of(weight).to_numpy(weight)),
        path,
        f"{trained.folder.name}, layer {name}: {found[name].extra_repr()}",
    )
    say(f"picture {path}")


@command.command()
@click.argument("run", type=click.Path())
@_out("RUN/weights.png")
def weights(run: str, out: str | None) -> None:
    """The weights of RUN's first dense layer as pictures: of softmax regression, its templates."""
    trained = Run(run)
    recipe = trained.recipe
    if not isinstance(recipe, ImageRecipe):
        raise click.ClickException(f"{run} ({recipe.name}) does not classify images")
    size = int(np.prod(recipe.size))
    layers = [m for m in trained.model().modules() if isinstance(m, nn.Linear)]
    layer = next((m for m in layers if m.weight.shape[1] == size), None)
    if layer is None:
        raise click.ClickException(f"{run} has no dense layer that reads a whole picture")
    weight = layer.weight.data
    pictures = np.array(backend_of(weight).to_numpy(weight)).reshape(-1, 1, *recipe.size)
    path = _place(out, trained, "weights.png")
    shown = pictures[:MOST_SHOWN]
    some = "" if len(shown) == len(pictures) else f", {MOST_SHOWN} of {len(pictures)} units"
    plots.filters(shown, path, f"{trained.folder.name}{some}")
    say(f"picture {path}")


@command.command()
@click.argument("experiment")
@_out("EXPERIMENT.png")
def data(experiment: str, out: str | None) -> None:
    """A sheet of the pictures that EXPERIMENT trains on, with their classes."""
    recipe = find(experiment)
    if not isinstance(recipe, ImageRecipe):
        raise click.ClickException(f"{experiment} has no pictures to show")
    x, truth = recipe.data(recipe.make_options()).train
    pictures = np.asarray(x[:MOST_SHOWN]).reshape(-1, *recipe.size)
    names = [recipe.classes[int(k)] for k in truth[:MOST_SHOWN]]
    path = Path(out) if out else Path(f"{experiment}.png")
    plots.sheet(pictures, names, path, experiment)
    say(f"picture {path}")


@command.command()
@click.argument("run", type=click.Path())
@_out("RUN/confusion.png")
def confusion(run: str, out: str | None) -> None:
    """What RUN takes for what: how often, on the test part."""
    trained = Run(run)
    recipe = trained.recipe
    if not recipe.classes:
        raise click.ClickException(f"{run} ({recipe.name}) does not tell classes apart")
    *inputs, truth = recipe.data(trained.options).test
    said = trained.predict(tuple(inputs) if len(inputs) > 1 else inputs[0]).numpy().argmax(axis=1)
    counts = plots.mistakes.confusion(np.asarray(truth), said, len(recipe.classes))
    path = _place(out, trained, "confusion.png")
    plots.confusion_matrix(counts, recipe.classes, path, trained.folder.name)
    say(f"picture {path}")


@command.command()
@click.argument("run", type=click.Path())
@_out("RUN/predictions.png")
def predictions(run: str, out: str | None) -> None:
    """What RUN predicts of the test part beside what was true: of a series, the first value, the
    middle one and the last of those that are predicted at once."""
    trained = Run(run)
    recipe = trained.recipe
    if not isinstance(recipe, SeriesRecipe):
        raise click.ClickException(f"{run} ({recipe.name}) does not predict numbers")
    inputs, truth = recipe.data(trained.options).test
    count = truth.shape[1]
    chosen = sorted({0, count // 2, count - 1})
    true, said = (
        recipe.in_units(a[:, chosen], trained.options)
        for a in (truth, trained.predict(inputs).numpy())
    )
    path = _place(out, trained, "predictions.png")
    names = [f"{k + 1} ahead" for k in chosen]
    plots.predictions(true, said, path, trained.folder.name, names=names)
    say(f"picture {path}")


def _batch(trained: Run) -> Any:
    """The first examples that a run was trained on, as many as a batch had: tensors."""
    arrays = trained.recipe.data(trained.options).train
    return to_tensors(tuple(a[: trained.options.batch_size] for a in arrays), None)


@command.command()
@click.argument("run", type=click.Path())
@_out("RUN/activations.png")
def activations(run: str, out: str | None) -> None:
    """Histograms of what each layer of RUN gives for a batch that it was trained on."""
    trained = Run(run)
    inputs = _batch(trained)[:-1]
    path = _place(out, trained, "activations.png")
    plots.activation_histograms(trained.model(), *inputs, path=path, title=trained.folder.name)
    say(f"picture {path}")


@command.command()
@click.argument("run", type=click.Path())
@_out("RUN/gradients.png")
def gradients(run: str, out: str | None) -> None:
    """Histograms of the gradients of RUN's parameters for a batch that it was trained on."""
    trained = Run(run)
    *inputs, target = _batch(trained)
    model = trained.model().train()
    trained.recipe.loss(trained.options)(model(*inputs), target).backward()
    path = _place(out, trained, "gradients.png")
    plots.gradient_histograms(model, path=path, title=trained.folder.name)
    say(f"picture {path}")


@command.command()
@click.argument("run", type=click.Path())
@click.argument("text", required=False)
@_out("RUN/attention.png")
def attention(run: str, text: str | None, out: str | None) -> None:
    """Where RUN looks as it answers TEXT, or else the first test example."""
    trained = Run(run)
    weights, rows, columns = trained.recipe.looks(trained, text)
    path = _place(out, trained, "attention.png")
    plots.attention(weights, rows, columns, path)
    say(f"picture {path}")


@command.command()
@click.argument("run", type=click.Path())
@_out("RUN/errors.png")
def errors(run: str, out: str | None) -> None:
    """The test images that RUN gets wrong, and its confusion matrix."""
    trained = Run(run)
    recipe = trained.recipe
    if not isinstance(recipe, ImageRecipe):
        raise click.ClickException(f"{run} ({recipe.name}) does not classify images")
    x, truth = recipe.data(trained.options).test
    logits = trained.predict(x)
    with no_grad():
        p = ops.softmax(logits, axis=1).numpy()
    path = _place(out, trained, "errors.png")
    pictures = np.asarray(x).reshape(-1, *recipe.size)
    plots.errors(pictures, np.asarray(truth), p, recipe.classes, path, trained.folder.name)
    say(f"picture {path}")


def _told_apart(runs: Sequence[str]) -> list[str]:
    """The shortest ends of the paths, at least the folder's name, in which different runs differ.

    a/digits-1 and b/digits-1 are called so; a/digits-1 and a/digits-2 digits-1 and digits-2.
    """
    paths = [Path(os.path.realpath(run)) for run in runs]  # a loop of links has no `resolve()`
    names = []
    for path in paths:
        others = [other for other in paths if other != path]
        for count in range(1, len(path.parts) + 1):
            end = path.parts[-count:]
            if all(other.parts[-count:] != end for other in others):
                break
        names.append("/".join(end))
    return names
