"""`Vocabulary`: the number of each word."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence

from ..io import CorruptFile, read_json, write_text
from ..io.reading import hold_json

PADDING, UNKNOWN = "<pad>", "<unk>"  # no tokenizer gives these: they hold marks, not letters alone


class Vocabulary:
    """Words and their numbers: 0 fills up short texts, 1 stands for every unknown word.

        vocabulary = Vocabulary.build([["a", "good", "film"], ["a", "film"]])
        vocabulary.encode(["a", "rare", "film"])    # [2, 1, 3]
        vocabulary.words[2]                         # "a"

    Args:
        words: all words but the first two, in the order of their numbers, from 2 on.

    Attributes:
        words: the word of each number.
        padding, unknown: 0 and 1.

    Raises:
        TypeError: a word is not a str.
        ValueError: a word comes twice, or is one of the first two.
    """

    padding, unknown = 0, 1

    def __init__(self, words: Iterable[str]) -> None:
        self.words = (PADDING, UNKNOWN, *words)
        wrong = next((word for word in self.words if not isinstance(word, str)), None)
        if wrong is not None:
            raise TypeError(f"Vocabulary: words must be str, one is {wrong!r:.40}")
        self._numbers = {word: number for number, word in enumerate(self.words)}
        if len(self._numbers) != len(self.words):
            twice = next(word for word, n in Counter(self.words).items() if n > 1)
            raise ValueError(
                f"Vocabulary: every word must come once, and {PADDING} and {UNKNOWN} are there "
                f"from the beginning; {twice!r} comes twice"
            )

    @classmethod
    def build(
        cls, texts: Iterable[Sequence[str]], min_count: int = 1, max_size: int | None = None
    ) -> Vocabulary:
        """The vocabulary of some texts, the most frequent word first.

        Words of equal frequency are in the order of their letters, so that the same texts give
        the same numbers whatever their order.

        Args:
            texts: each a list of words.
            min_count: words that come less often are left out, and so are unknown.
            max_size: how many numbers there may be in all, padding and unknown among them.

        Raises:
            ValueError: min_count is less than 1, or max_size less than 2.
            TypeError: a text is a str: it has to be cut into words first.
        """
        if min_count < 1:
            raise ValueError(f"Vocabulary.build: min_count must be at least 1, got {min_count}")
        if max_size is not None and max_size < 2:
            raise ValueError(
                "Vocabulary.build: max_size must be at least 2, since padding and unknown words "
                f"have a number each; got {max_size}"
            )
        counts: Counter[str] = Counter()
        for words in texts:
            if isinstance(words, str):
                raise TypeError(
                    "Vocabulary.build: a text must be a list of words; use a Tokenizer first on "
                    f"{words[:40]!r}"
                )
            counts.update(words)
        del counts[PADDING], counts[UNKNOWN]
        frequent = [word for word, count in counts.items() if count >= min_count]
        frequent.sort(key=lambda word: (-counts[word], word))
        return cls(frequent[: None if max_size is None else max_size - 2])

    def __len__(self) -> int:
        """The number of numbers: rows of an embedding."""
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._numbers

    def __getitem__(self, word: str) -> int:
        """The word's number, or that of unknown words."""
        return self._numbers.get(word, self.unknown)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        return hash(self.words)

    def encode(self, words: Iterable[str]) -> list[int]:
        """The words' numbers."""
        numbers, unknown = self._numbers, self.unknown
        return [numbers.get(word, unknown) for word in words]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The words of some numbers, padding left out.

        Raises:
            ValueError: a number is not one of the vocabulary's.
        """
        found = []
        for number in numbers:
            if not 0 <= number < len(self.words):
                raise ValueError(
                    f"Vocabulary.decode: numbers must be from 0 to {len(self) - 1}, got {number}"
                )
            if number != self.padding:
                found.append(self.words[number])
        return found

    # ---- in a file ----

    def to_list(self) -> list[str]:
        """The words from number 2 on, for a configuration in JSON."""
        return list(self.words[2:])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the words to a JSON file, `{"words": [...]}`.

        Args:
            path: the file; it is written beside and renamed.

        Raises:
            TooLarge: the file would be one that `load` refuses (`nnx.io.limits`).
        """
        text = json.dumps({"words": self.to_list()}, ensure_ascii=False, indent=0)
        hold_json(path, text)  # or `load` would refuse it
        write_text(path, text + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """Read the words that `save` wrote to a file.

        Args:
            path: the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no such file, or damaged; the message names it.
        """
        state = read_json(path)
        if not isinstance(state, dict) or not isinstance(state.get("words"), list):
            raise CorruptFile(f'{path} holds no vocabulary: that is {{"words": [...]}}')
        try:
            return cls(state["words"])
        except (TypeError, ValueError) as error:
            raise CorruptFile(f"{path}: {error}") from error

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words)"
