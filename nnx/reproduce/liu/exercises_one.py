"""Liu's first set of exercises: each with a number is computed, through layers and optimizers."""

from collections.abc import Callable

import numpy as np

import nnx
from nnx import data, nn, optim
from nnx.linear_model import Perceptron
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Exercises I.2 and I.4-I.10: GD, SGD, momentum, AdaGrad, perceptron on eight samples",
    section="5.1, I.2, I.4-I.10",
    prints="W = (-0.527, 1.220, -1.047, -0.445), (-0.469, 0.890, -0.799, -0.449), "
    "(-0.598, 1.829, -1.557, -0.502), (-0.478, 0.849, -0.722, -0.380), "
    "(-0.35, 0.75, -0.85, -0.75); 128 parameters",
    tolerance="the printed digits: 0.0005; the perceptron exactly",
    seconds=1,
)

# Exercise 6: eight samples of four features, in columns as the text prints them.
X = np.array([
    [-0.5, -1, 0.5, -0.2, -0.8, -0.15, -1, 0],
    [0.25, -0.1, 0, -0.3, 0, -0.5, 0, -0.25],
    [-0.8, -0.1, 0.25, 0.2, -0.8, 0.05, -1, 0.25],
    [-1, -1, 0.1, 0, -1, -0.25, -1, 0.1],
]).T  # (8, 4)  # fmt: skip
Y = np.array([1.0, 1, -1, -1, 1, -1, 1, -1])

# What the text answers, and how to get there: steps, whether one sample a step, the optimizer.
ANSWERS: dict[str, tuple[list[float], int, bool, Callable[..., optim.Optimizer]]] = {
    "I.6 gradient descent": (
        [-0.527, 1.220, -1.047, -0.445], 25, False, lambda w: optim.SGD(w, lr=0.5)),
    "I.7 SGD, one by one": (
        [-0.469, 0.890, -0.799, -0.449], 80, True, lambda w: optim.SGD(w, lr=0.1)),
    "I.8 momentum": (
        [-0.598, 1.829, -1.557, -0.502], 25, False, lambda w: optim.SGD(w, lr=0.5, momentum=0.5)),
    "I.9 AdaGrad, one by one": (
        [-0.478, 0.849, -0.722, -0.380], 80, True, lambda w: optim.Adagrad(w, lr=0.1, eps=1e-6)),
}  # fmt: skip
PERCEPTRON = [-0.35, 0.75, -0.85, -0.75]


def run(page: Page) -> Result:
    rows, worst, numbers = [], 0.0, {}
    for name, (printed, steps, one, make) in ANSWERS.items():
        W = descend(steps, one, make)
        worst = max(worst, float(np.max(np.abs(W - printed))))
        rows.append([name, show(printed, 3), show(W, 5)])
        numbers[name] = W

    once = one_pass()
    exact = bool(np.allclose(once, PERCEPTRON, atol=1e-12))
    rows.append(["I.10 perceptron, one pass", show(PERCEPTRON, 2), show(once, 2)])
    page.table("W after the steps asked for", ["exercise", "printed", "here"], rows)
    page.note(
        "I.10: the answer is that of the rule W += y x where y Wᵀx ≤ 0.  The text's own rule (3.1) "
        "asks for y Wᵀx < 0, and from W = 0 never moves; and its η(y - ŷ)x with η = 1 gives twice "
        "the answer.  I.8: v = 0.5 v + g, W -= 0.5 v."
    )

    network = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 10), nn.Linear(10, 3))  # I.4
    count = sum(p.size for p in network.parameters())
    nearest = minimiser((1.0, 5.0), (4.0, -1.0))  # I.5: C, (a + 2c)/3 and (b + 2d)/3
    same, other = batches_of_everything()  # I.2: C is the one that is not true
    page.table(
        "Exercises with a letter",
        ["exercise", "answer", "here"],
        [
            [
                "I.2 a batch of n with replacement is not GD",
                "C",
                f"off by {same:.0e}, {other:.2f}",
            ],
            ["I.4 parameters of 6-5-10-3", "B, 128", str(count)],
            ["I.5 argmin |X-x1|² + 2|X-x2|²", "C, (a+2c)/3, (b+2d)/3", show(nearest, 6)],
        ],
    )
    assert worst < 0.0005 + 1e-9, f"a weight is {worst:.5f} from the printed one"
    assert exact, f"the perceptron's W is {once}, printed {PERCEPTRON}"
    assert count == 128 and np.allclose(nearest, [3.0, 1.0], atol=1e-6)
    assert same < 1e-12 < 0.01 < other
    return Result(
        "; ".join(f"({row[2]})" for row in rows) + f"; {count}",
        f"all printed digits (largest difference {worst:.5f})",
        numbers | {"I.10": once, "I.4": count, "largest_difference": worst},
    )


def descend(steps: int, one: bool, make: Callable[..., optim.Optimizer]) -> np.ndarray:
    """W after these steps on C(W), from 0; `one` takes sample t mod 8 at step t, else all."""
    model = nn.Linear(4, 1, bias=False, dtype="float64")
    nn.init.zeros_(model.weight)
    half_squared_hinge = nn.HingeLoss(squared=True)  # ½ max(0, 1 - y ŷ)², the mean over the batch
    optimizer = make(model.parameters())
    for t in range(steps):
        batch = slice(t % 8, t % 8 + 1) if one else slice(None)
        loss = half_squared_hinge(model(nnx.tensor(X[batch])), nnx.tensor(Y[batch, None]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.weight.detach().numpy()[0].copy()


def one_pass() -> list[float]:
    """The perceptron's W after going through the samples once."""
    model = Perceptron(fit_intercept=False, max_iter=1, keep_path=True)
    model.fit(X, Y)
    return model.path_[-1].tolist()


def minimiser(x1: tuple[float, float], x2: tuple[float, float]) -> np.ndarray:
    point = nnx.tensor(np.zeros(2), requires_grad=True)
    optimizer = optim.SGD([point], lr=0.1)
    for _ in range(100):
        cost = ((point - np.array(x1)) ** 2).sum() + 2 * ((point - np.array(x2)) ** 2).sum()
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    return point.detach().numpy().copy()


def batches_of_everything() -> tuple[float, float]:
    """How far the gradient of a batch of all 8 is from that of C: without, and with replacement."""
    weight = nnx.tensor(np.zeros((1, 4)), requires_grad=True)

    def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        weight.grad = None
        nn.HingeLoss(squared=True)(nnx.tensor(x) @ weight.T, nnx.tensor(y[:, None])).backward()
        return np.array(weight.grad)

    whole = slope(X, Y)
    off = []
    for replacement in (False, True):
        loader = data.DataLoader(
            (X, Y), batch_size=8, shuffle=True, replacement=replacement, seed=0
        )
        off.append(max(float(np.max(np.abs(slope(x, y) - whole))) for x, y in map(arrays, loader)))
    return off[0], off[1]


def arrays(batch: tuple) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(part.numpy() if hasattr(part, "numpy") else part) for part in batch)


def show(values: object, digits: int) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in np.asarray(values).ravel())
