"""Autoencoders on MNIST: what a bottleneck of 1 to 16 numbers keeps (Liu 5.1, II.6-II.8)."""

import numpy as np

import nnx
from nnx import data, datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Autoencoders of MNIST with bottlenecks of 1-16, beside PCA; codes, reconstructions",
    section="5.1, II.6-II.8",
    prints="II.8 (2): a larger latent vector reduces the reconstruction loss; II.7: 3, 4, 5",
    tolerance="the test error falls with every size, and is below PCA's of the same size",
    seconds=220,
    quick="4,000 digits and 6 epochs for 60,000 and 5; bottlenecks 2 and 8",
    needs=("mnist",),
)


def autoencoder(code: int) -> nn.Sequential:
    """784-256-64-code-64-256-784; neither the code nor the output is bent."""
    return nn.Sequential(
        nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(),
                      nn.Linear(64, code)),
        nn.Sequential(nn.Linear(code, 64), nn.ReLU(), nn.Linear(64, 256), nn.ReLU(),
                      nn.Linear(256, 784)),
    )  # fmt: skip


def run(page: Page) -> Result:
    train, test = datasets.load_mnist()
    x = train.scaled().reshape(-1, 784)[: 4_000 if page.quick else None]
    new = test.scaled().reshape(-1, 784)[: 2_000 if page.quick else None]
    sizes = (2, 8) if page.quick else (1, 2, 4, 8, 16)
    trained, errors, pca = {}, {}, {}
    for code in sizes:
        model = trained[code] = fit(x, code, 6 if page.quick else 5)
        errors[code] = float(np.mean((rebuilt(model, new) - new) ** 2))
        pca[code] = float(np.mean((components(x, code, new) - new) ** 2))
    page.table(
        "Mean squared error of a pixel on the test digits",
        ["numbers in the code", "autoencoder", "PCA"],
        [[code, errors[code], pca[code]] for code in sizes],
    )
    page.draw(
        "errors",
        plots.lines,
        {"": {"autoencoder": (sizes, list(errors.values())), "PCA": (sizes, list(pca.values()))}},
        title="Liu II.8: the error by the size of the bottleneck",
        xlabel="numbers in the code",
        ylabel="mean squared error on new digits",
        xlog=True,
        marks="o",
    )
    some = [int(np.flatnonzero(test.labels[: len(new)] == digit)[0]) for digit in range(10)]
    rows = {"digits": new[some]}
    for code in sizes:
        rows[f"code of {code}"] = rebuilt(trained[code], new[some])
        if code in (2, 8, 16):
            rows[f"PCA, {code}"] = components(x, code, new[some])
    page.draw(
        "reconstructions",
        plots.mosaic,
        {name: np.clip(row, 0, 1).reshape(-1, 28, 28) for name, row in rows.items()},
        title="Liu II.6-II.8: new digits from their codes",
    )
    with nnx.no_grad():
        codes = trained[2][0](nnx.tensor(new[:2000])).numpy()
    spread = {digit: float(codes[test.labels[:2000] == digit].std()) for digit in (0, 3, 7)}
    page.draw(
        "codes",
        plots.scatter,
        {"": {str(d): codes[test.labels[:2000] == d][:100] for d in (0, 1, 3, 4, 7)}},
        title="Liu II.6: codes of two numbers, by their digits",
        xlabel="first number",
        ylabel="second number",
    )
    page.note(
        "Classes gather without having been told (II.6, 1), but no class has one code (II.6, 4, "
        "which the text calls true): the codes of a digit spread by "
        + ", ".join(f"{s:.1f} ({d})" for d, s in spread.items())
        + ", and between the groups the plane is empty (5)."
    )
    falling = list(errors.values())
    below = [code for code in sizes if errors[code] >= pca[code]]
    assert all(b < a for a, b in zip(falling, falling[1:])), errors  # noqa: B905, RUF007
    assert not below, f"PCA is better with {below}"
    assert min(spread.values()) > 0.1, spread
    return Result(
        ", ".join(f"{code}: {errors[code]:.4f} (PCA {pca[code]:.4f})" for code in sizes),
        "falls with the size; below PCA",
        {"autoencoder": {str(k): v for k, v in errors.items()},
         "pca": {str(k): v for k, v in pca.items()}, "spread": spread},
    )  # fmt: skip


def fit(x: np.ndarray, code: int, epochs: int) -> nn.Sequential:
    """Train without labels: the target is the input."""
    model = autoencoder(code)
    trainer = nnx.Trainer(
        model, nn.MSELoss(), optim.Adam(model.parameters(), lr=2e-3), progress=False
    )
    trainer.fit(data.DataLoader((x, x), batch_size=128, shuffle=True, seed=code), epochs=epochs)
    return model


def rebuilt(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with nnx.no_grad():
        return model(nnx.tensor(x)).numpy()


def components(x: np.ndarray, count: int, new: np.ndarray) -> np.ndarray:
    """`new` through the first principal components of x: the best linear code of that size."""
    mean = x.mean(axis=0)
    covariance = (x - mean).T @ (x - mean)
    _, vectors = np.linalg.eigh(covariance)
    most = vectors[:, -count:]  # (784, count)
    return (new - mean) @ most @ most.T + mean
