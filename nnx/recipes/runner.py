"""`train`: an experiment from its data to the last line."""

from __future__ import annotations

import os
from typing import Any

from ..backends import active_backend
from ..io import load
from ..metrics import get as get_metric
from ..plots import available as can_draw
from ..random import manual_seed
from ..train import Checkpoint, CSVLog, LearningCurve
from .recipe import Data, Recipe
from .registry import find
from .run import Run


def train(
    recipe: str | Recipe,
    out: str | os.PathLike[str] = "runs",
    progress: bool = True,
    **options: Any,
) -> Run:
    """Run an experiment, in a new run folder.

    Args:
        recipe: its name, or a Recipe.
        out: the folder of the run folders.
        progress: whether to tell how it goes.
        options: in place of the recipe's defaults: epochs, batch_size, lr, seed, ...

    Returns:
        The run; `run.result` has the values on the test part, unless Ctrl-C came first.
    """
    recipe = find(recipe) if isinstance(recipe, str) else recipe
    o = recipe.make_options(**options)
    data = recipe.data(o)
    o.assets = data.assets
    return _train(Run.create(out, recipe, o), data, progress)


def resume(run: Run, epochs: int | None = None, progress: bool = True) -> Run:
    """Go on with a run until it has all its epochs, exactly as if it had never stopped.

    Args:
        run: the run.
        epochs: in all, where it is to have more than it was begun with.

    Raises:
        FileNotFoundError: it has no checkpoint.
        ValueError: its training data gives other assets than those it was begun with.
    """
    if not run.checkpoint.exists():
        raise FileNotFoundError(f"{run.folder} cannot be resumed: it has no {run.checkpoint.name}")
    if epochs is not None:
        run.extend(epochs)
    data = run.recipe.data(run.options)
    if data.assets != run.options.assets:
        raise ValueError(
            f"{run.folder} cannot be resumed: its training data are not what they were"
        )
    return _train(run, data, progress)


def _train(run: Run, data: Data, progress: bool) -> Run:
    recipe, o = run.recipe, run.options
    tell = print if progress else _silent
    manual_seed(o.seed)
    model = recipe.model(o)
    optimizer = recipe.optimizer(model, o)
    checkpoint = Checkpoint(run.folder, config=run.config)
    trainer = recipe.trainer(
        model,
        recipe.loss(o),
        optimizer,
        [get_metric(metric) for metric in recipe.metrics],
        [
            *recipe.callbacks(optimizer, o),
            CSVLog(run.folder / "history.csv"),
            LearningCurve(run.folder / "curves.png", run.folder.name),
            checkpoint,
        ],
        progress,
    )
    parameters = sum(p.size for p in model.parameters())
    tell(f"{recipe.name}: {recipe.about_data(data)}; {parameters:,} parameters; {_computing()}")
    if run.checkpoint.exists():
        trainer.load(run.checkpoint)
        tell(f"resumed {run.folder} after {trainer.epoch} epochs and {trainer.step} steps")
    else:
        recipe.begin(model, o)
        tell(f"run folder {run.folder}")
    if trainer.epoch < o.epochs:
        trainer.fit(recipe.loader(data.train, o), data.validation, o.epochs - trainer.epoch)
    if trainer.interrupted:
        tell(f"go on with: nnx train {recipe.name} --resume {run.folder}")
        return run
    if recipe.keep == "best":
        model.load_state_dict(load(checkpoint.best_path)[0])
    if can_draw():
        for path in recipe.draw(trainer, data, o, run.folder):
            tell(f"picture {path}")
    values, line = recipe.report(trainer, data, o)
    run.finish(values, line)
    tell(line)
    return run


def _computing() -> str:
    return f"backend {active_backend().name}"


def _silent(line: str) -> None:
    pass
