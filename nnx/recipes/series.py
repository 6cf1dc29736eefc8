"""What the experiments on series share: a recurrent layer that reads a window to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import nn
from ..tensor import Tensor
from ..train import Trainer
from ..typing import Array
from .recipe import Data, Options, Recipe


class LastStep(nn.Module):
    """A recurrent layer, and what a linear layer makes of its last output: (N, T, D) -> (N, K).

    Args:
        recurrent: with `batch_first`, one direction.
        outputs: K.
        change: whether the linear layer gives the change against the window's last value (the
            first feature's) instead of the values themselves.
    """

    def __init__(self, recurrent: nn.RNN | nn.LSTM, outputs: int, change: bool = False) -> None:
        self.recurrent, self.change = recurrent, change
        self.head = nn.Linear(recurrent.hidden_size, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.recurrent(x)  # (N, T, D) -> (N, T, H)
        values: Tensor = self.head(y[:, -1])  # (N, H) -> (N, K)
        return values + x[:, -1, :1] if self.change else values


class SeriesRecipe(Recipe):
    """The next values of a series: a regression."""

    metrics = ("mse",)
    measure = "mse"

    def loss(self, o: Options) -> Any:
        return nn.MSELoss()


def teller(trainer: Trainer) -> Callable[[str], None]:
    """What prints the lines of a report: nothing, where the run is a silent one."""
    return print if trainer.progress is not None else lambda line: None


def rmse(error: Array) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(error**2)))


def ridge(data: Data) -> Callable[[Array], Array]:
    """Ridge regression on the same windows: the function that predicts with it.

    W = (Xᵀ X + λ I)⁻¹ Xᵀ T, where X (N, T D) are the windows' values less their mean, and T (N, K)
    what follows, likewise.  Of some λ the one with the least error on the validation part is taken.
    """

    def flat(inputs: Array) -> Array:
        return inputs.reshape(len(inputs), -1).astype(np.float64)

    assert data.validation is not None
    x, t = flat(data.train[0]), data.train[1].astype(np.float64)
    x_mean, t_mean = x.mean(axis=0), t.mean(axis=0)
    x, t = x - x_mean, t - t_mean
    x_validation, t_validation = flat(data.validation[0]) - x_mean, data.validation[1] - t_mean
    best, least = np.zeros((x.shape[1], t.shape[1])), np.inf
    for strength in 10.0 ** np.arange(-2, 5):
        w = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ t)  # (T D, K)
        error = rmse(x_validation @ w - t_validation)
        if error < least:
            best, least = w, error
    return lambda inputs: (flat(inputs) - x_mean) @ best + t_mean
