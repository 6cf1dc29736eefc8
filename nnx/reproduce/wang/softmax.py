"""The softmax beside the max, cross-entropy, and networks drawn (Wang 1.1.2-1.2)."""

import numpy as np

import nnx
from nnx import data, datasets, ops, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Softmax beside max, cross-entropy of two distributions, digits and networks drawn",
    section="1.1.3, 1.1.2, 1.2, fig. 1.3-1.10",
    prints="softmax makes the largest larger and the small near 0; max makes them 1 and 0",
    tolerance="sums of 1 to 1e-12; softmax(k z) within 1e-6 of max for k = 30",
    seconds=2,
    needs=("mnist",),
)

Z = np.array([0.3, -1.2, 2.0, 0.9, -0.4, 1.4, -2.0, 0.1, 0.7, -0.9])


def run(page: Page) -> Result:
    soft = ops.softmax(nnx.tensor(Z)).numpy()
    hard = data.one_hot(np.array([Z.argmax()]), 10)[0]
    limits = {k: ops.softmax(nnx.tensor(k * Z)).numpy() for k in (1, 3, 30)}
    page.draw("softmax", bars, {"z": Z, "softmax(z)": soft, "max(z)": hard},
              title="Wang fig. 1.4, 1.5: softmax and max of ten numbers")  # fmt: skip

    # 1.1.2: H(p, q) = -Σ p ln q is least where q = p.
    p = np.array([0.7, 0.2, 0.1])
    share = np.linspace(0.0, 0.999, 200)
    q = (1 - share)[:, None] * p + share[:, None] * p[::-1]  # from p to its mirror image
    H = -(p * np.log(q)).sum(axis=1)
    by_ops = ops.kl_div(nnx.tensor(np.log(q)), nnx.tensor(np.tile(p, (200, 1))), reduction="none")
    entropy = -(p * np.log(p)).sum()
    apart = float(np.max(np.abs(by_ops.numpy().sum(axis=1) + entropy - H)))
    page.draw(
        "entropy",
        plots.lines,
        {"": {"H(p, q)": (share, H), "H(p, p)": (share, np.full(200, entropy))}},
        title="Wang 1.1.2: cross-entropy while q goes from p away",
        xlabel="share of p's mirror image in q, p = (0.7, 0.2, 0.1)",
        ylabel="H(p, q)",
    )
    page.note(
        "The text says: the closer two distributions, the larger their cross-entropy.  It is the "
        f"other way round: {H[0]:.3f} at q = p, {H[-1]:.3f} at its mirror image."
    )
    train, _ = datasets.load_mnist()
    digits, labels = train.scaled(), train.labels
    page.draw(
        "digits",
        plots.mosaic,
        {str(d): digits[labels == d][:12] for d in range(10)},
        title="Wang fig. 1.3: pictures of MNIST",
    )
    page.draw("layer", plots.network, (4, 5), title="Wang fig. 1.6, 1.7: one dense layer")
    page.draw("mlp", plots.network, (4, 5, 5, 3), title="Wang fig. 1.8: three dense layers")
    page.note(
        "Fig. 1.10's network is `nnx train mnist-cnn`, the linear one `nnx train mnist-softmax`, "
        "the dense one `nnx train mnist-mlp`; fig. 1.9 stands over the caption of fig. 1.8."
    )
    total = abs(float(soft.sum()) - 1.0)
    limit = float(np.max(np.abs(limits[30] - hard)))
    assert total < 1e-12 and np.all(soft > 0), soft
    assert limit < 1e-6, f"softmax(30 z) is {limit:.1e} from max"
    assert np.all(np.diff(H) > 0) and apart < 1e-12, (H[0], H[-1], apart)
    return Result(
        f"2.0 of ten numbers becomes {soft.max():.3f}, with 3z {limits[3].max():.3f}, with 30z 1",
        f"softmax(30z) is max to {limit:.0e}; cross-entropy grows with the distance",
        {"softmax": soft.tolist(), "limit": limit, "entropy": [float(H[0]), float(H[-1])]},
    )


def bars(panels: dict, path: object, title: str) -> None:
    """Bars of ten numbers, a panel for each function."""
    drawn = plots.figure(8.4, 3.0)
    grid = drawn.subplots(1, len(panels))
    for k, (axes, (name, values)) in enumerate(zip(grid, panels.items(), strict=True)):
        axes.bar(np.arange(len(values)), values, color=plots.COLOURS[k])
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("element")
        axes.set_xticks(np.arange(len(values)))
    grid[0].set_ylabel("value")
    drawn.suptitle(title, fontsize=11)
    plots.save_figure(drawn, path)
