"""The commuting times again, by steps: all samples, one, or two at a time (Liu, chapter 2)."""

import numpy as np

from nnx import plots
from nnx.linear_model import LinearRegression
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Least squares by GD, SGD and minibatches: C/√t against C/t, and when to stop",
    section="2.1-2.2, eq. 2.1-2.3, fig. 2.1",
    prints="minibatches of 2 with C = 0.06, stopped where |ΔW| < 0.02: fig. 2.1",
    tolerance="GD to 1e-8 of W*; the stopping rule's end is far from it; C/√t ends nearer than C/t",
    seconds=10,
    quick="3 seeds for 9, 300 steps for 1,500",
)

X = np.array([[2.7, 1], [4.1, 1], [1.0, 0], [5.2, 1], [2.8, 0]])  # km, weekday
Y = np.array([25.0, 33, 15, 45, 22])  # minutes


def run(page: Page) -> Result:
    exact = LinearRegression().fit(X, Y)
    W = np.array([*exact.coef_, float(exact.intercept_)])  # km, weekday, bias

    def distance(path: np.ndarray) -> np.ndarray:
        return np.linalg.norm(path - W, axis=1)

    def cost(path: np.ndarray) -> np.ndarray:
        residual = path @ np.column_stack([X, np.ones(5)]).T - Y  # (T, 5)
        return (residual**2).mean(axis=1) / 2

    gd = LinearRegression(solver="gd", tol=1e-10, max_iter=100_000, keep_path=True).fit(X, Y)

    passes = 100 if page.quick else 500  # of 3 steps each
    seeds = range(3 if page.quick else 9)
    two = {"solver": "minibatch", "batch_size": 2, "eta0": 0.06, "keep_path": True}
    ends, paths, one = {}, {}, []
    for schedule in ("inverse_sqrt", "inverse"):
        plan = two | {"learning_rate": schedule, "stop": None, "max_iter": passes}
        paths[schedule] = [
            LinearRegression(**plan, random_state=seed).fit(X, Y).path_ for seed in seeds
        ]
        ends[schedule] = float(np.median([distance(path)[-1] for path in paths[schedule]]))
    rule = two | {"learning_rate": "inverse_sqrt", "stop": "step", "tol": 0.02}
    stopped = [LinearRegression(**rule, random_state=seed).fit(X, Y).path_ for seed in seeds]
    steps = [len(path) - 1 for path in stopped]
    far = [float(distance(path)[-1]) for path in stopped]
    plan = two | {"solver": "sgd", "learning_rate": "inverse_sqrt", "stop": None}
    one = [LinearRegression(**plan, max_iter=passes // 2, random_state=s).fit(X, Y) for s in seeds]
    sgd = float(np.median([distance(model.path_)[-1] for model in one]))

    page.table(
        f"Where it ends: |W - W*|, the median of {len(seeds)} seeds",
        ["way", "steps", "|W - W*|"],
        [
            ["GD, η = 1/L", gd.t_, float(distance(gd.path_)[-1])],
            ["SGD, C = 0.06, C/√t", one[0].t_, sgd],
            ["b = 2, C/√t", len(paths["inverse_sqrt"][0]) - 1, ends["inverse_sqrt"]],
            ["b = 2, C/t", len(paths["inverse"][0]) - 1, ends["inverse"]],
            ["b = 2, C/√t until |ΔW| < 0.02", int(np.median(steps)), float(np.median(far))],
        ],
    )
    curves = {
        name: (np.arange(1, len(path)), distance(path)[1:])
        for name, path in {
            "GD": gd.path_[:1501],
            "SGD, C/√t": one[0].path_,
            "b = 2, C/√t": paths["inverse_sqrt"][0],
            "b = 2, C/t": paths["inverse"][0],
        }.items()
    }
    page.draw(
        "distance",
        plots.lines,
        {"": curves},
        title="Liu 2.2: how far from W*",
        xlabel="step",
        ylabel="|W - W*|",
        ylim=(0.01, 20.0),
        xlog=True,
        ylog=True,
    )
    page.draw(
        "path",
        plots.routes,
        {
            "500 steps each": {
                "b = 2, C/√t": paths["inverse_sqrt"][0][:500, [2, 0]],
                "stopped: |ΔW| < 0.02": stopped[0][:, [2, 0]],
                "GD": gd.path_[:500, [2, 0]],
            }
        },
        lambda bias, km: cost(
            np.stack([km.ravel(), np.full(km.size, W[1]), bias.ravel()], axis=1)
        ).reshape(km.shape),
        title="Liu fig. 2.1: minibatches of two on the way to W*",
        xlabel="bias",
        ylabel="minutes a km",
        goal=(W[2], W[0]),
        levels=np.geomspace(1.0, 300.0, 12),
    )
    page.note(
        f"The text's rule |ΔW| < 0.02 fires after {min(steps)} to {max(steps)} steps, "
        f"{min(far):.1f} to {max(far):.1f} from W*: a step is short whenever the two samples drawn "
        "happen to be fitted well, wherever W is.  And C/√t does not satisfy Robbins and Monro's "
        "second condition, as the text says; C/t does, and is too short too soon."
    )
    nearest = float(distance(gd.path_)[-1])
    assert nearest < 1e-8, f"GD ends {nearest:.1e} from W*"
    assert np.median(far) > 1.0, f"the stopping rule ends only {np.median(far):.2f} from W*"
    assert ends["inverse_sqrt"] < ends["inverse"], f"C/√t ends no nearer than C/t: {ends}"
    return Result(
        f"GD ends {nearest:.0e} from W*; b = 2 stopped after {int(np.median(steps))} steps, "
        f"{np.median(far):.1f} from it; C/√t {ends['inverse_sqrt']:.2f}, C/t {ends['inverse']:.2f}",
        "yes: C/√t is the better; the stopping rule stops far from W*",
        {"gd": nearest, "stopped_after": steps, "stopped_at": far, **ends, "sgd": sgd},
    )
