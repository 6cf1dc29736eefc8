"""Two remedies for deep sigmoid networks: training layer by layer, early losses (notes 4.3.2)."""

import numpy as np

import nnx
from nnx import data, datasets, nn, optim, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Six sigmoid layers: plain, layer by layer without labels first, with early losses",
    section="4.3.2",
    prints="both ease vanishing gradients: pre-training by layers, losses on shallow layers",
    tolerance="pre-trained at least 15% above plain; early losses 100 times the first gradient",
    seconds=8,
    quick="12 epochs for 20",
)

WIDTH, LAYERS = 48, 6
WAYS: dict[str, tuple[int, ...]] = {  # and the layers, from 0, with a head of their own
    "plain": (),
    "layer by layer first": (),
    "losses on layers 1 and 3": (0, 2),
}


def run(page: Page) -> Result:
    train, test = datasets.load_digits()
    x, t = train.scaled().reshape(-1, 64), train.labels
    new = (test.scaled().reshape(-1, 64), test.labels)
    epochs = 12 if page.quick else 20
    curves, norms = {}, {}
    for name, early in WAYS.items():
        nnx.manual_seed(page.seed)
        dense = [nn.Linear(WIDTH if k else 64, WIDTH) for k in range(LAYERS)]
        for layer in dense:
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        if name == "layer by layer first":
            pretrain(dense, x, epochs)
        model = Deep(dense, early)
        norms[name] = gradients(model, x[:256], t[:256])
        accuracies = learn(model, x, t, new, epochs)  # of each head
        curves[name] = accuracies[:, 0]
        if early:
            curves["the same, its head on layer 1"] = accuracies[:, 1]
    page.draw(
        "gradients",
        plots.lines,
        {"": {name: (np.arange(1, LAYERS + 1), values) for name, values in norms.items()}},
        title=f"Lecture notes 4.3.2: gradients of {LAYERS} sigmoid layers before training",
        xlabel="layer",
        ylabel="|∂L/∂W|",
        ylog=True,
        marks="o",
    )
    page.draw(
        "accuracy",
        plots.lines,
        {"": {name: (np.arange(1, epochs + 1), y) for name, y in curves.items()}},
        title=f"Lecture notes 4.3.2: {LAYERS} sigmoid layers, and two remedies",
        xlabel="epoch",
        ylabel="test accuracy",
        ylim=(0.0, 1.0),
    )
    last = {name: float(y[-1]) for name, y in curves.items()}
    plain, first, losses, head = last.values()
    more = norms["losses on layers 1 and 3"][0] / norms["plain"][0]
    page.table(
        "Test digits classified right at the end", ["network", "accuracy"],
        [[name, f"{value:.1%}"] for name, value in last.items()],
    )  # fmt: skip
    page.note(
        "Layer by layer: each learns, without labels, to give back its input through a second one "
        "that is then thrown away (an autoencoder; Hinton's of 2006 are Boltzmann machines).  "
        "Early losses: a head of its own on layers 1 and 3, as GoogLeNet has on two of its layers."
    )
    page.note(
        "Early losses bring the gradient to the first layers, and a head there learns at once; "
        "what lies above has its six sigmoids all the same, and gains little here."
    )
    assert first > plain + 0.15, last
    assert more > 100 and head > plain + 0.3, (more, last)
    return Result(
        f"plain {plain:.1%}, layer by layer first {first:.1%}; early losses: {more:,.0f} times "
        f"the gradient in layer 1, {head:.1%} by its head, {losses:.1%} by the last",
        "the first remedy helps; the second helps the early layers",
        {**last, "gradients": {name: list(map(float, y)) for name, y in norms.items()}},
    )


class Deep(nn.Module):
    """Sigmoid layers and a head; further heads on some of the layers."""

    def __init__(self, dense: list[nn.Linear], early: tuple[int, ...]) -> None:
        super().__init__()
        self.dense = nn.ModuleList(dense)
        self.heads = nn.ModuleList([nn.Linear(WIDTH, 10) for _ in early])
        self.head = nn.Linear(WIDTH, 10)
        self.early = early

    def forward(self, x: nnx.Tensor) -> list[nnx.Tensor]:
        """The scores of the head, and those of the early ones."""
        outputs = []
        for layer in self.dense:
            x = nnx.sigmoid(layer(x))
            outputs.append(x)
        early = [h(outputs[k]) for h, k in zip(self.heads, self.early, strict=True)]
        return [self.head(x), *early]


def pretrain(dense: list[nn.Linear], x: np.ndarray, epochs: int) -> None:
    """Each layer by itself: give back what goes in."""
    for layer in dense:
        back = nn.Linear(WIDTH, layer.weight.shape[1])
        optimizer = optim.Adam([*layer.parameters(), *back.parameters()], lr=0.003)
        for (batch,) in (b for k in range(epochs) for b in batches(k, x)):
            optimizer.zero_grad()
            again = back(nnx.sigmoid(layer(batch)))
            nn.MSELoss()(again, batch).backward()
            optimizer.step()
        with nnx.no_grad():
            x = nnx.sigmoid(layer(nnx.tensor(x))).numpy()


def whole_loss(model: Deep, x: object, t: object) -> nnx.Tensor:
    """The head's loss, and 0.3 times each early one's."""
    final, *early = (nn.CrossEntropyLoss()(scores, t) for scores in model(x))
    return sum((0.3 * loss for loss in early), final)


def gradients(model: Deep, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """|∂L/∂W| of each layer."""
    whole_loss(model, nnx.tensor(x), nnx.tensor(t)).backward()
    norms = [float(np.linalg.norm(layer.weight.grad)) for layer in model.dense]
    model.zero_grad()
    return np.array(norms)


def learn(model: Deep, x: np.ndarray, t: np.ndarray, new: tuple, epochs: int) -> np.ndarray:
    """The test accuracy of each head after each epoch, (epochs, heads)."""
    optimizer, shown = optim.Adam(model.parameters(), lr=0.001), []
    for epoch in range(epochs):
        for images, labels in batches(epoch, x, t):
            optimizer.zero_grad()
            whole_loss(model, images, labels).backward()
            optimizer.step()
        with nnx.no_grad():
            said = [scores.numpy().argmax(axis=1) for scores in model(nnx.tensor(new[0]))]
        shown.append([float(np.mean(s == new[1])) for s in said])
    return np.array(shown)


def batches(seed: int, *arrays: np.ndarray) -> data.DataLoader:
    return data.DataLoader(arrays, batch_size=32, shuffle=True, seed=seed)
