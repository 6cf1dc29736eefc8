"""Film reviews."""

from __future__ import annotations

import csv
import io
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .download import DataFile, find, locate, not_found
from .idx import read_bytes
from .types import DataError, Texts, TrainTest

_ARCHIVE = DataFile(
    "imdb",
    "aclImdb_v1.tar.gz",
    ("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
    "7c2ac02c03563afcf9b574c7e56c153a",
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
    try:
        content = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: byte {error.start}: {error.reason}") from None
    texts, labels = [], []
    rows = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    try:
        columns = rows.fieldnames or []
        if not {"label", "review"} <= set(columns):
            raise DataError(
                f"{path}: the first line must name the columns label and review, "
                f"it names {', '.join(columns) or 'nothing'}"
            )
        for row in rows:
            if row["label"] not in ("0", "1") or row["review"] is None or None in row:
                raise DataError(
                    f"{path}: line {rows.line_num}: a review needs a label 0 or 1 and a text, "
                    f"this has label {row['label']!r} and {len(row)} columns"
                )
            texts.append(row["review"])
            labels.append(int(row["label"]))
    except csv.Error as error:
        raise DataError(f"{path}: after line {rows.line_num}: {error}") from error
    return Texts(texts, np.asarray(labels, np.int64))


def read_folder(folder: Path) -> Texts:
    """Reviews from a folder with pos/*.txt and neg/*.txt."""
    for name in _LABELS:
        if not (folder / name).is_dir():
            raise DataError(f"{folder}: there must be a folder {name}/ with reviews in it")
    paths = [p for name in _LABELS for p in (folder / name).glob("*.txt")]
    return _ordered((str(p), p.parent.name, p.read_bytes()) for p in paths)


def read_archive(path: Path) -> TrainTest[Texts]:
    """Reviews from the published archive, without unpacking it to disk."""
    parts: dict[str, list[tuple[str, str, bytes]]] = {"train": [], "test": []}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                place = member.name.split("/")  # aclImdb/train/pos/0_9.txt
                if len(place) != 4 or place[1] not in parts or place[2] not in _LABELS:
                    continue
                file = archive.extractfile(member)
                if file is not None:
                    parts[place[1]].append((f"{path}: {member.name}", place[2], file.read()))
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path}: truncated or damaged archive: {error}") from error
    for part, reviews in parts.items():
        if not reviews:
            raise DataError(f"{path}: there are no reviews aclImdb/{part}/pos|neg/*.txt in it")
    return TrainTest(_ordered(parts["train"]), _ordered(parts["test"]))


def _ordered(reviews: Iterable[tuple[str, str, bytes]]) -> Texts:
    """Reviews (place, "pos" or "neg", contents) by the number their file name begins with."""
    ordered = []
    for place, kind, content in reviews:
        number = place.rpartition("/")[2].rpartition("\\")[2].partition("_")[0]
        if not number.isdecimal():
            raise DataError(f"{place}: a review's file name is its number, _ and its rating")
        try:
            ordered.append((int(number), _LABELS[kind], content.decode("utf-8")))
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: not UTF-8 text: {error.reason}") from None
    ordered.sort()
    labels = [label for _, label, _ in ordered]
    return Texts([text for _, _, text in ordered], np.asarray(labels, np.int64))
