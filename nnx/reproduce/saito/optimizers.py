"""The same four optimizers on MNIST, in a network of five layers (Saito 6.1)."""

import numpy as np

from nnx import data, datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="SGD, momentum, AdaGrad and Adam on MNIST, 784-100-100-100-100-10, the same start",
    section="6.1",
    prints="the three others learn faster than SGD",
    tolerance="the mean loss of the last 100 batches: each of the three below SGD's",
    seconds=40,
    quick="300 batches for 2,000",
    needs=("mnist",),
)

METHODS = {
    "SGD, 0.01": lambda p: optim.SGD(p, lr=0.01),
    "momentum, 0.01": lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
    "AdaGrad, 0.01": lambda p: optim.Adagrad(p, lr=0.01),
    "Adam, 0.001": lambda p: optim.Adam(p, lr=0.001),
}


def run(page: Page) -> Result:
    train, _ = datasets.load_mnist()
    x, t = train.scaled().reshape(-1, 784), train.labels
    start = network()
    steps = 300 if page.quick else 2000
    losses = {}
    for name, make in METHODS.items():
        model = network()
        model.load_state_dict(start.state_dict())
        losses[name] = learn(model, make(model.parameters()), x, t, steps)
    at = np.arange(1, steps + 1)
    page.draw(
        "loss",
        plots.lines,
        {"": {name: (at[19:], smooth(values)) for name, values in losses.items()}},
        title="Saito 6.1: four optimizers on MNIST, the mean loss of 20 batches",
        xlabel="batch of 128",
        ylabel="cross-entropy",
    )
    last = {name: float(np.mean(values[-100:])) for name, values in losses.items()}
    page.table(
        f"Mean loss of the last 100 of {steps} batches", ["method, rate", "loss"], [*last.items()]
    )
    sgd, *others = last.values()
    assert max(others) < sgd, last
    return Result(
        "; ".join(f"{name.split(',')[0]} {value:.3f}" for name, value in last.items()),
        "all three learn faster than SGD",
        last,
    )


def network() -> nn.Sequential:
    """Four hidden layers of 100, weights by He's rule, biases 0."""
    widths = (784, 100, 100, 100, 100, 10)
    layers: list[nn.Module] = []
    for k in range(5):
        dense = nn.Linear(widths[k], widths[k + 1])
        nn.init.kaiming_normal_(dense.weight)
        nn.init.zeros_(dense.bias)
        layers += [dense, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def learn(
    model: nn.Module, optimizer: optim.Optimizer, x: np.ndarray, t: np.ndarray, steps: int
) -> np.ndarray:
    """The loss of each batch; the batches are the same for all."""
    loss_of = nn.CrossEntropyLoss()
    losses: list[float] = []
    batches = data.DataLoader((x, t), batch_size=128, shuffle=True, seed=6)
    while len(losses) < steps:
        for images, labels in batches:
            loss = loss_of(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == steps:
                break
    return np.array(losses)


def smooth(values: np.ndarray, width: int = 20) -> np.ndarray:
    """Running means of `width` values."""
    return np.convolve(values, np.full(width, 1 / width), mode="valid")
