"""A linear classifier of digits, one with hidden layers, and a penalty (Wang 1.1.3-1.2.1)."""

import numpy as np

import nnx
from nnx import datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result
from nnx.train import Penalty

EXPERIMENT = Experiment(
    about="Softmax classifier, with L1 and L2, beside a dense network, on MNIST",
    section="1.1.3, 1.2.1",
    prints="the linear softmax classifier about 90%; dense layers more",
    tolerance="linear 90% to 94%; the dense network at least 2% above it",
    seconds=35,
    quick="10,000 digits for 60,000, 4 epochs for 6; 86% to 94%",
    needs=("mnist",),
)


def run(page: Page) -> Result:
    train, test = datasets.load_mnist()
    count, epochs = (10_000, 4) if page.quick else (60_000, 6)
    learnt = (train.scaled().reshape(-1, 784)[:count], train.labels[:count])
    new = (test.scaled().reshape(-1, 784), test.labels)
    ways = {  # the model, its penalty
        "linear": (nn.Linear(784, 10), None),
        "linear, λ|W|₁": (nn.Linear(784, 10), Penalty(l1=2e-4)),
        "linear, λ|W|²": (nn.Linear(784, 10), Penalty(l2=2 * 5e-4)),  # Penalty has λ/2
        "784-256-10": (nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)), None),
    }
    accuracies, small, templates = {}, {}, {}
    for name, (model, penalty) in ways.items():
        for p in model.parameters():
            if p.ndim == 2 and model is not ways["784-256-10"][0]:
                nn.init.zeros_(p)
        trainer = nnx.Trainer(
            model,
            nn.CrossEntropyLoss(),
            optim.SGD(model.parameters(), lr=0.1),
            metrics=["accuracy"],
            penalty=penalty,
            progress=False,
        )
        history = trainer.fit(learnt, new, epochs=epochs, batch_size=32)
        accuracies[name] = float(history["val_accuracy"][-1])
        if isinstance(model, nn.Linear):
            W = model.weight.detach().numpy()
            small[name] = float(np.mean(np.abs(W) < 1e-3))
            templates[name] = W.reshape(10, 28, 28)
    page.table(
        f"After {epochs} epochs of {count:,} digits",
        ["classifier", "test digits", "weights below 0.001"],
        [[n, f"{a:.2%}", f"{small[n]:.0%}" if n in small else "–"] for n, a in accuracies.items()],
    )
    page.draw(
        "templates",
        plots.mosaic,
        templates,
        title="Wang 1.1.3: the weights of each class (red for, blue against) under penalties",
        columns=[str(d) for d in range(10)],
        signed=True,
    )
    logits = templates["linear"][:, :].reshape(10, 784) @ new[0][0]
    share = np.exp(logits - logits.max())
    page.note(
        f"The outputs read as confidence: the first test digit, a {new[1][0]}, is a "
        f"{share.argmax()} with {share.max() / share.sum():.3f} (without the bias)."
    )
    linear, dense = accuracies["linear"], accuracies["784-256-10"]
    least = 0.86 if page.quick else 0.90
    assert least < linear < 0.94, f"the linear classifier has {linear:.2%}"
    assert dense > linear + (0 if page.quick else 0.02), accuracies
    assert small["linear, λ|W|₁"] > small["linear"], small
    return Result(
        ", ".join(f"{name} {value:.2%}" for name, value in accuracies.items()),
        "the linear one about 90%, the dense one above",
        {"accuracy": accuracies, "small weights": small},
    )
