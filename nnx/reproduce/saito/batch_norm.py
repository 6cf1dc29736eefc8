"""Batch normalisation over sixteen initial scales (Saito 6.3)."""

import numpy as np

import nnx
from nnx import data, datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="784-100-100-100-100-100-10 on 1,000 digits, with batch norm and without, over scales",
    section="6.3.1-6.3.2",
    prints="batch norm learns faster and depends little on the initial values",
    tolerance="mean accuracy over the scales higher with it, and its smallest above most without",
    seconds=30,
    quick="4 scales for 16, 4 epochs for 20",
    needs=("mnist",),
)


def run(page: Page) -> Result:
    train, _ = datasets.load_mnist()
    x, t = train.scaled().reshape(-1, 784)[:1000], train.labels[:1000]
    count, epochs = (4, 4) if page.quick else (16, 20)
    scales = np.logspace(0, -4, 16)[:: 16 // count]
    panels, ends = {}, {True: [], False: []}
    for scale in scales:
        curves = {}
        for normalised in (True, False):
            nnx.manual_seed(page.seed)
            with np.errstate(all="ignore"):  # the largest scales end in infinity without it
                accuracies = learn(network(float(scale), normalised), x, t, epochs)
            ends[normalised].append(accuracies[-1])
            curves["with batch norm" if normalised else "without"] = (
                np.arange(epochs + 1), accuracies)  # fmt: skip
        panels[f"std {scale:.2g}"] = curves
    page.draw(
        "scales",
        plots.lines,
        panels,
        title="Saito 6.3.2: with batch norm and without, the weights' first scale above",
        xlabel="epoch",
        ylabel="accuracy, the 1,000",
        ylim=(0.0, 1.0),
        across=4,
    )
    page.table(
        f"Accuracy on the 1,000 digits learnt from, after {epochs} epochs",
        ["std of the weights", "with batch norm", "without"],
        [
            [f"{scale:.2g}", f"{a:.1%}", f"{b:.1%}"]
            for scale, a, b in zip(scales, ends[True], ends[False], strict=True)
        ],
    )
    page.note(
        "Without batch norm hardly more than one scale is good, near He's √(2/100) = 0.14; the "
        "largest ones diverge, and the small ones do not begin to learn.  With it most scales work."
    )
    with_it, without = float(np.mean(ends[True])), float(np.mean(ends[False]))
    wins = int(np.sum(np.array(ends[True]) > np.array(ends[False])))
    assert with_it > without + (0.1 if page.quick else 0.3), (with_it, without)
    assert wins >= 0.75 * count, f"it is ahead at {wins} of {count} scales"
    return Result(
        f"mean over {count} scales {with_it:.1%} with it, {without:.1%} without; "
        f"ahead at {wins} of them",
        "as the text says",
        {"scales": scales.tolist(), "with": ends[True], "without": ends[False]},
    )


def network(scale: float, normalised: bool) -> nn.Sequential:
    widths = (784, 100, 100, 100, 100, 100)
    layers: list[nn.Module] = []
    for k in range(5):
        layers.append(nn.Linear(widths[k], widths[k + 1]))
        layers += [nn.BatchNorm1d(widths[k + 1])] if normalised else []
        layers.append(nn.ReLU())
    layers.append(nn.Linear(100, 10))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, scale)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def learn(model: nn.Module, x: np.ndarray, t: np.ndarray, epochs: int) -> list[float]:
    """The accuracy before, and after each epoch."""
    optimizer, loss_of = optim.SGD(model.parameters(), lr=0.01), nn.CrossEntropyLoss()
    shown = [accuracy(model, x, t)]
    for images_and_labels in (
        data.DataLoader((x, t), batch_size=100, shuffle=True, seed=k) for k in range(epochs)
    ):
        for images, labels in images_and_labels:
            loss = loss_of(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        shown.append(accuracy(model, x, t))
    return shown


def accuracy(model: nn.Module, x: np.ndarray, t: np.ndarray) -> float:
    """By the statistics of these very samples, as in training."""
    with nnx.no_grad():
        return float(np.mean(model(nnx.tensor(x)).numpy().argmax(axis=1) == t))
