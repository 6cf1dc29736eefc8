"""What one perceptron can learn and what it cannot: AND, OR, NAND, and XOR (Liu 3.1-3.2)."""

import warnings

import numpy as np

from nnx import plots
from nnx.linear_model import ConvergenceWarning, Perceptron
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="The perceptron's rule on four gates: it stops where a line separates, and else never",
    section="3.1-3.2",
    prints="it converges only where the data are linearly separable, and else does not stop",
    tolerance="AND, OR, NAND separated; XOR not in 1,000 passes",
    seconds=1,
)

X = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
GATES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "NAND": [1, 1, 1, 0], "XOR": [0, 1, 1, 0]}


def run(page: Page) -> Result:
    rows, panels, separated = [], {}, {}
    for gate, truth in GATES.items():
        model = Perceptron(max_iter=1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of XOR
            model.fit(X, 2 * np.array(truth) - 1)
        separated[gate] = model.separated_
        right = int(np.sum(model.predict(X) == 2 * np.array(truth) - 1))
        end = f"after {model.n_iter_} passes" if model.separated_ else "never"
        rows.append([gate, end, model.t_, f"{right} of 4"])
        panels[f"{gate}: {right} of 4 right"] = (
            lambda x, model=model: (model.predict(x) > 0).astype(int),
            X,
            np.array(truth),
        )
    page.table("Gates", ["gate", "separated", "updates", "right"], rows)
    page.draw(
        "gates",
        plots.boundaries,
        panels,
        title="Liu 3.1-3.2: one perceptron is one line",
        across=4,
    )
    page.note(
        "Of XOR the weights of the best pass are kept (the pocket); the rule itself goes round for "
        "ever.  A hidden layer learns it: `nnx reproduce xu/xor`, and by weights set by hand "
        "`nnx reproduce saito`."
    )
    learnt = [gate for gate, yes in separated.items() if yes]
    assert learnt == ["AND", "OR", "NAND"], f"separated: {', '.join(learnt)}"
    return Result(
        "; ".join(f"{row[0]} {row[1]}" for row in rows),
        "as the text says",
        {"passes": {row[0]: row[1] for row in rows}, "updates": {row[0]: row[2] for row in rows}},
    )
