"""mnist-cnn and mnist-cnn-bn: two convolutions on MNIST (Xu, chapters 5 and 6: 99.4%)."""

from __future__ import annotations

from .. import nn, optim
from ..train import Callback, Schedule
from .augment import RandomShift
from .images import OneChannel
from .mnist import MnistRecipe
from .recipe import Option, Options

# The rate of each epoch as a share of the first one's: LeNet-5's 0.0005, 0.0002, 0.0001, 0.00005
# and 0.00001 (LeCun et al., "Gradient-based learning applied to document recognition", 1998).
# Xu's table 5.2 prints 0.005 for the first; docs/pictures.md says what that gives.
FALLING = {0: 1.0, 2: 0.4, 5: 0.2, 8: 0.1, 12: 0.02}


def share(epoch: int) -> float:
    """What is left of the rate in an epoch, counted from 0."""
    return next(s for first, s in reversed(FALLING.items()) if epoch >= first)


class MnistCNN(OneChannel, MnistRecipe):
    name = "mnist-cnn"
    about = "MNIST with two convolutions, 5x5x32 - pool - 5x5x64 - pool - 512 - 10"
    source = "Xu, chapter 5"
    epochs, batch_size, lr = 5, 32, 0.0005

    def model(self, o: Options) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2),  # (N, 1, 28, 28) -> (N, 32, 28, 28)
            nn.ReLU(),
            nn.MaxPool2d(2),  # -> (N, 32, 14, 14)
            nn.Conv2d(32, 64, 5, padding=2),  # -> (N, 64, 14, 14)
            nn.ReLU(),
            nn.MaxPool2d(2),  # -> (N, 64, 7, 7)
            nn.Flatten(),  # -> (N, 3136)
            nn.Linear(3136, 512),
            nn.ReLU(),
            nn.Linear(512, 10),
        )

    def optimizer(self, model: nn.Module, o: Options) -> optim.Optimizer:
        return optim.Adam(model.parameters(), lr=o.lr)

    def callbacks(self, optimizer: optim.Optimizer, o: Options) -> list[Callback]:
        return [Schedule(optim.lr_scheduler.LambdaLR(optimizer, share))]


class MnistCNNBN(MnistCNN):
    """The same with batch norm after each convolution.

    Beyond the textbook, so that 99.4% is reached without fail: each picture is moved by up to
    `shift` pixels at random every time it is trained on, half of the 512 units are dropped, and
    the rate falls along half a cosine instead of in steps.
    """

    name = "mnist-cnn-bn"
    about = "the same with batch norm, on pictures that are moved a little at random"
    source = "Xu, chapter 6: 99.4%"
    epochs, batch_size, lr = 10, 64, 0.002
    options = (
        Option(
            "shift",
            2,
            "how many pixels a training picture is moved at most; 0 for none",
            least=0,
            most=28,
        ),
        Option("dropout", 0.5, "share of the 512 hidden units that is dropped", most=1.0),
    )

    def model(self, o: Options) -> nn.Module:
        return nn.Sequential(
            RandomShift(o.shift),
            nn.Conv2d(1, 32, 5, padding=2, bias=False),  # batch norm's shift is its bias
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(3136, 512),
            nn.ReLU(),
            nn.Dropout(o.dropout),
            nn.Linear(512, 10),
        )

    def callbacks(self, optimizer: optim.Optimizer, o: Options) -> list[Callback]:
        return [Schedule(optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=o.epochs))]
