"""Inputs made alike before learning: normalised, and whitened (Saito 2, summary)."""

import numpy as np

import nnx
from nnx import datasets, nn, optim, plots
from nnx.data import standardize
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="The pixels of the small digits as they are, standardised, and whitened",
    section="2, summary",
    prints="normalisation limits the values to a range; whitening makes their distribution even",
    tolerance="covariances to 1e-10: 1 on the diagonal, and the identity",
    seconds=3,
)


def run(page: Page) -> Result:
    train, test = datasets.load_digits()
    x, t = (part.images.reshape(-1, 64).astype(np.float64) for part in (train, test))
    varies = x.std(axis=0) > 0.05 * x.std()  # the corners are nearly always empty
    x, t = x[:, varies], t[:, varies]
    scaling = standardize(x)

    # Whitening: along the axes of the covariance C = U Λ Uᵀ, each made as wide as the others;
    # U on the left turns them back, so that a pixel stays near its place (ZCA).
    mean = x.mean(axis=0)
    widths, U = np.linalg.eigh(np.cov(x.T, bias=True))
    W = U @ np.diag(1 / np.sqrt(widths)) @ U.T

    ways = {
        "as they are, 0 to 16": (x, t),
        "standardised": (scaling(x, dtype="float64"), scaling(t, dtype="float64")),
        "whitened": ((x - mean) @ W, (t - mean) @ W),
    }
    curves, rows, covariances = {}, [], {}
    for name, (learnt, new) in ways.items():
        covariances[name] = np.cov(learnt.T, bias=True)
        spread = np.linalg.eigvalsh(covariances[name])
        nnx.manual_seed(page.seed)
        model = nn.Linear(learnt.shape[1], 10)
        trainer = nnx.Trainer(
            model,
            nn.CrossEntropyLoss(),
            optim.SGD(model.parameters(), lr=0.01),
            metrics=["accuracy"],
            progress=False,
        )
        history = trainer.fit(
            (learnt.astype(np.float32), train.labels), (new.astype(np.float32), test.labels),
            epochs=8, batch_size=32,
        )  # fmt: skip
        curves[name] = (np.arange(1, 9), history["loss"])
        rows.append([name, float(spread[-1] / spread[0]), f"{history['val_accuracy'][-1]:.1%}"])
    page.table(
        "Softmax regression, 8 epochs",
        ["inputs", "widest over narrowest direction", "test digits"],
        rows,
    )
    page.draw(
        "covariance",
        plots.mosaic,
        {"": np.stack([c / np.abs(c).max() for c in covariances.values()])},
        title="Saito 2: covariances of the pixels",
        columns=[name.partition(",")[0] for name in ways],
        signed=True,
    )
    page.draw(
        "loss",
        plots.lines,
        {"": curves},
        title="Saito 2: the loss of softmax regression by its inputs, one rate",
        xlabel="epoch",
        ylabel="cross-entropy",
    )
    page.note(
        "Whitening makes narrow directions, mostly noise, as wide as the others: all are learnt at "
        "one pace, but what was small counts for more on new digits."
    )
    diagonal = float(np.max(np.abs(np.diag(covariances["standardised"]) - 1)))
    identity = float(np.max(np.abs(covariances["whitened"] - np.eye(len(W)))))
    assert diagonal < 1e-10, f"a standardised pixel's variance is {diagonal:.1e} from 1"
    assert identity < 1e-10, f"the whitened covariance is {identity:.1e} from the identity"
    return Result(
        f"variances 1 to {diagonal:.0e}; whitened covariance the identity to {identity:.0e}; "
        + ", ".join(f"{name.partition(',')[0]} {right}" for name, _, right in rows),
        "as the text says",
        {"diagonal": diagonal, "identity": identity, "rows": rows},
    )
