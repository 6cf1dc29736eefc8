"""mnist-mlp: one hidden layer on MNIST, 784-512-10, ReLU, L2 1e-4 (Xu, chapter 3: 98%).

The textbook's own plan, plain SGD at a constant rate from its initial values:

    nnx train mnist-mlp --momentum 0 --decay 1 --batch-size 256 --init book
"""

from __future__ import annotations

from .. import nn, optim
from ..train import Callback, Schedule
from .mnist import MnistRecipe
from .recipe import Option, Options


class MnistMLP(MnistRecipe):
    name = "mnist-mlp"
    about = "MNIST with a hidden layer, 784-512-10, ReLU, L2 penalty"
    source = "Xu, chapter 3: 98%"
    epochs, batch_size, lr = 15, 64, 0.1
    options = (
        Option("hidden", 512, "units of the hidden layer"),
        Option("l2", 1e-4, "lambda of the penalty lambda/2 |W|^2 (Xu 3.4)"),
        Option("momentum", 0.9, "of SGD; the textbook has none, 0", most=1.0),
        Option("decay", 0.85, "what the rate is multiplied by after each epoch; the textbook's 1"),
    )

    def model(self, o: Options) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(),  # (N, 28, 28) -> (N, 784)
            nn.Linear(784, o.hidden),
            nn.ReLU(),
            nn.Linear(o.hidden, 10),
        )

    def optimizer(self, model: nn.Module, o: Options) -> optim.Optimizer:
        """The gradient of the penalty, lambda W, is what an optimizer's weight_decay adds.

        Weights are penalised, biases are not.
        """
        weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
        biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
        groups = [{"params": weights, "weight_decay": o.l2}, {"params": biases}]
        return optim.SGD(groups, lr=o.lr, momentum=o.momentum)

    def callbacks(self, optimizer: optim.Optimizer, o: Options) -> list[Callback]:
        return [Schedule(optim.lr_scheduler.ExponentialLR(optimizer, gamma=o.decay))]
