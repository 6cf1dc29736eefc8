"""Looking for a rate and a weight decay by chance, then where the best ones were (Saito 6.5)."""

import numpy as np

import nnx
from nnx import datasets, nn, optim, plots
from nnx.data import train_test_split
from nnx.random import Generator
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Random search over log-uniform ranges of rate and weight decay, narrowed once",
    section="6.5.1",
    prints="draw from a range, judge by validation data after few epochs, narrow the range",
    tolerance="the second round's median is better than the first's; the best is above 90%",
    seconds=12,
    quick="16 draws for 40 in each round",
)

RANGES = {"rate": (1e-4, 10.0), "weight decay": (1e-8, 1e-1)}


def run(page: Page) -> Result:
    train, test = datasets.load_digits()
    x, t = train.scaled().reshape(-1, 64), train.labels
    x, held_x, t, held_t = train_test_split(x, t, test=0.2, seed=1)
    learnt, held = (x, t), (held_x, held_t)
    new = (test.scaled().reshape(-1, 64), test.labels)
    draw = Generator(page.seed + 6)
    count = 16 if page.quick else 40
    rounds: list[list[tuple[float, float, float]]] = []
    ranges = dict(RANGES)
    for _ in range(2):
        tried = []
        for _ in range(count):
            rate, decay = (log_uniform(draw, *between) for between in ranges.values())
            tried.append((accuracy(rate, decay, learnt, held, page.seed), rate, decay))
        rounds.append(sorted(tried, reverse=True))
        best = rounds[-1][: count // 4]  # the range that the best quarter spans
        ranges = {
            "rate": (min(b[1] for b in best), max(b[1] for b in best)),
            "weight decay": (min(b[2] for b in best), max(b[2] for b in best)),
        }
    page.draw(
        "tried",
        tried_figure,
        rounds,
        title="Saito 6.5.1: rates and weight decays tried, and the range of the best quarter",
    )
    page.table(
        "The five best of each round, by validation digits after 5 epochs",
        ["round", "accuracy", "rate", "weight decay"],
        [[k + 1, f"{a:.1%}", r, d] for k, tried in enumerate(rounds) for a, r, d in tried[:5]],
    )
    medians = [float(np.median([a for a, _, _ in tried])) for tried in rounds]
    best_of_all = max(rounds[0][0], rounds[1][0])
    final = accuracy(best_of_all[1], best_of_all[2], learnt, new, page.seed)
    page.note(
        "The test digits are looked at once, with the best of all: "
        f"{final:.1%}.  The text names Bayesian optimisation as the finer way; libraries for it "
        "take `accuracy` of this file as it is."
    )
    assert medians[1] > medians[0], medians
    assert best_of_all[0] > (0.85 if page.quick else 0.9), best_of_all
    return Result(
        f"median of {count} draws {medians[0]:.1%}, narrowed {medians[1]:.1%}; best "
        f"{best_of_all[0]:.1%} with rate {best_of_all[1]:.2g}, decay {best_of_all[2]:.1g}",
        "narrowing helps",
        {"medians": medians, "best": best_of_all, "test": final},
    )


def log_uniform(draw: Generator, low: float, high: float) -> float:
    """10 to a power that is drawn evenly: as many draws between 0.001 and 0.01 as to 0.1."""
    return float(10 ** draw.uniform((), np.log10(low), np.log10(high), dtype="float64"))


def accuracy(rate: float, decay: float, learnt: tuple, held: tuple, seed: int) -> float:
    """Five epochs; the share of held-back digits classified right."""
    nnx.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10))
    optimizer = optim.SGD(model.parameters(), lr=rate, weight_decay=decay)
    trainer = nnx.Trainer(model, nn.CrossEntropyLoss(), optimizer, progress=False)
    with np.errstate(all="ignore"):  # rates that are too large end in infinity
        trainer.fit(learnt, epochs=5, batch_size=16)
        with nnx.no_grad():
            said = model(nnx.tensor(held[0])).numpy().argmax(axis=1)
    return float(np.mean(said == held[1]))


def tried_figure(rounds: list, path: object, title: str) -> None:
    """A point for each draw, darker the better."""
    drawn = plots.figure(8.4, 3.8)
    grid = drawn.subplots(1, 2, sharex=True, sharey=True)
    for k, (axes, tried) in enumerate(zip(grid, rounds, strict=True)):
        good, rates, decays = np.array(tried[::-1]).T  # the best on top
        shown = axes.scatter(rates, decays, c=good, cmap="cividis_r", vmin=0, vmax=1, s=22)
        best = np.array(tried[: len(tried) // 4])
        if k == 0:
            (left, right), (low, high) = ((v.min(), v.max()) for v in (best[:, 1], best[:, 2]))
            axes.plot([left, right, right, left, left], [low, low, high, high, low],
                      color=plots.COLOURS[1], lw=1.5)  # fmt: skip
        axes.set_title(f"round {k + 1}", fontsize=9)
        for axis in (axes.xaxis, axes.yaxis):
            plots.logarithmic(axes, axis)
        axes.set_xlabel("rate")
    grid[0].set_ylabel("weight decay")
    drawn.colorbar(shown, ax=grid, label="validation accuracy")
    drawn.suptitle(title, fontsize=11)
    plots.save_figure(drawn, path)
