"""Where the CUDA sources are: `kernels/` in a checkout, `nnx/_kernels/` in an installed wheel."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)
PACKAGE = Path(__file__).resolve().parents[2]


@cache
def kernel_folder(package: Path = PACKAGE) -> Path:
    """The folder of the `.cu` files that belong to the package at `package`.

    A wheel carries them inside the package, as `pyproject.toml` says; a checkout has them
    beside it.  Raises FileNotFoundError, with both places, where neither holds any.
    """
    places = (package / "_kernels", package.parent / "kernels")
    for place in places:
        if any(place.glob("*.cu")):
            return place
    raise FileNotFoundError(f"no CUDA sources (*.cu) in {places[0]} nor in {places[1]}")


def text_of(source: str, options: tuple[str, ...]) -> str:
    """What is compiled with these options: the file, and before it what 16 bits are where it
    stores in them."""
    text = read_source(source)
    if "-DSTORE=Half" not in options:
        return text
    return f'#line 1 "half.cuh"\n{read_source("half.cuh")}#line 1 "{source}"\n{text}'


@cache
def read_source(name: str) -> str:
    """The text of the file `name`, such as `conv_im2col.cu`, and of what it includes.

    That is other files of the folder, `#include "wide.cuh"` on a line of its own.  They are put
    in here, since CuPy keeps binaries by the text that it is given.
    """

    def written_out(found: re.Match[str]) -> str:
        line = text.count("\n", 0, found.start()) + 2
        return f'#line 1 "{found[1]}"\n{read_source(found[1])}#line {line} "{name}"'

    text = (kernel_folder() / name).read_text(encoding="utf-8")
    return INCLUDE.sub(written_out, text)
