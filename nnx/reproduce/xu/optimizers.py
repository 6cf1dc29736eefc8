"""SGD and six ways to better it, on MNIST and over rates (Xu 5.6.7)."""

import numpy as np

import nnx
from nnx import data, datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Seven optimizers on 784-512-10, the same start and batches, over rates; who wins where",
    section="5.6.7, fig. 5.2-5.4",
    prints="at small rates Adam and RMSprop lead; at large ones they fall behind, RMSprop even "
    "behind SGD; AdaDelta is the steadiest",
    tolerance="these orders of the test accuracies",
    seconds=150,
    quick="12,000 digits for 60,000, two rates for four",
    needs=("mnist",),
)

METHODS = {
    "SGD": lambda p, lr: optim.SGD(p, lr=lr),
    "momentum": lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9),
    "NAG": lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9, nesterov=True),
    "Adagrad": lambda p, lr: optim.Adagrad(p, lr=lr),
    "RMSprop": lambda p, lr: optim.RMSprop(p, lr=lr, alpha=0.9),
    "AdaDelta": lambda p, lr: optim.Adadelta(p, lr=1.0, rho=0.9),  # the book's has no rate
    "Adam": lambda p, lr: optim.Adam(p, lr=lr),
}
BATCH, EVERY = 256, 20


def run(page: Page) -> Result:
    train, test = datasets.load_mnist()
    count = 12_000 if page.quick else 60_000
    x, t = train.scaled().reshape(-1, 784)[:count], train.labels[:count]
    new = (test.scaled().reshape(-1, 784)[:5000], test.labels[:5000])
    start = network()
    rates = (0.001, 0.1) if page.quick else (0.001, 0.01, 0.1, 0.3)
    seen = {}
    for rate in rates:
        for name, make in METHODS.items():
            if name == "AdaDelta" and rate != rates[0]:
                seen[name, rate] = seen[name, rates[0]]
                continue
            model = network()
            model.load_state_dict(start.state_dict())
            seen[name, rate] = descend(model, make(model.parameters(), rate), x, t, new)
    final = {key: float(accuracies[-1]) for key, (_, _, accuracies) in seen.items()}
    winners = {r: max(METHODS, key=lambda name, r=r: final[name, r]) for r in rates}
    page.table(
        "Test digits classified right after one epoch; which wins where",
        ["rate", *METHODS, "wins"],
        [[f"{r:g}", *[f"{final[n, r]:.1%}" for n in METHODS], winners[r]] for r in rates],
    )
    small = 0.001
    for column, figure, what in ((1, "5.3", "loss"), (2, "5.4", "accuracy")):
        page.draw(
            f"rates-{what}",
            plots.lines,
            {
                f"rate {r:g}": {
                    n: (seen[n, r][0], np.minimum(seen[n, r][column], 3)) for n in METHODS
                }
                for r in rates
            },
            title=f"Xu fig. {figure}: seven optimizers over rates, {what} on new digits",
            xlabel="batch",
            ylabel=what,
            ylim=(0.0, 2.5) if column == 1 else (0.0, 1.0),
            across=2,
        )
    page.draw(
        "comparison",
        plots.lines,
        {
            what: {n: (seen[n, small][0], seen[n, small][column]) for n in METHODS}
            for column, what in ((1, "loss on new digits"), (2, "accuracy on new digits"))
        },
        title="Xu fig. 5.2: SGD and six others, rate 0.001 (AdaDelta has none)",
        xlabel="batch",
        share=False,
    )
    page.note(
        "The book does not print its rates.  One seed, one epoch: which of two neighbours is first "
        "may change, the order of the groups does not."
    )
    low = {name: final[name, small] for name in METHODS}
    high = {name: final[name, 0.1] for name in METHODS}
    spread = {n: max(final[n, r] for r in rates) - min(final[n, r] for r in rates) for n in METHODS}
    plain = ("SGD", "momentum", "NAG")
    assert min(low["Adam"], low["RMSprop"]) > max(low[n] for n in plain), low
    if not page.quick:  # too near each other there
        assert high["RMSprop"] < high["SGD"], high
    assert high["Adam"] < min(high["momentum"], high["NAG"]), high
    assert spread["AdaDelta"] == 0.0
    return Result(
        "; ".join(f"rate {r:g}: {winners[r]} {final[winners[r], r]:.1%}" for r in rates)
        + f"; at 0.1 SGD {high['SGD']:.1%}, RMSprop {high['RMSprop']:.1%}",
        "the orders are the book's",
        {f"{name}, {rate:g}": value for (name, rate), value in final.items()},
    )


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))


def descend(
    model: nn.Module, optimizer: optim.Optimizer, x: np.ndarray, t: np.ndarray, new: tuple
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One epoch; batches, and there the loss and the accuracy on new digits."""
    loss_of = nn.CrossEntropyLoss()
    at, losses, accuracies = [], [], []
    batches = data.DataLoader((x, t), batch_size=BATCH, shuffle=True, seed=3)  # the same for all
    for step, (images, labels) in enumerate(batches, start=1):
        loss = loss_of(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % EVERY == 0 or step == len(batches):
            with nnx.no_grad():
                logits = model(nnx.tensor(new[0]))
                losses.append(loss_of(logits, nnx.tensor(new[1])).item())
            accuracies.append(float(np.mean(logits.numpy().argmax(axis=1) == new[1])))
            at.append(step)
    return np.array(at), np.array(losses), np.array(accuracies)
