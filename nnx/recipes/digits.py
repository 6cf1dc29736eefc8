"""digits: handwritten digits of 8 x 8 pixels, which come with the package.  A few seconds.

One hidden layer: 64 pixels - 128 units - 10 classes (Xu, chapter 3).  There are few examples, so
half of the hidden units are dropped at each step, and the weights decay.
"""

from __future__ import annotations

from .. import nn, optim
from ..data import train_test_split
from ..datasets import load_digits
from ..train import Callback, Schedule
from .images import ImageRecipe
from .recipe import Data, Option, Options


class Digits(ImageRecipe):
    name = "digits"
    about = "digits of 8 x 8 pixels, which come with the package; one hidden layer"
    source = "Xu, chapter 3"
    epochs, batch_size, lr = 40, 32, 5e-3
    options = (Option("hidden", 128, "units of the hidden layer"),)
    size = (8, 8)
    box = (8, 8)
    middle = (3.48, 3.57)

    def data(self, o: Options) -> Data:
        train, test = load_digits()
        x, x_validation, t, t_validation = train_test_split(
            train.scaled(), train.labels, test=0.1, stratify=train.labels, seed=0
        )
        return Data(
            train=(x, t), validation=(x_validation, t_validation), test=(test.scaled(), test.labels)
        )

    def model(self, o: Options) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(),  # (N, 8, 8) -> (N, 64)
            nn.Linear(64, o.hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(o.hidden, 10),
        )

    def optimizer(self, model: nn.Module, o: Options) -> optim.Optimizer:
        return optim.AdamW(model.parameters(), lr=o.lr, weight_decay=0.01)

    def callbacks(self, optimizer: optim.Optimizer, o: Options) -> list[Callback]:
        return [Schedule(optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.97))]
