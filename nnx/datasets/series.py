"""Series in time: a share index, and the textbook's curve."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..io.limits import hold
from ..io.reading import but_empty_last, open_unpacked, read_lines
from ..random import Generator
from ..typing import Array
from .download import DataFile, locate
from .types import DataError, TradingDays, TrainTest, Windows


def load_csi300(test_share: float = 0.2) -> TrainTest[TradingDays]:
    """The CSI 300, the index of the Shanghai and Shenzhen exchanges, day by day since 2005.

    3,457 trading days with closing value, volume and turnover (Xu, section 8.7).  The split is by
    time: the last fifth of the days is the test part, and no window across the border may be
    trained on.  The file `hs300.csv` (day number, close, volume, turnover; no header) is looked
    for in NNX_DATA, in hs300/ or directly, and in the user's cache.

    Args:
        test_share: the share of the days, the latest ones, that make the test part.

    Raises:
        ValueError: test_share is not between 0 and 1.
        DataNotFoundError: the file is nowhere; where to put it.
        DataError: a line of it is not four numbers, or the days are not in order.
    """
    if not 0.0 < test_share < 1.0:
        raise ValueError(f"load_csi300: test_share must be between 0 and 1, got {test_share}")
    days = read_days(locate(DataFile("hs300", "hs300.csv")))
    split = min(max(len(days) - round(len(days) * test_share), 1), len(days) - 1)
    return TrainTest(days[:split], days[split:])


def read_days(path: str | os.PathLike[str]) -> TradingDays:
    """The days in a file: a line for each, day number, close, volume, turnover; no header.

    Raises:
        OSError: there is no such file, or it cannot be read.
        DataError: a line of it is not four numbers, or the days are not in order.
    """
    path = Path(path)
    rows: list[list[float]] = []
    for number, line in enumerate(_lines(path), start=1):
        hold(path, "rows", number, "rows")
        try:
            row = [float(field) for field in line.split(",", 4)]
        except ValueError:
            row = []
        if len(row) != 4 or not all(map(math.isfinite, row)):
            raise DataError(
                f"{path}: line {number} must be four numbers (day, close, volume, turnover), "
                f"it is {line[:60]!r}"
            )
        if rows and row[0] <= rows[-1][0]:
            raise DataError(f"{path}: line {number}: day {row[0]:g} follows day {rows[-1][0]:g}")
        rows.append(row)
    if len(rows) < 2:
        raise DataError(f"{path}: truncated: there must be at least two days, it has {len(rows)}")
    day, close, volume, turnover = np.asarray(rows).T.copy()  # (4, N)
    return TradingDays(day.astype(np.int64), close, volume, turnover)


def _lines(path: Path) -> Iterator[str]:
    with open_unpacked(path) as file:
        yield from but_empty_last(read_lines(path, file))


def curve(x: Array) -> Array:
    """sin(pi x / 3) + cos(pi x / 3) + sin(2 pi x / 3), elementwise, in float64.

    Xu's curve (7.19), with the last term as the code of section 7.8 has it: the printed formula
    says sin(3 pi x / 2).
    """
    x = np.asarray(x, dtype=np.float64)
    return np.sin(np.pi * x / 3) + np.cos(np.pi * x / 3) + np.sin(np.pi * x / 1.5)


def load_curve(
    steps: int = 10, ahead: int = 1, noise: float = 0.05, seed: int = 0
) -> TrainTest[Windows]:
    """Windows on the noisy curve of Xu, section 7.8: some steps in, the next values out.

    The curve is sampled at 10,000 + steps points from 0 to (10,000 + steps) / 100 to train on,
    and at 1,000 + steps points from there on, a hundredth apart, to test on; uniform noise is
    added to each point, and every window of the noisy series is one example.  So the part to test
    on lies behind the part to train on.

    Args:
        steps: the length of an input.
        ahead: how many of the values that follow it are its target.
        noise: the noise is uniform in [-noise, noise).
        seed: of the noise.

    Raises:
        ValueError: steps below 1, ahead not from 1 to 1000, or a negative noise.
    """
    if steps < 1 or not 1 <= ahead <= 1000:
        raise ValueError(
            f"load_curve: steps must be at least 1 and ahead from 1 to 1000; steps {steps}, "
            f"ahead {ahead}"
        )
    if not 0.0 <= noise < math.inf:
        raise ValueError(f"load_curve: noise must not be negative, got {noise}")
    border = (10_000 + steps) * 0.01
    end = border + (1_000 + steps) * 0.01
    noises = Generator(seed).fork("curve")
    parts = []
    for start, stop, points in ((0.0, border, 10_000 + steps), (border, end, 1_000 + steps)):
        x = np.linspace(start, stop, points)
        clean = curve(x)
        noisy = clean + noise * noises.uniform(points, -1.0, 1.0, "float64", like=x)
        parts.append(_windows(x, clean, noisy, steps, ahead))
    return TrainTest(*parts)


def _windows(x: Array, clean: Array, noisy: Array, steps: int, ahead: int) -> Windows:
    view = np.lib.stride_tricks.sliding_window_view
    inputs = view(noisy, steps)[: len(x) - steps - ahead + 1]  # (N, steps)
    return Windows(
        inputs[:, :, np.newaxis].astype(np.float32),
        view(noisy[steps:], ahead).astype(np.float32),
        view(clean[steps:], ahead).astype(np.float32),
        view(x[steps:], ahead).copy(),
    )
