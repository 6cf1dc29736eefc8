"""Where data files are looked for: `NNX_DATA`, the user's cache, a public mirror.

A file F of the data set in folder D is looked for, packed (F.gz) or not, as

1. $NNX_DATA/D/F, then $NNX_DATA/F, where the environment variable NNX_DATA is set;
2. CACHE/D/F, where CACHE is the user's cache folder for nnx (`cache_folder()`);
3. at the mirrors, in order, if the data set has any: downloaded into the cache.

What is downloaded, and what lies in the cache, must have the published file's SHA-256.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..io import open_file


class DataNotFoundError(FileNotFoundError):
    """A data file is neither here nor to be had; the message says what to put where."""


@dataclass(frozen=True)
class DataFile:
    """A file of a data set.

    Attributes:
        folder: the folder of the data set below NNX_DATA and the cache.
        name: the file's name as it is published.
        urls: where it can be downloaded, best first; none for data that cannot.
        sha256: its checksum.
        unpacked: the checksum of its contents, for those who keep it unpacked.
        instead: what would do in its place, for the message that it is not there.
    """

    folder: str
    name: str
    urls: tuple[str, ...] = ()
    sha256: str = ""
    unpacked: str = ""
    instead: str = ""


def cache_folder() -> Path:
    """The user's cache folder for nnx, as the system has it; it may not exist yet."""
    import pooch  # imported when asked, for `import nnx` shall be quick

    return Path(pooch.os_cache("nnx"))


def locate(file: DataFile) -> Path:
    """Where the file is on this machine, after downloading it if need be.

    Raises:
        DataNotFoundError: it is nowhere; the message names the folders and the remedy.
    """
    found = find(file.folder, [file.name])
    if found is not None and (problem := _not_as_published(file, found)) is None:
        return found
    failures = [] if found is None else [str(problem)]
    for url in file.urls:
        try:
            return _download(file, url)  # which replaces what is not as published
        except (OSError, ValueError) as error:  # no connection; the wrong checksum
            failures.append(f"{url}: {' '.join(str(error).split())}")
    raise not_found(file, failures)


def find(folder: str, names: Sequence[str]) -> Path | None:
    """The first of the names that is there, in the order of places above; None if none is.

    Raises:
        DataNotFoundError: NNX_DATA is set to something that is no folder.
    """
    for place in places(folder):
        for name in names:
            for candidate in (place / name, place / name.removesuffix(".gz")):
                if candidate.exists():
                    return candidate
    return None


def places(folder: str) -> list[Path]:
    """The folders in which a data set is looked for."""
    cache = cache_folder() / folder
    root = os.environ.get("NNX_DATA")
    if not root:
        return [cache]
    if not Path(root).is_dir():
        raise DataNotFoundError(
            f"NNX_DATA={root} is not a folder; set it to the folder that holds {folder}/, "
            "or unset it"
        )
    return [Path(root) / folder, Path(root), cache]


def not_found(file: DataFile, failures: Sequence[str] = ()) -> DataNotFoundError:
    """The error for a file that is nowhere."""
    lines = [f"{file.name} ({file.folder}) is not on this machine."]
    lines += [f"  looked in    {place}" for place in places(file.folder)]
    if not os.environ.get("NNX_DATA"):
        lines.append("  NNX_DATA     is not set")
    lines += [f"  no download  {failure}" for failure in failures]
    if file.urls:
        lines.append(f"To do: fetch {file.urls[0]}, for example on another machine, and put it")
    else:
        lines.append("To do: it cannot be downloaded from a public place; put your copy")
    lines.append(
        f"at DATA/{file.folder}/{file.name}, DATA being a folder of your choice, with the "
        f"environment variable NNX_DATA=DATA; or at {cache_folder() / file.folder / file.name}"
    )
    if file.instead:
        lines.append(f"Or: {file.instead}")
    return DataNotFoundError("\n".join(lines))


def _download(file: DataFile, url: str) -> Path:
    import pooch

    place = cache_folder() / file.folder
    known = f"sha256:{file.sha256}"
    return Path(pooch.retrieve(url, known_hash=known, fname=file.name, path=place))


def _not_as_published(file: DataFile, path: Path) -> str | None:
    """What is wrong with a file of the cache; what lies in NNX_DATA is the user's own matter."""
    known = file.sha256 if path.name == file.name else file.unpacked
    if not known or cache_folder() not in path.parents:
        return None
    with open_file(path) as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found == known:
        return None
    return f"{path} is not the published file: its SHA-256 is {found}, not {known}"
