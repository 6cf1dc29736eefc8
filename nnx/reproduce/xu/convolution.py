"""Sizes of convolutions, and which kind of convolution is associative (Xu 4.2, 5.2.3)."""

import numpy as np

import nnx
from nnx import functional as F
from nnx import nn
from nnx.random import Generator
from nnx.reproduce import Experiment, Page, Result

EXPERIMENT = Experiment(
    about="Padding and output sizes by building the layers; convolution against correlation",
    section="4.2.1, 5.2.3, eq. 4.1-4.8",
    prints="5 outputs; paddings 0 and 1; 227, 11, stride 4: 55, columns 363 x 3025",
    tolerance="exactly; associative to 1e-12",
    seconds=3,
)


def run(page: Page) -> Result:
    rows = []
    # (4.2): input, kernel, padding, stride -> output, as the layers have it.
    for size, kernel, padding, stride in (
        (9, 3, 1, 2), (227, 11, 0, 4), (227, 11, 0, 2), (28, 5, 2, 1)):  # fmt: skip
        rows.append([size, kernel, padding, stride, outputs(size, kernel, padding, stride)])
    page.table("Output sizes", ["input", "kernel", "padding", "stride", "output"], rows)
    paddings = {(7, 5, 3): padding_for(7, 5, 3), (3, 4, 2): padding_for(3, 4, 2)}
    # 5.2.3: 11 x 11 x 3 numbers of a window in each of 55 x 55 places.
    columns = (11 * 11 * 3, 55 * 55)

    draw = Generator(4)
    f, g, h = (nnx.tensor(draw.normal((1, 1, n, n), dtype="float64")) for n in (8, 3, 4))
    left, right = convolve(convolve(f, g), h), convolve(f, convolve(g, h))
    associative = float(np.max(np.abs((left - right).numpy())))
    left, right = correlate(correlate(f, g), h), correlate(f, correlate(g, h))
    not_so = float(np.max(np.abs((left - right).numpy())))
    page.note(
        'A layer\'s "convolution" is a correlation: the kernel is not turned.  Turned, it is '
        f"associative (4.5-4.8), to {associative:.0e} here; as it stands, off by {not_so:.1f}."
    )
    page.note(
        "Slips: (4.1) divides by the stride where the code of 4.4.2 multiplies by it; the second "
        "example of (4.2) prints stride 2 for 227 and 11, which gives 109; 55 is stride 4's, as in "
        "5.2.3."
    )
    sizes = [row[-1] for row in rows]
    assert sizes == [5, 55, 109, 28], sizes
    assert list(paddings.values()) == [0, 1], paddings
    assert columns == (363, 3025)
    assert associative < 1e-12 < 0.1 < not_so
    return Result(
        "5, 55 (stride 4), 109 (stride 2); paddings 0 and 1; 363 x 3025",
        f"exactly; associative to {associative:.0e}",
        {"sizes": sizes, "associative": associative, "correlation": not_so},
    )


def outputs(size: int, kernel: int, padding: int, stride: int) -> int:
    layer = nn.Conv2d(1, 1, kernel, padding=padding, stride=stride)
    return int(layer(nnx.tensor(np.zeros((1, 1, size, size), np.float32))).shape[-1])


def padding_for(size: int, wanted: int, kernel: int) -> int:
    """The padding that makes this many outputs of that many inputs, at stride 1 (4.1)."""
    return next(p for p in range(kernel + 1) if outputs(size, kernel, p, 1) == wanted)


def convolve(x: nnx.Tensor, kernel: nnx.Tensor) -> nnx.Tensor:
    """The mathematicians' convolution, wherever the two overlap: the kernel is turned."""
    return correlate(x, nnx.flip(kernel, axis=(2, 3)))


def correlate(x: nnx.Tensor, kernel: nnx.Tensor) -> nnx.Tensor:
    return F.conv2d(x, kernel, padding=int(kernel.shape[-1]) - 1)
