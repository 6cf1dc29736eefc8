"""Liu's second set of exercises: sizes of convolutional networks, counted by building them."""

import nnx
from nnx import nn
from nnx.random import Generator
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Exercises II.1, II.3, II.4, II.5, II.9: which networks fit, how many parameters",
    section="5.1, II.1-II.5, II.9",
    prints="II.1: 1, 4; II.3: 2; II.4: 6,252,490; II.9: 2",
    tolerance="exactly",
    seconds=3,
)

# II.1: kernels, size, stride, padding of two convolutions; inputs and outputs of the last layer.
NETWORKS = {
    1: ((1, 7, 1, 0), (2, 11, 1, 0), (512, 10)),
    2: ((1, 3, 1, 0), (5, 3, 1, 1), (900, 10)),
    3: ((1, 3, 1, 0), (2, 11, 1, 0), (1152, 11)),
    4: ((1, 3, 1, 0), (1, 3, 1, 1), (900, 10)),
}
# II.3: number of kernels, height, width, channels.
KERNELS = {1: (3, 3, 3, 10), 2: (10, 5, 5, 3), 3: (10, 5, 5, 1), 4: (10, 3, 3, 1), 5: (3, 5, 5, 10)}


def run(page: Page) -> Result:
    feasible, rows = [], []
    for number, layers in NETWORKS.items():
        result = shape_of(build(*layers), (1, 1, 32, 32))
        rows.append([f"II.1 ({number})", result])
        if result == "(1, 10)":
            feasible.append(number)
    fitting = []
    for number, (n, h, w, c) in KERNELS.items():
        result = shape_of(nn.Conv2d(c, n, (h, w)), (1, 3, 11, 11))
        rows.append([f"II.3 ({number})", result])
        if result == "(1, 10, 7, 7)":
            fitting.append(number)

    convolution = count(nn.Conv2d(1, 1, 3, padding=1))
    dense = count(nn.Linear(2500, 2500))
    rows.append(["II.4", f"{dense:,} - {convolution} = {dense - convolution:,}"])
    page.table("What comes out, or why it does not fit", ["exercise", "output"], rows)

    # II.5 (4): an LSTM has a cell state beside the hidden one.  II.9 (1): z = μ + σε has mean μ
    # and variance σ².  (2): gradients flow through it to μ and σ.
    _, states = nn.LSTM(2, 3)(nnx.tensor(Generator(1).normal((5, 1, 2))))
    mean, deviation = (nnx.tensor(v, requires_grad=True, dtype="float64") for v in (1.5, 0.5))
    noise = Generator(2).normal((100_000,), dtype="float64")
    z = mean + deviation * nnx.tensor(noise)
    moments = (z.mean().item(), z.var().item())
    z.mean().backward()
    page.note(
        f"II.9: the text answers 2 alone, but statement 1 holds too: 100,000 draws of μ + σε with "
        f"μ = 1.5, σ² = 0.25 have mean {moments[0]:.4f} and variance {moments[1]:.4f}."
    )
    page.note(
        "II.2 and II.10 have nothing to compute.  II.6 prints 1, 2 and 4; that each class has one "
        "code (4) is false by measurement (`nnx reproduce liu/autoencoder`), and 3 and 5 lack."
    )
    assert feasible == [1, 4], f"II.1: {feasible}"
    assert fitting == [2], f"II.3: {fitting}"
    assert dense - convolution == 6_252_490, dense - convolution
    assert len(states) == 2
    assert abs(moments[0] - 1.5) < 0.01 and abs(moments[1] - 0.25) < 0.01, moments
    assert float(mean.grad) == 1.0 and deviation.grad is not None
    return Result(
        f"II.1: {feasible}; II.3: {fitting}; II.4: {dense - convolution:,}; II.9: 1, 2",
        "all but II.9, a slip of the text",
        {"II.1": feasible, "II.3": fitting, "II.4": dense - convolution, "II.9": moments},
    )


def build(first: tuple, second: tuple, last: tuple) -> nn.Module:
    (k1, f1, s1, p1), (k2, f2, s2, p2) = first, second
    return nn.Sequential(
        nn.Conv2d(1, k1, f1, stride=s1, padding=p1),
        nn.Conv2d(k1, k2, f2, stride=s2, padding=p2),
        nn.Flatten(),
        nn.Linear(*last),
    )


def shape_of(model: nn.Module, shape: tuple[int, ...]) -> str:
    """The shape of what the network makes of one picture, or why it refuses it."""
    try:
        return str(tuple(model(nnx.tensor(Generator(0).normal(shape))).shape))
    except ValueError as error:
        return str(error)


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())
