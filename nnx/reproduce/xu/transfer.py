"""Transfer: a network that knows 0 to 4 learns 5 to 9 from few examples (Xu 3.2)."""

import numpy as np

import nnx
from nnx import datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Digits 0-4, then 5-9 from few of them: the head alone, the whole, or from scratch",
    section="3.2",
    prints="replace the last layer and train only it, or go on with all, with few examples",
    tolerance="frozen weights the same bits; from 20 digits both beat a start from scratch",
    seconds=70,
    quick="6,000 digits 0-4 for all 30,596; from 20 digits 5-9 alone, 2 draws for 5",
    needs=("mnist",),
)


def network() -> nn.Sequential:
    """A body that makes features of a digit, and a head of five classes."""
    body = nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
    )  # fmt: skip
    return nn.Sequential(body, nn.Linear(400, 5))


def run(page: Page) -> Result:
    train, test = datasets.load_mnist()
    low = part(train, range(5))
    most = 6_000 if page.quick else None
    source = network()
    fit(source, low[0][:most], low[1][:most], epochs=2, lr=1e-3)
    known = accuracy(source, *part(test, range(5)))

    x, t = part(train, range(5, 10))
    new = tuple(a[:2000] for a in part(test, range(5, 10)))
    ways = ("head alone", "all, from 0-4", "from scratch")
    sizes = (20,) if page.quick else (20, 50, 100, 200, 500)
    results = {way: [] for way in ways}
    draws = 2 if page.quick else 5
    changed = 0.0
    for count in sizes:
        for way in ways:
            shares = []
            for draw in range(draws):  # other examples each time
                model = network()
                if way != "from scratch":
                    model[0].load_state_dict(source[0].state_dict())
                if way == "head alone":
                    model[0].requires_grad_(False)
                some = slice(draw * count, (draw + 1) * count)
                fit(model, x[some], t[some], epochs=40, lr=3e-3)
                shares.append(accuracy(model, *new))
                if way == "head alone":
                    changed = max(changed, difference(model[0], source[0]))
            results[way].append(float(np.mean(shares)))
    page.table(
        f"Test digits 5-9 classified right, a mean of {draws} draws",
        ["digits 5-9 to learn from", *ways],
        [[n, *[f"{results[way][k]:.1%}" for way in ways]] for k, n in enumerate(sizes)],
    )
    page.draw(
        "transfer",
        plots.lines,
        {"": {way: (sizes, results[way]) for way in ways}},
        title="Xu 3.2: 5-9 learnt by a network that knows 0-4",
        xlabel="digits 5-9 to learn from",
        ylabel="test accuracy",
        xlog=True,
        marks="o",
    )
    head, whole, scratch = (results[way][0] for way in ways)
    page.note(f"The network that the others begin with knows {known:.1%} of the test digits 0-4.")
    assert changed == 0.0, f"frozen weights moved by {changed:.1e}"
    if not page.quick:  # too near each other there
        assert min(head, whole) > scratch, f"{head:.1%}, {whole:.1%}, {scratch:.1%}"
    return Result(
        f"{sizes[0]} digits: head alone {head:.1%}, all {whole:.1%}, from scratch {scratch:.1%}",
        "frozen weights unchanged" + ("" if page.quick else "; both beat the start from scratch"),
        {"sizes": sizes, **results, "known": known},
    )


def part(images: datasets.Images, classes: range) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of these digits, (N, 1, 28, 28), and their classes from 0."""
    chosen = np.isin(images.labels, list(classes))
    return images.scaled()[chosen][:, None], images.labels[chosen] - classes[0]


def fit(model: nn.Module, x: np.ndarray, t: np.ndarray, epochs: int, lr: float) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    trainer = nnx.Trainer(
        model, nn.CrossEntropyLoss(), optim.Adam(parameters, lr=lr), progress=False
    )
    trainer.fit((x, t), epochs=epochs, batch_size=min(64, len(x)))


def accuracy(model: nn.Module, x: np.ndarray, t: np.ndarray) -> float:
    with nnx.no_grad():
        said = [
            model(nnx.tensor(x[k : k + 500])).numpy().argmax(axis=1) for k in range(0, len(x), 500)
        ]
    return float(np.mean(np.concatenate(said) == t))


def difference(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return float(max(np.max(np.abs(x - y)) for x, y in pairs))
