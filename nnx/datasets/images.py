"""Images of handwritten digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .download import DataFile, locate
from .idx import read_idx
from .types import DataError, Images, TrainTest

_DIGITS = Path(__file__).parent / "digits"

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_SHA256 = {  # of the published archives, and of what is in them
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


def load_digits(split: str = "stratified") -> TrainTest[Images]:
    """1,797 handwritten digits of 8 x 8 pixels with 17 shades, which ship with the package.

    The test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI
    Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49; CC BY 4.0): forms filled
    in by 13 people, scanned at 32 x 32, and the black pixels counted in squares of 4 x 4.

    Args:
        split: which digits are held out as the test part.

            - "stratified": of each class every fifth digit, in the order of the file: 1,442 to
              train on, 355 to test on.  Each writer has digits in both parts.
            - "tail": the last 360 of the file.  Harder by some five points of accuracy: the
              file keeps the order of the forms, so these hands were hardly seen in training.

    Returns:
        Images of shape (N, 8, 8), values 0 to 16.

    Raises:
        ValueError: an unknown split.
    """
    images = read_idx(_DIGITS / "images-idx3-ubyte.gz")
    labels = read_idx(_DIGITS / "labels-idx1-ubyte.gz").astype(np.int64)
    if split == "stratified":
        held_out = np.zeros(len(labels), dtype=bool)
        for digit in range(10):
            held_out[np.nonzero(labels == digit)[0][4::5]] = True
    elif split == "tail":
        held_out = np.arange(len(labels)) >= len(labels) - 360
    else:
        raise ValueError(f'load_digits: split must be "stratified" or "tail", got {split!r}')
    return TrainTest(
        Images(images[~held_out], labels[~held_out], 16),
        Images(images[held_out], labels[held_out], 16),
    )


def load_mnist() -> TrainTest[Images]:
    """MNIST: 60,000 handwritten digits to train on, 10,000 to test on, 28 x 28, values 0 to 255.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86, 1998.  The two parts are the published ones.

    The four IDX files are looked for in NNX_DATA and the user's cache, gzipped or not, and
    downloaded from a public mirror where they are in neither (see `nnx.datasets.download`).

    Raises:
        DataNotFoundError: a file is nowhere and cannot be downloaded; what to put where.
        DataError: a file is truncated, damaged or not the one its name says.
    """
    return TrainTest(_mnist("train"), _mnist("t10k"))


def _mnist(part: str) -> Images:
    images_at, labels_at = (
        locate(DataFile("mnist", name, tuple(m + name for m in _MIRRORS), *_SHA256[name]))
        for name in (f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz")
    )
    images = read_idx(images_at, expect=("uint8", 3))
    labels = read_idx(labels_at, expect=("uint8", 1))
    if len(images) != len(labels):
        raise DataError(
            f"{images_at} has {len(images)} images, but {labels_at} has {len(labels)} labels"
        )
    if labels.size and labels.max() > 9:
        at = int(np.argmax(labels > 9))
        raise DataError(f"{labels_at}: label {at} is {labels[at]}, but labels are 0 to 9")
    return Images(images, labels.astype(np.int64), 255)
