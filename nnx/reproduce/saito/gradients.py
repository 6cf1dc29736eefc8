"""Numerical gradients, and what they are for: to check the others (Saito 4.1, 4.2, 5.2)."""

import time

import numpy as np

import nnx
from nnx import data, datasets, nn, plots
from nnx import functional as F
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Gradients by differences beside back-propagation; a field of them; y - t at the end",
    section="4.1-4.2, 5.2, 3.2",
    prints="the two agree closely (gradient check); differences take long; the last layer's is y-t",
    tolerance="the largest difference below 1e-8; y - t to 1e-12",
    seconds=6,
    quick="8 hidden units for 20",
)


def run(page: Page) -> Result:
    train, _ = datasets.load_digits()
    x = train.scaled().reshape(-1, 64)[:20].astype(np.float64)
    t = data.one_hot(train.labels[:20], 10).astype(np.float64)
    hidden = 8 if page.quick else 20
    model = nn.Sequential(nn.Linear(64, hidden), nn.Sigmoid(), nn.Linear(hidden, 10))
    model.to(dtype="float64")
    names = {"0.weight": "W1", "0.bias": "b1", "2.weight": "W2", "2.bias": "b2"}
    parameters = dict(model.named_parameters())

    begun = time.perf_counter()
    F.cross_entropy(model(nnx.tensor(x)), nnx.tensor(t)).backward()
    back = time.perf_counter() - begun
    rows, largest, forward = [], 0.0, 0.0
    for name, p in parameters.items():
        state = {k: v.copy() for k, v in model.state_dict().items()}

        def loss(values: np.ndarray, state: dict = state, name: str = name) -> float:
            model.load_state_dict({**state, name: values})
            return F.cross_entropy(model(nnx.tensor(x)), nnx.tensor(t)).item()

        begun = time.perf_counter()
        by_differences = nnx.numerical_gradient(loss, state[name], eps=1e-4)  # the text's h
        forward += time.perf_counter() - begun
        model.load_state_dict(state)
        difference = float(np.max(np.abs(by_differences - p.grad)))
        largest = max(largest, difference)
        rows.append([names[name], p.shape, difference, float(np.max(np.abs(p.grad)))])
    page.table(
        "Gradient check (5.2.4), h = 1e-4: differences against back-propagation",
        ["parameter", "shape, its gradient's too", "largest difference", "largest gradient"],
        rows,
    )

    # 5.2.3: softmax with cross-entropy, and identity with ½ Σ (y - t)², both give y - t.
    scores = nnx.tensor(np.array([[0.3, 2.9, 4.0]]), requires_grad=True)
    target = np.array([[0.0, 1.0, 0.0]])
    F.cross_entropy(scores, nnx.tensor(target), reduction="sum").backward()
    given = scores.detach().numpy()
    y = np.exp(given) / np.exp(given).sum()
    entropy = float(np.max(np.abs(scores.grad - (y - target))))
    scores.grad = None
    (0.5 * F.mse_loss(scores, nnx.tensor(target), reduction="sum")).backward()
    squares = float(np.max(np.abs(scores.grad - (given - target))))

    page.draw("field", field, title="Saito 4.2: -∇f of f = x0² + x1² points down, here to (0, 0)")

    # 4.2: ascent is descent with the other sign.
    top = nnx.tensor(np.array(0.0), requires_grad=True)
    optimizer = nnx.optim.SGD([top], lr=0.1, maximize=True)
    for _ in range(200):
        optimizer.zero_grad()
        (5.0 - (top - 3.0) ** 2).backward()
        optimizer.step()
    page.note(
        f"{sum(p.size for p in parameters.values()):,} parameters: differences take two passes for "
        f"each of them, {forward:.1f} s in all, back-propagation one of each kind, {back:.3f} s."
    )
    page.note(
        "Squared error is ½ Σ (y - t)² in the text: `0.5 * mse_loss(y, t, reduction='sum')`.  Its "
        "cross-entropy takes probabilities, `cross_entropy` here the scores before the softmax."
    )
    assert largest < 1e-8, f"the two gradients are {largest:.1e} apart"
    assert max(entropy, squares) < 1e-12, f"y - t is {entropy:.1e}, {squares:.1e} off"
    assert abs(top.item() - 3.0) < 1e-12, f"ascent ends at {top.item()}"
    return Result(
        f"largest difference {largest:.1e}; y - t to {max(entropy, squares):.0e}",
        f"they agree; differences take {forward / back:,.0f} times as long",
        {"largest": largest, "entropy": entropy, "squares": squares},
    )


def field(path: object, title: str) -> None:
    """Arrows of the steepest descent, each from a numerical gradient."""
    side = np.linspace(-2.0, 2.0, 17)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    arrows = -np.stack([nnx.numerical_gradient(lambda p: (p**2).sum(), p) for p in points])
    drawn = plots.figure(6.0, 5.0)
    axes = drawn.subplots()
    axes.quiver(*points.T, *arrows.T, color=plots.COLOURS[0], angles="xy")
    axes.set_xlabel("x0")
    axes.set_ylabel("x1")
    drawn.suptitle(title, fontsize=11)
    plots.save_figure(drawn, path)
