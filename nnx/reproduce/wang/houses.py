"""What a house costs: least squares, its penalties, and two ways to solve it (Wang 1.1.1)."""

import numpy as np

from nnx import plots
from nnx.data import standardize
from nnx.linear_model import Lasso, LinearRegression, Ridge
from nnx.random import Generator
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="House prices by least squares; weights over the L1 and L2 penalty; conjugate gradients",
    section="1.1.1",
    prints="min 1/(2n) Σ (xᵀw + b - y)² + R(w), R = λ|w|² or λ|w|₁",
    tolerance="closed forms to 1e-8; lasso's zeros exact, ridge's none; d steps of CG to 1e-8",
    seconds=2,
)

NAMES = ("area", "year", "underground", "floor", "number", "letters")  # the last three say nothing
WORTH = np.array([60.0, 12.0, -20.0, 0.0, 0.0, 0.0])  # thousands, for one standard deviation
LAMBDAS = np.geomspace(0.1, 100.0, 31)


def houses() -> tuple[np.ndarray, np.ndarray]:
    """80 houses, drawn: m², year, km to the underground, and three that do not matter."""
    draw = Generator(11)
    X = draw.normal((80, 6), dtype="float64") * [30, 15, 1.2, 4, 25, 3] + [95, 1990, 2, 5, 50, 9]
    X = standardize(X)(X, dtype="float64")
    return X, 300 + X @ WORTH + 15 * draw.normal((80,), dtype="float64")


def run(page: Page) -> Result:
    X, y = houses()
    n, d = X.shape
    centred = y - y.mean()  # the columns of X have mean 0, so b is the mean price
    ridge, lasso, worst, zeros = [], [], 0.0, []
    for weight in LAMBDAS:
        # Ridge minimises |y - Xw|² + α|w|²: Wang's λ|w|² beside 1/(2n) is α = 2nλ.
        w = Ridge(alpha=2 * n * weight).fit(X, y).coef_
        by_hand = np.linalg.solve(X.T @ X / n + 2 * weight * np.eye(d), X.T @ centred / n)
        worst = max(worst, float(np.max(np.abs(w - by_hand))))
        ridge.append(w)
        w = Lasso(alpha=weight, tol=1e-14).fit(X, y).coef_
        # The lasso's condition: λ sign(w) is the correlation with the rest, and ≤ λ where w is 0.
        rest = X.T @ (centred - X @ w) / n
        off = np.where(
            w != 0, np.abs(rest - weight * np.sign(w)), np.maximum(0, abs(rest) - weight)
        )
        worst = max(worst, float(np.max(off)))
        lasso.append(w)
        zeros.append(int(np.sum(w == 0.0)))
    plain = LinearRegression().fit(X, y)
    cg = conjugate_gradients(X.T @ X / n, X.T @ centred / n, d)
    away = float(np.max(np.abs(cg - plain.coef_)))
    page.draw(
        "paths",
        plots.lines,
        {
            "R = λ|w|²": {name: (LAMBDAS, np.array(ridge)[:, k]) for k, name in enumerate(NAMES)},
            "R = λ|w|₁": {name: (LAMBDAS, np.array(lasso)[:, k]) for k, name in enumerate(NAMES)},
        },
        title="Wang 1.1.1: the weights of a house's attributes under two penalties",
        xlabel="λ",
        ylabel="weight, thousands",
        xlog=True,
    )
    middle = int(np.argmin(np.abs(LAMBDAS - 5.0)))
    page.table(
        "Weights in thousands for one standard deviation",
        ["attribute", "drawn with", "least squares", "λ|w|², λ = 5", "λ|w|₁, λ = 5"],
        [
            [name, *map(float, (WORTH[k], plain.coef_[k], ridge[middle][k], lasso[middle][k]))]
            for k, name in enumerate(NAMES)
        ],
    )
    page.note(
        "The text has no data; these are drawn.  Its squared error is 1/(2n) Σ, half of `MSELoss`, "
        "and its λ|w|² twice the λ/2 |w|² of the other texts: with an optimizer it is "
        "`weight_decay=2 * λ` beside half of `MSELoss`."
    )
    found = np.flatnonzero(lasso[middle])
    assert worst < 1e-8, f"a penalised fit is {worst:.1e} from its conditions"
    assert list(found) == [0, 1, 2], f"the lasso keeps {found}"
    assert all(np.all(w != 0) for w in ridge) and zeros[-1] == d, zeros
    assert away < 1e-8, f"conjugate gradients end {away:.1e} from least squares"
    return Result(
        f"lasso: {zeros[0]} to {zeros[-1]} exact zeros as λ grows, ridge none; CG in {d} steps "
        f"{away:.0e} from least squares",
        f"the conditions of the minimum hold to {worst:.0e}",
        {"worst": worst, "zeros": zeros, "cg": away},
    )


def conjugate_gradients(A: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """Solve A w = b from w = 0: each direction has uᵀ A v = 0 with those before it."""
    w, rest = np.zeros_like(b), b.copy()
    direction = rest.copy()
    for _ in range(steps):
        A_d = A @ direction
        length = (rest @ rest) / (direction @ A_d)
        w = w + length * direction
        new = rest - length * A_d
        direction = new + (new @ new) / (rest @ rest) * direction
        rest = new
    return w
