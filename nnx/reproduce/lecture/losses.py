"""Three losses of regression, drawn, and what an outlier does to each (lecture notes 4.2)."""

import numpy as np

import nnx
from nnx import functional as F
from nnx import optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Squared, L1 and smooth L1 loss with their slopes; a line fitted beside an outlier",
    section="4.2",
    prints="½ Σ|y - ŷ|², Σ|y - ŷ|, smooth L1 with its bend at 1; softmax with NLL, all sums",
    tolerance="values, slopes 1e-12; the outlier moves L1 and smooth L1 less than a fifth as far",
    seconds=4,
)

LOSSES = {
    "½ squared error": lambda y, t: 0.5 * F.mse_loss(y, t, reduction="sum"),
    "L1": lambda y, t: F.l1_loss(y, t, reduction="sum"),
    "smooth L1": lambda y, t: F.smooth_l1_loss(y, t, reduction="sum"),
}


def run(page: Page) -> Result:
    e = np.linspace(-3.0, 3.0, 121)
    short = np.abs(e) < 1
    by_hand = {  # the loss, its slope
        "½ squared error": (e**2 / 2, e),
        "L1": (np.abs(e), np.sign(e)),
        "smooth L1": (np.where(short, e**2 / 2, np.abs(e) - 0.5), np.where(short, e, np.sign(e))),
    }
    worst, curves, slopes = 0.0, {}, {}
    for name, loss_of in LOSSES.items():
        y = nnx.tensor(e, requires_grad=True)
        loss = loss_of(y, nnx.tensor(np.zeros_like(e)))
        loss.backward()
        value, slope = by_hand[name]
        worst = max(worst, abs(loss.item() - value.sum()) / value.sum())
        worst = max(worst, float(np.max(np.abs(y.grad - slope))))
        curves[name], slopes[name] = (e, value), (e, slope)
    page.draw(
        "losses",
        plots.lines,
        {"loss": curves, "slope": slopes},
        title="Lecture notes 4.2: the losses of regression",
        xlabel="ŷ - y",
        share=False,
    )

    # 4.2: softmax with the negative log-likelihood, summed over samples.
    z = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    labels = np.array([0, 2])
    shares = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    nll = -np.log(shares[[0, 1], labels]).sum()
    loss = F.cross_entropy(nnx.tensor(z), nnx.tensor(labels), reduction="sum")
    worst = max(worst, abs(loss.item() - nll))

    x = np.linspace(0.0, 4.0, 9)
    clean = 1.0 + 0.5 * x
    spoilt = clean.copy()
    spoilt[7] += 8.0
    lines, moved = {"points: samples": (x, spoilt)}, {}
    for name, loss_of in LOSSES.items():
        w = fit(loss_of, x, spoilt)
        lines[name] = (x, w[0] + w[1] * x)
        moved[name] = float(np.max(np.abs(w[0] + w[1] * x - clean)))
    page.draw(
        "outlier",
        plots.lines,
        {"": lines},
        title="Lecture notes 4.2: one outlier, and the lines of the three losses",
        xlabel="x",
        ylabel="y",
    )
    page.table("How far the outlier moves the line", ["loss", "most"], [*moved.items()])
    assert worst < 1e-12, f"a loss or slope is {worst:.1e} from its formula"
    assert max(moved["L1"], moved["smooth L1"]) < 0.2 * moved["½ squared error"], moved
    return Result(
        "an outlier of 8 moves the line by "
        + ", ".join(f"{value:.2f} ({name})" for name, value in moved.items()),
        f"the formulas hold to {worst:.0e}",
        {"worst": worst, "moved": moved},
    )


def fit(loss_of: object, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Intercept and slope of the line of least loss, by descent with a falling rate."""
    w = nnx.tensor(np.zeros(2), requires_grad=True)
    A, t = nnx.tensor(np.stack([np.ones_like(x), x], axis=1)), nnx.tensor(y)
    optimizer = optim.Adam([w], lr=0.1)
    falling = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.995)
    for _ in range(2000):
        optimizer.zero_grad()
        loss_of(A @ w, t).backward()
        optimizer.step()
        falling.step()
    return w.detach().numpy()
