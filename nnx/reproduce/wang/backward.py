"""The paths of variables and gradients through three layers (Wang 1.3.2)."""

from itertools import pairwise

import numpy as np

import nnx
from nnx import ops
from nnx.random import Generator
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Three dense layers back by hand, ∂z/∂W(i) and ∂z/∂x(i-1) in a loop, beside the tape",
    section="1.3.2, fig. 1.11-1.12",
    prints="from i = l to 1: ∂z/∂W(i) and ∂z/∂x(i-1) from ∂z/∂x(i); gradients have their shapes",
    tolerance="1e-12",
    seconds=1,
)

SIZES = (5, 4, 4, 3)


def run(page: Page) -> Result:
    draw = Generator(3)
    values = [draw.normal((m, n), dtype="float64") for n, m in pairwise(SIZES)]
    x0 = draw.normal((5, 1), dtype="float64")  # columns, as the text has them
    y = np.array([[0.0], [1.0], [0.0]])

    W = [nnx.tensor(v, requires_grad=True) for v in values]
    x = [nnx.tensor(x0, requires_grad=True)]
    for k, weight in enumerate(W):
        z = weight @ x[-1]
        x.append(ops.relu(z) if k < 2 else ops.softmax(z, axis=0))
    loss = -(nnx.tensor(y) * ops.log(x[-1])).sum()
    names = {f"W({k + 1})": w for k, w in enumerate(W)} | {f"x({k})": v for k, v in enumerate(x)}
    page.keep(
        "variables",
        nnx.draw_graph(loss, **names, z=loss).svg,
        "Wang fig. 1.11: how the loss z depends on the variables (fig. 1.12: the same, backwards)",
    )
    for v in x[1:]:
        v.retain_grad()
    loss.backward()

    # By hand: ∂z/∂x(l) first, then the loop.
    outputs = [v.detach().numpy() for v in x]
    back = -y / outputs[-1]  # ∂z/∂x(3)
    rows, worst = [], 0.0
    for i in (3, 2, 1):
        out, inner = outputs[i], outputs[i - 1]
        if i == 3:
            delta = out * (back - (out * back).sum())  # through the softmax
        else:
            delta = back * (out > 0)  # through the ReLU
        dW, back = delta @ inner.T, values[i - 1].T @ delta
        pairs = {f"W({i})": (dW, W[i - 1].grad), f"x({i - 1})": (back, x[i - 1].grad)}
        for name, (by_hand, tape) in pairs.items():
            assert by_hand.shape == names[name].shape == tape.shape
            difference = float(np.max(np.abs(by_hand - tape)))
            worst = max(worst, difference)
            rows.append([f"∂z/∂{name}", by_hand.shape, difference])
    page.table("By hand beside the tape", ["gradient", "shape", "largest difference"], rows)
    assert worst < 1e-12, f"a gradient is {worst:.1e} from the tape's"
    return Result(
        f"six gradients, the largest difference {worst:.0e}",
        "by hand and by the tape the same",
        {"worst": worst},
    )
