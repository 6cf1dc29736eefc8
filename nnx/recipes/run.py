"""`Run`: the folder of a trained model."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import nn
from ..backends import active_backend
from ..io import CorruptFile, load_weights, read_json, read_text, write_text
from ..io.atomic import new_folder
from ..io.reading import hold_json
from ..train import History, Trainer
from ..train.history import read_csv, read_steps
from ..version import __version__
from .recipe import Options, Recipe
from .registry import find

LAUNCH = ".launch"  # notes which `nnx launch` began a run, so that a restart finds it


class Run:
    """A folder with all that a trained model needs: `Run("runs/digits-1").model()`.

        config.json         the experiment, its options, the result
        last.safetensors    weights and training state after the last epoch, to resume from
        best.safetensors    weights of the epoch with the best validation (or training) loss
        history.csv         a row per epoch
        steps.csv           the loss of every step
        curves.png          the same, drawn, where matplotlib is installed
        assets.json         what prediction needs besides the weights, where it needs more

    Attributes:
        folder: where.
        recipe, options: the experiment, and the values it ran with.
        config: all of config.json.

    Raises:
        FileNotFoundError: there is no such folder, or it is no run.
        ValueError: its config.json is damaged, or names an experiment that does not exist.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._made: list[Path] = []  # folders above it that `create` made
        if not self.folder.is_dir():
            raise FileNotFoundError(f"there is no run folder {self.folder}")
        self.config = self._json("config.json")
        try:
            self.recipe: Recipe = find(self.config["experiment"])
            self.options: Options = self.recipe.make_options(**self.config["options"])
        except (KeyError, TypeError, ValueError) as error:
            what = f"has no {error}" if isinstance(error, KeyError) else str(error)
            raise CorruptFile(f"{self.folder / 'config.json'}: {what}") from error
        self.options.assets = self._json("assets.json") if self._has("assets.json") else {}

    @classmethod
    def create(
        cls,
        out: str | os.PathLike[str],
        recipe: Recipe,
        options: Options,
        parts: int | None = None,
    ) -> Run:
        """A new folder OUT/NAME-N, with the smallest N that is above all there are.

        Args:
            out: the folder of the run folders; it is made.
            recipe: the experiment, whose name the folder has.
            options: the values it will run with.
            parts: in how many parts each batch is computed; None: in one piece.
        """
        out = Path(out)
        made = [place for place in (out, *out.parents) if not place.exists()]
        out.mkdir(parents=True, exist_ok=True)
        assets = options.assets
        plain = {k: v for k, v in options.to_dict().items() if k != "assets"}
        config = {
            "experiment": recipe.name,
            "options": plain,
            "backend": active_backend().name,
            "nnx": __version__,
            **({"parts": parts} if parts else {}),
        }
        folder = out

        def free() -> Path:
            nonlocal folder
            prefix = f"{recipe.name}-"
            taken = [path.name.removeprefix(prefix) for path in out.glob(f"{prefix}*")]
            number = max([int(n) for n in taken if n.isdecimal()], default=0) + 1
            folder = out / f"{prefix}{number}"
            return folder

        with new_folder(free) as beside:
            if mark := os.environ.get("NNX_LAUNCH_ID"):
                write_text(beside / LAUNCH, mark)
            if assets:
                _write_json(beside / "assets.json", assets)
            _write_json(beside / "config.json", config)
        run = cls(folder)
        run._made = made
        return run

    def discard(self) -> None:
        """Remove the folder of a run that failed before anything was learnt, and those above it
        that were made for it."""
        names = {path.name for path in self.folder.iterdir()}
        if not names <= {"config.json", "assets.json"}:
            return
        with suppress(OSError):
            for name in names:
                (self.folder / name).unlink()
            for place in (self.folder, *self._made):
                place.rmdir()

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """The experiment, its options, what it gave, and its history."""
        from .. import notebook

        options = {k: v for k, v in self.options.to_dict().items() if k != "assets"}
        rows: list[tuple[str, Any]] = [
            ("experiment", f"{self.recipe.name}: {self.recipe.about}"),
            *[(f"--{k.replace('_', '-')}", v) for k, v in options.items() if v not in (None, "")],
            *[(f"test {k}", v) for k, v in (self.result or {}).items()],
        ]
        return notebook.pairs(rows, str(self.folder)) + self.history._repr_html_()

    @property
    def parts(self) -> int | None:
        """In how many parts each batch is computed; None: in one piece."""
        return self.config.get("parts")

    @property
    def checkpoint(self) -> Path:
        """The file to resume from."""
        return self.folder / "last.safetensors"

    @property
    def result(self) -> dict[str, float] | None:
        """The values on the test part, or None where the run did not come to its end."""
        return self.config.get("result")

    @property
    def history(self) -> History:
        """What the epochs gave.

        Raises:
            CorruptFile: history.csv or steps.csv is damaged.
        """
        if not self._has("history.csv"):
            return History()
        path, steps = self.folder / "history.csv", self.folder / "steps.csv"
        history = read_csv(read_text(path), path)
        if steps.exists():  # not in older runs
            history.step_losses = read_steps(read_text(steps), steps)
        return history

    def weights(self) -> Path:
        """The file with the weights to predict with.

        Raises:
            FileNotFoundError: no epoch was completed yet.
        """
        path = self.folder / f"{self.recipe.keep}.safetensors"
        if not path.exists():
            raise FileNotFoundError(f"{self.folder} holds no trained model yet: no {path.name}")
        return path

    def model(self) -> nn.Module:
        """The trained model, in evaluation mode, on the active backend.

        Raises:
            FileNotFoundError: no epoch was completed yet.
            CorruptFile, ValueError: the file of its weights is damaged, or not this model's.
        """
        path = self.weights()
        weights = load_weights(path)
        try:
            model = self.recipe.model(self.options)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            # What config.json and assets.json hold may be anything.
            what = f"{type(error).__name__}: {error}"
            raise CorruptFile(f"{self.folder}: no model can be made of it: {what}") from error
        try:
            model.load_state_dict(weights)
        except ValueError as error:
            raise CorruptFile(f"{path}: {error}") from error
        return model.eval()

    def predict(self, inputs: Any, batch_size: int = 256, model: nn.Module | None = None) -> Any:
        """The trained model's outputs, a Tensor (N, ...) with a row for each example.

        Args:
            inputs: as in `Trainer.predict`.
            batch_size: how many examples are computed at once.
            model: what `model()` gave, where it was made before.

        Raises:
            FileNotFoundError: no epoch was completed yet.
            CorruptFile, ValueError: the file of its weights is damaged, or not this model's.
        """
        model = self.model() if model is None else model
        trainer = Trainer(model, None, None, progress=False)  # type: ignore[arg-type]
        return trainer.predict(inputs, batch_size)

    def finish(self, result: dict[str, float], line: str) -> None:
        """Note the result in config.json: the values on the test part, and the run's last line."""
        self.config |= {"result": result, "line": line}
        _write_json(self.folder / "config.json", self.config)

    def extend(self, epochs: int) -> None:
        """Note that the run is to have more epochs, so many in all."""
        option = next(o for o in self.recipe.all_options() if o.name == "epochs")
        self.options.epochs = self.config["options"]["epochs"] = option.checked(epochs)
        _write_json(self.folder / "config.json", self.config)

    def _has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            value = read_json(path)
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.folder} is no run folder: it has no {name}") from None
        if not isinstance(value, dict):
            raise CorruptFile(f"{path} is damaged: it holds no JSON object")
        return value


def _write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    hold_json(path, text)  # or it could not be read again
    write_text(path, text)
