"""The book's first network: softmax regression on MNIST, by its own plan (Xu, chapter 2)."""

import numpy as np

import nnx
from nnx import data, datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Softmax regression on MNIST by the book's plan; its templates; rates ten times off",
    section="2.8-2.10, fig. 2.1, 2.4, 2.6, 2.7",
    prints="92.25% after epoch 9; about 92% after 5,000 batches",
    tolerance="at least 91.8% of the test digits (82% quick)",
    seconds=60,
    quick="6,000 digits and 2 epochs for 60,000 and 20",
    needs=("mnist",),
)


def run(page: Page) -> Result:
    train, test = datasets.load_mnist()
    count = 6_000 if page.quick else 60_000
    x, t = train.scaled().reshape(-1, 784)[:count], train.labels[:count]
    new = test.scaled().reshape(-1, 784)
    page.draw(
        "digits",
        plots.mosaic,
        {str(d): train.scaled()[train.labels == d][:12] for d in range(10)},
        title="Xu fig. 2.1: digits of MNIST",
    )
    epochs = 2 if page.quick else 20  # 4,700 batches; the book has about 5,000
    curves, accuracies = {}, {}
    templates: dict[str, np.ndarray] = {}
    for rate in (0.1, 0.01, 1.0):  # the book's, and the exercise's: ten times more, ten times less
        model = nn.Linear(784, 10)
        nn.init.normal_(model.weight, 0.0, 0.01)
        nn.init.zeros_(model.bias)
        moments = Moments(model, (0, 20, 100, 500)) if rate == 0.1 else None
        trainer = nnx.Trainer(
            model,
            nn.CrossEntropyLoss(),
            optim.SGD(model.parameters(), lr=rate),
            metrics=["accuracy"],
            callbacks=[moments] if moments else [],
            progress=False,
        )
        batches = data.DataLoader((x, t), batch_size=256, shuffle=True, seed=page.seed)
        history = trainer.fit(batches, (new, test.labels), epochs=epochs)
        accuracies[rate] = history["val_accuracy"][-1]
        name = f"rate {rate:g}"
        losses = np.array(history.step_losses)
        curves[name] = (np.arange(1, len(losses) + 1), smooth(losses))
        if moments:
            shown = history["val_accuracy"]
            templates = moments.seen | {f"{trainer.step} steps": weights(model)}
    page.draw(
        "templates",
        plots.mosaic,
        templates,
        title="Xu fig. 2.4: the rows of W while they learn (red for, blue against)",
        columns=[str(d) for d in range(10)],
        signed=True,
    )
    page.draw(
        "loss",
        plots.lines,
        {"": curves},
        title="Xu fig. 2.6: the loss of the batches, a mean of 20, at three rates",
        xlabel="batch",
        ylabel="cross-entropy",
        ylim=(0.0, 2.5),
    )
    page.draw(
        "accuracy",
        plots.lines,
        {"": {"rate 0.1": (np.arange(1, epochs + 1), shown)}},
        title="Xu fig. 2.7: test digits classified right",
        xlabel="epoch",
        ylabel="accuracy",
        marks="o",
    )
    page.table(
        "The exercise of 2.10.3: the rate ten times smaller and larger",
        ["rate", "test accuracy"],
        [[f"{rate:g}", f"{accuracies[rate]:.2%}"] for rate in sorted(accuracies)],
    )
    best = accuracies[0.1]
    least = 0.82 if page.quick else 0.918
    assert best >= least, f"{best:.2%} of the test digits"
    return Result(
        f"{best:.2%} after {epochs} epochs",
        "about 92%" if not page.quick else f"at least {least:.0%}, the small form's",
        {"accuracy": {f"{k:g}": v for k, v in accuracies.items()}, "by_epoch": shown},
    )


class Moments(nnx.train.Callback):
    """Keeps the weights as pictures at some steps."""

    def __init__(self, model: nn.Linear, steps: tuple[int, ...]) -> None:
        self.model, self.steps, self.seen = model, steps, {}

    def on_fit_start(self, trainer: nnx.Trainer) -> None:
        self.seen = {"at first": weights(self.model)}

    def on_step_end(self, trainer: nnx.Trainer) -> None:
        if trainer.step in self.steps:
            self.seen[f"{trainer.step} steps"] = weights(self.model)


def weights(model: nn.Linear) -> np.ndarray:
    return model.weight.detach().numpy().reshape(10, 28, 28).copy()


def smooth(values: np.ndarray, width: int = 20) -> np.ndarray:
    """The mean of the last `width` values."""
    total = np.cumsum(np.insert(values, 0, 0.0))
    at = np.arange(1, len(values) + 1)
    first = np.maximum(at - width, 0)
    return (total[at] - total[first]) / (at - first)
