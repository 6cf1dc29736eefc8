"""GD stays on a saddle, SGD does not (Wang 1.3.1)."""

import numpy as np

import nnx
from nnx import data, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="GD and SGD from the ridge of a saddle that is a mean over samples",
    section="1.3.1",
    prints="GD is caught by saddle points, which SGD leaves",
    tolerance="after 500 steps GD within 1e-6 of the saddle; SGD 0.5 from it, 20 of 20 times",
    seconds=6,
    quick="5 times for 20",
)

# F_j = ½ x² + ¼ y⁴ - ½ y² + c_j y: the c_j have mean 0, so L = 1/n Σ F_j is a saddle at (0, 0)
# with minima at (0, ±1), and its gradient on the ridge y = 0 has no y.
C = np.array([-0.3, -0.2, -0.1, 0.1, 0.2, 0.3])
START = (1.0, 0.0)


def run(page: Page) -> Result:
    times = 5 if page.quick else 20
    gd = descend(len(C), 0)
    sgd = [descend(1, seed) for seed in range(times)]
    left = [int(np.argmax(np.abs(path[:, 1]) > 0.5)) for path in sgd]
    away = [float(abs(path[-1, 1])) for path in sgd]
    page.draw(
        "paths",
        plots.routes,
        {"": {"GD": gd, **{f"SGD, seed {k}": path for k, path in enumerate(sgd[:5])}}},
        lambda x, y: 0.5 * x**2 + 0.25 * y**4 - 0.5 * y**2,
        title="Wang 1.3.1: from (1, 0), on the ridge, to a saddle at (0, 0)",
        span=(-0.4, 1.1, -1.4, 1.4),
        levels=[-0.24, -0.2, -0.15, -0.1, -0.05, 0.0, 0.1, 0.2, 0.35, 0.5],
    )
    side = np.mean([path[-1, 1] > 0 for path in sgd])
    page.note(
        f"SGD is off by more than 0.5 after {min(left)} to {max(left)} steps; {side:.0%} of "
        "the runs end at y = 1, the others at -1.  The noise of the samples leaves the ridge; GD "
        "would too if it began anywhere beside it, in a time that grows as log(1/|y|)."
    )
    rests = float(np.linalg.norm(gd[-1]))
    assert rests < 1e-6, f"GD is {rests:.1e} from the saddle"
    assert min(away) > 0.5 and min(left) > 0, (away, left)
    return Result(
        f"GD ends {rests:.0e} from the saddle; SGD leaves it {times} of {times} times, after "
        f"{min(left)} to {max(left)} steps",
        "as the text says",
        {"gd": rests, "left after": left},
    )


def descend(batch: int, seed: int) -> np.ndarray:
    """500 steps at a rate of 0.1, all samples in each or `batch` of them; the path, (501, 2)."""
    x, y = (nnx.tensor(np.array(v), requires_grad=True) for v in START)
    optimizer = optim.SGD([x, y], lr=0.1)
    path = [START]
    batches = data.DataLoader(C, batch_size=batch, replacement=batch < len(C), seed=seed)
    while len(path) <= 500:
        for c in batches:
            c = c[0] if isinstance(c, (tuple, list)) else c
            optimizer.zero_grad()
            (0.5 * x**2 + 0.25 * y**4 - 0.5 * y**2 + c.mean() * y).backward()
            optimizer.step()
            path.append((x.item(), y.item()))
    return np.array(path[:501])
