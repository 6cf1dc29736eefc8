"""Derivatives of traces, norms and products, and the backward recursion (lecture notes 4.3.1)."""

import numpy as np

import nnx
from nnx import nn, ops
from nnx.random import Generator
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="The identities of matrix derivatives by the tape; Jacobians; δ by hand",
    section="4.3.1",
    prints="d tr(AᵀB)/dA = B, d tr(AB)/dB = Aᵀ, |A|² = tr(AᵀA), dWx/dx, 2(y - t), -t/y, δ(l)",
    tolerance="1e-12",
    seconds=1,
)


def run(page: Page) -> Result:
    draw = Generator(4)

    def matrix(*shape: int) -> nnx.Tensor:
        return nnx.tensor(draw.normal(shape, dtype="float64"), requires_grad=True)

    A, B, C = matrix(3, 4), matrix(3, 4), matrix(4, 3)
    D = matrix(3, 3)
    a, b, c, d = (m.detach().numpy() for m in (A, B, C, D))
    rows: list[list] = []

    def check(name: str, found: np.ndarray, right: np.ndarray) -> None:
        rows.append([name, str(np.shape(right)), float(np.max(np.abs(found - right)))])

    def slope(scalar: nnx.Tensor, of: nnx.Tensor) -> np.ndarray:
        of.grad = None
        scalar.backward()
        return of.grad

    check("d tr(AᵀB)/dA = B", slope(ops.trace(A.T @ B), A), b)
    check("d tr(AC)/dC = Aᵀ", slope(ops.trace(A @ C), C), a.T)
    check("d|A|²/dA = 2A, |A|² = tr(AᵀA)", slope(ops.trace(A.T @ A), A), 2 * a)
    check("tr(A) = tr(Aᵀ)", ops.trace(D).item(), ops.trace(D.T).item())
    check("tr(ACD) = tr(DAC)", ops.trace(A @ C @ D).item(), np.trace(d @ a @ c))
    check("tr(ACD) = tr(CDA)", ops.trace(A @ C @ D).item(), np.trace(c @ d @ a))
    check("tr(D + AC) = tr(D) + tr(AC)", ops.trace(D + A @ C).item(), np.trace(d) + np.trace(a @ c))

    # The Jacobian of a vector: rows are outputs.  The notes write ∂Wx/∂x = Wᵀ, the other layout.
    x = draw.normal((4,), dtype="float64")
    check("∂(Ax)/∂x, outputs by inputs, = A", nnx.jacobian(lambda v: A.detach() @ v, x), a)
    s = 1 / (1 + np.exp(-x))
    check("∂σ(x)/∂x, diagonal of σ(1 - σ)", nnx.jacobian(ops.sigmoid, x), np.diag(s * (1 - s)))

    y, t = matrix(4), np.array([0.0, 1.0, 0.0, 0.0])
    check("∂|y - t|²/∂y = 2(y - t)", slope(((y - t) ** 2).sum(), y), 2 * (y.detach().numpy() - t))
    p = nnx.tensor(s / s.sum(), requires_grad=True)
    check("∂(-Σ t ln y)/∂y = -t/y", slope(-(nnx.tensor(t) * ops.log(p)).sum(), p), -t * s.sum() / s)

    # δ(l) = (W(l+1))ᵀ δ(l+1) ⊙ f'(z(l)), ∂L/∂W = δ aᵀ, ∂L/∂b = δ.
    model = nn.Sequential(nn.Linear(4, 5), nn.Sigmoid(), nn.Linear(5, 3)).to(dtype="float64")
    target = np.array([0.2, -0.4, 1.0])
    out = model(nnx.tensor(x[None]))
    (0.5 * ((out - target) ** 2).sum()).backward()
    first, last = model[0], model[2]
    hidden = 1 / (1 + np.exp(-(first.weight.detach().numpy() @ x + first.bias.detach().numpy())))
    delta2 = out.detach().numpy()[0] - target
    delta1 = last.weight.detach().numpy().T @ delta2 * hidden * (1 - hidden)
    check("∂L/∂W(2) = δ(2) a(1)ᵀ", last.weight.grad, np.outer(delta2, hidden))
    check("∂L/∂W(1) = δ(1) a(0)ᵀ", first.weight.grad, np.outer(delta1, x))
    check("∂L/∂b(1) = δ(1)", first.bias.grad, delta1)

    page.table("By the tape beside the formula", ["identity", "shape", "largest difference"], rows)
    page.note(
        "The notes print ⊙ between Wᵀ and f′ in the recursion for δ; it stands between Wᵀδ and f′. "
        "They put a vector's derivative by a vector the other way up (∂Wx/∂x = Wᵀ) than "
        "`nnx.jacobian`, whose rows are the outputs."
    )
    worst = max(row[2] for row in rows)
    assert worst < 1e-12, rows
    return Result(
        f"{len(rows)} identities, the largest difference {worst:.0e}",
        "all hold",
        {row[0]: row[2] for row in rows},
    )
