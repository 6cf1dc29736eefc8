"""The first network of the book: a perceptron on points in space (Xu, chapter 1)."""

import numpy as np

from nnx import plots
from nnx.linear_model import Perceptron
from nnx.random import Generator
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="A perceptron on 60 + 60 separable points in space: the steps, the planes it finds",
    section="1.3-1.4, eq. 1.10-1.12, fig. 1.1, 1.4, 3.1",
    prints="183 steps to success on one draw of the points; each new order finds another plane",
    tolerance="every point on its side, in fewer steps than Novikoff's bound",
    seconds=5,
    quick="10 draws of the points for 30",
)


def points(seed: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """As 1.4.2 makes them: on the plane 2 x1 - 0.9 x2 + x3 = 1, then moved up or down."""
    draw = Generator(seed)
    flat = draw.uniform((120, 2), 0.0, 100.0, dtype="float64")
    moved = draw.uniform((120,), 0.0, 100.0, dtype="float64")
    y = np.repeat([1, -1], 60)
    return np.column_stack([flat, 1 - 2 * flat[:, 0] + 0.9 * flat[:, 1] + y * moved]), y


def run(page: Page) -> Result:
    X, y = points()
    # The book looks for the first wrong point from the beginning, after every update.
    model = Perceptron(eta0=0.1, order="first", max_iter=100_000, keep_path=True).fit(X, y)
    path = model.path_  # (steps + 1, 4): w and b
    rows = []
    for step in (1, 2, 3, model.t_ - 1, model.t_):
        w = ", ".join(f"{v:.4f}" for v in path[step][:3])
        rows.append([step, f"({w})", f"{path[step][3]:.1f}", int(np.sum(wrong(path[step], X, y)))])
    page.table("The log of 1.4.3: w and b after some steps", ["step", "w", "b", "wrong"], rows)

    shuffled, planes = [], []
    for seed in range(5):
        other = Perceptron(eta0=0.1, order="random", random_state=seed, max_iter=10_000).fit(X, y)
        normal = np.array([*other.coef_[0], float(other.intercept_[0])])
        planes.append(normal / np.linalg.norm(normal[:3]))
        shuffled.append([seed, other.t_, other.n_iter_, *map(float, planes[-1])])
    page.table(
        "The exercise at the end of 1.4.3, points in a random order: planes w·x + b = 0, |w| = 1",
        ["seed", "updates", "passes", "w1", "w2", "w3", "b"],
        shuffled,
    )
    w, b = model.coef_[0], float(model.intercept_[0])
    page.draw(
        "points",
        plots.points_and_plane,
        {"+1": X[:60], "-1": X[60:]},
        lambda x1, x2: 1 - 2 * x1 + 0.9 * x2,
        title="Xu fig. 1.1: the points, and the plane they were made with",
    )
    page.draw(
        "plane",
        plots.points_and_plane,
        {"+1": X[:60], "-1": X[60:]},
        lambda x1, x2: -(w[0] * x1 + w[1] * x2 + b) / w[2],
        title=f"Xu fig. 1.4: the plane found after {model.t_} steps",
    )
    # Fig. 3.1: turned until the plane is a line, that is, along the plane and across it.
    across = w / np.linalg.norm(w)
    along = np.linalg.svd(across[None])[2][1]
    turned = np.column_stack([X @ along, X @ across + b / np.linalg.norm(w)])
    page.draw(
        "turned",
        plots.boundaries,
        {"the plane as a line": (lambda p: (p[:, 1] > 0).astype(int), turned, y > 0)},
        title="Xu fig. 3.1: the same points, seen along the plane",
        xlabel="along the plane",
        ylabel="distance from the plane",
    )
    draws = range(10 if page.quick else 30)
    first = {"eta0": 0.1, "order": "first", "max_iter": 100_000}
    steps = sorted(Perceptron(**first).fit(*points(seed)).t_ for seed in draws)
    page.note(
        f"How many steps it takes is a matter of the draw: of {len(steps)} draws of the points "
        f"{steps[0]} to {steps[-1]} steps, the middle one {steps[len(steps) // 2]}."
    )
    bound = novikoff(X, y)
    left = int(np.sum(wrong(path[-1], X, y)))
    spread = float(np.max(np.std(planes, axis=0)))
    assert left == 0 and model.separated_, f"{left} points are on the wrong side"
    assert model.t_ <= bound, f"{model.t_} steps; Novikoff allows {bound:.0f}"
    assert spread > 1e-3, "every order found the same plane"
    return Result(
        f"{model.t_} steps to success; in random orders {min(s[1] for s in shuffled)} to "
        f"{max(s[1] for s in shuffled)}, five different planes",
        f"separated; Novikoff's bound is {bound:,.0f} steps",
        {
            "steps": model.t_,
            "steps_of_draws": steps,
            "bound": bound,
            "shuffled": [row[1] for row in shuffled],
        },
    )


def wrong(weights: np.ndarray, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y * (X @ weights[:3] + weights[3]) <= 0


def novikoff(X: np.ndarray, y: np.ndarray) -> float:
    """(R/γ)² with the plane that the points were made with: an upper bound on the updates."""
    ones = np.column_stack([X, np.ones(len(X))])
    normal = np.array([2, -0.9, 1, -1.0])
    margin = np.min(y * (ones @ normal)) / np.linalg.norm(normal)
    return float((np.max(np.linalg.norm(ones, axis=1)) / margin) ** 2)
