"""`TextEncoder`: texts as one array of word numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data import pad_sequences
from ..typing import Array
from .tokenizer import Tokenizer
from .vocabulary import Vocabulary

ENDS = ("pre", "post")
LONGEST = 1_000_000  # words of a text, in a file that may come from elsewhere


class TextEncoder:
    """Everything between a text and a model, in one object that goes with the weights.

        numbers, lengths = encoder(["Good film.", "Bad!"])

    A text without a single word is one unknown word: a recurrent layer needs a step to make.

    Args:
        tokenizer: cuts texts into words.
        vocabulary: numbers them.
        length: the words of a text that are kept; shorter texts are filled up behind their end.
        truncation: which end of a longer text is cut off, "pre" (the beginning) or "post".

    Raises:
        ValueError: length is less than 1, or truncation neither "pre" nor "post".
    """

    def __init__(
        self, tokenizer: Tokenizer, vocabulary: Vocabulary, length: int, truncation: str = "post"
    ) -> None:
        if length < 1:
            raise ValueError(f"TextEncoder: length must be at least 1, got {length}")
        if truncation not in ENDS:
            raise ValueError(f'TextEncoder: truncation must be "pre" or "post", got {truncation!r}')
        self.tokenizer, self.vocabulary = tokenizer, vocabulary
        self.length, self.truncation = length, truncation

    def __call__(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """N texts as word numbers (N, length) and how many of them are words (N,), both int64."""
        if isinstance(texts, str):
            raise TypeError("TextEncoder: give a list of texts, not a single one")
        encode, unknown = self.vocabulary.encode, [self.vocabulary.unknown]
        numbers = [np.asarray(encode(self.tokenizer(t)) or unknown, np.int64) for t in texts]
        if not numbers:
            return np.zeros((0, self.length), np.int64), np.zeros((0,), np.int64)
        return pad_sequences(
            numbers, self.length, self.vocabulary.padding, truncation=self.truncation
        )

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the vocabulary does not have, each once, as they come."""
        words = self.tokenizer(text)
        return list(dict.fromkeys(word for word in words if word not in self.vocabulary))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for a configuration in JSON."""
        return {
            "tokenizer": self.tokenizer.to_dict(),
            "words": self.vocabulary.to_list(),
            "length": self.length,
            "truncation": self.truncation,
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> TextEncoder:
        """The encoder that a `state` of `to_dict` describes.

        Raises:
            ValueError: it describes none.
        """
        if not isinstance(state, dict) or not isinstance(state.get("words"), list):
            raise ValueError("TextEncoder.from_dict: words must be a list of texts")
        length = state.get("length")
        if type(length) is not int or not 1 <= length <= LONGEST:
            raise ValueError(
                f"TextEncoder.from_dict: length must be from 1 to {LONGEST:,}, got {length!r:.40}"
            )
        tokenizer = Tokenizer.from_dict(state.get("tokenizer", {}))
        try:
            vocabulary = Vocabulary(state["words"])
        except TypeError as error:
            raise ValueError(f"TextEncoder.from_dict: {error}") from None
        return cls(tokenizer, vocabulary, length, state.get("truncation", ""))
