"""Film reviews."""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np

from ..io import open_file, printable
from ..io.limits import hold, limits, refuse
from ..io.reading import open_unpacked, read_lines
from .download import DataFile, find, locate, not_found
from .types import DataError, Texts, TrainTest

_ARCHIVE = DataFile(
    "imdb",
    "aclImdb_v1.tar.gz",
    ("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
    "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    "",
    "train.csv.gz and test.csv.gz (columns label, review), or the folder aclImdb/, in DATA/imdb/",
)
_LABELS = {"neg": 0, "pos": 1}


def load_imdb() -> TrainTest[Texts]:
    """Film reviews and whether they are positive (1) or negative (0), as raw text.

    A. Maas, R. Daly, P. Pham, D. Huang, A. Ng, C. Potts, "Learning word vectors for sentiment
    analysis", ACL 2011.  The parts are those of the files; no film is in both of the published
    ones.  The first of these forms that is found in NNX_DATA or the user's cache is read:

    - imdb/train.csv.gz and test.csv.gz, or without .gz: a column `label` and a column `review`;
    - the published folder aclImdb/ with train/pos/*.txt and so on, in imdb/ or beside it;
    - the published archive imdb/aclImdb_v1.tar.gz, downloaded (84 MB) where it is not there.

    Reviews of the published forms are ordered by their number, negative before positive, so that
    any part of the list has both.

    Raises:
        DataNotFoundError: none is there and the archive cannot be downloaded; what to put where.
        DataError: a file is truncated or damaged, or not of the form above.
    """
    train, test = find("imdb", ["train.csv.gz"]), find("imdb", ["test.csv.gz"])
    if train is not None and test is not None:
        return TrainTest(read_csv(train), read_csv(test))
    if train is not None or test is not None:
        there, missing = (train, "test.csv.gz") if train else (test, "train.csv.gz")
        raise not_found(DataFile("imdb", missing, instead=f"remove {there}"))
    folder = find("imdb", ["aclImdb"])
    if folder is not None:
        return TrainTest(read_folder(folder / "train"), read_folder(folder / "test"))
    return read_archive(locate(_ARCHIVE))


def read_csv(path: Path) -> Texts:
    """Reviews from a CSV file, gzipped or not, with the columns `label` and `review`."""
    texts: list[str] = []
    labels: list[int] = []
    with open_unpacked(path) as file, _field_limit():
        rows, read = csv.reader(read_lines(path, file), strict=True), 0
        try:
            label, review, columns = _places(path, next(rows, []))
            read = rows.line_num
            for row in rows:
                if not any(field.strip() for field in row):
                    continue  # an empty line
                if len(row) != columns or row[label].strip() not in ("0", "1"):
                    found = repr(row[label][:40]) if label < len(row) else "none"
                    raise DataError(
                        f"{path}: line {rows.line_num}: a review needs a label 0 or 1 and a text "
                        f"in {columns} columns, this has label {found} and {len(row)} columns"
                    )
                texts.append(row[review])
                labels.append(int(row[label]))
                hold(path, "rows", len(texts), "rows")
                read = rows.line_num
        except csv.Error as error:
            if "field larger than field limit" in str(error):
                refuse(path, "line", f"after line {read} a text is longer than is allowed")
            raise DataError(f"{path}: after line {read}: {error}") from error
    return Texts(texts, np.asarray(labels, np.int64))


def _places(path: Path, header: list[str]) -> tuple[int, int, int]:
    """Which columns hold label and review, and how many there are."""
    hold(path, "columns", len(header), "columns")
    columns = [name.strip() for name in header]
    if columns.count("label") != 1 or columns.count("review") != 1:
        raise DataError(
            f"{path}: the first line must name the columns label and review, "
            f"it names {', '.join(columns) or 'nothing'}"
        )
    return columns.index("label"), columns.index("review"), len(columns)


@contextmanager
def _field_limit() -> Iterator[None]:
    """Reviews longer than the 131,072 characters that `csv` allows, up to our own limit."""
    before = csv.field_size_limit(limits.line)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_folder(folder: Path) -> Texts:
    """Reviews from a folder with pos/*.txt and neg/*.txt."""
    for name in _LABELS:
        if not (folder / name).is_dir():
            raise DataError(f"{folder}: there must be a folder {name}/ with reviews in it")
    paths = [p for name in _LABELS for p in (folder / name).glob("*.txt")]
    hold(folder, "members", len(paths), "files")
    return _ordered((str(p), p.parent.name, _review(p)) for p in paths)


def read_archive(path: Path) -> TrainTest[Texts]:
    """Reviews from the published archive, without unpacking it to disk."""
    parts: dict[str, list[tuple[str, str, bytes]]] = {"train": [], "test": []}
    try:
        with (
            open_unpacked(path) as file,
            tarfile.open(fileobj=file, mode="r|", tarinfo=_Member, errorlevel=2) as archive,
        ):
            for count, member in enumerate(archive, start=1):
                hold(path, "members", count, "members")
                archive.members = []  # type: ignore[attr-defined]  # which it would keep
                place = member.name.split("/")  # aclImdb/train/pos/0_9.txt
                if len(place) != 4 or place[1] not in parts or place[2] not in _LABELS:
                    continue
                if member.isdir():
                    continue
                name = f"{path}: {printable(member.name, 200)}"
                if not member.isreg():
                    raise DataError(f"{name} is a link or a device, but reviews are files")
                hold(name, "line", member.size, "bytes in a review")
                content = archive.extractfile(member)
                assert content is not None
                parts[place[1]].append((name, place[2], content.read()))
    except _TooLong as error:
        hold(path, "header", error.size, "bytes in a header of the archive")
        raise DataError(f"{path}: damaged archive: a member of {error.size} bytes") from None
    except DataError:
        raise
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{path}: truncated or damaged archive: {error}") from error
    except (ValueError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise DataError(f"{path}: damaged archive: {error}") from error
    for part, reviews in parts.items():
        if not reviews:
            raise DataError(f"{path}: there are no reviews aclImdb/{part}/pos|neg/*.txt in it")
    return TrainTest(_ordered(parts["train"]), _ordered(parts["test"]))


class _TooLong(Exception):
    def __init__(self, size: int) -> None:
        self.size = size


class _Member(tarfile.TarInfo):
    """A member whose size is looked at before `tarfile` reads so much, or goes back so far."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        heads = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
        heads |= {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
        if member.size < 0 or (member.type in heads and member.size > limits.header):
            raise _TooLong(member.size)
        return member


def _review(path: Path) -> bytes:
    """The contents of a file that holds one text."""
    most = limits.line
    with open_file(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        refuse(path, "line", "a text of more bytes than are allowed")
    return content


def _ordered(reviews: Iterable[tuple[str, str, bytes]]) -> Texts:
    """Reviews (place, "pos" or "neg", contents) by the number their file name begins with."""
    ordered = []
    for place, kind, content in reviews:
        number = place.rpartition("/")[2].rpartition("\\")[2].partition("_")[0]
        if not (number.isascii() and number.isdecimal() and len(number) < 19):
            raise DataError(f"{place}: a review's file name is its number, _ and its rating")
        try:
            ordered.append((int(number), _LABELS[kind], content.decode("utf-8-sig")))
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: not UTF-8 text: {error.reason}") from None
    ordered.sort()
    labels = [label for _, label, _ in ordered]
    return Texts([text for _, _, text in ordered], np.asarray(labels, np.int64))
