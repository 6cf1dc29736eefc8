"""`train`: an experiment from its data to the last line."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..amp import Precision
from ..backends import active_backend
from ..io import load, printable
from ..metrics import get as get_metric
from ..parallel import Communicator, DataParallel, launched, world
from ..plots import available as can_draw
from ..random import manual_seed
from ..train import Checkpoint, CSVLog, LearningCurve, Trainer
from ..train.steps import in_outline
from .recipe import Data, Options, Recipe
from .registry import find
from .run import LAUNCH, Run

PARTS = 8  # of a batch, where several processes train


def train(
    recipe: str | Recipe,
    out: str | os.PathLike[str] = "runs",
    progress: bool = True,
    parts: int | None = None,
    **options: Any,
) -> Run:
    """Run an experiment, in a new run folder.

    Where an MPI starter began several processes, all of them train one model together, and one of
    them prints and writes.

    Args:
        recipe: its name, or a Recipe.
        out: the folder of the run folders.
        progress: whether to tell how it goes.
        parts: compute each batch in so many parts (`parallel.DataParallel`), on however many ranks
            there are; if not given, in PARTS where an MPI starter began this process, else in one
            piece.
        options: in place of the recipe's defaults: epochs, batch_size, lr, seed, ...

    Returns:
        The run; `run.result` has the values on the test part, unless Ctrl-C came first.
    """
    recipe = find(recipe) if isinstance(recipe, str) else recipe
    o = recipe.make_options(**options)
    ranks = world()
    if parts is None and (launched() or ranks.size > 1):
        parts = max(PARTS, 1 << (ranks.size - 1).bit_length())
    data = _data(recipe, o, ranks)
    o.assets = data.assets
    folder = None
    made: Run | None = None
    if ranks.rank == 0:
        run = _begun_before(Path(out))
        if run is None:
            run = made = Run.create(out, recipe, o, parts)
        folder = str(run.folder)
    try:
        return _train(Run(ranks.broadcast_value(folder)), data, progress, ranks)
    except BaseException:
        if made is not None:
            made.discard()
        raise


def resume(run: Run, epochs: int | None = None, progress: bool = True) -> Run:
    """Go on with a run until it has all its epochs, exactly as if it had never stopped.

    A run that was killed before its first checkpoint begins again; one that stopped early stays so.

    Args:
        run: the run.
        epochs: in all, where it is to have more than it was begun with.  A schedule that is made
            for a number of epochs is then the one for the new number, from where the run is.

    Raises:
        ValueError: fewer epochs than it was begun with; or its training data give other assets
            than those it was begun with.
    """
    begun_with = run.options.epochs
    if epochs is not None:
        option = next(o for o in run.recipe.all_options() if o.name == "epochs")
        epochs = int(option.checked(epochs))
    if epochs is not None and epochs < begun_with:
        raise ValueError(
            f"{run.folder} was begun with {begun_with} epochs; resumed, it can have more, not "
            f"{epochs}: its schedule and its result are those of all its epochs"
        )
    ranks = world()
    if ranks.size > 1 and run.parts is None:
        raise ValueError(
            f"{run.folder} was begun with each batch in one piece, which one process computes; "
            f"it cannot be resumed by {ranks.size} ranks. Begin with --parts {PARTS} for that"
        )
    data = _data(run.recipe, run.options, ranks)
    if data.assets != run.options.assets:
        raise ValueError(
            f"{run.folder} cannot be resumed: its training data are not what they were"
        )
    if epochs is not None:
        run.options.epochs = epochs
    return _train(run, data, progress, ranks, again=True)


def outline(recipe: str | Recipe, **options: Any) -> Callable[[], None]:
    """A function that makes one step of an experiment's training and looks at one batch, without a
    run folder and without a word: what it calls is what the experiment calls.

    Args:
        recipe, options: as in `train`.  Its data are read now.
    """
    recipe = find(recipe) if isinstance(recipe, str) else recipe
    o = recipe.make_options(**options)
    data = recipe.data(o)
    o.assets = data.assets

    def step() -> None:
        manual_seed(o.seed)
        model = recipe.new_model(o)
        optimizer = recipe.new_optimizer(model, o)
        trainer = recipe.trainer(model, recipe.loss(o), optimizer, [], [], False)
        trainer.precision = Precision(o.precision)
        batch = next(iter(recipe.loader(data.train, o)))
        model.train()
        in_outline(trainer, trainer.tensors(batch))
        trainer.evaluate(batch)

    return step


def _data(recipe: Recipe, o: Options, ranks: Communicator) -> Data:
    """The data, on every rank; one of them goes before, so that what is downloaded is so once."""
    if ranks.rank == 0:
        data = recipe.data(o)
        ranks.barrier()
        return data
    ranks.barrier()
    return recipe.data(o)


def _begun_before(out: Path) -> Run | None:
    """The run that this launch began, before `nnx launch` started its ranks again."""
    mark = os.environ.get("NNX_LAUNCH_ID")
    for note in out.glob(f"[!.]*/{LAUNCH}") if mark else ():
        if note.read_text(encoding="utf-8") == mark:
            return Run(note.parent)
    return None


def _train(run: Run, data: Data, progress: bool, ranks: Communicator, again: bool = False) -> Run:
    recipe, o = run.recipe, run.options
    first = ranks.rank == 0
    tell = _print if progress and first else _silent
    manual_seed(o.seed)
    model = recipe.new_model(o)
    optimizer = recipe.new_optimizer(model, o)
    trained = model if run.parts is None else DataParallel(model, ranks, run.parts)
    checkpoint = Checkpoint(run.folder, config=run.config)
    trainer = recipe.trainer(
        trained,
        recipe.loss(o),
        optimizer,
        [get_metric(metric) for metric in recipe.metrics],
        [
            *recipe.callbacks(optimizer, o),
            CSVLog(run.folder / "history.csv", run.folder / "steps.csv"),
            LearningCurve(run.folder / "curves.png", run.folder.name),
            checkpoint,
        ],
        progress,
    )
    trainer.precision = Precision(o.precision)
    parameters = sum(p.size for p in model.parameters())
    about = f"{recipe.name}: {recipe.about_data(data)}; {parameters:,} parameters"
    tell(f"{about}; {_computing(trainer)}")
    if run.checkpoint.exists():
        trainer.load(run.checkpoint)
        tell(f"resumed {run.folder} after {trainer.epoch} epochs and {trainer.step} steps")
    else:
        recipe.begin(model, o)
        tell(
            f"{run.folder} was ended before its first checkpoint: it begins again"
            if again
            else f"run folder {run.folder}"
        )
    if o.epochs != run.config["options"]["epochs"] and first:
        run.extend(o.epochs)  # now that nothing stands in the way
    left = max(o.epochs - trainer.epoch, 0)  # of none the end may still be to come: best weights
    try:
        trainer.fit(recipe.loader(data.train, o), data.validation, left)
    except SystemExit:  # SIGTERM, after the checkpoint was written
        with suppress(OSError):
            tell(f"go on with: nnx train {recipe.name} --resume {run.folder}")
        raise
    if trainer.interrupted:
        tell(f"go on with: nnx train {recipe.name} --resume {run.folder}")
        return run
    if recipe.keep == "best":
        model.load_state_dict(load(checkpoint.best_path)[0])
    if first and can_draw():
        for path in recipe.draw(trainer, data, o, run.folder):
            tell(f"picture {path}")
    values, line = recipe.report(trainer, data, o)
    if first:
        run.finish(values, line)
    else:
        run.config |= {"result": values, "line": line}
    tell(line)
    return run


def _computing(trainer: Trainer) -> str:
    said = f"backend {active_backend().name}"
    if trainer.parallel is not None:
        ranks = trainer.parallel.communicator.size
        said += f"; {trainer.parallel.parts} parts on {ranks} rank{'s' if ranks > 1 else ''}"
    return said


def _print(line: str) -> None:
    print(printable(line))


def _silent(line: str) -> None:
    pass
