"""`Tokenizer`: a text as a list of words."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

# <br />, </p>, <!-- note -->; but not the heart <3, nor "1 < 2 and 3 > 2".
_MARK = re.compile(r"<[/!]?[a-zA-Z-][^<>]*>")

# A number of more digits than any character has, which Python would refuse to read.
_ENTITY = re.compile(r"&#(?:0*([0-9]{8,})|[xX]0*([0-9a-fA-F]{7,}));?")

# Combining marks are put into order when a text is normalised, in time that grows with the square
# of their number; Unicode's "stream-safe" form (UAX 15, 13) has at most 30 in a row.
_MARKS = re.compile(r"[^\w\s\x00-\x7f]{31,}")
_MOST_MARKS = 30

_APOSTROPHES = str.maketrans("\u2019\u2018\u02bc\u0060\u00b4", "'''''")
_PICTURE = "[\u2600-\u27bf\U0001f1e6-\U0001f1ff\U0001f300-\U0001f3fa\U0001f400-\U0001faff]"

# In this order: "do" of "don't"; "n't"; "'s" after a word; a word or number; ! and ?; an emoji
# with its skin tone, its variation mark and what is joined to it.
_TOKEN = re.compile(
    r"[^\W_]+?(?=n't(?![^\W_]))|n't(?![^\W_])|(?<=[^\W_])'[^\W_]+|[^\W_]+|[!?]|"
    f"{_PICTURE}(?:[\ufe0f\U0001f3fb-\U0001f3ff]|\u200d{_PICTURE})*"
)

# By kind, as Xu lists them in 9.8.1.  Negations (no, not, n't, never, nor) and words that weigh
# (but, very, too, only, most) are none: they turn or measure what is said of a film.
STOP_WORDS = frozenset(
    (
        # articles, demonstratives, question words
        "a an the this that these those which who whom whose what when where there here how "
        # pronouns
        "i me my mine myself we us our ours ourselves you your yours yourself yourselves he him "
        "his himself she her hers herself it its itself they them their theirs themselves "
        # prepositions
        "in at on of to from by with for into onto about as than through during between among "
        "over under after before while "
        # conjunctions
        "and or if because either neither so then "
        # forms of be, have and do, and what the tokenizer cuts off behind an apostrophe
        "am is are was were be been being has have had having do does did doing will would shall "
        "should can could 's 're 've 'll 'd 'm"
    ).split()
)


def _within_unicode(entity: re.Match[str]) -> str:
    return "\ufffd"


def _few(run: re.Match[str]) -> str:
    """A run of what are no letters, without the marks beyond the thirtieth in a row."""
    kept, marks = [], 0
    for c in run[0]:
        marks = marks + 1 if unicodedata.combining(c) else 0
        if marks <= _MOST_MARKS:
            kept.append(c)
    return "".join(kept)


class Tokenizer:
    """Cuts a text into words.

        Tokenizer()("It isn't <b>bad</b>!")          # it, is, n't, bad, !

    HTML marks are removed and entities (`&amp;`) resolved, letters made small.  What remains are
    words and numbers, `!` and `?`, and emoji; an underscore or a bare full stop is none of these.
    A negation and what follows an apostrophe are words by themselves (is n't, film 's), as in the
    texts GloVe vectors were learnt from.

    Args:
        stop_words: words to leave out (Xu 9.8.1), for example `STOP_WORDS`; none by default.
        lower: whether letters are made small.

    Raises:
        TypeError: stop_words is one text; when called, what is to be cut is no text.
    """

    def __init__(self, stop_words: Iterable[str] = (), lower: bool = True) -> None:
        if isinstance(stop_words, str):
            raise TypeError(
                f"Tokenizer: stop_words must be several words, not the text {stop_words[:40]!r}"
            )
        self.stop_words, self.lower = frozenset(stop_words), lower

    def __call__(self, text: str) -> list[str]:
        if not isinstance(text, str):
            raise TypeError(f"Tokenizer: a text must be a str, got {type(text).__name__}")
        text = html.unescape(_ENTITY.sub(_within_unicode, _MARK.sub(" ", text)))
        if not text.isascii():
            text = unicodedata.normalize("NFC", _MARKS.sub(_few, text)).translate(_APOSTROPHES)
            if self.lower:
                text = text.replace("\u0130", "i")  # lower() would make it i and a mark
        if self.lower:
            text = text.lower()
        words = _TOKEN.findall(text)
        if self.stop_words:
            words = [word for word in words if word not in self.stop_words]
        return words

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for a configuration in JSON."""
        return {"stop_words": sorted(self.stop_words), "lower": self.lower}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Tokenizer:
        """The tokenizer that a `state` of `to_dict` describes.

        Raises:
            ValueError: it describes none.
        """
        words = state.get("stop_words") if isinstance(state, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("Tokenizer.from_dict: stop_words must be a list of texts")
        if not isinstance(state.get("lower"), bool):
            raise ValueError("Tokenizer.from_dict: lower must be true or false")
        return cls(words, state["lower"])

    def __repr__(self) -> str:
        return f"Tokenizer({len(self.stop_words)} stop words, lower={self.lower})"
