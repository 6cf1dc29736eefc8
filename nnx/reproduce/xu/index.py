"""Twenty days of a share index from the 64 before: unseen days, and the book's own way (Xu 8.7)."""

from tempfile import TemporaryDirectory

import numpy as np

from nnx import datasets, plots
from nnx.data import Scaling
from nnx.recipes.csi300_lstm import AHEAD, DAYS, points_of, windows
from nnx.recipes.runner import train
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="The recipe csi300-lstm: on unseen days and on days it was trained on; the next 20 days",
    section="8.7, table 8.1, fig. 8.3, 8.4",
    prints="a fitted path over the index; 67,072 + 132,096 + 132,096 + 2,580 parameters",
    tolerance="mean error below 10%; 333,844 + 1,024 parameters (three inputs for one)",
    seconds=60,
    quick="1 epoch of 32 units for 10 of 128",
    needs=("csi300",),
)


def run(page: Page) -> Result:
    plan = {"epochs": 1, "hidden": 32} if page.quick else {"epochs": 10}
    with TemporaryDirectory() as folder:
        trained = train("csi300-lstm", out=folder, progress=False, seed=page.seed, **plan)
        result, o = trained.result, trained.options
        steps = np.array(trained.history.step_losses)
        scaling, points = Scaling.from_dict(o.assets["scaling"]), points_of(o)
        train_days, test_days = datasets.load_csi300()
        count = sum(p.size for p in trained.model().parameters())
        paths = {}
        for name, days in {"days it was trained on": train_days, "unseen days": test_days}.items():
            inputs, targets = windows(scaling(days.values()))
            chosen = slice(0, None, AHEAD)
            said, truth = points(trained.predict(inputs[chosen]).numpy()), points(targets[chosen])
            paths[name] = said, truth
        last = scaling(test_days.values())[-DAYS:][None]
        ahead = points(trained.predict(last).numpy())[0]  # (20,)
    errors = {name: relative(said, truth) for name, (said, truth) in paths.items()}
    page.draw(
        "path",
        plots.lines,
        {
            name: {
                "index": (np.arange(truth.size), truth.ravel()),
                "predicted from the 64 days before": (np.arange(said.size), said.ravel()),
            }
            for name, (said, truth) in paths.items()
        },
        title="Xu fig. 8.4: the index and 20 days ahead, every 20 days",
        xlabel="trading day",
        ylabel="CSI 300",
        across=2,
    )
    page.draw(
        "loss",
        plots.lines,
        {"": {"training loss": (np.arange(1, len(steps) + 1), steps)}},
        title="Xu fig. 8.3: the loss of the batches",
        xlabel="batch",
        ylabel="mean squared error, scaled",
        ylog=True,
    )
    close = test_days.close[-60:]
    page.draw(
        "next",
        plots.lines,
        {"": {"index": (np.arange(-59, 1), close), "predicted": (np.arange(1, AHEAD + 1), ahead)}},
        title="Xu 8.7.3: the 20 days after the last one",
        xlabel="day after the last one known",
        ylabel="CSI 300",
    )
    page.table(
        "Root mean square error of unseen days, in points of the index",
        ["", "RMSE"],
        [["LSTM", result["rmse"]], ["tomorrow is today", result["rmse_today"]],
         ["ridge regression", result["rmse_ridge"]]],
    )  # fmt: skip
    page.note(
        "The path follows the index on all days, as in the book's figure, whose windows overlap "
        "and are shuffled, so that it shows days that were trained on.  What such a figure hides: "
        'on unseen days "tomorrow is today", without a network, is nearer.  Not for investing, '
        "as the book says.  `nnx predict RUN` tells the next 20 days."
    )
    seen, unseen = errors.values()
    wanted = 333_844 + 2 * 4 * 128  # the table's, of one input; three are read
    assert page.quick or count == wanted, f"{count:,} parameters"
    assert page.quick or max(seen, unseen) < 0.1, errors
    assert page.quick or result["rmse_today"] < result["rmse"], result
    assert np.all(np.isfinite(ahead))
    return Result(
        f"mean error {seen:.1%} on days it was trained on, {unseen:.1%} on unseen ones (RMSE "
        f"{result['rmse']:.0f} points); {count:,} parameters",
        "the path follows the index; repeating the last value is nearer",
        {**result, "seen": seen, "unseen": unseen, "next": ahead},
    )


def relative(said: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean(np.abs(said - truth) / truth))
