"""What becomes of a network whose weights all begin with the same value (Saito 6.2.1)."""

import numpy as np

import nnx
from nnx import datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Weights 0, all equal, 0 with random biases, random: who learns the small digits",
    section="6.2.1",
    prints="0 or equal weights stay equal; random biases learn slowly; random weights learn",
    tolerance="rows of W1 equal exactly, below 40%; random biases behind; random weights above 90%",
    seconds=5,
    quick="the same",
)

HIDDEN, EPOCHS = 64, 30
BEGINNINGS = {  # the weights, the biases
    "W = 0, b = 0": (lambda p: nn.init.zeros_(p), lambda p: nn.init.zeros_(p)),
    "W = 0.1, b = 0": (lambda p: nn.init.constant_(p, 0.1), lambda p: nn.init.zeros_(p)),
    "W = 0, b random": (lambda p: nn.init.zeros_(p), lambda p: nn.init.normal_(p, 0.0, 0.1)),
    "W random, b = 0": (lambda p: nn.init.xavier_normal_(p), lambda p: nn.init.zeros_(p)),
}


def run(page: Page) -> Result:
    train, test = datasets.load_digits()
    learnt = (train.scaled().reshape(-1, 64), train.labels)
    new = (test.scaled().reshape(-1, 64), test.labels)
    curves, rows, kinds = {}, [], {}
    for name, (weights, biases) in BEGINNINGS.items():
        model = nn.Sequential(nn.Linear(64, HIDDEN), nn.Sigmoid(), nn.Linear(HIDDEN, 10))
        for p in model.parameters():
            (weights if p.ndim == 2 else biases)(p)
        trainer = nnx.Trainer(
            model,
            nn.CrossEntropyLoss(),
            optim.SGD(model.parameters(), lr=0.2),
            metrics=["accuracy"],
            progress=False,
        )
        history = trainer.fit(learnt, new, epochs=EPOCHS, batch_size=32)
        shown = history["val_accuracy"]
        kinds[name] = len(np.unique(model[0].weight.detach().numpy(), axis=0))
        curves[name] = (np.arange(1, EPOCHS + 1), shown)
        rows.append([name, kinds[name], f"{shown[0]:.1%}", f"{shown[9]:.1%}", f"{shown[-1]:.1%}"])
    page.table(
        f"64-{HIDDEN}-10, sigmoid; test digits classified right",
        ["beginning", f"different rows of W1, of {HIDDEN}", "epoch 1", "10", f"{EPOCHS}"],
        rows,
    )
    page.draw(
        "accuracy",
        plots.lines,
        {"": curves},
        title="Saito 6.2.1: what the first values decide",
        xlabel="epoch",
        ylabel="test accuracy",
        ylim=(0.0, 1.0),
    )
    last = {name: float(y[-1]) for name, (_, y) in curves.items()}
    third = {name: float(y[2]) for name, (_, y) in curves.items()}
    page.note(
        "Equal units stay equal: each gets the same gradient at every step, so 64 of them are one. "
        "With W = 0 and random biases the first step moves the last layer alone (nothing goes back "
        "through weights of 0), then the units part, as their biases differ."
    )
    same = list(BEGINNINGS)[:2]
    assert all(kinds[name] == 1 for name in same), kinds
    assert all(last[name] < 0.4 for name in same), last
    assert kinds["W random, b = 0"] == HIDDEN and last["W random, b = 0"] > 0.9, last
    assert third["W = 0, b random"] < third["W random, b = 0"], third
    return Result(
        "; ".join(f"{name}: {value:.1%}" for name, value in last.items()),
        "as the text says",
        {"accuracy": last, "rows": kinds, "after 3 epochs": third},
    )
