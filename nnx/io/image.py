"""Opening pictures with Pillow: the formats that are meant, within limits."""

from __future__ import annotations

import os
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..backends.forks import renew_in_child
from .limits import CorruptFile, TooLarge, hold, limits, refuse
from .reading import open_file

# Named, because Pillow would try all it knows, and hands PostScript to a program, Ghostscript.
FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "ICO", "JPEG2000")
_TARGA = (".tga", ".icb", ".vda", ".vst")  # a format that begins with nothing to know it by
_OTHERS = (  # what else pictures are sent as: where it stands in the file, and what it is
    (4, b"ftyphe", "HEIC"),  # heic, heix, heim, heis, hevc, hevx
    (4, b"ftypavi", "AVIF"),
    (4, b"ftypm", "HEIF"),  # mif1, msf1
    (4, b"ftyp", "a film or picture of the MPEG family"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript"),
    (0, b"<svg", "SVG"),
    (0, b"8BPS", "Photoshop"),
)
_ZEROS = (b"\0\0\1\0", b"\0\0\0\x0cjP")  # how an icon and JPEG 2000 begin
_one_at_a_time = threading.RLock()  # Pillow's limit is one for all threads


def _in_child() -> None:
    """A forked child cannot wait for a thread it does not have."""
    global _one_at_a_time
    _one_at_a_time = threading.RLock()


renew_in_child(_in_child)


def is_picture(path: Path, start: bytes) -> bool:
    """Whether a file that begins with zeros, as those of IDX do, is a picture, read here or not."""
    zeros = start.startswith(_ZEROS) or start[4:6] == b"ft"  # ftyp: HEIC and its kin
    return zeros or path.suffix.lower() in _TARGA


@contextmanager
def open_image(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A Pillow image, whose pixels are decoded inside the `with` block.

    The contents decide on the format, not the name; but TGA has nothing to know it by.  Whatever
    Pillow raises in the block, as it decodes, is an error that names the file; what the block
    itself does wrong stays what it is.

    Raises:
        OSError: there is no such file, or it cannot be read.
        CorruptFile: it is no picture, one of another format, or damaged.
        TooLarge: it has more than `limits.pixels`.
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    formats = [*FORMATS, *(["TGA"] if path.suffix.lower() in _TARGA else [])]
    most = limits.pixels
    with open_file(path) as file, _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd EXIF and such
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most
        try:
            with Image.open(file, formats=formats) as image:
                hold(path, "pixels", image.width * image.height, "pixels")
                yield image
        except UnidentifiedImageError:
            raise CorruptFile(f"{path} is {_what(path)}") from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            refuse(path, "pixels", "more pixels than are allowed")
        except (CorruptFile, TooLarge):
            raise
        except MemoryError as error:
            raise MemoryError(f"{path}: not enough memory for this picture") from error
        except Exception as error:  # decoders of damaged data raise whatever they come upon
            if not _of_pillow(error):
                raise
            raise CorruptFile(f"{path} is a damaged picture: {error}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _of_pillow(error: Exception) -> bool:
    """Whether an error was raised within Pillow, not by who uses it."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_globals.get("__name__", "").startswith("PIL.") for frame in frames)


def _what(path: Path) -> str:
    """What a file that is no picture we read seems to be."""
    with open_file(path) as file:
        start = file.read(64)
    for at, magic, name in _OTHERS:
        if start[at:].startswith(magic):
            return f"{name}, which is not read: save it as PNG or JPEG"
    return "neither a picture nor an IDX or NPY file"
