"""`Recipe`: what an experiment consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from sys import float_info
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

from .. import nn
from ..amp.precision import NAMES as PRECISIONS
from ..data import DataLoader
from ..optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
)
from ..train import Callback, Trainer

Arrays = tuple[Any, ...]  # inputs, and the targets last; one row per example


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {  # `--optimizer`
    "sgd": SGD,
    "momentum": partial(SGD, momentum=0.9),
    "nesterov": partial(SGD, momentum=0.9, nesterov=True),
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adadelta": Adadelta,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": NAdam,
    "radam": RAdam,
    "adamax": Adamax,
}


class Options(SimpleNamespace):
    """The values an experiment runs with: epochs, batch_size, lr, seed, and the recipe's own.

    Each is an attribute, `options.lr`.  `assets` is what prediction needs besides the weights.
    """

    def to_dict(self) -> dict[str, Any]:
        """The values by name, a new dict."""
        return dict(vars(self))


class Trained(Protocol):
    """A trained model as prediction sees it: a run (`nnx.recipes.Run`), whose methods these are."""

    options: Options

    def model(self) -> nn.Module: ...

    def weights(self) -> Path: ...

    def predict(
        self, inputs: Any, batch_size: int = 256, model: nn.Module | None = None
    ) -> Any: ...


@dataclass(frozen=True)
class Option:
    """A further option of an experiment: `nnx train NAME --hidden 64` gives `options.hidden`.

    Its type is the default's.

    Attributes:
        name, default, help: what it is called, its default, and a line for the command.
        least, most: the smallest and the largest value; a number is at least 1 where it is whole,
            at least 0 else.
        positive: whether it must be more than `least`.
        choices: the texts it can be, where they are few.
    """

    name: str
    default: Any
    help: str
    least: Any = None
    most: Any = None
    positive: bool = False
    choices: tuple[str, ...] = ()

    @property
    def lowest(self) -> Any:
        """The smallest value: `least`, or 1 for a whole number and 0 for another."""
        return self.least if self.least is not None else 1 if type(self.default) is int else 0.0

    def checked(self, value: Any) -> Any:
        """The value, if it is one that the option can have.

        Raises:
            ValueError: it is of another type, not finite, or out of range.
        """
        kind = type(self.default)
        if kind is float and type(value) is int and abs(value) < 2**53:
            value = float(value)
        if type(value) is not kind:
            raise ValueError(f"{self.name} must be of type {kind.__name__}, got {value!r:.60}")
        if self.choices and value not in self.choices:
            names = ", ".join(choice or '""' for choice in self.choices)
            raise ValueError(f"{self.name} must be one of {names}, got {value!r:.60}")
        if kind in (int, float):
            most = (
                self.most if self.most is not None else 2**31 - 1 if kind is int else float_info.max
            )
            if not self.lowest <= value <= most or (self.positive and value == self.lowest):
                rule = f"{'more than' if self.positive else 'at least'} {self.lowest:g}"
                raise ValueError(f"{self.name} must be {rule} and at most {most:g}, got {value}")
        return value


@dataclass
class Data:
    """The data of an experiment.

    Attributes:
        train, test: arrays (inputs..., targets).
        validation: the same; choices are made on it, never on the test part.
        assets: JSON that prediction will need besides the weights: a vocabulary, a scaling.
            It is kept in the run folder.
    """

    train: Arrays
    test: Arrays
    validation: Arrays | None = None
    assets: dict[str, Any] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """A row for each part: its arrays' shapes."""
        from .. import notebook

        rows = [
            (name, len(arrays[-1]), ", ".join(str(tuple(a.shape)) for a in arrays))
            for name in ("train", "validation", "test")
            if (arrays := getattr(self, name)) is not None
        ]
        return notebook.table(("part", "examples", "arrays"), rows)


@dataclass
class Prediction:
    """What a trained model says of some input: a table, and notes on how the input was read.

    Attributes:
        columns, rows: the table.
        notes: lines below it.
        failed: the errors of what could not be read or judged; it has no row.
        seen: the first of the inputs as the model took them, with a caption: arrays (H, W).
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=list)
    failed: Sequence[OSError | ValueError] = field(default_factory=list)
    seen: Sequence[tuple[str, Any]] = field(default_factory=list)

    def _repr_html_(self) -> str:
        from .. import notebook

        lines = [(note,) for note in (*self.notes, *self.failed)]
        below = notebook.table(("",), lines) if lines else ""
        return notebook.table(self.columns, self.rows) + below


class Recipe:
    """One experiment: its data, its model, and the plan of its training.

    A subclass names itself, sets the numbers of its plan, and defines `data` and `model`; the
    other methods have defaults that suit a classification.  Where a method takes `o`, these are the
    options that the run has.

    Attributes:
        name: what follows `nnx train`.
        about: one line for `nnx train --list`.
        source: the chapter of the textbook.
        epochs, batch_size, lr: the plan's numbers, to be changed by options of the same names.
        options: further options.
        metrics: what is measured beside the loss.
        measure: the metric whose test value is the run's last line.
        keep: which weights are evaluated, and used to predict: of the "last" epoch or the "best".
        looks_ahead: whether `nnx predict RUN` says something without a file: what comes next.
        classes: what a classification tells apart, in the order of the model's outputs; empty where
            it predicts something else.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    source: ClassVar[str] = ""
    epochs: ClassVar[int] = 10
    batch_size: ClassVar[int] = 64
    lr: ClassVar[float] = 0.1
    options: ClassVar[tuple[Option, ...]] = ()
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    measure: ClassVar[str] = "accuracy"
    keep: ClassVar[str] = "last"
    looks_ahead: ClassVar[bool] = False
    classes: ClassVar[tuple[str, ...]] = ()

    # ---- what an experiment defines ----

    def data(self, o: Options) -> Data:
        """The examples, for options o.

        Whatever is drawn for a split comes from a generator of its own.
        """
        raise NotImplementedError(f"{type(self).__name__}.data")

    def model(self, o: Options) -> nn.Module:
        """A new model, as it is before training.  `o.assets` has what `data` put there."""
        raise NotImplementedError(f"{type(self).__name__}.model")

    # ---- what it may define ----

    def begin(self, model: nn.Module, o: Options) -> None:
        """Change a new model before its first step, for example by weights from o's file."""

    def loss(self, o: Options) -> Any:
        """The loss that is minimised, as o asks for: loss(output, target), a mean over a batch."""
        return nn.CrossEntropyLoss()

    def optimizer(self, model: nn.Module, o: Options) -> Optimizer:
        """A new optimizer of the model's parameters, for options o: plain SGD, at the rate o.lr."""
        return SGD(model.parameters(), lr=o.lr)

    def new_model(self, o: Options) -> nn.Module:
        """A new model with the initial values that o.init asks for."""
        model = self.model(o)
        if o.init == "book":
            for name, p in model.named_parameters():
                if p.ndim > 1:
                    nn.init.normal_(p, 0.0, 0.01)
                elif name.rpartition(".")[2].startswith("bias"):
                    nn.init.zeros_(p)
        return model

    def new_optimizer(self, model: nn.Module, o: Options) -> Optimizer:
        """The recipe's optimizer of the model, or the one that o names, with its groups."""
        own = self.optimizer(model, o)
        if not o.optimizer:
            return own
        make = OPTIMIZERS[o.optimizer]
        groups = [
            {"params": g["params"], **{k: g[k] for k in ("weight_decay",) if g.get(k)}}
            for g in own.param_groups
        ]
        return make(groups, lr=o.lr)

    def callbacks(self, optimizer: Optimizer, o: Options) -> list[Callback]:
        """Schedule of the optimizer's rate, gradient clipping, early stopping, as o asks for."""
        return []

    def trainer(
        self,
        model: nn.Module,
        loss: Any,
        optimizer: Optimizer,
        metrics: Sequence[Any],
        callbacks: Sequence[Callback],
        progress: bool,
    ) -> Trainer:
        """The Trainer; a task of another kind returns its own subclass.

        Args:
            model, loss, optimizer, metrics, callbacks, progress: as `Trainer` takes them.
        """
        return Trainer(
            model, loss, optimizer, metrics=metrics, callbacks=callbacks, progress=progress
        )

    def loader(self, arrays: Arrays, o: Options) -> Any:
        """The batches of an epoch of training.

        Args:
            arrays: (inputs..., targets), one row per example.
            o: batch_size and seed are used.
        """
        return DataLoader(arrays, batch_size=o.batch_size, shuffle=True, seed=o.seed)

    def about_data(self, data: Data) -> str:
        """The data in a few words, for the first line of a run."""
        parts = [f"{data.train[-1].shape[0]:,} to train on"]
        if data.validation is not None:
            parts.append(f"{data.validation[-1].shape[0]:,} to validate")
        return ", ".join([*parts, f"{data.test[-1].shape[0]:,} to test"])

    def report(self, trainer: Trainer, data: Data, o: Options) -> tuple[dict[str, float], str]:
        """The values on the test part, and the run's last line; may print more before it.

        Args:
            trainer: with the weights that are kept.
            data: the experiment's.
            o: its options.
        """
        values = trainer.evaluate(data.test)
        value = values[self.measure]
        return values, f"test {self.measure} {trainer.show(self.measure, value)}"

    def draw(self, trainer: Trainer, data: Data, o: Options, folder: Path) -> list[Path]:
        """Pictures beside the learning curves, made where matplotlib is installed.

        Args:
            trainer: with the weights that are kept.
            data: the experiment's.
            o: its options.
            folder: where they go.

        Returns:
            Their paths.
        """
        return []

    def in_units(self, values: Any, o: Options) -> Any:
        """Outputs or targets of a regression in the units that people know them in.

        Args:
            values: an array, of the shape that the model gives or of some of its columns.
            o: the experiment's options.
        """
        return values

    def looks(self, run: Trained, text: str | None) -> tuple[Any, list[str], list[str]]:
        """Where the run's model looks: weights (T, S), what looks (T,), what is looked at (S,).

        Args:
            run: the trained model.
            text: what it reads; None: the first test example.

        Raises:
            ValueError: this experiment has no attention that could be shown; or the text has no
                character that is known.
        """
        raise ValueError(f"{self.name} has no attention that could be shown")

    # ---- prediction, from the run folder alone ----

    def predict_files(self, run: Trained, paths: Sequence[Path]) -> Prediction:
        """What the run's model says of the contents of some files.

        Args:
            run: the trained model.
            paths: the files.

        Raises:
            ValueError: this experiment does not predict from files.
        """
        raise ValueError(f"{self.name} does not predict from files")

    def predict_text(self, run: Trained, text: str) -> Prediction:
        """What the run's model says of a text.

        Raises:
            ValueError: this experiment does not predict from text.
        """
        raise ValueError(f"{self.name} does not predict from text")

    def generate(
        self, run: Trained, text: str, length: int, temperature: float, seed: int
    ) -> Iterator[str]:
        """What the run's model writes after a text, a character at a time.

        Args:
            run: the trained model.
            text: what goes before.
            length: how many characters.
            temperature: below 1 the probable becomes more probable; 0: the most probable always.
            seed: of what is drawn.

        Raises:
            ValueError: this experiment does not write text.
        """
        raise ValueError(f"{self.name} does not write text")

    # ---- for the command line and the runner ----

    def all_options(self) -> list[Option]:
        """Every option, with this experiment's defaults."""
        return [
            Option("epochs", self.epochs, "how many times through the training data"),
            Option("batch_size", self.batch_size, "examples per step"),
            Option("lr", self.lr, "learning rate", positive=True),
            Option(
                "seed",
                0,
                "decides the initial weights, the order of the examples, dropout",
                least=0,
                most=2**64 - 1,
            ),
            Option(
                "optimizer",
                "",
                f"in place of the experiment's: {', '.join(OPTIMIZERS)}",
                choices=("", *OPTIMIZERS),
            ),
            Option(
                "init",
                "pytorch",
                "initial values: pytorch; or book: N(0, 0.01^2), biases 0",
                choices=("pytorch", "book"),
            ),
            Option(
                "precision",
                "float32",
                f"what products are computed in: {', '.join(PRECISIONS)}",
                choices=PRECISIONS,
            ),
            *self.options,
        ]

    def make_options(self, **given: Any) -> Options:
        """The options, the given ones in place of their defaults.

        Raises:
            ValueError: there is no such option, or it cannot have this value.
        """
        options = {option.name: option for option in self.all_options()}
        unknown = sorted(given.keys() - options.keys())
        if unknown:
            raise ValueError(
                f"{self.name} has no option {', '.join(unknown)}; it has {', '.join(options)}"
            )
        values = {name: option.default for name, option in options.items()}
        values |= {name: options[name].checked(value) for name, value in given.items()}
        return Options(**values, assets={})
