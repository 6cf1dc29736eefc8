"""csi300-lstm: 20 days of a share index from the 64 before, by three LSTM layers (Xu, chapter 8).

The textbook shuffles windows that overlap, and normalises with the mean and the variance of all
days: what it tests on it has seen.  Here the parts follow each other in time, no window lies across
their borders, and the normalisation is learnt on the days that are trained on.  The result stands
beside two predictions that take no network: "tomorrow is today", and ridge regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn, optim
from ..data import Scaling, standardize
from ..datasets import DataError, load_csi300
from ..datasets.series import read_days
from ..plots import figure, save_figure
from ..train import Trainer
from ..typing import Array
from .recipe import Data, Option, Options, Prediction, Trained
from .series import LastStep, SeriesRecipe, ridge, rmse, teller

DAYS, AHEAD = 64, 20
VALIDATION = 0.1  # the share of the days before the test part, the latest ones


class Csi300LSTM(SeriesRecipe):
    name = "csi300-lstm"
    about = "20 days of the CSI 300 index from the 64 before; three layers of LSTM"
    source = "Xu, chapter 8"
    epochs, batch_size, lr = 10, 32, 0.0015
    options = (
        Option("hidden", 128, "units of each layer"),
        Option("dropout", 0.5, "probability to drop a value between two layers", most=1.0),
        Option(
            "change", False, "predict the change since the window's last day, not the value itself"
        ),
    )
    keep = "best"
    looks_ahead = True

    def data(self, o: Options) -> Data:
        days, test = load_csi300()
        border = round(len(days) * (1 - VALIDATION))
        train, validation = days[:border], days[border:]
        scaling = standardize(train.values())
        return Data(
            train=windows(scaling(train.values())),
            validation=windows(scaling(validation.values())),
            test=windows(scaling(test.values())),
            assets={"scaling": scaling.to_dict()},
        )

    def model(self, o: Options) -> nn.Module:
        lstm = nn.LSTM(3, o.hidden, num_layers=3, batch_first=True, dropout=o.dropout)
        return LastStep(lstm, AHEAD, o.change)

    def optimizer(self, model: nn.Module, o: Options) -> optim.Optimizer:
        return optim.Adagrad(model.parameters(), lr=o.lr)

    def report(self, trainer: Trainer, data: Data, o: Options) -> tuple[dict[str, float], str]:
        """The test error in index points, beside two predictions without a network."""
        values = trainer.evaluate(data.test)
        points = points_of(o)
        inputs, targets = data.test
        truth = points(targets)  # (N, 20)
        rows = {
            "LSTM": trainer.predict(inputs).numpy(),
            "tomorrow is today": np.repeat(inputs[:, -1, :1], AHEAD, axis=1),
            "ridge regression": ridge(data)(inputs),
        }
        tell = teller(trainer)
        tell(f"{'test error (RMSE, index points)':32}    all  1 day  20 days   mean error")
        errors = {}
        for name, predicted in rows.items():
            error = points(predicted) - truth  # (N, 20)
            share = np.mean(np.abs(error) / truth)
            errors[name] = rmse(error)
            tell(
                f"{name:32}{rmse(error):7.1f}{rmse(error[:, 0]):7.1f}{rmse(error[:, -1]):9.1f}"
                f"{share:12.1%}"
            )
        lstm, today, line = errors.values()
        best = min(today, line)
        tell(
            f"{'the network is worse' if lstm > best else 'the network is better'} than the better "
            f"of the two without one, by {abs(lstm / best - 1):.0%}"
        )
        values |= {"rmse": lstm, "rmse_today": today, "rmse_ridge": line}
        return values, f"test rmse {lstm:.1f}"

    def draw(self, trainer: Trainer, data: Data, o: Options, folder: Path) -> list[Path]:
        """The test part's true path, and what was predicted every twentieth day."""
        points = points_of(o)
        inputs, targets = data.test
        predicted = points(trainer.predict(inputs).numpy())  # (N, 20)
        ahead = points(targets)
        truth = np.concatenate([ahead[:, 0], ahead[-1, 1:]])  # (N + 19,): each day once
        drawn = figure(9.0, 4.5)
        axes = drawn.subplots()
        axes.plot(np.arange(len(truth)), truth, color="0.3", lw=1, label="index")
        for k in range(0, len(predicted), AHEAD):
            label = "predicted from the 64 days before" if k == 0 else None
            axes.plot(k + np.arange(AHEAD), predicted[k], color="C1", label=label)
        axes.set_xlabel("trading day of the test part")
        axes.set_ylabel("CSI 300")
        axes.grid(alpha=0.3)
        axes.legend()
        path = folder / "prediction.png"
        save_figure(drawn, path)
        return [path]

    def in_units(self, values: Any, o: Options) -> Any:
        """Index points."""
        return points_of(o)(values)

    def predict_files(self, run: Trained, paths: Sequence[Path]) -> Prediction:
        """The 20 days after a file's last one, from its last 64; without a file, after all days.

        Beside it what takes no network: "tomorrow is today", and ridge regression on the windows
        that the run was trained on.
        """
        o = run.options
        scaling, points = Scaling.from_dict(o.assets["scaling"]), points_of(o)
        line = ridge(self.data(o))
        rows: list[tuple[str, ...]] = []
        failed: list[OSError | ValueError] = []
        files: list[Path | None] = [*paths] or [None]
        for path in files:
            try:
                days = load_csi300().test if path is None else read_days(path)
                if len(days) < DAYS:
                    raise DataError(f"{path}: {DAYS} days are needed, it has {len(days)}")
            except (OSError, DataError) as error:
                failed.append(error)
                continue
            inputs = scaling(days[-DAYS:].values())[np.newaxis]  # (1, 64, 3)
            said = points(run.predict(inputs).numpy())[0]  # (20,)
            straight = points(line(inputs))[0]
            today = float(days.close[-1])
            rows += [
                (str(days.day[-1] + k), f"{a:.0f}", f"{today:.0f}", f"{b:.0f}")
                for k, (a, b) in enumerate(zip(said, straight, strict=True), start=1)
            ]
        columns = ["day", "LSTM", "tomorrow is today", "ridge regression"]
        notes = ["index points; no basis for an investment (Xu 8.7.3)"] if rows else []
        return Prediction(columns, rows, notes, failed)


def windows(values: Array) -> tuple[Array, Array]:
    """Days (D, 3) -> every 64 of them in a row (N, 64, 3), and the 20 closing values after (N, 20).

    Raises:
        ValueError: there are fewer than 84 days.
    """
    count = len(values) - DAYS - AHEAD + 1
    if count < 1:
        raise ValueError(
            f"csi300-lstm: {DAYS} days and the {AHEAD} after them make a window; a part of the "
            f"data has {len(values)} days"
        )
    first = np.arange(count)[:, np.newaxis]  # (N, 1)
    inputs = values[first + np.arange(DAYS)]  # (N, 64, 3)
    return inputs, values[first + DAYS + np.arange(AHEAD), 0]


def points_of(o: Options) -> Any:
    """The function that gives scaled closing values as index points again."""
    scaling = Scaling.from_dict(o.assets["scaling"])
    return lambda y: np.asarray(y, float) * scaling.scale[0, 0] + scaling.shift[0, 0]
