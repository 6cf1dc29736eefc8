"""Gradients that vanish and explode with depth, and the four remedies (lecture notes 4.3.2)."""

import numpy as np

import nnx
from nnx import datasets, nn, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Gradient norms through 2 to 20 layers: σ' ≤ ¼, weights too large, ReLU, batch norm",
    section="4.3.2",
    prints="∂L/∂b1 ≤ (¼)ⁿ w2...wn ∂L/∂bn; it explodes where |w σ'| > 1; ReLU and batch norm help",
    tolerance="the bound holds; 20 layers: sigmoid's first gradient under 1e-9, remedies 1e3 above",
    seconds=6,
    quick="the same",
)

WIDTH, DEPTHS = 64, (2, 5, 10, 15, 20)
CASES = {  # activation, standard deviation of the weights times √WIDTH, batch norm
    "sigmoid": (nn.Sigmoid, 1.0, False),
    "sigmoid, batch norm": (nn.Sigmoid, 1.0, True),
    "ReLU, He": (nn.ReLU, 2**0.5, False),
    "ReLU, weights 4 × He": (nn.ReLU, 4 * 2**0.5, False),
}


def run(page: Page) -> Result:
    # One unit a layer (the notes' formula): ∂L/∂b1 over ∂L/∂bn is Π w σ'(z).
    draw = np.random.default_rng(2)
    chains, bounds = [], []
    for n in range(2, 21):
        w = draw.normal(size=n)
        b = [nnx.tensor(np.array(v), requires_grad=True) for v in draw.normal(size=n)]
        a = nnx.tensor(np.array(0.5))
        for k in range(n):
            a = nnx.sigmoid(w[k] * a + b[k])
        a.backward()
        chains.append(abs(float(b[0].grad)) / abs(float(b[-1].grad)))
        bounds.append(0.25 ** (n - 1) * abs(np.prod(w[1:])))
    page.draw(
        "chain",
        plots.lines,
        {"": {
            "∂L/∂b1 over ∂L/∂bn": (np.arange(2, 21), chains),
            "the bound (¼)ⁿ⁻¹ |w2 ... wn|": (np.arange(2, 21), bounds),
        }},
        title="Lecture notes 4.3.2: one sigmoid a layer",
        xlabel="layers n",
        ylabel="share of the gradient",
        ylog=True, marks="o",
    )  # fmt: skip

    train, _ = datasets.load_digits()
    x, t = train.scaled().reshape(-1, 64)[:128], train.labels[:128]
    first, through = {}, {}
    for name, case in CASES.items():
        for depth in DEPTHS:
            nnx.manual_seed(page.seed)
            norms = gradients(x, t, depth, *case)
            first[name, depth] = norms[0]
        through[name] = (np.arange(1, DEPTHS[-1] + 1), np.array(norms))
    page.draw(
        "layers",
        plots.lines,
        {"": through},
        title="Lecture notes 4.3.2: gradients of the weights in 20 layers",
        xlabel="layer",
        ylabel="|∂L/∂W|",
        ylog=True,
    )
    page.table(
        "|∂L/∂W| of the first layer",
        ["network", *[f"{depth} layers" for depth in DEPTHS]],
        [[name, *[f"{first[name, depth]:.1e}" for depth in DEPTHS]] for name in CASES],
    )
    # Clipping: the direction stays, the length is what is allowed.
    model = network(20, *CASES["ReLU, weights 4 × He"])
    nn.CrossEntropyLoss()(model(nnx.tensor(x)), nnx.tensor(t)).backward()
    before = float(nn.utils.clip_grad_norm_(model.parameters(), 1.0))
    after = np.sqrt(sum(float(np.sum(p.grad.astype(float) ** 2)) for p in model.parameters()))
    page.note(
        f"The exploding one, clipped to length 1: {before:.1e} before, {after:.4f} after. "
        "Training layer by layer, and losses on early layers: `nnx reproduce lecture/early-layers`."
    )
    bound = max(c / b for c, b in zip(chains, bounds, strict=True))
    deep = {name: first[name, 20] for name in CASES}
    assert bound <= 1 + 1e-12, f"the bound is passed by {bound}"
    assert deep["sigmoid"] < 1e-9, deep
    assert min(deep["sigmoid, batch norm"], deep["ReLU, He"]) > 1e3 * deep["sigmoid"], deep
    assert deep["ReLU, weights 4 × He"] > 1e6 * first["ReLU, weights 4 × He", 2], first
    assert abs(after - 1.0) < 1e-4, after
    return Result(
        "20 layers, the first gradient: " + ", ".join(f"{n} {v:.0e}" for n, v in deep.items()),
        "the bound holds; vanishing, exploding and the remedies as the notes say",
        {"first": {f"{n}, {d}": v for (n, d), v in first.items()}, "bound": bound},
    )


def network(
    depth: int, activation: type[nn.Module], scale: float, normalised: bool
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        dense = nn.Linear(WIDTH, WIDTH)
        nn.init.normal_(dense.weight, 0.0, scale / WIDTH**0.5)
        nn.init.zeros_(dense.bias)
        layers += [dense, *([nn.BatchNorm1d(WIDTH)] if normalised else []), activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def gradients(x: np.ndarray, t: np.ndarray, depth: int, *case: object) -> list[float]:
    """|∂L/∂W| of each hidden layer."""
    model = network(depth, *case)
    nn.CrossEntropyLoss()(model(nnx.tensor(x)), nnx.tensor(t)).backward()
    dense = [layer for layer in model if isinstance(layer, nn.Linear)][:-1]
    return [float(np.linalg.norm(layer.weight.grad.astype(float))) for layer in dense]
