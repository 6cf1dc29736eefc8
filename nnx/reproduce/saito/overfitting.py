"""300 digits learnt by heart; weight decay, dropout, several networks (Saito 6.4)."""

import numpy as np

import nnx
from nnx import data, datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="300 digits of MNIST, a network too large: plain, weight decay, dropout, five networks",
    section="6.4.1-6.4.3",
    prints="without, all of the 300 and far fewer of the others; weight decay and dropout help",
    tolerance="plain: 99% of the 300, a gap above 15%; the others' narrower; five better than one",
    seconds=25,
    quick="120 epochs for 200, three networks for five, 1,000 test digits for 3,000",
    needs=("mnist",),
)

WIDTH, DECAY, DROPPED = 100, 0.1, 0.2


def run(page: Page) -> Result:
    train, test = datasets.load_mnist()
    learnt = (train.scaled().reshape(-1, 784)[:300], train.labels[:300])
    count = 1_000 if page.quick else 3_000
    new = (test.scaled().reshape(-1, 784)[:count], test.labels[:count])
    epochs, hidden, several = (120, 6, 3) if page.quick else (200, 6, 5)
    ways = {
        "plain": (0.0, 0.0),
        f"weight decay λ = {DECAY}": (0.0, DECAY),
        f"dropout {DROPPED}": (DROPPED, 0.0),
    }
    panels, last = {}, {}
    for name, (share, decay) in ways.items():
        nnx.manual_seed(page.seed)
        model = network(hidden, share)
        history = fit(model, learnt, epochs, decay, new)
        at = np.arange(2, epochs + 1, 2)
        seen = {"train": history["train"], "test": history["test"]}
        panels[name] = {what: (at, seen[what]) for what in seen}
        last[name] = {what: float(np.mean(values[-5:])) for what, values in seen.items()}

    # 6.4.3: several networks, each from another beginning; the mean of what they say.
    each, together = [], 0.0
    for _ in range(several):
        model = network(hidden, 0.0)
        fit(model, learnt, epochs)
        with nnx.no_grad():
            said = nnx.softmax(model(nnx.tensor(new[0])), axis=1).numpy()
        each.append(float(np.mean(said.argmax(axis=1) == new[1])))
        together = together + said / several
    ensemble = float(np.mean(together.argmax(axis=1) == new[1]))

    page.draw(
        "accuracy",
        plots.lines,
        panels,
        title="Saito 6.4: 300 digits learnt, all others guessed",
        xlabel="epoch",
        ylabel="accuracy",
        ylim=(0.0, 1.02),
    )
    page.table(
        "Mean of the last 10 epochs",
        ["way", "300 digits learnt", "test digits", "gap"],
        [
            [n, f"{v['train']:.1%}", f"{v['test']:.1%}", f"{v['train'] - v['test']:.1%}"]
            for n, v in last.items()
        ],
    )
    page.note(
        f"{several} plain networks from other beginnings have {min(each):.1%} to {max(each):.1%} "
        f"of the test digits, the mean of their outputs {ensemble:.1%}."
    )
    page.note(
        "Weight decay and dropout hold back more on the 300 than on the rest: the gap narrows.  "
        "New digits gain nothing by them in as many epochs; they do by several networks together."
    )
    page.note(
        "The notes scale the outputs at test time by the share that was dropped; it must be the "
        "share that was kept.  Here it is done while training: what is kept is divided by it."
    )
    gaps = {name: v["train"] - v["test"] for name, v in last.items()}
    plain = gaps.pop("plain")
    assert last["plain"]["train"] > (0.8 if page.quick else 0.99), last
    assert plain > (0.1 if page.quick else 0.15), f"a gap of {plain:.1%}"
    assert max(gaps.values()) < plain, (plain, gaps)
    assert ensemble > np.mean(each), (ensemble, each)
    return Result(
        "gap between the 300 and the rest: "
        + ", ".join(f"{name} {gap:.1%}" for name, gap in {"plain": plain, **gaps}.items())
        + f"; {several} networks together {ensemble:.1%}, one {np.mean(each):.1%}",
        "as the text says",
        {**last, "each": each, "ensemble": ensemble},
    )


def network(hidden: int, share: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(hidden):
        dense = nn.Linear(WIDTH if k else 784, WIDTH)
        nn.init.kaiming_normal_(dense.weight)
        nn.init.zeros_(dense.bias)
        layers += [dense, nn.ReLU(), *([nn.Dropout(share)] if share else [])]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def fit(
    model: nn.Module,
    learnt: tuple[np.ndarray, np.ndarray],
    epochs: int,
    decay: float = 0.0,
    new: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, list[float]]:
    """Train it; where `new` is given, the accuracy on both parts after every second epoch."""
    weights = [p for p in model.parameters() if p.ndim == 2]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases}]
    optimizer, loss_of = optim.SGD(groups, lr=0.01), nn.CrossEntropyLoss()
    batches = data.DataLoader(learnt, batch_size=100, shuffle=True, seed=1)
    shown: dict[str, list[float]] = {"train": [], "test": []}
    for epoch in range(1, epochs + 1):
        for images, labels in batches:
            optimizer.zero_grad()
            loss_of(model(images), labels).backward()
            optimizer.step()
        if new is not None and epoch % 2 == 0:
            model.eval()
            for name, (images, labels) in {"train": learnt, "test": new}.items():
                with nnx.no_grad():
                    said = model(nnx.tensor(images)).numpy().argmax(axis=1)
                shown[name].append(float(np.mean(said == labels)))
            model.train()
    return shown
