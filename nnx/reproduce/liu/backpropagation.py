"""Back-propagation in matrices, written out, beside the tape (Liu 4.3-4.6)."""

from itertools import pairwise

import numpy as np

import nnx
from nnx import nn
from nnx.random import Generator
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="δ from the last layer back, ∂C/∂W = δ aᵀ, over a batch, beside the tape",
    section="4.3-4.6, eq. 4.1, fig. 4.5",
    prints="δ = ∇C ⊙ σ'(z) in the last layer, (Wᵀδ) ⊙ σ'(z) before it; ∂C/∂W = δ aᵀ, ∂C/∂b = δ",
    tolerance="1e-12, every weight and bias",
    seconds=1,
)

SIZES = (4, 6, 5, 3)
BATCH = 8


def run(page: Page) -> Result:
    draw = Generator(11)
    x = draw.normal((BATCH, SIZES[0]), dtype="float64")
    y = draw.uniform((BATCH, SIZES[-1]), 0.0, 1.0, dtype="float64")
    layers: list[nn.Module] = []
    for n, m in pairwise(SIZES):
        layers += [nn.Linear(n, m, dtype="float64"), nn.Sigmoid()]
    model = nn.Sequential(*layers)
    dense = [layer for layer in layers if isinstance(layer, nn.Linear)]

    # The tape.  C = 1/(2m) Σ (y - a)², the mean over the batch (4.4.1, 4.6): half of MSELoss.
    loss = 0.5 * nn.MSELoss()(model(nnx.tensor(x)), nnx.tensor(y))
    page.keep(
        "graph",
        nnx.draw_graph(lambda t: 0.5 * nn.MSELoss()(model(t), nnx.tensor(y)),
                       nnx.tensor(x), **dict(model.named_parameters())).svg,
        "Liu fig. 4.5: what the tape walks back",
    )  # fmt: skip
    loss.backward()

    # The text's matrices: a column for each sample.
    W = [layer.weight.detach().numpy() for layer in dense]
    b = [layer.bias.detach().numpy() for layer in dense]
    a = [x.T]  # (n, N)
    for Wl, bl in zip(W, b, strict=True):
        a.append(sigmoid(Wl @ a[-1] + bl[:, None]))
    m = SIZES[-1]
    delta = -(y.T - a[-1]) / m * a[-1] * (1 - a[-1])  # ∇C ⊙ σ'(z), σ' = a (1 - a)
    rows, worst = [], 0.0
    for k in reversed(range(len(W))):
        dW, db = delta @ a[k].T / BATCH, delta.mean(axis=1)
        off = max(
            float(np.max(np.abs(dW - dense[k].weight.grad))),
            float(np.max(np.abs(db - dense[k].bias.grad))),
        )
        rows.append([f"{k + 2}", f"{W[k].shape}", float(np.linalg.norm(dW)), f"{off:.1e}"])
        worst = max(worst, off)
        delta = (W[k].T @ delta) * a[k] * (1 - a[k])  # (4.1)
    page.table("Layer by layer", ["layer", "W", "|∂C/∂W|", "largest difference"], rows)
    page.note(
        "The text says ℓ < L of the last layer too (4.4.3): it means ℓ = L; and the third line of "
        "4.4.1 divides by σ' where its fourth, rightly, multiplies."
    )
    assert worst < 1e-12, f"a gradient is {worst:.1e} from the tape's"
    return Result(
        f"{sum(w.size for w in W) + sum(v.size for v in b)} gradients, largest difference "
        f"{worst:.0e}",
        "equal",
        {"worst": worst},
    )


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))
