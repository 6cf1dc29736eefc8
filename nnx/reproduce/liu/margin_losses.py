"""Three smooth stand-ins for the 0-1 loss, and two kinds of flowers told apart (Liu 1.4, 2.2.2)."""

import numpy as np

import nnx
from nnx import functional as F
from nnx import plots
from nnx.data import standardize
from nnx.linear_model import MarginClassifier
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="The margin losses drawn; eq. 1.7; irises classified by minibatches",
    section="1.4, 2.2.2, eq. 1.7",
    prints="three functions G of the margin, and ∇C of the second (1.7)",
    tolerance="values 1e-12, the gradient 1e-12; at least 90 of 100 flowers right",
    seconds=2,
)

# R. A. Fisher, 1936: length and width of the petals of 50 versicolor and 50 virginica, in mm.
VERSICOLOR = (
    "4714 4515 4915 4013 4615 4513 4716 3310 4613 3914 3510 4215 4010 4714 3613 4414 4515 4110 "
    "4515 3911 4818 4013 4915 4712 4313 4414 4814 5017 4515 3510 3811 3710 3912 5116 4515 4516 "
    "4715 4413 4113 4013 4412 4614 4012 3310 4213 4212 4213 4313 3011 4113"
)
VIRGINICA = (
    "6025 5119 5921 5618 5822 6621 4517 6318 5818 6125 5120 5319 5521 5020 5124 5323 5518 6722 "
    "6923 5015 5723 4920 6720 4918 5721 6018 4818 4918 5621 5816 6119 6420 5622 5115 5614 6123 "
    "5624 5518 4818 5421 5624 5123 5119 5923 5725 5223 5019 5220 5423 5118"
)


def run(page: Page) -> Result:
    m = np.linspace(-2.0, 3.0, 201)
    one = np.ones_like(m)
    losses = {
        "hinge: max(0, 1 - m)": (
            F.hinge_loss(nnx.tensor(m), nnx.tensor(one), reduction="none"), np.maximum(0, 1 - m)),
        "½ max(0, 1 - m)²": (
            F.hinge_loss(nnx.tensor(m), nnx.tensor(one), squared=True, reduction="none"),
            np.maximum(0, 1 - m) ** 2 / 2),
        "log(1 + exp(-m))": (
            F.soft_margin_loss(nnx.tensor(m), nnx.tensor(one), reduction="none"),
            np.log(1 + np.exp(-m))),
    }  # fmt: skip
    values = max(float(np.max(np.abs(y.numpy() - by_hand))) for y, by_hand in losses.values())
    curves = {name: (m, by_hand) for name, (_, by_hand) in losses.items()}
    page.draw(
        "losses",
        plots.lines,
        {"": {"0-1 loss": (m, np.where(m > 0, 0.0, 1.0)), **curves}},
        title="Liu 1.4: losses over the margin m = y ŷ",
        xlabel="margin m",
        ylabel="loss",
    )

    X = np.array([[int(f[:2]), int(f[2:])] for f in (VERSICOLOR + " " + VIRGINICA).split()]) / 10
    y = np.repeat([-1.0, 1.0], 50)
    gradient = gradient_difference(X, y)
    scaling = standardize(X)

    model = MarginClassifier(
        alpha=0.0, solver="minibatch", batch_size=10, stop=None, max_iter=50, random_state=page.seed
    ).fit(scaling(X), y)
    right = int(np.sum(model.predict(scaling(X)) == y))

    def say(x: np.ndarray) -> np.ndarray:
        return (model.predict(scaling(x)) > 0).astype(int)

    page.draw(
        "flowers",
        plots.boundaries,
        {
            f"{right} of 100 right": (
                say,
                X,
                y > 0,
            )
        },
        title="Liu 2.2.2: versicolor (0) and virginica (1)",
        xlabel="length of the petals, cm",
        ylabel="width, cm",
    )
    assert values < 1e-12, f"a loss is {values:.1e} from its formula"
    assert gradient < 1e-12, f"the gradient is {gradient:.1e} from (1.7)"
    assert right >= 90, f"{right} of 100 flowers are right"
    return Result(
        f"losses to {values:.0e}, (1.7) to {gradient:.0e}; {right} of 100 irises right",
        "the formulas hold",
        {"losses": values, "gradient": gradient, "right": right},
    )


def gradient_difference(X: np.ndarray, y: np.ndarray) -> float:
    """The tape's gradient of C(W) from the mean of (1.7), at a W where some margins are below 1."""
    w = np.array([0.3, -0.2])
    weight = nnx.tensor(w, requires_grad=True)
    F.hinge_loss(nnx.tensor(X) @ weight, nnx.tensor(y), squared=True).backward()
    short = y * (X @ w) < 1
    by_hand = ((X @ w - y)[:, None] * X * short[:, None]).mean(axis=0)  # (1.7)
    return float(np.max(np.abs(weight.grad - by_hand)))
