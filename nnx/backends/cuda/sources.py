"""Where the CUDA sources are: `kernels/` in a checkout, `nnx/_kernels/` in an installed wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

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


@cache
def read_source(name: str) -> str:
    """The text of the file `name`, such as `conv_im2col.cu`."""
    return (kernel_folder() / name).read_text(encoding="utf-8")
