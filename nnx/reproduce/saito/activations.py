"""What five layers put out under four scales of their weights (Saito 6.2.2-6.2.4)."""

import numpy as np

import nnx
from nnx import nn, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Histograms of activations through five layers: std 1, 0.01, Xavier, He",
    section="6.2.2-6.2.4",
    prints="std 1 saturates, 0.01 leaves one value; Xavier √(1/n) for S curves, He √(2/n) for ReLU",
    tolerance="layer 5's spread is 0.4 to 2.5 of layer 1's under the right rule",
    seconds=3,
)

UNITS, LAYERS, SAMPLES = 100, 5, 1000
SCALES = {
    "std 1": lambda w: nn.init.normal_(w, 0.0, 1.0),
    "std 0.01": lambda w: nn.init.normal_(w, 0.0, 0.01),
    "Xavier √(1/n)": lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"),
    "He √(2/n)": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
}
ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "ReLU": nn.ReLU}


def run(page: Page) -> Result:
    x = nnx.random.normal((SAMPLES, UNITS))
    rows, spread, borders = [], {}, {}
    for kind, make in ACTIVATIONS.items():
        panels = {}
        for scale, fill in SCALES.items():
            outputs = panels[scale] = through(x, make, fill)
            spread[kind, scale] = [float(np.std(y)) for y in outputs]
            borders[kind, scale] = float(np.mean(np.abs(outputs[-1] - 0.5) > 0.4))
            rows.append([kind, scale, *spread[kind, scale]])
        page.draw(
            f"{kind.lower()}",
            plots.histograms,
            panels,
            title=f"Saito 6.2: what {LAYERS} layers of {kind} put out",
            xlabel="output",
            columns=[f"layer {k}" for k in range(1, LAYERS + 1)],
            span={"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "ReLU": None}[kind],
        )
    page.table(
        "Standard deviation of the outputs",
        ["activation", "weights", *[f"layer {k}" for k in range(1, LAYERS + 1)]],
        rows,
    )
    page.note(
        "The text's Xavier rule is √(1/n) of n inputs: `kaiming_normal_(w, nonlinearity='linear')`."
        "  `xavier_normal_` is √(2/(n_in + n_out)), the same here, where all layers are as wide."
    )
    kept = {key: values[-1] / values[0] for key, values in spread.items()}
    fifth = {scale: kept["ReLU", scale] for scale in SCALES}
    saturated = borders["sigmoid", "std 1"]
    assert saturated > 0.5, (
        f"{saturated:.0%} of sigmoid's outputs are within 0.1 of its ends under std 1"
    )
    assert spread["sigmoid", "std 0.01"][-1] < 0.02, "sigmoid under 0.01 has more than one value"
    assert 0.4 < kept["tanh", "Xavier √(1/n)"] < 2.5, kept
    assert 0.4 < fifth["He √(2/n)"] < 2.5, kept
    assert fifth["std 1"] > 100 and fifth["std 0.01"] < 1e-3, kept
    assert fifth["Xavier √(1/n)"] < fifth["He √(2/n)"], kept
    return Result(
        f"std 1: {saturated:.0%} of sigmoid within 0.1 of 0 or 1; ReLU, spread of layer 5 over 1: "
        + ", ".join(f"{name} {value:.2g}" for name, value in fifth.items()),
        "as the text says",
        {f"{kind}, {scale}": values for (kind, scale), values in spread.items()},
    )


def through(x: nnx.Tensor, make: type[nn.Module], fill: object) -> list[np.ndarray]:
    """The outputs of each layer."""
    y, outputs = nnx.tensor(x), []
    with nnx.no_grad():
        for _ in range(LAYERS):
            dense = nn.Linear(UNITS, UNITS, bias=False)
            fill(dense.weight)
            y = make()(dense(y))
            outputs.append(y.numpy())
    return outputs
