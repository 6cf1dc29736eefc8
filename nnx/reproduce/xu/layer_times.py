"""Where the time of a naive forward pass goes, and what slices and columns save (Xu 5.2)."""

import time
from collections.abc import Callable

import numpy as np

from nnx import plots, reference
from nnx.random import Generator
from nnx.reference.conv import bordered
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="The naive network timed by layer; padding, pooling and convolution beside faster ones",
    section="5.2, table 5.1, fig. 5.1",
    prints="convolutions 53.22% and 34.85%, pooling 7.95% and 3.83%, dense 0.01%; padding 20 times "
    "as fast by slices, pooling 2.7, convolution by columns 4.2",
    tolerance="the ways agree to 1e-4; the convolutions take more than half",
    seconds=40,
    quick="half of the kernels",
)


def run(page: Page) -> Result:
    draw = Generator(9)
    part = 2 if page.quick else 1
    c1, c2 = 32 // part, 64 // part

    def numbers(*shape: int) -> np.ndarray:
        return draw.normal(shape)

    x = numbers(1, 1, 28, 28)
    w1, w2 = numbers(c1, 1, 5, 5), numbers(c2, c1, 5, 5) / 10
    w3, w4 = numbers(49 * c2, 512) / 50, numbers(512, 10) / 20
    layers, took = [], []

    def layer(name: str, call: Callable[[], np.ndarray]) -> np.ndarray:
        seconds, y = timed(call)
        layers.append(name)
        took.append(seconds)
        return y

    one, two = (1, 1), ((2, 2), (2, 2))
    zero1, zero2 = np.zeros(c1, np.float32), np.zeros(c2, np.float32)
    y1 = layer(f"conv 5x5x{c1}", lambda: reference.conv2d(x, w1, zero1, one, two))
    p1 = layer("max-pool 2x2", lambda: reference.max_pool2d(np.maximum(y1, 0), (2, 2), (2, 2))[0])
    y2 = layer(f"conv 5x5x{c2}", lambda: reference.conv2d(p1, w2, zero2, one, two))
    p2 = layer("max-pool 2x2 ", lambda: reference.max_pool2d(np.maximum(y2, 0), (2, 2), (2, 2))[0])
    h = layer("dense 512", lambda: np.maximum(p2.reshape(1, -1) @ w3, 0))
    layer("dense 10, softmax", lambda: np.exp(h @ w4))
    shares = [t / sum(took) for t in took]
    page.table(
        "The forward pass of one picture by definitions in loops",
        ["layer", "ms", "share"],
        [[n, t * 1000, f"{s:.2%}"] for n, t, s in zip(layers, took, shares, strict=True)],
    )
    page.draw("shares", bars, layers, shares, title="Xu fig. 5.1: shares of a naive forward pass")

    batch, w = numbers(8, c1, 14, 14), w2
    rows, worst = [], 0.0
    for name, printed, slow, fast in (
        ("padding: np.pad, slices", 20, lambda: np.pad(batch, ((0, 0), (0, 0), (2, 2), (2, 2))),
         lambda: bordered(batch, 2)),
        ("pooling: loops, windows in rows", 2.7,
         lambda: reference.max_pool2d(batch, (2, 2), (2, 2))[0],
         lambda: reference.max_pool2d_columns(batch, 2)[0]),
        ("convolution: windows one by one, columns", 4.2,
         lambda: reference.conv2d_sliced(batch, w, zero2, 2),
         lambda: reference.conv2d_columns(batch, w, zero2, 2)),
    ):  # fmt: skip
        (a, ya), (b, yb) = timed(slow), timed(fast)
        worst = max(worst, float(np.max(np.abs(np.asarray(ya) - np.asarray(yb)))))
        rows.append([name, printed, a / b])
    page.table("How many times as fast", ["what", "the book", "here"], rows)
    page.note(
        "The shares depend on what the loops are over; the book's listing multiplies a window with "
        "a kernel at once, as the definition here does.  nnx computes with none of these: `nnx "
        "bench conv` times what it does."
    )
    convolutions = sum(s for n, s in zip(layers, shares, strict=True) if n.startswith("conv"))
    dense = sum(s for n, s in zip(layers, shares, strict=True) if n.startswith("dense"))
    assert worst < 1e-4, f"two ways differ by {worst:.1e}"
    assert convolutions > 0.5 > 0.05 > dense, f"convolutions {convolutions:.1%}, dense {dense:.1%}"
    return Result(
        f"convolutions {shares[0]:.1%} and {shares[2]:.1%}, pooling {shares[1]:.2%} and "
        f"{shares[3]:.2%}, dense {dense:.2%}; "
        + ", ".join(f"{row[0].partition(':')[0]} {row[2]:.1f} times" for row in rows),
        f"the ways agree to {worst:.0e}; convolutions take most",
        {"shares": dict(zip(layers, shares, strict=True)), "ratios": {r[0]: r[2] for r in rows}},
    )


def timed(call: Callable[[], object]) -> tuple[float, object]:
    """The least of three times (of one, where it takes long), and what came out."""
    times = []
    while len(times) < 3 and (not times or times[0] < 2.0):
        start = time.process_time()
        result = call()
        times.append(max(time.process_time() - start, 1e-7))
    return min(times), result


def bars(names: list[str], shares: list[float], path: object, title: str) -> None:
    drawn = plots.figure(7.0, 3.6)
    axes = drawn.subplots()
    axes.barh(names[::-1], shares[::-1], color=plots.COLOURS[0])
    axes.set_xlabel("share of the time")
    axes.set_ylabel("layer")
    drawn.suptitle(title, fontsize=11)
    plots.save_figure(drawn, path)
