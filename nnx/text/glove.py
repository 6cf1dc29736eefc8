"""Word vectors from the text files of GloVe.

J. Pennington, R. Socher, C. Manning, "GloVe: Global vectors for word representation", EMNLP 2014.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..backends import active_backend
from ..io.limits import hold
from ..io.reading import but_empty_last, open_unpacked, read_lines
from ..random import Generator
from ..typing import Array
from .vocabulary import Vocabulary


@dataclass(frozen=True)
class Vectors:
    """An embedding matrix for a vocabulary.

    Attributes:
        matrix: (V, E), float32: row k is the vector of word number k.
        found: (V,), bool: whether the file had it.
    """

    matrix: Array
    found: Array

    @property
    def share(self) -> float:
        """The share of the vocabulary's words, padding and unknown aside, that were found."""
        return float(self.found[2:].mean())


def read_glove(
    path: str | os.PathLike[str],
    vocabulary: Vocabulary,
    dimension: int | None = None,
    seed: int = 0,
) -> Vectors:
    """The vectors of a vocabulary's words, from a file of lines `word x1 x2 ... xE`.

    The words of the vocabulary alone are kept, so that a file of 400,000 lines takes no more
    memory than they need.  A word that is not in the file gets a vector drawn from a normal
    distribution with the mean and the deviation, column by column, of those found; the unknown
    word gets their mean, the padding zeros.  Of a word that comes twice the first counts.

    Args:
        path: the file, gzipped or not (`glove.6B.50d.txt`).  A first line "400000 50", as
            word2vec's text format has it, is passed over.
        vocabulary: the words.
        dimension: E, where the file must have a certain one; else the first line decides.
        seed: of the vectors that are drawn.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line has no word, not E numbers, or one that is not finite; the file has
            none of the words, or is damaged.  The message names the file and the line.
    """
    path, matrix = Path(path), np.zeros((0, 0), np.float32)
    found = np.zeros(len(vocabulary), bool)
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split(" ")
        if "" in fields:  # two spaces; of an empty line one field is left
            fields = [field for field in fields if field] or [""]
        if number == 1 and len(fields) == 2 and all(field.isdecimal() for field in fields):
            continue
        if dimension is None:
            dimension = _dimension(path, line, fields)
            hold(path, "columns", dimension, "numbers in a line")
        if len(matrix) == 0:
            matrix = np.zeros((len(vocabulary), dimension), np.float32)
        row = vocabulary[fields[0]]
        wanted = row not in (vocabulary.padding, vocabulary.unknown) and not found[row]
        if len(fields) != dimension + 1:
            # A few words of glove.840B hold spaces (". . . 0.1 0.2 ..."); no tokenizer gives them.
            if len(fields) > dimension + 1 and not (wanted and _is_number(fields[1])):
                continue
            raise ValueError(
                f"{path}: line {number} must be a word and {dimension} numbers, it has "
                f"{len(fields)} fields: {line[:60]!r}"
            )
        if not wanted:  # reading its numbers would be most of the work
            continue
        try:
            vector = np.asarray(fields[1:], np.float32)
        except ValueError:
            vector = np.full(dimension, np.nan, np.float32)
        if not np.isfinite(vector).all():
            raise ValueError(
                f"{path}: line {number}: {fields[0][:40]!r} must be followed by {dimension} "
                f"finite numbers, it is followed by {' '.join(fields[1:])[:60]!r}"
            )
        matrix[row], found[row] = vector, True
    if not found.any():
        raise ValueError(
            f"{path}: none of its words is one of the vocabulary's {len(vocabulary)}; is it a "
            "GloVe text file, and are both in small letters?"
        )
    known = matrix[found].astype(np.float64)  # (K, E)
    missing = np.nonzero(~found)[0]
    draws = Generator(seed).fork("glove").normal((len(missing), matrix.shape[1]))
    spread = active_backend().to_numpy(draws) * known.std(axis=0)  # (M, E)
    matrix[missing] = known.mean(axis=0) + spread
    matrix[vocabulary.unknown] = known.mean(axis=0)
    matrix[vocabulary.padding] = 0
    return Vectors(matrix, found)


def _dimension(path: Path, line: str, fields: list[str]) -> int:
    """How many numbers end the first line."""
    count = 0
    while count < len(fields) - 1 and _is_number(fields[-1 - count]):
        count += 1
    if count == 0:
        raise ValueError(
            f"{path} is no GloVe text file: its first line must be a word and numbers, it is "
            f"{line[:60]!r}"
        )
    return count


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _lines(path: Path) -> Iterator[str]:
    with open_unpacked(path, limit=False) as file:  # a line at a time is kept
        yield from but_empty_last(read_lines(path, file, "\n"))  # words may hold \r
