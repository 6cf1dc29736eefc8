"""What the loaders return: plain NumPy arrays and lists under the names of their field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from ..io import CorruptFile
from ..typing import Array

Part = TypeVar("Part")


DataError = CorruptFile  # what the readers of data raise: one kind of fault, one class


@dataclass(frozen=True)
class TrainTest(Generic[Part]):
    """A data set in two parts, always the same two; `train, test = load_digits()` works too."""

    train: Part
    test: Part

    def __iter__(self) -> Iterator[Part]:
        return iter((self.train, self.test))


@dataclass(frozen=True)
class Images:
    """Grey images and their classes.

    Attributes:
        images: (N, H, W), uint8, from 0 (paper) to `maximum` (ink).
        labels: (N,), int64.
        maximum: the largest value a pixel can have.
    """

    images: Array
    labels: Array
    maximum: int

    def __len__(self) -> int:
        return len(self.labels)

    def scaled(self) -> Array:
        """The images as float32 (N, H, W) from 0 to 1."""
        return self.images.astype(np.float32) / np.float32(self.maximum)

    def __repr__(self) -> str:
        return f"Images(images={_summary(self.images)}, labels={_summary(self.labels)})"


@dataclass(frozen=True)
class Texts:
    """Texts and their classes.

    Attributes:
        texts: N strings, as they were written.
        labels: (N,), int64.
    """

    texts: list[str]
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Texts(texts=[{len(self.texts)} strings], labels={_summary(self.labels)})"


@dataclass(frozen=True)
class TradingDays:
    """A share index day by day, oldest first.

    Attributes:
        day: (N,), int64, counted from 1.
        close: closing value of the index, (N,), float64.
        volume: shares traded, (N,), float64.
        turnover: money paid for them, (N,), float64.
    """

    day: Array
    close: Array
    volume: Array
    turnover: Array

    def __len__(self) -> int:
        return len(self.day)

    def values(self) -> Array:
        """Close, volume and turnover as columns: (N, 3), float64."""
        return np.stack([self.close, self.volume, self.turnover], axis=1)

    def __getitem__(self, days: slice) -> TradingDays:
        return TradingDays(self.day[days], self.close[days], self.volume[days], self.turnover[days])


@dataclass(frozen=True)
class Windows:
    """Pieces of a series, and what follows each.

    Attributes:
        inputs: (N, steps, 1), float32.
        targets: the next values, (N, ahead), float32.
        clean: the targets without their noise, (N, ahead), float32.
        x: where the targets lie, (N, ahead), float64.
    """

    inputs: Array
    targets: Array
    clean: Array
    x: Array

    def __len__(self) -> int:
        return len(self.inputs)


def _summary(array: Array) -> str:
    return f"{array.dtype} {array.shape}"
