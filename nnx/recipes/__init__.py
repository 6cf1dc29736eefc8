"""The experiments of the textbooks: each a short file with its data, its model and its plan.

    nnx train --list                                what there is
    run = nnx.recipes.train("mnist-mlp", epochs=3)  the same as `nnx train mnist-mlp --epochs 3`
    run = nnx.recipes.Run("runs/mnist-mlp-1")       a run of the past: its model, its history

`recipe.py` says what an experiment consists of; `digits.py` is the one to read first.
"""

from .recipe import Data, Option, Options, Prediction, Recipe
from .registry import DEFAULT, NAMES, find
from .run import Run
from .runner import train

__all__ = [
    "DEFAULT",
    "NAMES",
    "Data",
    "Option",
    "Options",
    "Prediction",
    "Recipe",
    "Run",
    "find",
    "train",
]
