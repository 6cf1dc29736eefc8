"""Why there are hidden layers, and why they bend: XOR and two moons (Xu 3.1-3.6)."""

import numpy as np

import nnx
from nnx import nn, optim, plots
from nnx.random import Generator
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="XOR clusters and two moons: no layer, a hidden layer, a hidden layer with ReLU",
    section="3.1-3.6, fig. 3.2, 3.5",
    prints="a plane cannot separate XOR; a hidden layer can; without an activation it stays linear",
    tolerance="linear models below 95%, the hidden layer with ReLU at least 99%",
    seconds=6,
    quick="the same",
)


def clusters() -> tuple[np.ndarray, np.ndarray]:
    """Four groups of points around the corners of a square, opposite ones of a class."""
    draw = Generator(1)
    corners = np.array([[0, 0], [1, 1], [0, 1], [1, 0]], float)
    points = np.repeat(corners, 40, axis=0) + 0.13 * draw.normal((160, 2), dtype="float64")
    return points.astype(np.float32), np.repeat([0, 0, 1, 1], 40)


def moons() -> tuple[np.ndarray, np.ndarray]:
    """Two half circles that hold each other."""
    draw = Generator(2)
    angle = draw.uniform((160,), 0.0, np.pi, dtype="float64")
    side = np.repeat([0, 1], 80)
    x = np.where(side == 0, np.cos(angle), 1 - np.cos(angle))
    y = np.where(side == 0, np.sin(angle), 0.5 - np.sin(angle))
    points = np.stack([x, y], axis=1) + 0.1 * draw.normal((160, 2), dtype="float64")
    return points.astype(np.float32), side


MODELS = {
    "no hidden layer": lambda: nn.Linear(2, 2),
    "16 hidden units, linear": lambda: nn.Sequential(nn.Linear(2, 16), nn.Linear(16, 2)),
    "16 hidden units, ReLU": lambda: nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2)),
}


def run(page: Page) -> Result:
    panels, rows, shares = {}, [], {}
    for problem, (points, classes) in {"XOR": clusters(), "moons": moons()}.items():
        row = [problem]
        for name, make in MODELS.items():
            model = train(make(), points, classes)
            share = float(np.mean(classify(model, points) == classes))
            shares[problem, name] = share
            row.append(f"{share:.1%}")
            panels[f"{problem}, {name}: {share:.0%}"] = (
                lambda p, model=model: classify(model, p), points, classes)  # fmt: skip
        rows.append(row)
    page.table("Points on their side", ["", *MODELS], rows)
    page.draw(
        "borders",
        plots.boundaries,
        panels,
        title="Xu fig. 3.2, 3.5: what each network makes of XOR and of two moons",
    )
    page.note(
        "The text to fig. 3.3 counts 19 nodes and 78 edges for 8-6-6; those are 8-6-5's: "
        f"8·6 + 6·5 = {8 * 6 + 6 * 5}.  784-10 has {784 * 10 + 10:,} parameters and 784-512-10 "
        f"{784 * 512 + 512 + 512 * 10 + 10:,}, as 3.2 says (table 6.1 prints 407060)."
    )
    linear = max(v for (_, name), v in shares.items() if "ReLU" not in name)
    bent = min(v for (_, name), v in shares.items() if "ReLU" in name)
    assert linear < 0.95, f"a linear model has {linear:.1%}"
    assert bent >= 0.99, f"the hidden layer with ReLU has {bent:.1%}"
    return Result(
        "; ".join(f"{row[0]} {row[1]}, {row[2]}, {row[3]}" for row in rows),
        "as the text says",
        {f"{problem}, {name}": share for (problem, name), share in shares.items()},
    )


def train(model: nn.Module, points: np.ndarray, classes: np.ndarray) -> nn.Module:
    trainer = nnx.Trainer(
        model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.02), progress=False
    )
    trainer.fit((points, classes), epochs=150, batch_size=40)
    return model


def classify(model: nn.Module, points: np.ndarray) -> np.ndarray:
    with nnx.no_grad():
        return model(nnx.tensor(points.astype(np.float32))).numpy().argmax(axis=1)
