"""A variational autoencoder on MNIST: samples, and ways between digits (Liu 5.1, II.9-II.10)."""

import numpy as np

import nnx
from nnx import data, datasets, functional, nn, ops, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="A variational autoencoder: reparameterisation, Gaussian KL, samples, interpolation",
    section="5.1, II.9-II.10",
    prints="II.9: 2 (gradients flow through z = μ + σε); II.10: 3, 5",
    tolerance="KL to 1e-10 of the integral; -ELBO below 125 on new digits (185 quick)",
    seconds=100,
    quick="6,000 digits and 4 epochs for 60,000 and 8",
    needs=("mnist",),
)
CODE = 8


class Variational(nn.Module):
    """The encoder says a mean and a log-variance; the decoder, the logits of the pixels."""

    def __init__(self) -> None:
        self.encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 2 * CODE))
        self.decoder = nn.Sequential(nn.Linear(CODE, 400), nn.ReLU(), nn.Linear(400, 784))

    def forward(self, x: nnx.Tensor) -> tuple[nnx.Tensor, nnx.Tensor, nnx.Tensor]:
        stated = self.encoder(x)  # (N, 784) -> (N, 2 CODE)
        mean, log_variance = stated[:, :CODE], stated[:, CODE:]
        noise = nnx.tensor(nnx.random.normal(mean.shape))
        z = mean + ops.exp(0.5 * log_variance) * noise  # the draw is a number: gradients go past it
        return self.decoder(z), mean, log_variance


def gaussian_kl(mean: nnx.Tensor, log_variance: nnx.Tensor) -> nnx.Tensor:
    """KL(N(μ, σ²) | N(0, 1)) = ½ (μ² + σ² - 1 - log σ²), summed over the code: a mean over N."""
    terms = mean * mean + ops.exp(log_variance) - 1.0 - log_variance
    return 0.5 * terms.sum() / mean.shape[0]


def negative_elbo(output: tuple, x: nnx.Tensor) -> nnx.Tensor:
    logits, mean, log_variance = output
    pixels = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / x.shape[0]
    return pixels + gaussian_kl(mean, log_variance)


def run(page: Page) -> Result:
    off = kl_difference()
    train, test = datasets.load_mnist()
    x = train.scaled().reshape(-1, 784)[: 6_000 if page.quick else None]
    new = test.scaled().reshape(-1, 784)
    model = Variational()
    trainer = nnx.Trainer(
        model, negative_elbo, optim.Adam(model.parameters(), lr=2e-3), progress=False
    )
    batches = data.DataLoader((x, x), batch_size=128, shuffle=True, seed=1)
    history = trainer.fit(batches, epochs=4 if page.quick else 8)
    with nnx.no_grad():
        held = nnx.tensor(new[:2000])
        logits, mean, log_variance = model(held)
        kl = gaussian_kl(mean, log_variance).item()
        elbo = negative_elbo((logits, mean, log_variance), held).item()

        def pictures(z: np.ndarray) -> np.ndarray:
            return ops.sigmoid(model.decoder(nnx.tensor(z))).numpy().reshape(-1, 28, 28)

        means = mean.numpy()
        some = [int(np.flatnonzero(test.labels == digit)[0]) for digit in range(10)]
        drawn = pictures(np.asarray(nnx.random.normal((30, CODE))))
        share = np.linspace(0.0, 1.0, 10, dtype=np.float32)[:, None]
        ways = {
            f"{a} to {b}": pictures((1 - share) * means[some[a]] + share * means[some[b]])
            for a, b in ((0, 6), (1, 7), (3, 8), (4, 9))
        }
        again = pictures(means[some])
    page.draw(
        "reconstructions",
        plots.mosaic,
        {"digits": new[some].reshape(-1, 28, 28), "from their means": again},
        title="Liu II.10: new digits through the variational autoencoder",
    )
    page.draw(
        "samples",
        plots.mosaic,
        {"z from N(0, 1)": drawn[:10], " ": drawn[10:20], "  ": drawn[20:]},
        title="Liu II.9-II.10: digits that nobody wrote",
    )
    page.draw(
        "interpolation",
        plots.mosaic,
        ways,
        title="Liu II.10 (5): between two digits, μ* = (1 - α) μ1 + α μ2",
        columns=[f"{a:.1f}" for a in share[:, 0]],
    )
    losses = [row["loss"] for row in history.rows]
    page.draw(
        "loss",
        plots.lines,
        {"": {"-ELBO": (range(1, len(losses) + 1), losses)}},
        title="Liu II.10: -ELBO on the training digits",
        xlabel="epoch",
        ylabel="nats a picture",
        marks="o",
    )
    page.note(
        "II.9: statement 1 holds too (`nnx reproduce liu/exercises-two`).  II.10: the divergence "
        "looks at the encoder's μ and σ alone (3), and draws them to N(0, 1), not to a uniform (4)."
    )
    most = 185 if page.quick else 125
    assert off < 1e-10, f"the Gaussian KL is {off:.1e} from the integral"
    assert elbo < most, f"-ELBO is {elbo:.1f} on new digits"
    return Result(
        f"-ELBO {elbo:.1f} nats a picture on new digits, of which KL {kl:.1f}",
        f"KL to {off:.0e} of the integral",
        {"elbo": elbo, "kl": kl, "history": losses},
    )


def kl_difference() -> float:
    """The formula against the integral of q log(q/p) for one Gaussian."""
    mu, variance = 0.7, 0.3
    z = np.linspace(mu - 12, mu + 12, 200_001)
    log_q = -0.5 * (z - mu) ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)
    log_p = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    integral = float(np.sum(np.exp(log_q) * (log_q - log_p)) * (z[1] - z[0]))
    formula = gaussian_kl(nnx.tensor(np.array([[mu]])), nnx.tensor(np.log([[variance]])))
    return abs(formula.item() - integral)
