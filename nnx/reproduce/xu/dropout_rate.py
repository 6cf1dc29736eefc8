"""How much to drop: a network that overfits, at several rates (Xu 9.11)."""

import numpy as np

import nnx
from nnx import datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Dropout from 0 to 0.9 in a network with 1,000 digits; the scaling of 9.26-9.30",
    section="9.11, eq. 9.26-9.30, fig. 9.4",
    prints="keep p from 0.5 to 0.8; forward and backward scaled by 1/p",
    tolerance="the mask's mean 1 to 1%; the best of 0.2 to 0.5 at least as good as none",
    seconds=40,
    quick="500 digits and 15 epochs for 1,000 and 60, three rates",
    needs=("mnist",),
)


def run(page: Page) -> Result:
    mask = nn.Dropout(0.2)(nnx.tensor(np.ones(100_000, np.float32))).numpy()
    values, mean = sorted({float(v) for v in mask}), float(mask.mean())
    train, test = datasets.load_mnist()
    count = 500 if page.quick else 1_000
    x, t = train.scaled().reshape(-1, 784)[:count], train.labels[:count]
    new = test.scaled().reshape(-1, 784), test.labels
    rates = (0.0, 0.3, 0.5) if page.quick else (0.0, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
    known, unknown = [], []
    for rate in rates:
        nnx.manual_seed(page.seed)
        model = nn.Sequential(
            nn.Linear(784, 512), nn.ReLU(), nn.Dropout(rate),
            nn.Linear(512, 512), nn.ReLU(), nn.Dropout(rate),
            nn.Linear(512, 10),
        )  # fmt: skip
        trainer = nnx.Trainer(
            model,
            nn.CrossEntropyLoss(),
            optim.Adam(model.parameters(), lr=1e-3),
            metrics=["accuracy"],
            progress=False,
        )
        trainer.fit((x, t), epochs=15 if page.quick else 60, batch_size=50)
        known.append(float(trainer.evaluate((x, t))["accuracy"]))
        unknown.append(float(trainer.evaluate(new)["accuracy"]))
    page.table(
        f"{count:,} digits to learn from",
        ["dropped", "kept, the book's p", "training accuracy", "test accuracy"],
        [[r, 1 - r, f"{a:.2%}", f"{b:.2%}"] for r, a, b in zip(rates, known, unknown, strict=True)],
    )
    page.draw(
        "rates",
        plots.lines,
        {"": {"training digits": (rates, known), "test digits": (rates, unknown)}},
        title=f"Xu 9.11: dropout in a network with {count:,} digits",
        xlabel="share that is dropped",
        ylabel="accuracy",
        marks="o",
    )
    page.note(
        "The book's p is the share that is kept, nnx's (and PyTorch's) the share that is dropped.  "
        "(9.30) lacks the 1/p of (9.29); the listing of 9.11.2 repeats the GRU's step."
    )
    best = max(b for r, b in zip(rates, unknown, strict=True) if 0.2 <= r <= 0.5)
    assert values == [0.0, 1.25] and abs(mean - 1) < 0.01, (values, mean)
    short = 0.02 if page.quick else 0.0
    assert best >= unknown[0] - short, f"{best:.2%}, without {unknown[0]:.2%}"
    return Result(
        f"kept 0.5-0.8: {best:.2%} of the test digits, without dropout {unknown[0]:.2%}",
        "as advised",
        {"rates": rates, "train": known, "test": unknown},
    )
