"""Polynomials by the same closed form: too few powers, enough, too many (Liu 1.5-1.6)."""

import numpy as np

from nnx import plots
from nnx.linear_model import LinearRegression, PolynomialFeatures, Ridge
from nnx.random import Generator
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Polynomial regression, under-fitted and over-fitted, and what ridge does about it",
    section="1.5-1.6, eq. 1.8",
    prints="f(x) = W*ᵀφ(x), φ(x) = (1, x, ..., xᵐ), with the same closed form",
    tolerance="a cubic found again to 1e-10; the least error on new points between the extremes",
    seconds=1,
)

CUBIC = np.array([0.5, -2.0, 0.3, 1.5])
DEGREES = (1, 3, 12)


def run(page: Page) -> Result:
    draw = Generator(7)
    x = np.linspace(-1.4, 1.4, 15)[:, None]
    exact = np.polynomial.polynomial.polyval(x[:, 0], CUBIC)
    powers = PolynomialFeatures(3)
    found = LinearRegression(fit_intercept=False).fit(powers.fit_transform(x), exact).coef_
    difference = float(np.max(np.abs(found - CUBIC)))

    y = exact + 0.6 * draw.normal((15,), dtype="float64")
    new = draw.uniform((200,), -1.4, 1.4, dtype="float64")[:, None]
    truth = np.polynomial.polynomial.polyval(new[:, 0], CUBIC)
    fine = np.linspace(-1.4, 1.4, 200)[:, None]
    panels, rows, errors = {}, [], {}
    for degree in range(1, 13):
        powers = PolynomialFeatures(degree)
        A = powers.fit_transform(x)
        for name, model in (
            (f"m = {degree}", LinearRegression(fit_intercept=False, tol=1e-12)),
            (f"m = {degree}, ridge", Ridge(alpha=0.05, fit_intercept=False)),
        ):
            model.fit(A, y)
            fit = rms(model.predict(A) - y)
            errors[name] = rms(model.predict(powers.transform(new)) - truth)
            if degree in DEGREES:
                rows.append([name, fit, errors[name]])
                line = model.predict(powers.transform(fine))
                panels[name] = {
                    "points: samples": (x[:, 0], y),
                    "fitted": (fine[:, 0], line),
                    "true": (fine[:, 0], np.polynomial.polynomial.polyval(fine[:, 0], CUBIC)),
                }
    page.table("Root mean square error", ["", "on the samples", "on new points"], rows)
    page.draw(
        "fits",
        plots.lines,
        panels,
        title="Liu 1.5-1.6: polynomials of degree m through 15 noisy samples of a cubic",
        xlabel="x",
        ylabel="y",
        ylim=(-5.0, 6.0),
        across=2,
    )
    assert difference < 1e-10, f"the cubic is {difference:.1e} from the one it was made of"
    assert errors["m = 3"] < errors["m = 1"] and errors["m = 3"] < errors["m = 12"], errors
    assert errors["m = 12, ridge"] < errors["m = 12"], errors
    return Result(
        f"error on new points: m = 1 {errors['m = 1']:.2f}, 3 {errors['m = 3']:.2f}, "
        f"12 {errors['m = 12']:.2f}, 12 with ridge {errors['m = 12, ridge']:.2f}",
        f"the closed form finds a cubic to {difference:.0e}",
        {"difference": difference, "errors": errors},
    )


def rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))
