"""How much of a gradient comes back through time: RNN, LSTM, GRU (Xu 7.5, 8.3)."""

import numpy as np

import nnx
from nnx import nn, plots
from nnx.random import Generator
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="|∂h_T/∂x_t| over 100 steps in an RNN, an LSTM and a GRU; Aᵗ by its eigenvalues",
    section="7.4-7.6, 8.2-8.3, eq. 7.18",
    prints="A^t = PΛ^tP⁻¹: gradients vanish or explode; the cell state is a green channel",
    tolerance="|Aᵗv| grows by |λ| to 1e-6; an LSTM with open gates keeps 1,000 times more",
    seconds=3,
)

STEPS, UNITS = 100, 32


def run(page: Page) -> Result:
    x = Generator(3).normal((STEPS, 1, 8), dtype="float64")
    curves, first = {}, {}
    for name, make in {
        "RNN": lambda: nn.RNN(8, UNITS, dtype="float64"),
        "RNN, W_hh of radius 1.5": lambda: exploding(1.5),
        "GRU": lambda: nn.GRU(8, UNITS, dtype="float64"),
        "LSTM": lambda: nn.LSTM(8, UNITS, dtype="float64"),
        "LSTM, forget gate open": lambda: opened(nn.LSTM(8, UNITS, dtype="float64")),
    }.items():
        inputs = nnx.tensor(x, requires_grad=True)
        outputs, _ = make()(inputs)
        outputs[-1].sum().backward()
        norms = np.linalg.norm(inputs.grad[:, 0], axis=1)  # (T,)
        curves[name] = (np.arange(STEPS)[::-1], np.maximum(norms, 1e-30))
        first[name] = float(norms[0] / norms[-1])
    page.draw(
        "gradients",
        plots.lines,
        {"": curves},
        title="Xu 7.5, 8.3: what is left of the gradient after so many steps back",
        xlabel="steps back",
        ylabel="|∂h_T/∂x_t|",
        ylog=True,
        ylim=(1e-18, 1e20),
    )
    page.table(
        f"The gradient at the first of {STEPS} steps, over that at the last",
        ["layer", "share"],
        [[name, f"{share:.1e}"] for name, share in first.items()],
    )
    # 7.5: the growth of |Aᵗ v| is the largest |λ| of A.
    A = Generator(5).normal((UNITS, UNITS), dtype="float64") / UNITS**0.5
    A = (A + A.T) / 2
    largest = float(np.max(np.abs(np.linalg.eigvalsh(A))))
    values, P = np.linalg.eig(A)
    power = (P * values**20) @ np.linalg.inv(P)
    off = float(np.max(np.abs(power - np.linalg.matrix_power(A, 20))))
    v = np.ones(UNITS)
    for _ in range(4000):
        v = A @ v
        rate = float(np.linalg.norm(v))
        v /= rate
    page.note(
        "(7.18), clipping by the norm, is `nnx.train.ClipGradNorm`.  The book clips at each time "
        "step, one sentence in 7.6; nnx, as PyTorch, the sum over time."
    )
    keeps = first["LSTM, forget gate open"] / first["RNN"]
    assert off < 1e-9 and abs(rate - largest) < 1e-6, (off, rate, largest)
    assert keeps > 1000, f"the LSTM keeps {keeps:.1e} times as much"
    assert first["RNN"] < 1e-6 and first["RNN, W_hh of radius 1.5"] > 1e3, first
    return Result(
        ", ".join(f"{name} {share:.0e}" for name, share in first.items()),
        f"vanishing, exploding, kept; |Aᵗv| grows by {rate:.4f} a step, |λ| = {largest:.4f}",
        {"share": first, "rate": rate, "eigenvalue": largest},
    )


def exploding(radius: float) -> nn.RNN:
    """An RNN with ReLU whose recurrent weights have so large an eigenvalue, none negative."""
    layer = nn.RNN(8, UNITS, dtype="float64", nonlinearity="relu")
    state = layer.state_dict()
    W = np.abs(state["weight_hh_l0"])
    state["weight_hh_l0"] = W * (radius / np.max(np.abs(np.linalg.eigvals(W))))
    layer.load_state_dict(state)
    return layer


def opened(layer: nn.LSTM) -> nn.LSTM:
    """A forget gate that is near 1, as a network that has to remember learns it."""
    state = layer.state_dict()
    bias = state["bias_ih_l0"].copy()
    bias[UNITS : 2 * UNITS] += 5.0  # gates in the order i, f, g, o
    state["bias_ih_l0"] = bias
    layer.load_state_dict(state)
    return layer
