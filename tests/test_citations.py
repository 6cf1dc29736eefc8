"""Whoever looks up a number that we cite finds it in the book."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from xu_numbers import ABOUT, EQUATIONS, SECTIONS

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path
    for pattern in ("nnx/**/*.py", "docs/*.md", "kernels/*.cu", "*.md", "tests/**/*.py")
    for path in ROOT.glob(pattern)
    if path.name not in ("xu_numbers.py", "test_citations.py")
)
NUMBER = r"[1-9]\.\d+(?:\.\d+)?"
CITED = re.compile(rf"Xu,? (?:equations? |eq\. |sections? )?({NUMBER})(?:[-–]({NUMBER}))?")


def exists(number: str) -> bool:
    if number in SECTIONS:
        return True
    chapter, _, place = number.partition(".")
    return place.isdecimal() and 1 <= int(place) <= EQUATIONS.get(int(chapter), 0)


def citations(text):
    for match in CITED.finditer(text):
        yield from (number for number in match.groups() if number)


def test_every_number_is_in_the_book():
    found = [(path, number) for path in FILES for number in citations(path.read_text("utf-8"))]
    assert len(found) > 60
    wrong = [(str(path.relative_to(ROOT)), n) for path, n in found if not exists(n)]
    assert not wrong


def test_what_is_no_number_of_the_book_is_seen():
    assert list(citations("(Xu 3.3-3.5; Xu 9.40)")) == ["3.3", "3.5", "9.40"]
    assert not exists("9.40") and not exists("2.6.7") and exists("5.6.7") and exists("8.32")


@pytest.mark.parametrize("file", ABOUT)
def test_numbers_that_were_once_wrong(file):
    words, number = ABOUT[file]
    text = (ROOT / file).read_text("utf-8")
    assert number in text and words in text
