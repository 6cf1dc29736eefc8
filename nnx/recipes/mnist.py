"""What the experiments on MNIST share: their data, and how pictures are read for them."""

from __future__ import annotations

from ..data import train_test_split
from ..datasets import load_mnist
from .images import ImageRecipe
from .recipe import Data, Options


class MnistRecipe(ImageRecipe):
    """MNIST: 60,000 digits of 28 x 28 pixels to train on, 10,000 to test on.

    5,000 of the first part are set aside for validation: plans are chosen on them, and the test
    part is looked at once, at the end.
    """

    size = (28, 28)
    box = (20, 20)
    middle = (14.0, 14.0)

    def data(self, o: Options) -> Data:
        train, test = load_mnist()
        x, x_validation, t, t_validation = train_test_split(
            train.scaled(), train.labels, test=5000, stratify=train.labels, seed=0
        )
        return Data(
            train=(x, t), validation=(x_validation, t_validation), test=(test.scaled(), test.labels)
        )
