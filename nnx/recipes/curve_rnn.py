"""curve-rnn: the next value of a noisy curve, by three layers of RNN (Xu, chapter 7).

Ten values in, one out.  The noise is uniform in ±0.05, so it has the variance 0.05²/3 = 0.00083:
that much no prediction of a noisy value can be spared.
"""

from __future__ import annotations

from pathlib import Path

from .. import nn, optim
from ..datasets import load_curve
from ..plots import figure, save_figure
from ..train import Trainer
from .recipe import Data, Option, Options
from .series import LastStep, SeriesRecipe, ridge, rmse, teller

VALIDATION = 1000  # windows, the last ones before the part to test on


class CurveRNN(SeriesRecipe):
    name = "curve-rnn"
    about = "the next value of a noisy curve; three layers of RNN"
    source = "Xu, chapter 7: half the squared error 0.0012 to 0.0019"
    epochs, batch_size, lr = 15, 32, 0.01
    options = (
        Option("hidden", 30, "units of each layer"),
        Option("steps", 10, "values that are read before one is predicted", most=8000),
        Option("noise", 0.05, "uniform noise between -NOISE and NOISE"),
    )
    keep = "best"  # from epoch to epoch the error goes up and down by a fifth

    def data(self, o: Options) -> Data:
        """Windows in the order of time: to train on, to validate, to test.

        As many windows are left out before those to validate as they have values in common with
        those before.
        """
        train, test = load_curve(steps=o.steps, noise=o.noise)
        end = len(train) - VALIDATION
        return Data(
            train=(train.inputs[: end - o.steps], train.targets[: end - o.steps]),
            validation=(train.inputs[end:], train.targets[end:]),
            test=(test.inputs, test.targets),
        )

    def model(self, o: Options) -> nn.Module:
        return LastStep(nn.RNN(1, o.hidden, num_layers=3, batch_first=True), outputs=1)

    def optimizer(self, model: nn.Module, o: Options) -> optim.Optimizer:
        return optim.Adagrad(model.parameters(), lr=o.lr)

    def report(self, trainer: Trainer, data: Data, o: Options) -> tuple[dict[str, float], str]:
        values, line = super().report(trainer, data, o)
        inputs, targets = data.test
        without = {
            "the noise alone": o.noise**2 / 3,
            "the next value is the last one": rmse(inputs[:, -1] - targets) ** 2,
            "ridge regression": rmse(ridge(data)(inputs) - targets) ** 2,
        }
        for name, mse in without.items():
            teller(trainer)(f"{name:32}mse {mse:.4g}")
        noise, last, line_fit = without.values()
        return values | {"mse_noise": noise, "mse_last": last, "mse_ridge": line_fit}, line

    def draw(self, trainer: Trainer, data: Data, o: Options, folder: Path) -> list[Path]:
        """The prediction over the truth, and what is between them."""
        test = load_curve(steps=o.steps, noise=o.noise).test
        predicted = trainer.predict(test.inputs).numpy()[:, 0]
        x = test.x[:, 0]
        drawn = figure(8.0, 5.0)
        above, below = drawn.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot(x, test.targets[:, 0], ".", ms=2, color="0.6", label="with noise")
        above.plot(x, test.clean[:, 0], color="C0", lw=3, alpha=0.5, label="the curve")
        above.plot(x, predicted, color="C1", lw=1, label="predicted, one step ahead")
        above.legend()
        below.plot(x, predicted - test.clean[:, 0], color="C1", lw=1)
        below.axhspan(-o.noise, o.noise, color="0.9", label="the noise")
        below.set_ylabel("predicted - curve")
        below.set_xlabel("x")
        below.legend()
        path = folder / "prediction.png"
        save_figure(drawn, path)
        return [path]
