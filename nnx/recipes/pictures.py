"""Pictures from files, made to look like those a network was trained on.

A picture here is a float32 array (H, W) from 0, paper, to 1, ink.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import DataError, read_idx
from ..io import open_file
from ..io.image import is_picture, open_image
from ..io.limits import hold
from ..io.npy import read_npy
from ..typing import Array
from .figures import NoFigure, find_figure

ENOUGH = 2**22  # pixels: larger pictures are made smaller as they are read


@dataclass
class Picture:
    """A picture, where it came from, and what was done to it.

    Attributes:
        name: the file, with the number of the picture in it where it has several.
        pixels: (H, W), float32.
        done: what was done, in words.
        levels: the brightness, from 0 to 1, that 0 and 1 of the pixels had in the file.
    """

    name: str
    pixels: Array
    done: list[str] = field(default_factory=list)
    levels: tuple[float, float] = (0.0, 1.0)


def read_pictures(path: Path, shape: tuple[int, int] | None = None) -> Iterator[Picture]:
    """The pictures in a file: PNG and the like (`nnx.io.image`), NPY, IDX (gzipped or not).

    The contents decide, not the name.  Where the paper is lighter than the figure, light and
    dark are exchanged.  A photograph is turned as its camera tells (EXIF); all the pages of a TIFF
    and the frames of an animation are read.

    Args:
        path: the file.
        shape: of one picture, where an array may hold each as a row: (N, 64) for (8, 8).

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is damaged or too large, or holds no pictures; the message names it.
    """
    with open_file(path) as file:
        magic = file.read(6)
    if magic == b"\x93NUMPY":
        return _from_array(path, read_npy(path), shape)
    if magic[:2] == b"\x1f\x8b" or (magic[:2] == b"\0\0" and not is_picture(path, magic)):
        return _from_array(path, read_idx(path), shape)
    return _from_image(path)


def lay_out(
    picture: Picture,
    size: tuple[int, int],
    box: tuple[int, int],
    middle: tuple[float, float] | None = None,
) -> Picture:
    """The picture in the size that a network takes.

    One of that size stays as it is.  Of any other the figure is found (`figures.find_figure`),
    scaled to fit into `box`, its proportions kept, and laid so that its centre of mass is at
    `middle`, in pixels counted from 0, as the makers of MNIST did; without it, in the middle.

    Raises:
        NoFigure: there is no figure, or more than one.
    """
    x, (height, width) = picture.pixels, size
    if x.shape == size and x.any():
        return picture
    low, high = picture.levels
    try:
        found = find_figure(low + x * (high - low))
    except NoFigure as error:
        raise NoFigure(f"{picture.name}: {error} of {_size(x.shape)}") from None
    done = [*picture.done]
    if found.dark != (low > high):  # the edge was no paper but a frame
        done = [what for what in done if what != _INVERTED] + [_INVERTED] * found.dark
    figure = found.ink
    ratio = min(box[0] / figure.shape[0], box[1] / figure.shape[1])
    h, w = (max(1, min(round(n * ratio), most)) for n, most in zip(figure.shape, box, strict=True))
    fine = math.ceil(4 * ratio)  # a small figure is enlarged first, to be laid as finely
    figure = _resized(figure, *[fine * n for n in figure.shape])
    ratio /= fine
    middle = middle or ((height - 1) / 2, (width - 1) / 2)
    laid = _sampled(_centred(figure, size, middle, 1 / ratio), height, width)
    if found.dropped:
        done.append(f"left out: {', '.join(found.dropped)}")
    done.append(f"{_size(x.shape)}: figure cut out, scaled to {_size((h, w))} in {_size(size)}")
    return Picture(picture.name, laid, done)


def _centred(
    figure: Array, size: tuple[int, int], middle: tuple[float, float], scale: float
) -> Array:
    """The figure on a page of its own scale, its centre of mass where it is to be.

    Laid out before it is made smaller, it keeps its proportions and its place to fractions of the
    network's pixels: on 8 x 8 a whole one is much.
    """
    mass = figure / figure.sum()
    page = np.zeros([max(round(n * scale), m) for n, m in zip(size, figure.shape, strict=True)])
    at = []
    for axis, (whole, own) in enumerate(zip(page.shape, figure.shape, strict=True)):
        own_middle = float(mass.sum(axis=1 - axis) @ (np.arange(own) + 0.5))
        start = round((middle[axis] + 0.5) * scale - own_middle)
        start = min(max(start, 0), whole - own)
        at.append(slice(start, start + own))
    page[tuple(at)] = figure
    return page


def _sampled(page: Array, height: int, width: int) -> Array:
    """The page in fewer pixels, each the mean of the middle of what it stands for.

    What is between is left out: a photograph is blurred as it is, and means over all of it would
    close small holes.
    """
    fine = _resized(page, 4 * height, 4 * width).reshape(height, 4, width, 4)
    return fine[:, 1:3, :, 1:3].mean(axis=(1, 3), dtype=np.float32)


_INVERTED = "dark on light: inverted"


def _from_image(path: Path) -> Iterator[Picture]:
    """The pages or frames of an image; the first are decoded at once."""
    some, more = _frames(path, 0)
    return chain(some, _further(path, len(some)) if more else ())


def _further(path: Path, start: int) -> Iterator[Picture]:
    more = True
    while more:
        some, more = _frames(path, start)
        start += len(some)
        yield from some


def _frames(path: Path, start: int) -> tuple[list[Picture], bool]:
    """Frames from number `start` on, as many as are worth opening the file for; are there more?

    They are decoded while the file is open, and judged when it is closed again: Pillow's limits
    are held for as long, and those of a whole animation need not be in memory at once.
    """
    from PIL import ImageOps

    some: list[Picture] = []
    pixels = 0
    with open_image(path) as image:
        extra = image.format == "MPO"  # previews and depths that a camera adds to a photograph
        count = 1 if extra else getattr(image, "n_frames", 1)
        hold(path, "pictures", count, "pictures")
        for k in range(start, count):
            if pixels >= ENOUGH:
                break
            if k:
                image.seek(k)
            turned = image
            if image.getexif().get(_ORIENTATION, 1) != 1:
                turned = ImageOps.exif_transpose(image)
            grey, done = _grey(turned)
            if turned is not image:
                done.insert(0, "turned as EXIF tells")
            if extra:
                done.append("the first of its pictures")
            some.append(_judged(path.name if count == 1 else f"{path.name}[{k}]", grey, done))
            pixels += image.width * image.height
    return some, start + len(some) < count


_ORIENTATION = 0x0112  # the tag of EXIF


def _judged(name: str, grey: Array, done: list[str]) -> Picture:
    """A picture of brightness (H, W), as ink from 0 to 1."""
    low, high = float(grey.min()), float(grey.max())
    levels = (low, high)
    if high > low:
        if high - low < 0.8:
            done.append(f"contrast raised from {high - low:.0%}")
        grey = (grey - low) / (high - low)
        if _paper_is_light(grey[np.newaxis]):
            grey = 1 - grey
            levels = (high, low)
            done.append(_INVERTED)
    else:
        grey = np.zeros_like(grey)
    return Picture(name, grey.astype(np.float32), done, levels)


def _grey(image: Any) -> tuple[Array, list[str]]:
    """The image's brightness from 0 to 1, (H, W), and what was done for it.

    A large image is made smaller on the way, some rows at a time, so that little more memory is
    needed than for its own pixels.
    """
    done: list[str] = []
    shrink = math.ceil(math.sqrt(image.width * image.height / ENOUGH))
    deep = image.mode.startswith(("I", "F"))  # 16 or 32 bits
    clear = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    if not deep and not clear and image.mode not in ("L", "1"):
        done.append("colours made grey")
    papers = ("white", "black") if clear else ("",)  # a white figure shows on black alone
    for paper in papers:
        grey = _in_strips(image, shrink, deep, paper)
        if not clear or grey.min() < grey.max():
            break
    if clear:
        done.append(f"laid on {paper}")
    if shrink > 1:
        done.append(f"made {shrink} times smaller")
    return (grey / max(float(grey.max()), 1.0) if deep else grey / 255), done


def _in_strips(image: Any, shrink: int, deep: bool, paper: str) -> Array:
    """Brightness (H, W), float32: means over squares of `shrink` pixels, as the image has it."""
    from PIL import Image

    tall = max(1, ENOUGH // (4 * max(image.width, 1)) // shrink) * shrink
    strips = []
    for top in range(0, image.height, tall):
        strip = image
        if tall < image.height:
            strip = image.crop((0, top, image.width, min(top + tall, image.height)))
            strip.info = image.info  # where the transparency of some modes is told
        if paper:
            strip = strip.convert("RGBA")
            ground = Image.new("RGBA", strip.size, paper)
            strip = Image.alpha_composite(ground, strip)
        strip = np.asarray(strip) if deep else strip.convert("L")
        strips.append(_reduced(strip, shrink))
    return np.concatenate(strips)


def _reduced(strip: Any, shrink: int) -> Array:
    """The means over squares of an image, or of an array: float32."""
    from PIL import Image

    if shrink == 1:
        return np.asarray(strip, np.float32)
    if isinstance(strip, np.ndarray):
        strip = Image.fromarray(strip.astype(np.float32))
    return np.asarray(strip.reduce(shrink), np.float32)


def _from_array(
    path: Path, array: Array, shape: tuple[int, int] | None = None
) -> Iterator[Picture]:
    """Pictures from an array (H, W), (N, H, W), with an axis for one colour, or (N, 64) in rows."""
    if array.ndim == 3 and array.shape[2] == 1 and 1 not in array.shape[:2]:
        array = array[..., 0]
    elif array.ndim == 2 and shape and array.shape[1] == math.prod(shape):
        array = array.reshape(-1, *shape)
    elif array.ndim == 4 and 1 in (array.shape[1], array.shape[3]):
        array = array[:, 0] if array.shape[1] == 1 else array[..., 0]
    if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "buif":
        raise DataError(
            f"{path} holds no grey pictures: they are (H, W) or (N, H, W) numbers, this is "
            f"{array.dtype} {array.shape!r:.200}"
        )
    x = array.reshape(-1, *array.shape[-2:])  # (N, H, W)
    hold(path, "pictures", len(x), "pictures")
    hold(path, "pixels", x.shape[1] * x.shape[2], "pixels in a picture")
    if x.dtype.kind == "f" and not (finite := np.isfinite(x)).all():
        raise DataError(f"{path}: {np.count_nonzero(~finite)} values are not finite")
    low, high = min(float(x.min()), 0.0), float(x.max())
    if not math.isfinite(high - low):
        raise DataError(f"{path}: values from {low:g} to {high:g} are too far apart")
    done, scale = [], low < 0 or high > 1
    if scale:
        done.append(f"values from {low:g} to {high:g} scaled to 0 to 1")
    span = (high - low) or 1.0
    light = _paper_is_light(x, low + span / 2 if scale else 0.5)
    if light:
        done.append(_INVERTED)
    return _one_by_one(path.name, x, array.ndim == 2, (low, span) if scale else None, light, done)


def _one_by_one(
    name: str, x: Array, single: bool, scale: tuple[float, float] | None, light: bool, done: Any
) -> Iterator[Picture]:
    """The pictures of an array (N, H, W), converted as they are asked for."""
    shrink = math.ceil(math.sqrt(x.shape[1] * x.shape[2] / ENOUGH))
    tall = max(1, ENOUGH // x.shape[2] // shrink) * shrink
    if shrink > 1:
        done = [*done, f"made {shrink} times smaller"]
    for k, raw in enumerate(x):
        strips = []
        for top in range(0, len(raw), tall):
            strip = raw[top : top + tall].astype(np.float64)
            if scale is not None:
                strip = (strip - scale[0]) / scale[1]
            strips.append(_reduced((1 - strip if light else strip).astype(np.float32), shrink))
        pixels = np.concatenate(strips)
        levels = (1.0, 0.0) if light else (0.0, 1.0)
        yield Picture(name if single else f"{name}[{k}]", pixels, [*done], levels)


def _paper_is_light(x: Array, middle: float = 0.5) -> bool:
    """Whether the border, where a figure seldom is, is lighter than `middle`; x (N, H, W)."""
    border = [x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]]
    return float(np.median(np.concatenate([part.ravel() for part in border]))) > middle


def _resized(x: Array, height: int, width: int) -> Array:
    from PIL import Image

    image = Image.fromarray(x.astype(np.float32))
    shrinks = height < x.shape[0]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.clip(np.asarray(image.resize((width, height), how)), 0, 1)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}×{shape[1]}"
