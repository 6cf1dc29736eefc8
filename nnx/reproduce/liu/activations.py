"""Networks drawn, their activations, and how bends of ReLU make a curve (Liu 3.4.1)."""

from itertools import pairwise

import numpy as np

import nnx
from nnx import nn, ops, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="ReLU, sigmoid and tanh drawn; |x| from two ReLU units, x² from more",
    section="3.4.1, fig. 3.1-3.3",
    prints="w² = (1, -1), w³ = (1, 1), no biases: the network is |x|, a fit of x²",
    tolerance="|x| exactly; σ' = σ(1 - σ) to 1e-12; the error falls with every width",
    seconds=5,
    quick="widths to 8 for 32",
)


def run(page: Page) -> Result:
    x = np.linspace(-4.0, 4.0, 161)
    t = nnx.tensor(x, requires_grad=True)
    sigmoid = ops.sigmoid(t)
    sigmoid.backward(np.ones_like(x))
    s = sigmoid.detach().numpy()
    slope = float(np.max(np.abs(t.grad - s * (1 - s))))
    page.draw(
        "activations",
        plots.lines,
        {
            "ReLU": {"f(x)": (x, ops.relu(nnx.tensor(x)).numpy()), "f'(x)": (x, x > 0)},
            "sigmoid": {"f(x)": (x, s), "f'(x)": (x, s * (1 - s))},
            "tanh": {"f(x)": (x, np.tanh(x)), "f'(x)": (x, 1 - np.tanh(x) ** 2)},
        },
        title="Liu fig. 3.3: three activations and their derivatives",
        xlabel="x",
        ylabel="f",
        ylim=(-1.1, 2.1),
    )
    page.draw("network", plots.network, (3, 4, 4, 2), title="Liu fig. 3.1: a feed-forward network")
    page.draw(
        "neuron",
        plots.network,
        (4, 1),
        title="Liu fig. 3.2: one neuron, z = Σ w a + b, a = σ(z)",
        names=(("a1", "a2", "a3", "a4"), ("σ(z)",)),
    )

    two = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1), nn.ReLU())
    two.load_state_dict({
        "0.weight": np.array([[1.0], [-1.0]], "float32"),
        "0.bias": np.zeros(2, "float32"),
        "2.weight": np.array([[1.0, 1.0]], "float32"),
        "2.bias": np.zeros(1, "float32"),
    })  # fmt: skip
    inputs = np.linspace(-2.0, 2.0, 201, dtype=np.float32)[:, None]
    with nnx.no_grad():
        absolute = two(nnx.tensor(inputs)).numpy()
    exact = bool(np.all(absolute == np.abs(inputs)))

    # More units are more bends.  Hidden bends fixed evenly, the last layer by least squares: the
    # best piecewise linear function that a network with these bends is.
    at = inputs[:, 0]
    curves = {"x²": (at, at**2), "2 units: |x|": (at, absolute[:, 0])}
    errors = {}
    for width in (2, 4, 8) if page.quick else (2, 4, 8, 16, 32):
        model, error = fitted(inputs, inputs**2, width)
        errors[width] = error
        if width in (4, 8):
            curves[f"{width} units"] = (at, model[:, 0])
    page.draw(
        "square",
        plots.lines,
        {"": curves},
        title="Liu 3.4.1: x² by ReLU units",
        xlabel="x",
        ylabel="output",
    )
    page.table(
        "Error of the best fit with evenly spaced bends", ["units", "rms"], list(errors.items())
    )
    falling = list(errors.values())
    assert exact, "the two units do not give |x|"
    assert slope < 1e-12, f"σ' is {slope:.1e} from σ(1 - σ)"
    assert all(b < a for a, b in pairwise(falling)), errors
    return Result(
        f"|x| exactly; x² by {max(errors)} units to {falling[-1]:.1e}, by 2 to {falling[0]:.2f}",
        "as the text says",
        {"slope": slope, "errors": {str(k): v for k, v in errors.items()}},
    )


def fitted(x: np.ndarray, y: np.ndarray, width: int) -> tuple[np.ndarray, float]:
    """Units that bend evenly over [-2, 2], half of them to each side; the output and its error."""
    half = width // 2
    bends = np.linspace(0.0, 2.0, half, endpoint=False)
    hidden = np.concatenate([np.maximum(0, x - bends), np.maximum(0, -x - bends)], axis=1)
    A = np.concatenate([hidden, np.ones_like(x)], axis=1)
    weights, *_ = np.linalg.lstsq(A.astype(float), y.astype(float), rcond=None)
    out = A @ weights
    return out, float(np.sqrt(np.mean((out - y) ** 2)))
