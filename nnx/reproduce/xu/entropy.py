"""Entropy in bits, cross-entropy, and that neither it nor KL is a distance (Xu 2.3-2.6)."""

import math

import numpy as np

import nnx
from nnx import functional as F
from nnx import ops, plots
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Entropy of drawing balls, cross-entropy in bits and nats, softmax of an example",
    section="2.2-2.7, eq. 2.1-2.14",
    prints="z = (62, 66), p = (0.02, 0.98); entropies 0 and 1 bit; KL is not symmetric",
    tolerance="1e-12",
    seconds=1,
)


def entropy(p: np.ndarray) -> float:
    """H(P) = -Σ p log2 p in bits (2.8): the cross-entropy of a distribution with itself."""
    return cross_entropy(p, p)


def cross_entropy(p: np.ndarray, q: np.ndarray) -> float:
    """H(p, q) = -Σ p log2 q (2.12), by the loss on logits log q, whose softmax is q."""
    logits = nnx.tensor(np.log(np.maximum(q, 1e-300))[None])
    return F.cross_entropy(logits, nnx.tensor(p[None])).item() / math.log(2)


def run(page: Page) -> Result:
    whites = np.linspace(0.0, 1.0, 101)
    bits = [entropy(np.array([w, 1 - w])) for w in whites]
    page.draw(
        "entropy",
        plots.lines,
        {"": {"H(P)": (whites, bits)}},
        title="Xu 2.6.1: the entropy of drawing a ball from white and red ones",
        xlabel="share of white balls",
        ylabel="bits",
    )
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.4, 0.3, 0.3])
    there, back = kl(p, q), kl(q, p)
    x, W = np.array([[1.0, 2.0]]), np.array([[2.0, 6.0], [30.0, 30.0]])  # (2.1): z = x W
    z = nnx.tensor(x) @ nnx.tensor(W)
    probabilities = ops.softmax(z, axis=1).numpy()[0]
    page.table(
        "p = (0.7, 0.2, 0.1), q = (0.4, 0.3, 0.3)",
        ["what", "bits", "nats"],
        [[name, v, v * math.log(2)] for name, v in (
            ("H(p)", entropy(p)), ("H(p, q)", cross_entropy(p, q)),
            ("KL(p, q) = H(p, q) - H(p)", there), ("KL(q, p)", back))],
    )  # fmt: skip
    page.note(
        "The logarithm's base only scales the loss (2.6.2).  The book clips p at 1e-10, so its "
        "loss never exceeds 23.03; nnx's of logits is exact: of logits (0, 100) and class "
        f"0 it is {F.cross_entropy(nnx.tensor([[0.0, 100.0]]), nnx.tensor([0])).item():.0f}."
    )
    off = max(
        abs(bits[0]), abs(bits[-1]), abs(bits[50] - 1.0),
        abs(cross_entropy(p, q) - float(-(p * np.log2(q)).sum())),
        abs(there - (cross_entropy(p, q) - entropy(p))),
    )  # fmt: skip
    assert off < 1e-12, f"an entropy is off by {off:.1e}"
    assert z.numpy().tolist() == [[62.0, 66.0]] and np.allclose(
        probabilities, (0.02, 0.98), atol=5e-3
    )
    assert abs(there - back) > 0.01
    return Result(
        f"z = (62, 66), p = ({probabilities[0]:.3f}, {probabilities[1]:.3f}); H = 0 and 1 bit; "
        f"KL {there:.3f} and {back:.3f} bits",
        f"to {off:.0e}",
        {"off": off, "kl": [there, back], "p": probabilities},
    )


def kl(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p | q) in bits, by nnx's divergence, which takes log q and sums over classes."""
    total = F.kl_div(nnx.tensor(np.log(q)[None]), nnx.tensor(p[None]), reduction="batchmean")
    return total.item() / math.log(2)
