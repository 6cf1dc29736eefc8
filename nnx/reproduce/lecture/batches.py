"""All samples in a step, one, or some: what each costs and how it wavers (lecture notes 4.3.1)."""

import numpy as np

import nnx
from nnx import data, datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="BGD, SGD and M-SGD on the small digits: cost, noise, progress, measured",
    section="4.3.1",
    prints="cost high / low / medium; timeliness low / medium / medium; stable / not / rather",
    tolerance="these orders: samples a step, spread of gradients, loss after five passes",
    seconds=8,
    quick="2 passes for 5, 100 draws of each gradient for 300",
)

WAYS = {"BGD": None, "SGD": 1, "M-SGD": 32}  # samples in a step
RATES = {"BGD": 0.5, "SGD": 0.02, "M-SGD": 0.2}  # about the best of each


def run(page: Page) -> Result:
    train, test = datasets.load_digits()
    x, t = train.scaled().reshape(-1, 64), train.labels
    new = (test.scaled().reshape(-1, 64), test.labels)
    passes, draws = (2, 100) if page.quick else (5, 300)
    start = network()
    rows, curves, spread, rough, last = [], {}, {}, {}, {}
    for name, batch in WAYS.items():
        batch = batch or len(x)
        spread[name] = noise(start, x, t, batch, draws)
        model = network()
        model.load_state_dict(start.state_dict())
        seen, losses = descend(model, x, t, batch, RATES[name], passes)
        last[name] = losses[-1]
        rough[name] = float(np.mean(np.abs(np.diff(losses))[-10:]))
        curves[name] = (seen, losses)
        right = accuracy(model, *new)
        rows.append([name, batch, RATES[name], seen[-1] // batch, spread[name], last[name],
                     f"{right:.1%}"])  # fmt: skip
    page.table(
        f"{passes} passes over {len(x):,} digits, 64-32-10",
        ["way", "samples a step", "rate", "steps", "spread of the gradient", "loss", "test digits"],
        rows,
    )
    # How the spread falls with the batch: as 1/√b.
    sizes = [1, 2, 4, 8, 16, 32, 64, 128]
    spreads = [noise(start, x, t, b, draws) for b in sizes]
    page.draw(
        "spread",
        plots.lines,
        {"": {
            "measured": (sizes, spreads),
            "σ/√b": (sizes, spreads[0] / np.sqrt(sizes)),
        }},
        title="Lecture notes 4.3.1: how far a batch's gradient is from all samples'",
        xlabel="samples in a batch, b",
        ylabel="spread",
        xlog=True, ylog=True,
    )  # fmt: skip
    page.draw(
        "loss",
        plots.lines,
        {"": curves},
        title="Lecture notes 4.3.1: the loss of all digits over the samples that were read",
        xlabel="samples read",
        ylabel="cross-entropy",
    )
    page.note(
        "The notes' table, measured.  Cost: samples in a step.  Timeliness: the loss after as many "
        "samples.  Stability: how far the gradient of a step is from that of all samples."
    )
    assert spread["BGD"] < 1e-6 < spread["M-SGD"] < spread["SGD"], spread
    assert last["M-SGD"] < last["BGD"] and last["SGD"] < last["BGD"], last
    assert 0.6 < spreads[5] * np.sqrt(32) / spreads[0] < 1.6, spreads
    return Result(
        "; ".join(
            f"{row[0]}: {row[3]} steps, spread {row[4]:.2f}, loss {row[5]:.2f}" for row in rows
        ),
        "the orders are the table's",
        {"spread": spread, "loss": last, "steps": {row[0]: int(row[3]) for row in rows}},
    )


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def gradient(model: nn.Module, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Of the mean loss, all parameters side by side."""
    model.zero_grad()
    nn.CrossEntropyLoss()(model(nnx.tensor(x)), nnx.tensor(t)).backward()
    return np.concatenate([p.grad.ravel() for p in model.parameters()])


def noise(model: nn.Module, x: np.ndarray, t: np.ndarray, batch: int, draws: int) -> float:
    """√ of the mean |gradient of a batch - gradient of all|², over the latter's length."""
    whole = gradient(model, x, t)
    draw = np.random.default_rng(5)
    squares = []
    for _ in range(draws if batch < len(x) else 1):
        rows = draw.choice(len(x), batch, replace=batch < len(x)) if batch < len(x) else slice(None)
        squares.append(float(np.sum((gradient(model, x[rows], t[rows]) - whole) ** 2)))
    return float(np.sqrt(np.mean(squares)) / np.linalg.norm(whole))


def descend(
    model: nn.Module, x: np.ndarray, t: np.ndarray, batch: int, rate: float, passes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Samples that were read, and the loss of all digits there, some twenty times a pass."""
    optimizer, loss_of = optim.SGD(model.parameters(), lr=rate), nn.CrossEntropyLoss()
    steps, read, losses = len(x) // batch, [], []
    every = max(1, steps // 20)
    for epoch in range(passes):
        loader = data.DataLoader((x, t), batch_size=batch, shuffle=True, drop_last=True, seed=epoch)
        for step, (images, labels) in enumerate(loader):
            if step % every == 0 or step == steps - 1:
                with nnx.no_grad():
                    losses.append(loss_of(model(nnx.tensor(x)), nnx.tensor(t)).item())
                read.append(epoch * len(x) + step * batch)
            loss = loss_of(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with nnx.no_grad():
        losses.append(loss_of(model(nnx.tensor(x)), nnx.tensor(t)).item())
    return np.array([*read, passes * len(x)]), np.array(losses)


def accuracy(model: nn.Module, x: np.ndarray, t: np.ndarray) -> float:
    with nnx.no_grad():
        return float(np.mean(model(nnx.tensor(x)).numpy().argmax(axis=1) == t))
