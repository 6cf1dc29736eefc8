"""Pictures from files, made to look like those a network was trained on.

A picture here is a float32 array (H, W) from 0, paper, to 1, ink.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import DataError, read_idx
from ..typing import Array

INK = 0.2  # a pixel darker than this belongs to the figure, when it is cut out of its paper


@dataclass
class Picture:
    """A picture, where it came from, and what was done to it.

    Attributes:
        name: the file, with the number of the picture in it where it has several.
        pixels: (H, W), float32.
        done: what was done, in words.
    """

    name: str
    pixels: Array
    done: list[str] = field(default_factory=list)


def read_pictures(path: Path) -> list[Picture]:
    """The pictures in a file: PNG and what else pillow reads, NPY, IDX (gzipped or not).

    The contents decide, not the name.  Where the paper is lighter than the figure, light and
    dark are exchanged.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is damaged, or holds no pictures; the message names it.
    """
    with path.open("rb") as file:
        magic = file.read(6)
    if magic == b"\x93NUMPY":
        return _from_array(path, _read_npy(path))
    if magic[:2] in (b"\x1f\x8b", b"\x00\x00"):
        return _from_array(path, read_idx(path))
    return [_from_image(path)]


def fit(picture: Picture, size: tuple[int, int], box: tuple[int, int]) -> Picture:
    """The picture in the size that a network takes.

    One of that size stays as it is.  Of any other the figure is cut out, scaled to fit into
    `box`, its proportions kept, and laid so that its centre of mass is in the middle, as the
    makers of MNIST did.

    Raises:
        ValueError: there is no figure.
    """
    x, (height, width) = picture.pixels, size
    if x.shape == size:
        return picture
    rows, columns = (np.nonzero((x > INK).any(axis=axis))[0] for axis in (1, 0))
    if rows.size == 0:
        raise ValueError(f"{picture.name}: there is nothing on this picture of {_size(x.shape)}")
    figure = x[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ratio = min(box[0] / figure.shape[0], box[1] / figure.shape[1])
    h, w = (max(1, min(round(n * ratio), most)) for n, most in zip(figure.shape, box, strict=True))
    figure = _resized(figure, h, w)
    mass = figure / figure.sum()
    top = round((height - 1) / 2 - float(mass.sum(axis=1) @ np.arange(h)))
    left = round((width - 1) / 2 - float(mass.sum(axis=0) @ np.arange(w)))
    top, left = min(max(top, 0), height - h), min(max(left, 0), width - w)
    laid = np.zeros(size, np.float32)
    laid[top : top + h, left : left + w] = figure
    what = f"{_size(x.shape)}: figure cut out, scaled to {_size((h, w))} in {_size(size)}"
    return Picture(picture.name, laid, [*picture.done, what])


def _from_image(path: Path) -> Picture:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                grey, done = _grey(image)
    except UnidentifiedImageError:
        raise ValueError(f"{path} is neither a picture nor an IDX or NPY file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path} is too large a picture: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is a damaged picture: {error}") from None
    low, high = float(grey.min()), float(grey.max())
    if high > low:
        if high - low < 0.8:
            done.append(f"contrast raised from {high - low:.0%}")
        grey = (grey - low) / (high - low)
        if _paper_is_light(grey[np.newaxis]):
            grey = 1 - grey
            done.append("dark on light: inverted")
    else:
        grey = np.zeros_like(grey)
    return Picture(path.name, grey.astype(np.float32), done)


def _grey(image: Any) -> tuple[Array, list[str]]:
    """The image's brightness from 0 to 1, (H, W), and what was done for it."""
    done: list[str] = []
    if image.mode.startswith(("I", "F")):  # 16 or 32 bits
        x = np.asarray(image, np.float64)
        return x / max(float(x.max()), 1.0), done
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        from PIL import Image

        image = image.convert("RGBA")
        for paper in ("white", "black"):  # a white figure shows on black alone
            laid = Image.alpha_composite(Image.new("RGBA", image.size, paper), image).convert("L")
            if len(set(laid.getextrema())) > 1:
                break
        done.append(f"laid on {paper}")
        image = laid
    elif image.mode not in ("L", "1"):
        done.append("colours made grey")
    return np.asarray(image.convert("L"), np.float64) / 255, done


def _read_npy(path: Path) -> Array:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is a damaged NPY file, or not one of numbers: {error}") from None


def _from_array(path: Path, array: Array) -> list[Picture]:
    """Pictures from an array (H, W), (N, H, W), or with an axis for one colour."""
    if array.ndim == 4 and 1 in (array.shape[1], array.shape[3]):
        array = array[:, 0] if array.shape[1] == 1 else array[..., 0]
    if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "buif":
        raise DataError(
            f"{path} holds no grey pictures: they are (H, W) or (N, H, W) numbers, this is "
            f"{array.dtype} {array.shape}"
        )
    x = array.reshape(-1, *array.shape[-2:]).astype(np.float64)  # (N, H, W)
    if not np.isfinite(x).all():
        raise DataError(f"{path}: {np.count_nonzero(~np.isfinite(x))} values are not finite")
    low, high = min(float(x.min()), 0.0), float(x.max())
    done = []
    if low < 0 or high > 1:
        done.append(f"values from {low:g} to {high:g} scaled to 0 to 1")
        x = (x - low) / (high - low)
    if _paper_is_light(x):
        done.append("dark on light: inverted")
        x = 1 - x
    single = array.ndim == 2
    return [
        Picture(path.name if single else f"{path.name}[{k}]", pixels.astype(np.float32), [*done])
        for k, pixels in enumerate(x)
    ]


def _paper_is_light(x: Array) -> bool:
    """Whether the border, where a figure seldom is, is nearer to 1 than to 0; x (N, H, W)."""
    border = [x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]]
    return float(np.median(np.concatenate([part.ravel() for part in border]))) > 0.5


def _resized(x: Array, height: int, width: int) -> Array:
    from PIL import Image

    image = Image.fromarray(x.astype(np.float32))
    shrinks = height < x.shape[0]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.clip(np.asarray(image.resize((width, height), how)), 0, 1)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}×{shape[1]}"
