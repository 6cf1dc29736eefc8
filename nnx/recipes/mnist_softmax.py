"""mnist-softmax: softmax regression on MNIST, the single layer 784-10 (Xu, chapter 2: 92%)."""

from __future__ import annotations

from .. import nn
from .mnist import MnistRecipe
from .recipe import Options


class MnistSoftmax(MnistRecipe):
    name = "mnist-softmax"
    about = "MNIST with a single layer, 784-10"
    source = "Xu, chapter 2: 92%"
    epochs, batch_size, lr = 20, 64, 0.1

    def model(self, o: Options) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))  # (N, 28, 28) -> (N, 784)
