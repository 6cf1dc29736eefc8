"""digits-cnn: two small convolutions on the digits that come with the package."""

from __future__ import annotations

from .. import nn
from .digits import Digits
from .images import OneChannel
from .recipe import Option, Options


class DigitsCNN(OneChannel, Digits):
    name = "digits-cnn"
    about = "the same digits with two small convolutions"
    source = "Xu, chapters 4 to 6"
    epochs, batch_size, lr = 30, 32, 3e-3
    options = (Option("channels", 16, "channels of the first convolution; twice in the second"),)

    def model(self, o: Options) -> nn.Module:
        c = o.channels
        return nn.Sequential(
            nn.Conv2d(1, c, 3, padding=1),  # (N, 1, 8, 8) -> (N, C, 8, 8)
            nn.BatchNorm2d(c),
            nn.ReLU(),
            nn.MaxPool2d(2),  # -> (N, C, 4, 4)
            nn.Conv2d(c, 2 * c, 3, padding=1),  # -> (N, 2C, 4, 4)
            nn.BatchNorm2d(2 * c),
            nn.ReLU(),
            nn.MaxPool2d(2),  # -> (N, 2C, 2, 2)
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(8 * c, 10),
        )
