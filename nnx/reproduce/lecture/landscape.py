"""Saddle points, local minima, and a ball that rolls on; Adam uncorrected (lecture notes 4.3.2)."""

import numpy as np

import nnx
from nnx import optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Descent on the saddle x² - y²; momentum over a local minimum; Adam, corrected or not",
    section="4.3.2",
    prints="GD may end on a saddle or in a local minimum; momentum helps past; Adam, uncorrected",
    tolerance="y stays 0 exactly; momentum ends in the lower minimum to 1e-3; Adam to 1e-12",
    seconds=2,
)


def run(page: Page) -> Result:
    saddle = {
        "GD from (1, 0)": path(lambda p: optim.SGD(p, lr=0.1), (1.0, 0.0), 40),
        "GD from (1, 1e-6)": path(lambda p: optim.SGD(p, lr=0.1), (1.0, 1e-6), 82),
    }
    page.draw(
        "saddle",
        plots.routes,
        {"": saddle},
        lambda x, y: x**2 - y**2,
        title="Lecture notes 4.3.2: the saddle x² - y²",
        span=(-0.5, 1.2, -1.2, 2.2),
        levels=[-4, -3, -2, -1, -0.5, 0, 0.3, 0.7, 1.2],
    )

    # A valley at x = 0.96 with a lower one behind a ridge, at x = -1.04.
    def hills(x: object) -> object:
        return (x**2 - 1) ** 2 + 0.3 * x

    rolls = {
        "GD": roll(hills, lambda p: optim.SGD(p, lr=0.01)),
        "momentum 0.9": roll(hills, lambda p: optim.SGD(p, lr=0.01, momentum=0.9)),
    }
    x = np.linspace(-1.6, 2.05, 200)
    page.draw(
        "minimum",
        plots.lines,
        {"": {
            "f": (x, hills(x)),
            **{f"points: {name}": (xs, hills(xs)) for name, xs in rolls.items()},
        }},
        title="Lecture notes 4.3.2: a local minimum, from x = 2",
        xlabel="x", ylabel="f",
    )  # fmt: skip
    lower = float(np.roots([4, 0, -4, 0.3]).real.min())

    # The notes' Adam has no bias correction: v and s begin at 0 and stay small for a while.
    gradients = np.random.default_rng(0).normal(1.0, 0.5, 200)
    corrected = walk(gradients)
    plain, beta1, beta2 = uncorrected(gradients), 0.9, 0.999
    t = np.arange(1, 201)
    # The factor between the two, step by step: Adam's step is the plain one times this.
    factor = np.sqrt(1 - beta2**t) / (1 - beta1**t)
    apart = float(
        np.max(np.abs(np.diff(corrected, prepend=0.0) - np.diff(plain, prepend=0.0) * factor))
    )
    page.draw(
        "adam",
        plots.lines,
        {"θ, gradients of about 1": {"corrected": (t, corrected), "as in the notes": (t, plain)},
         "corrected step / the notes'": {"factor": (t, factor)}},
        title="Lecture notes 4.3.2: Adam with and without bias correction",
        xlabel="step", share=False,
    )  # fmt: skip
    page.note(
        "`optim.Adam` corrects, as its paper does; the notes leave it out, which makes the first "
        f"steps {1 / factor[0]:.1f} times as long (β = 0.9, 0.999) and fades in 1/(1 - β2) steps.  "
        "The notes' β2 = 0.9999 makes it worse."
    )
    on_ridge = saddle["GD from (1, 0)"]
    assert np.all(on_ridge[:, 1] == 0.0), "GD left the ridge"
    assert abs(saddle["GD from (1, 1e-6)"][-1, 1]) > 1.0, "GD did not leave from beside it"
    ends = {name: float(xs[-1]) for name, xs in rolls.items()}
    assert ends["GD"] > 0.9 and abs(ends["momentum 0.9"] - lower) < 1e-3, ends
    assert apart < 1e-12, f"the two Adams differ by {apart:.1e} more than the correction"
    return Result(
        f"GD stays on the ridge and in the minimum at {ends['GD']:.2f}; momentum ends at "
        f"{ends['momentum 0.9']:.2f}, the lower one; uncorrected Adam's first step is "
        f"{1 / factor[0]:.1f} times Adam's",
        "as the notes say",
        {"ends": ends, "lower": lower, "adam": apart},
    )


def path(make: object, start: tuple[float, float], steps: int) -> np.ndarray:
    """On x² - y², (steps + 1, 2)."""
    x, y = (nnx.tensor(np.array(v), requires_grad=True) for v in start)
    optimizer, points = make([x, y]), [start]
    for _ in range(steps):
        optimizer.zero_grad()
        (x**2 - y**2).backward()
        optimizer.step()
        points.append((x.item(), y.item()))
    return np.array(points)


def roll(hills: object, make: object) -> np.ndarray:
    """From x = 2, 400 steps."""
    x = nnx.tensor(np.array(2.0), requires_grad=True)
    optimizer, xs = make([x]), [2.0]
    for _ in range(400):
        optimizer.zero_grad()
        hills(x).backward()
        optimizer.step()
        xs.append(x.item())
    return np.array(xs)


def walk(gradients: np.ndarray) -> np.ndarray:
    """θ after each step of `optim.Adam`, from 0."""
    theta = nnx.tensor(np.array(0.0), requires_grad=True)
    optimizer, values = optim.Adam([theta], lr=0.01, eps=0.0), []
    for g in gradients:
        theta.grad = np.array(g)
        optimizer.step()
        values.append(theta.item())
    return np.array(values)


def uncorrected(gradients: np.ndarray) -> np.ndarray:
    """The notes': v = β1 v + (1 - β1) g, s = β2 s + (1 - β2) g², θ -= η v / √s."""
    theta, v, s, values = 0.0, 0.0, 0.0, []
    for g in gradients:
        v = 0.9 * v + 0.1 * g
        s = 0.999 * s + 0.001 * g * g
        theta -= 0.01 * v / np.sqrt(s)
        values.append(theta)
    return np.array(values)
