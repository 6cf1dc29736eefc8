"""The paths of four optimizers over a long valley (Saito 6.1)."""

import numpy as np

import nnx
from nnx import optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="SGD, momentum, AdaGrad and Adam on x²/20 + y²: who zig-zags",
    section="6.1.1-6.1.4",
    prints="SGD zig-zags; momentum, AdaGrad and Adam do so less",
    tolerance="in 30 steps y changes sign 30 / 4 / 0 / 2 times; AdaGrad to 1e-12 of the formula",
    seconds=1,
)

START = (-7.0, 2.0)
METHODS = {
    "SGD, 0.95": lambda p: optim.SGD(p, lr=0.95),
    "momentum, 0.1": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "AdaGrad, 1.5": lambda p: optim.Adagrad(p, lr=1.5, eps=0.0),  # the text's has no ε
    "Adam, 0.3": lambda p: optim.Adam(p, lr=0.3),
}
SIGNS = (30, 4, 0, 2)


def run(page: Page) -> Result:
    paths = {name: descend(make) for name, make in METHODS.items()}
    signs = {n: int(np.sum(np.diff(np.sign(path[:, 1])) != 0)) for n, path in paths.items()}
    page.table(
        "30 steps from (-7, 2)",
        ["method, rate", "sign changes of y", "x at the end", "y"],
        [[name, signs[name], *map(float, path[-1])] for name, path in paths.items()],
    )
    page.draw(
        "paths",
        plots.routes,
        {name: {name: path} for name, path in paths.items()},
        lambda x, y: x**2 / 20 + y**2,
        title="Saito 6.1: four ways down f = x²/20 + y²",
        span=(-8.0, 8.0, -3.0, 3.0),
        levels=[0.05, 0.2, 0.5, 1, 2, 3, 4.5, 6, 8],
        goal=(0.0, 0.0),
    )
    page.note(
        "The notes print f = x² + y², whose contours are circles: there SGD goes straight to the "
        "minimum.  It is x²/20 + y², flat one way and steep the other, on which it zig-zags."
    )
    # 6.1.3 by hand: h ← h + g ⊙ g, W ← W - η g / √h.
    place, h = np.array(START), np.zeros(2)
    for _ in range(30):
        g = place * [0.1, 2.0]
        h += g * g
        place = place - 1.5 * g / np.sqrt(h)
    apart = float(np.max(np.abs(place - paths["AdaGrad, 1.5"][-1])))
    assert tuple(signs.values()) == SIGNS, signs
    assert apart < 1e-12, f"AdaGrad is {apart:.1e} from its formula"
    return Result(
        "y changes sign " + " / ".join(map(str, signs.values())) + " times",
        f"the same numbers; AdaGrad to {apart:.0e}",
        {**signs, "adagrad": apart},
    )


def descend(make: object) -> np.ndarray:
    """The path, (31, 2)."""
    x, y = (nnx.tensor(np.array(v), requires_grad=True) for v in START)
    optimizer = make([x, y])
    path = [START]
    for _ in range(30):
        optimizer.zero_grad()
        (x**2 / 20.0 + y**2).backward()
        optimizer.step()
        path.append((x.item(), y.item()))
    return np.array(path)
