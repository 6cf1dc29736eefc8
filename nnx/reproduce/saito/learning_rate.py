"""Rates too large and too small, and why accuracy is no loss (Saito 3.2.4, 4.3)."""

import numpy as np

import nnx
from nnx import optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Descent with rates from 1e-10 to 10; accuracy and loss while one weight moves",
    section="3.2.4, 4.3",
    prints="too large a rate diverges, too small hardly moves; accuracy's slope is 0 nearly always",
    tolerance="100 steps: beyond 1e20, unmoved to 1e-6, at the minimum to 1e-8; slopes 0 exactly",
    seconds=1,
)

START = (-3.0, 4.0)  # on f = x0² + x1²
RATES = {"10, too large": 10.0, "0.1": 0.1, "0.01": 0.01, "1e-10, too small": 1e-10}


def run(page: Page) -> Result:
    paths = {name: descend(rate) for name, rate in RATES.items()}
    distances = {name: np.linalg.norm(path, axis=1) for name, path in paths.items()}
    page.draw(
        "rates",
        plots.lines,
        {"": {f"rate {n}": (np.arange(101), np.clip(d, 1e-9, 1e9)) for n, d in distances.items()}},
        title="Saito 4.3: the distance from the minimum of x0² + x1², cut at 1e9",
        xlabel="step",
        ylabel="|x|",
        ylog=True,
    )
    page.table(
        "After 100 steps from (-3, 4), f = x0² + x1²",
        ["rate", "x0", "x1"],
        [[name, *map(float, path[-1])] for name, path in paths.items()],
    )

    # 3.2.4: 12 points of two kinds on a line, told apart by σ(4 (x - b)); b moves.
    x = np.array([-2.0, -1.6, -1.1, -0.9, -0.3, 0.4, -0.6, 0.2, 0.8, 1.2, 1.7, 2.1])
    kind = np.repeat([0.0, 1.0], 6)
    b = np.linspace(-2.5, 2.5, 1001)
    scores = 4 * (x - b[:, None])  # (1001, 12)
    accuracy = ((scores > 0) == kind).mean(axis=1)
    loss = (np.logaddexp(0, scores) - kind * scores).mean(axis=1)
    flat = float(np.mean(np.diff(accuracy) == 0.0))
    sloped = float(np.mean(np.diff(loss) != 0.0))
    page.draw(
        "accuracy",
        plots.lines,
        {"accuracy": {"": (b, accuracy)}, "cross-entropy": {"": (b, loss)}},
        title="Saito 3.2.4: accuracy goes by steps, the loss says where to go",
        xlabel="b of σ(4(x - b))",
        share=False,
    )
    page.note(
        f"Moving b by {b[1] - b[0]:.3f} leaves the accuracy as it is in {flat:.1%} of all places "
        f"and changes the loss in {sloped:.1%}.  The step function as an activation has the same "
        "fault, which is why networks that learn do without it."
    )
    large, small, good = (
        distances["10, too large"],
        distances["1e-10, too small"],
        distances["0.1"],
    )
    assert large[-1] > 1e20, f"a rate of 10 ends at {large[-1]:.1e}"
    assert abs(small[-1] - 5.0) < 1e-6, f"a rate of 1e-10 ends at {small[-1]}"
    assert good[-1] < 1e-8, f"a rate of 0.1 ends at {good[-1]:.1e}"
    assert flat > 0.98 and sloped == 1.0, (flat, sloped)
    return Result(
        f"|x| after 100 steps: {large[-1]:.0e} (10), {good[-1]:.0e} (0.1), "
        f"{small[-1]:.7g} (1e-10); accuracy flat in {flat:.1%}",
        "as the text says",
        {"large": float(large[-1]), "good": float(good[-1]), "small": float(small[-1])},
    )


def descend(rate: float) -> np.ndarray:
    """The path, (101, 2)."""
    x = nnx.tensor(np.array(START), requires_grad=True)
    optimizer = optim.SGD([x], lr=rate)
    path = [START]
    for _ in range(100):
        optimizer.zero_grad()
        (x**2).sum().backward()
        optimizer.step()
        path.append(tuple(x.tolist()))
    return np.array(path)
