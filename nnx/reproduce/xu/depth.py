"""Gradients and activations through many layers, with batch normalisation and without (Xu 6.4)."""

import numpy as np

import nnx
from nnx import datasets, nn, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Gradient norms by layer in 20 layers of sigmoid and ReLU, with batch norm and without",
    section="6.4.1-6.4.2",
    prints="0.9¹⁰⁰ = 2.66e-5, 1.1¹⁰⁰ = 1.38e4; batch norm eases vanishing, exploding, saturation",
    tolerance="the two powers; the gradients' range is smaller with batch norm in every case",
    seconds=4,
)

DEPTH, WIDTH = 20, 64


def network(activation: type[nn.Module], scale: float, normalise: bool) -> nn.Sequential:
    """DEPTH dense layers of weights N(0, scale²/WIDTH) on the 64 pixels of the small digits."""
    layers: list[nn.Module] = []
    for _ in range(DEPTH):
        dense = nn.Linear(WIDTH, WIDTH)
        nn.init.normal_(dense.weight, 0.0, scale / WIDTH**0.5)
        nn.init.zeros_(dense.bias)
        layers += [dense, *([nn.BatchNorm1d(WIDTH)] if normalise else []), activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def run(page: Page) -> Result:
    train, _ = datasets.load_digits()
    x, t = train.scaled().reshape(-1, 64)[:256], train.labels[:256]
    cases = {
        "sigmoid, weights of std 1/√n": (nn.Sigmoid, 1.0),
        "ReLU, std 1/√n (too small)": (nn.ReLU, 1.0),
        "ReLU, std 2/√n (too large)": (nn.ReLU, 2.0),
    }
    panels, rows, histograms, better = {}, [], {}, []
    for name, (activation, scale) in cases.items():
        ranges = []
        panels[name] = {}
        for normalise in (False, True):
            nnx.manual_seed(page.seed)
            model = network(activation, scale, normalise)
            outputs: list[nnx.Tensor] = []
            y = nnx.tensor(x)
            for layer in model:
                y = layer(y)
                if isinstance(layer, activation):
                    y.retain_grad()
                    outputs.append(y)
            nn.CrossEntropyLoss()(y, nnx.tensor(t)).backward()
            norms = np.array([float(np.linalg.norm(y.grad)) for y in outputs])  # of δ
            what = "with batch norm" if normalise else "without"
            panels[name][what] = (np.arange(1, DEPTH + 1), norms)
            ranges.append(float(np.max(norms) / np.min(norms)))
            rows.append([name, what, float(norms[0]), float(norms[-1]), ranges[-1]])
            if activation is nn.Sigmoid or scale == 2.0:
                histograms[f"{name.partition(',')[0]} {what}"] = [
                    outputs[k].detach().numpy() for k in (0, 4, 9, 19)
                ]
        better.append(ranges[1] < ranges[0])
    page.table(
        f"Gradient norms of the outputs of {DEPTH} layers",
        ["network", "batch norm", "first layer", "last", "largest / smallest"],
        rows,
    )
    page.draw(
        "gradients",
        plots.lines,
        panels,
        title="Xu 6.4.1: gradients that vanish and explode, and batch norm",
        xlabel="layer",
        ylabel="|∂loss/∂output|",
        ylog=True,
    )
    page.draw(
        "activations",
        plots.histograms,
        histograms,
        title="Xu 6.4.2: what the layers put out",
        xlabel="output",
        columns=[f"layer {k}" for k in (1, 5, 10, 20)],
    )
    page.note(
        "Batch norm does not make the gradients of ReLU layers equal: before training they grow by "
        "about a fifth a layer towards the first, whatever the weights' scale."
    )
    powers = (0.9**100, 1.1**100)
    assert abs(powers[0] - 2.66e-5) < 5e-8 and abs(powers[1] - 1.38e4) < 50, powers
    assert all(better), rows
    return Result(
        f"{powers[0]:.3g}, {powers[1]:.3g}; largest over smallest gradient "
        + "; ".join(f"{rows[k][4]:.1e} without, {rows[k + 1][4]:.1e} with" for k in (0, 2, 4)),
        "batch norm narrows the range in every case",
        {row[0] + ", " + row[1]: row[4] for row in rows},
    )
