"""Every activation with its derivative, and where it saturates (Xu 3.6, 6.4.2)."""

import numpy as np

import nnx
from nnx import ops, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="The activations drawn with their derivatives, and where these are small",
    section="3.6, 3.7, 6.4.2, fig. 3.6, 6.2, eq. 3.12",
    prints="ReLU, sigmoid, tanh, softplus; sigmoid and tanh saturate on both sides; ReLU'(0) = 0",
    tolerance="slopes to 1e-6 of central differences; ReLU'(0) = 0 exactly",
    seconds=2,
)

BOOKS = ("relu", "sigmoid", "tanh", "softplus")
OTHERS = ("leaky_relu", "elu", "selu", "silu", "gelu", "mish", "hardtanh", "softsign")


def run(page: Page) -> Result:
    x = np.linspace(-6.0, 6.0, 241) + 1e-3  # beside the kinks
    panels, rows, worst = {}, [], 0.0
    for name in (*BOOKS, *OTHERS):
        function = getattr(ops, name)
        t = nnx.tensor(x, requires_grad=True)
        y = function(t)
        y.backward(np.ones_like(x))
        with nnx.no_grad():
            h = 1e-6
            differences = (function(nnx.tensor(x + h)) - function(nnx.tensor(x - h))).numpy() / (
                2 * h
            )
        worst = max(worst, float(np.max(np.abs(differences - t.grad))))
        panels[name] = {"f(x)": (x, y.detach().numpy()), "f'(x)": (x, t.grad)}
        small = [float(v) for v in np.abs(t.grad[[0, -1]])]
        rows.append(
            [name, *small, "both" if max(small) < 0.1 else "left" if small[0] < 0.1 else ""]
        )
    page.draw(
        "activations",
        plots.lines,
        panels,
        title="Xu fig. 3.6, 6.2: activations and their derivatives (the book's are the first four)",
        xlabel="x",
        ylim=(-2.0, 4.0),
        across=4,
    )
    page.table("Where they saturate", ["", "|f'(-6)|", "|f'(6)|", "small on"], rows)
    zero = nnx.tensor(np.zeros(1), requires_grad=True)
    ops.relu(zero).backward(np.ones(1))
    assert worst < 1e-6, f"a derivative is {worst:.1e} from the difference"
    assert float(zero.grad[0]) == 0.0
    sides = {row[0]: row[3] for row in rows}
    assert sides["sigmoid"] == sides["tanh"] == "both"
    assert sides["relu"] == sides["softplus"] == "left"
    return Result(
        "sigmoid, tanh saturate on both sides; ReLU, softplus on the left; ReLU'(0) = 0",
        f"derivatives to {worst:.0e} of differences",
        {"worst": worst, "saturates": sides},
    )
