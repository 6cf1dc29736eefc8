"""Gates of perceptrons: one for AND, OR and NAND, two layers for XOR (Saito, chapter 1)."""

import numpy as np

from nnx import plots
from nnx.linear_model import LinearRegression
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="AND, OR, NAND by one perceptron, XOR by two layers of them; layers without activations",
    section="1, 2.2-2.3",
    prints="one perceptron is AND, OR or NAND, not XOR; two layers are XOR; linear layers are one",
    tolerance="the truth tables exactly; the linear layers are one to 1e-12",
    seconds=1,
)

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
WEIGHTS = {  # w1, w2, b of a set that works; there are others
    "AND": (0.5, 0.5, -0.7),
    "OR": (0.5, 0.5, -0.2),
    "NAND": (-0.5, -0.5, 0.7),
}
TRUTH = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "NAND": [1, 1, 1, 0], "XOR": [0, 1, 1, 0]}


def gate(name: str, x: np.ndarray) -> np.ndarray:
    """A perceptron with the step function: 1 where w·x + b > 0, that is w·x above θ = -b."""
    w1, w2, b = WEIGHTS[name]
    return (w1 * x[:, 0] + w2 * x[:, 1] + b > 0).astype(int)


def xor(x: np.ndarray) -> np.ndarray:
    """Two layers: what NAND and OR say goes into AND."""
    return gate("AND", np.stack([gate("NAND", x), gate("OR", x)], axis=1))


def run(page: Page) -> Result:
    gates = {name: lambda x, name=name: gate(name, x) for name in WEIGHTS} | {"XOR": xor}
    said = {name: put_out(X).tolist() for name, put_out in gates.items()}
    page.table(
        "Truth tables",
        ["x1", "x2", *gates],
        [[*X[k], *[said[name][k] for name in gates]] for k in range(4)],
    )
    page.draw(
        "gates",
        plots.boundaries,
        {name: (put_out, X, np.array(TRUTH[name])) for name, put_out in gates.items()},
        title="Saito 1: one line is enough for three gates; XOR takes two",
        across=2,
    )

    # No line does XOR: of all lines on a fine grid none has more than three of the four right.
    w1, w2, b = np.meshgrid(*3 * [np.linspace(-2, 2, 41)], indexing="ij")
    fires = w1[..., None] * X[:, 0] + w2[..., None] * X[:, 1] + b[..., None] > 0  # (41, 41, 41, 4)
    most = int((fires == np.array(TRUTH["XOR"], bool)).sum(axis=-1).max())
    # And least squares can but say ½ to every corner.
    flat = LinearRegression().fit(X.astype(float), np.array(TRUTH["XOR"], float)).predict(X)

    # 2.2: three layers of h(x) = c x are one; so are layers of matrices (2.3).
    layers = [np.random.default_rng(k).normal(size=(3, 3)) for k in range(3)]
    x = np.array([[1.0, -2.0, 0.5]])
    deep = x @ layers[0].T @ layers[1].T @ layers[2].T
    one = x @ (layers[2] @ layers[1] @ layers[0]).T
    apart = float(np.max(np.abs(deep - one)))
    page.note(
        f"Of {w1.size:,} lines on a grid none has more than {most} of the four corners of XOR "
        f"right, and least squares says {flat[0]:.2f} to each of them."
    )
    page.note(
        "The step function passes nothing back: its slope is 0 wherever it has one.  Networks that "
        "learn bend otherwise: sigmoid, ReLU (drawn by `nnx reproduce liu/activations`)."
    )
    assert said == TRUTH, said
    assert most == 3, f"a line with {most} of the corners of XOR right"
    assert np.allclose(flat, 0.5, atol=1e-12), flat
    assert apart < 1e-12, f"three linear layers are {apart:.1e} from one"
    return Result(
        f"the four truth tables; no line has more than {most} of XOR's corners",
        f"exactly; linear layers are one to {apart:.0e}",
        {"tables": said, "most": most, "linear": apart},
    )
