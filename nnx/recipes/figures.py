"""The one figure on a photographed page: found, cut out, and freed of light, noise and frames.

The steps are textbook ones (Gonzalez and Woods, Digital Image Processing, chapters 9 and 10): the
paper's brightness is a smooth surface through the pixels that are not ink, and what is darker than
that is ink; Otsu's threshold comes from the picture itself; connected parts of what is above it are
the figure's strokes, or else specks, rules and frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..typing import Array

_LONG = 360  # pixels of the longer side that figures are looked for in
_COARSE = 40  # and of the picture that the paper's brightness is estimated on
_FAINT = 0.06  # ink that is weaker, of all there is between black and white, is not seen
_TIMES_NOISE = 5.0  # nor that which is not so many standard deviations above the paper's noise


class NoFigure(ValueError):
    """There is no figure on a picture, or not one alone."""


@dataclass
class Figure:
    """A figure, cut out.

    Attributes:
        ink: (h, w), float32, from 0, paper, to 1; nothing else of the page is on it.
        dark: whether the figure is darker than its paper.
        dropped: what else was there, in words: "2 specks", "a frame".
    """

    ink: Array
    dark: bool
    dropped: list[str]


def find_figure(grey: Array) -> Figure:
    """The figure on a page of brightness (H, W), from 0 to 1.

    Both are tried, dark on light and light on dark; the one that leaves more ink counts.

    Raises:
        NoFigure: there is none, several of a size, or nothing that stands out from the paper.
    """
    if float(grey.max() - grey.min()) < _FAINT:
        raise NoFigure("there is nothing on this picture")
    page = _smaller(grey, _LONG)
    sides = [_Side(page, dark) for dark in (True, False)]
    best = max(sides, key=lambda side: side.weight)
    return best.cut()


class _Side:
    """A page, read as dark ink on light paper, or as light ink on dark."""

    def __init__(self, page: Array, dark: bool) -> None:
        self.dark = dark
        self.dropped: list[str] = []
        paper = page if dark else -page  # ink is what is lower
        outside = _outside(paper)
        if outside.any():
            self.dropped.append("a frame")
            paper = _filled(paper, outside)
        ground = _ground(paper)
        light = np.abs(ground) + 0.03
        self.ink = (ground - paper) * np.clip(np.median(light) / light, 0.4, 4.0)
        self.ink[outside] = 0
        self._drop_rules()
        self._find()

    def _find(self) -> None:
        """Label the parts of the ink; frames and shadows at the edge are taken out one by one."""
        from scipy import ndimage

        self.labels, self.areas, self.weight = np.zeros(self.ink.shape, int), np.zeros(1, int), 0.0
        for _ in range(4):
            seen = ndimage.gaussian_filter(self.ink, 1.0)
            noise = 1.4826 * float(np.median(np.abs(seen - np.median(seen))))
            middle = _otsu(seen)
            strong = seen > middle
            if not strong.any():
                return
            level = float(np.median(seen[strong]))
            least = max(_FAINT, _TIMES_NOISE * noise)
            if level < least:
                return
            threshold = min(max(0.5 * middle, least / 2), middle)
            labels, count = ndimage.label(seen > threshold, np.ones((3, 3)))
            areas = np.bincount(labels.ravel(), minlength=count + 1)
            areas[np.bincount(labels[strong], minlength=count + 1) == 0] = 0
            areas[0] = 0
            edges = [k for k in self._at_edge(labels) if areas[k]]
            inside = areas.copy()
            inside[edges] = 0
            if edges and inside.max() >= 0.002 * seen.size:
                at_edge = ndimage.binary_dilation(np.isin(labels, edges), iterations=4)
                self.ink = np.where(at_edge, 0, self.ink)
                if "what is at the edge" not in self.dropped:
                    self.dropped.append("what is at the edge")
                continue
            self.labels, self.areas, self.level, self.noise = labels, areas, level, noise
            self.weight = float(inside.max() or 0.1 * areas.max()) * level
            return

    def _at_edge(self, labels: Array) -> list[int]:
        """The parts that a frame, a shadow or the table beside the paper would be."""
        sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
        return sorted({int(k) for side in sides for k in np.unique(side)} - {0})

    def _drop_rules(self) -> None:
        """Take out the lines of ruled and squared paper: thin, and as long as the page is wide."""
        from scipy import ndimage

        for axis in (0, 1):
            ink = self.ink if axis == 0 else self.ink.T
            thick = ndimage.maximum_filter1d(ndimage.gaussian_filter1d(ink, 2, axis=1), 3, axis=0)
            line = np.percentile(thick, 20, axis=1)  # (H,): what four fifths of a row are above
            noise = 1.4826 * float(np.median(np.abs(line - np.median(line))))
            there = line > np.median(line) + max(0.03, 4 * noise)
            rows, count = ndimage.label(there)
            width = np.bincount(rows, minlength=count + 1)
            thin = there & (width[rows] <= max(4, 0.035 * len(line)))
            thin &= (rows != rows[0]) & (rows != rows[-1])  # that would be a frame
            if not thin.any():
                continue
            kept = ink > np.maximum(1.6 * line, line + 0.08)[:, None]
            ink[...] = np.where(thin[:, None] & ~kept, np.minimum(ink, 0), ink)
            self.dropped.append("rules")

    def cut(self) -> Figure:
        """The figure's own ink, in the box around it.

        Raises:
            NoFigure: see `find_figure`.
        """
        from scipy import ndimage

        if not self.weight:
            raise NoFigure("there is nothing on this picture")
        mine = self._group()
        full = float(np.percentile(self.ink[mine], 85))
        if full <= 0:  # single pixels, that were strokes when they were smoothed
            raise NoFigure("there is no clear figure on this picture")
        low = max(2.5 * self.noise, 0.05 * full)
        seen = ndimage.gaussian_filter(self.ink, 1.0)
        size = max(np.ptp(at) + 1 for at in np.nonzero(mine))
        near = ndimage.binary_dilation(
            mine, np.ones((3, 3)), max(2, round(0.07 * size)), mask=(seen > low) | mine
        )
        low = min(self.noise, 0.2 * full)
        ink = np.clip((self.ink - low) / (full - low), 0, 1) * near
        rows, columns = (_extent(ink.max(axis=axis)) for axis in (1, 0))
        box = ink[rows, columns]
        return Figure(box.astype(np.float32), self.dark, self.dropped)

    def _group(self) -> Array:
        """The strokes of the figure, (H, W) bool: the largest part and those close to it."""
        from scipy import ndimage

        boxes = ndimage.find_objects(self.labels)
        main = boxes[int(self.areas.argmax()) - 1]
        size = max(side.stop - side.start for side in main)
        mask = np.isin(self.labels, np.nonzero(self.areas >= 0.04 * self.areas.max())[0])
        joined, count = ndimage.label(
            ndimage.binary_dilation(mask, np.ones((3, 3)), max(1, round(0.07 * size)))
        )
        groups = np.bincount(joined[mask], minlength=count + 1)
        mine = mask & (joined == groups.argmax())
        figures = int(np.count_nonzero(groups >= 0.3 * groups.max()))
        if figures == 1:
            figures = self._abreast(np.unique(self.labels[mine]), boxes)
        if figures > 1:
            raise NoFigure(f"there are {figures} figures, not one, on this picture")
        marks = int(np.count_nonzero(self.areas)) - len(np.unique(self.labels[mine]))
        if marks:
            self.dropped.append(f"{marks} speck{'s' * (marks > 1)}")
        return mine

    def _abreast(self, parts: Array, boxes: list[tuple[slice, slice]]) -> int:
        """How many of these parts are as tall as the figure and stand beside each other."""
        tall = [boxes[k - 1] for k in parts]
        height = max(box[0].stop for box in tall) - min(box[0].start for box in tall)
        tall = [box for box in tall if box[0].stop - box[0].start >= 0.6 * height]
        tall.sort(key=lambda box: box[1].start)
        apart = [a[1].stop <= b[1].start for a, b in pairwise(tall)]
        return 1 + int(sum(apart))


def _extent(strongest: Array) -> slice:
    """Where a figure begins and ends, by the strongest ink of each row: (H,).

    A blurred stroke ends where its ink has fallen to a half; a weak one counts like a strong.
    """
    (there,) = np.nonzero(strongest > 0.3)
    near = max(2, (there[-1] - there[0]) // 5)
    ends = []
    for from_here in (strongest[there[0] :], strongest[there[-1] :: -1]):
        ends.append(int((from_here > from_here[:near].max() / 2).argmax()))
    return slice(int(there[0]) + ends[0], int(there[-1]) + 1 - ends[1])


def _outside(paper: Array) -> Array:
    """What lies beyond the paper on two sides or more, (H, W) bool: a frame, or the table.

    That is darker than the paper, reaches from the edge to a straight step, and from one corner
    along two fifths of the side: no stroke of a figure does so, and no falling light.
    """
    outside, sides = np.zeros(paper.shape, bool), 0
    for turns in range(4):
        view, mask = np.rot90(paper, turns), np.rot90(outside, turns)  # this side is the upper one
        ends, corner = _steps(view)
        there = ends > 0
        if not corner or there.sum() < max(4, 0.4 * len(there)):  # of two, any line is straight
            continue
        x = np.arange(len(ends))
        line = np.polyfit(x[there], ends[there], 1)
        near = np.abs(ends - np.polyval(line, x)) <= 3
        if (there & near).sum() < 0.75 * there.sum():
            continue
        sides += 1
        line = np.polyfit(x[there & near], ends[there & near], 1)
        mask |= np.arange(len(view))[:, None] < np.polyval(line, x)[None] + 3
    return outside if sides > 1 else np.zeros_like(outside)


def _steps(paper: Array) -> tuple[Array, bool]:
    """How far it is darker from the upper edge on, in each column, (W,), 0 where it is not; and
    whether one of the two corners is as dark."""
    from scipy import ndimage

    band = ndimage.uniform_filter1d(paper[: max(12, len(paper) // 5)], 3, axis=1)  # (h, W)
    edge, inner = band[:2].mean(axis=0), np.percentile(band, 75, axis=0)
    rise = inner - edge  # (W,)
    above = band > edge + rise / 2
    ends = above.argmax(axis=0)
    x = np.arange(band.shape[1])
    before, after = np.maximum(ends - 3, 0), np.minimum(ends + 3, len(band) - 1)
    sharp = band[after, x] - band[before, x] > 0.6 * rise
    ends = np.where((rise > 0.1) & sharp, ends, 0)
    if not ends.any():
        return ends, False
    dark = np.median((edge + rise / 3)[ends > 0])
    return ends, bool(min(edge[0], edge[-1]) < dark)


def _filled(x: Array, hole: Array) -> Array:
    """With what is nearest to it in place of a part of the picture."""
    from scipy import ndimage

    at = ndimage.distance_transform_edt(hole, return_distances=False, return_indices=True)
    return x[tuple(at)]


def _ground(paper: Array) -> Array:
    """The brightness that the paper has, or would have under the ink: (H, W)."""
    from scipy import ndimage

    coarse = _smaller(paper, _COARSE)  # (h, w)
    h, w = coarse.shape
    window = max(3, round(0.5 * min(h, w)))
    start = ndimage.percentile_filter(coarse, 60, size=window, mode="reflect")
    y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    ground, values = start.ravel(), coarse.ravel()
    for degree, rounds in (
        (4, 6),
        (8, 4),
        (12, 5),
    ):  # the edge of a shadow is steeper than falling light
        a, b = min(degree, h - 1), min(degree, w - 1)  # few pixels across tell fewer terms apart
        terms = np.polynomial.legendre.legvander2d(y, x, [a, b]).reshape(h * w, -1)
        chosen = [(b + 1) * i + j for i in range(a + 1) for j in range(b + 1) if i + j <= degree]
        terms = terms[:, chosen]  # (h w, 15, 45 or 91)
        for _ in range(rounds):
            away = values - ground
            scale = max(1.4826 * float(np.median(np.abs(away))), 0.008)
            weights = np.clip(1 - (away / (3 * scale)) ** 2, 0, 1) ** 2  # Tukey's biweight
            weighted = terms.T * (weights + 1e-6)
            ground = terms @ np.linalg.solve(weighted @ terms, weighted @ values)
    return _resized(ground.reshape(h, w), *paper.shape)


def _otsu(x: Array) -> float:
    """The threshold between two classes that are furthest apart (Otsu 1979)."""
    ink = x[x > 0]
    if not ink.size or np.ptp(ink) < 1e-6:  # there are no two
        return 0.0
    counts, edges = np.histogram(ink, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(apart))]) if np.isfinite(apart).any() else 0.0


def _smaller(x: Array, longest: int) -> Array:
    ratio = min(1.0, longest / max(x.shape))
    return _resized(x, *[max(1, round(n * ratio)) for n in x.shape])


def _resized(x: Array, height: int, width: int) -> Array:
    """Means over boxes where it becomes smaller, bilinear where larger; clipped nowhere."""
    from PIL import Image

    image: Any = Image.fromarray(x.astype(np.float32))
    shrinks = height < x.shape[0] or width < x.shape[1]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(image.resize((width, height), how))
