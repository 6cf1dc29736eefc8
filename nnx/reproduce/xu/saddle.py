"""Seven optimizers on a saddle (Xu 5.6)."""

import numpy as np

import nnx
from nnx import optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Seven optimizers begin beside the ridge of a saddle: who leaves it, and when",
    section="5.6.5",
    prints="SGD is easily caught; momentum and NAG leave slowly; the adaptive methods quickly",
    tolerance="the order: adaptive before momentum and NAG, these before SGD",
    seconds=2,
)

METHODS = {
    "SGD": lambda p: optim.SGD(p, lr=0.01),
    "momentum": lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
    "NAG": lambda p: optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.1),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, alpha=0.9),
    "AdaDelta": lambda p: optim.Adadelta(p, lr=1.0, rho=0.9, eps=1e-4),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
}
START = (1.0, 1e-5)  # on x the saddle is a minimum, on y a maximum
OUT = 0.5  # |y| from where it has left


def height(x: object, y: object) -> object:
    """A saddle at (0, 0), with minima at (0, ±1)."""
    return 0.5 * x**2 + 0.25 * y**4 - 0.5 * y**2


def run(page: Page) -> Result:
    paths, left, rows = {}, {}, []
    for name, make in METHODS.items():
        path = paths[name] = descend(make, 3000)
        out = np.flatnonzero(np.abs(path[:, 1]) > OUT)
        left[name] = int(out[0]) if len(out) else 3000
        rows.append([name, left[name]])
    page.table(f"Steps until |y| > {OUT} from y = {START[1]:g}", ["method", "steps"], rows)
    page.draw(
        "paths",
        plots.routes,
        {"": {name: path[:2000] for name, path in paths.items()}},
        height,
        title="Xu 5.6.5: from (1, 0.00001) over a saddle",
        span=(-0.6, 1.1, -0.3, 1.3),
        goal=(0.0, 1.0),
    )
    page.draw(
        "escape",
        plots.lines,
        {"": {name: (np.arange(1, len(p)), np.abs(p[1:, 1])) for name, p in paths.items()}},
        title="Xu 5.6.5: how far off the ridge",
        xlabel="step",
        ylabel="|y|",
        xlog=True,
        ylog=True,
    )
    page.note(
        "Exactly on the ridge, y = 0, no method moves off it: the gradient there has no y.  What "
        "saves the adaptive ones is that a step does not depend on the size of the gradient."
    )
    adaptive = max(left[name] for name in ("Adagrad", "RMSprop", "AdaDelta", "Adam"))
    moving = [left["momentum"], left["NAG"]]
    assert adaptive < min(moving) and max(moving) < left["SGD"], left
    return Result(
        ", ".join(f"{name} {steps}" for name, steps in left.items()) + " steps",
        "the order is the text's",
        left,
    )


def descend(make: object, steps: int) -> np.ndarray:
    """The path, (steps + 1, 2)."""
    x, y = (nnx.tensor(np.array(v), requires_grad=True) for v in START)
    optimizer = make([x, y])
    path = [START]
    for _ in range(steps):
        optimizer.zero_grad()
        height(x, y).backward()
        optimizer.step()
        path.append((x.item(), y.item()))
    return np.array(path)
