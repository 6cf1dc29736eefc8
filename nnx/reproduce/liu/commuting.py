"""The way to work: minutes by distance and kind of day, in closed form (Liu, chapter 1)."""

import numpy as np

from nnx import plots
from nnx.linear_model import LinearRegression, Ridge
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Commuting times by least squares: closed form, ridge, and the plane among the points",
    section="1.1-1.7, eq. 1.6, 1.9, fig. 1.1",
    prints="W* = (6.08613445378149, 6.53361344537816, 2.11274509803922)",
    tolerance="1e-10",
    seconds=1,
)

KM = [2.7, 4.1, 1.0, 5.2, 2.8]
WEEKDAY = [1, 1, 0, 1, 0]  # 0: a weekend
MINUTES = [25, 33, 15, 45, 22]

WEIGHTS = [6.08613445378149, 6.53361344537816, 2.11274509803922]  # bias, km, weekday
FITTED = [25.8396358543418, 34.9866946778712, 12.6197478991597, 42.1736694677872, 24.3802521008403]


def run(page: Page) -> Result:
    X, y = np.array([KM, WEEKDAY], float).T, np.array(MINUTES, float)  # (5, 2), (5,)
    line = LinearRegression().fit(X, y)
    W = [float(line.intercept_), *line.coef_.tolist()]
    difference = float(np.max(np.abs([*W, *line.predict(X)] - np.array([*WEIGHTS, *FITTED]))))

    # Ridge (1.9): |y - XW|²/(2n) + λ/2 |W|², bias included; nnx's α is n λ.  Its closed form is
    # W = (XᵀX/n + λI)⁻¹ XᵀY/n, and X has a column of ones.
    ones = np.concatenate([np.ones((5, 1)), X], axis=1)  # (5, 3)
    rows, worst = [], 0.0
    for strength in (0.001, 0.01, 0.1, 1.0):
        ridge = Ridge(alpha=5 * strength, fit_intercept=False).fit(ones, y).coef_
        closed = np.linalg.solve(ones.T @ ones / 5 + strength * np.eye(3), ones.T @ y / 5)
        worst = max(worst, float(np.max(np.abs(ridge - closed))))
        rows.append([strength, *map(float, ridge)])
    page.table("Ridge: the weights for λ", ["λ", "bias", "km", "weekday"], rows)

    page.draw(
        "plane",
        plots.points_and_plane,
        {"days": np.column_stack([X, y])},
        lambda km, weekday: W[0] + W[1] * km + W[2] * weekday,
        title="Liu fig. 1.1: minutes to work, and the plane of least squares",
        labels=("km", "weekday", "minutes"),
        angle=(20.0, -115.0),
    )
    page.note("The exact solution does not go through the points: the least of C(W) is not 0.")
    assert difference < 1e-10, f"W*, Y* are {difference:.1e} from the printed ones"
    assert worst < 1e-10, f"ridge is {worst:.1e} from (1.9)'s closed form"
    return Result(
        "W* = ({:.14f}, {:.14f}, {:.14f})".format(*W),
        f"W* and Y* to {difference:.0e}; ridge to its closed form {worst:.0e}",
        {"W": W, "largest_difference": difference, "ridge_difference": worst},
    )
