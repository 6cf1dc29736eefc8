"""Computation graphs with their values and gradients, drawn (Liu 3.3 and 4.1-4.2)."""

import math

import numpy as np

import nnx
from nnx import ops
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="The graph of linear regression forward and back; the chain rule over several paths",
    section="3.3, 4.1-4.2, eq. 3.4-3.5, fig. 4.1-4.4",
    prints="u = 5, ŷ = 6, c = 16; ∂c/∂e = ∂c/∂ŷ = ∂c/∂w = 8",
    tolerance="exactly; the other derivatives to 1e-12 of the printed formulas",
    seconds=1,
)


def run(page: Page) -> Result:
    # 4.2.2: the text gives w = 5 and x = 1; b = 1 and y = 2 follow from its ŷ = 6 and c = 16.
    w = nnx.tensor(np.array(5.0), requires_grad=True)
    b = nnx.tensor(np.array(1.0), requires_grad=True)
    x, y = 1.0, 2.0
    u = w * x
    predicted = u + b
    e = predicted - y
    c = e**2
    drawn = nnx.draw_graph(c, w=w, b=b, u=u, e=e, c=c, ŷ=predicted)
    page.keep("regression", drawn.svg, "Liu fig. 4.2-4.4: linear regression, forward and back")
    for node in (u, predicted, e):
        node.retain_grad()
    c.backward()
    values = {name: v.item() for name, v in (("u", u), ("ŷ", predicted), ("c", c))}
    slopes = {name: float(v.grad) for name, v in (("e", e), ("ŷ", predicted), ("w", w), ("b", b))}
    page.table(
        "Values, and gradients of c",
        ["node", "value", "∂c/∂node"],
        [["w", "5", slopes["w"]], ["u", values["u"], float(u.grad)],
         ["ŷ", values["ŷ"], slopes["ŷ"]], ["e", e.item(), slopes["e"]], ["c", values["c"], "1"]],
    )  # fmt: skip

    # 3.3.2: f = y + exp(xy), x = cos t, y = t²; two paths lead from t to f.
    worst = 0.0
    for at in (0.3, 1.1):
        t = nnx.tensor(np.array(at), requires_grad=True)
        cosine, square = ops.cos(t), t * t
        f = square + ops.exp(cosine * square)
        if at == 0.3:
            graph = nnx.draw_graph(f, t=t, f=f, **{"x = cos t": cosine, "y = t²": square})
            page.keep("paths", graph.svg, "Liu fig. 4.1, eq. of 3.3.2: two paths from t to f")
        f.backward()
        xv, yv = math.cos(at), at**2
        e_xy = math.exp(xv * yv)
        by_hand = yv * e_xy * -math.sin(at) + (1 + xv * e_xy) * 2 * at
        worst = max(worst, abs(float(t.grad) - by_hand))

    # 3.3.1: C = ½(σ(wx + b) - y)², (3.4) and (3.5).
    w1, b1 = (nnx.tensor(np.array(v), requires_grad=True) for v in (0.7, -0.4))
    (0.5 * (ops.sigmoid(w1 * 2.0 + b1) - 1.5) ** 2).backward()
    s = 1 / (1 + math.exp(-(0.7 * 2.0 - 0.4)))
    v2 = (s - 1.5) * s * (1 - s)  # ∂C/∂z, computed once and used twice (4.1)
    worst = max(worst, abs(float(w1.grad) - v2 * 2.0), abs(float(b1.grad) - v2))
    page.note(
        "The text writes e = y - ŷ, with which ∂c/∂ŷ would be -8; its 8 is that of e = ŷ - y, as "
        "here.  Its values of b and y are not printed."
    )
    assert values == {"u": 5.0, "ŷ": 6.0, "c": 16.0}, values
    assert set(slopes.values()) == {8.0}, slopes
    assert worst < 1e-12, f"a derivative is {worst:.1e} from its formula"
    return Result(
        "u = 5, ŷ = 6, c = 16; gradients 8, 8, 8",
        f"exactly; the chain rules of 3.3 to {worst:.0e}",
        {"values": values, "gradients": slopes, "worst": worst},
    )
