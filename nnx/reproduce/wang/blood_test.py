"""Is the blood test of an ill person?  Logistic regression with a penalty (Wang 1.1.2)."""

import warnings

import numpy as np

from nnx import plots
from nnx.data import standardize
from nnx.linear_model import LogisticRegression
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Logistic regression on 569 patients, 30 values each; weights over the L2 penalty",
    section="1.1.2, fig. 1.1-1.2",
    prints="min L(w, b) + λ|w|²; the output is a confidence, such as 0.9 or 0.05",
    tolerance="equal to scikit-learn's weights to 1e-6; at least 97% of all patients right",
    seconds=3,
    quick="the same",
    needs=("sklearn",),
)

LAMBDAS = np.geomspace(1e-5, 1.0, 21)  # of λ|w|² beside the mean of the losses


def run(page: Page) -> Result:
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression as Reference

    data = load_breast_cancer()
    X = standardize(data.data)(data.data, dtype="float64")
    y = 1 - data.target  # 1: malignant
    n = len(y)
    paths, largest = [], 0.0
    for weight in LAMBDAS:
        C = 1 / (2 * n * weight)
        model = LogisticRegression(C=C).fit(X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference = Reference(C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(X, y)
        difference = np.max(np.abs(model.coef_ - reference.coef_))
        largest = max(largest, float(difference / max(1.0, np.max(np.abs(reference.coef_)))))
        paths.append(model.coef_[0])
    curves = {
        str(data.feature_names[k]): (LAMBDAS, np.array(paths)[:, k]) for k in strongest(paths)
    }
    page.draw(
        "weights",
        plots.lines,
        {"": curves},
        title="Wang 1.1.2: the eight largest weights under the penalty λ|w|²",
        xlabel="λ",
        ylabel="weight",
        xlog=True,
    )
    model = LogisticRegression(C=1 / (2 * n * 1e-3)).fit(X, y)
    confidence = model.predict_proba(X)[:, 1]
    right = float(np.mean((confidence > 0.5) == y))
    page.draw(
        "confidence",
        plots.histograms,
        {"patients": [confidence[y == 1], confidence[y == 0]]},
        title="Wang 1.1.2: how sure it is, λ = 0.001",
        columns=("ill", "healthy"),
        xlabel="confidence ŷ",
        span=(0.0, 1.0),
    )
    z = np.linspace(-8, 8, 161)
    page.draw(
        "sigmoid",
        plots.lines,
        {"": {"": (z, 1 / (1 + np.exp(-z)))}},
        title="Wang fig. 1.2: the sigmoid",
        xlabel="z",
        ylabel="sigmoid(z)",
    )
    page.draw(
        "classifier",
        plots.network,
        (4, 1),
        title="Wang fig. 1.1: the linear sigmoid classifier",
        names=(("x1", "x2", "...", "xd"), ("ŷ",)),
    )
    page.note(
        "The data are scikit-learn's breast-cancer data, measured in cells, in the place of the "
        "blood tests, which the text only describes.  Wang's λ|w|² is C = 1/(2nλ) here."
    )
    assert largest < 1e-6, f"the weights are {largest:.1e} from scikit-learn's"
    assert right >= 0.97, f"{right:.1%} of the patients are right"
    return Result(
        f"{right:.1%} of the patients right; {len(LAMBDAS)} fits within {largest:.0e} of "
        "scikit-learn's",
        "equal to scikit-learn to 1e-6",
        {"right": right, "largest": largest},
    )


def strongest(paths: list[np.ndarray]) -> np.ndarray:
    """Which eight weights are the largest anywhere on the paths."""
    return np.argsort(-np.max(np.abs(paths), axis=0))[:8]
