"""Texts as arrays, whatever their length."""

import json

import numpy as np
import pytest

from nnx.text import STOP_WORDS, TextEncoder, Tokenizer, Vocabulary

VOCABULARY = Vocabulary(["good", "film", "bad", "👍"])


def encoder(**options):
    return TextEncoder(Tokenizer(), VOCABULARY, **{"length": 3, **options})


def test_short_texts_are_filled_up_and_long_ones_cut():
    numbers, lengths = encoder()(["Good", "bad film, good film", "rare 👍"])
    np.testing.assert_array_equal(numbers, [[2, 0, 0], [4, 3, 2], [1, 5, 0]])
    np.testing.assert_array_equal(lengths, [1, 3, 2])
    assert numbers.dtype == lengths.dtype == np.int64


def test_the_beginning_may_be_cut_instead():
    numbers, _ = encoder(truncation="pre")(["bad film, good film", "good"])
    np.testing.assert_array_equal(numbers, [[3, 2, 3], [2, 0, 0]])


def test_a_text_without_words_is_an_unknown_word():
    numbers, lengths = encoder()(["", "<br />", "... —", "only unknown words here"])
    np.testing.assert_array_equal(numbers, [[1, 0, 0]] * 3 + [[1, 1, 1]])
    np.testing.assert_array_equal(lengths, [1, 1, 1, 3])


def test_a_very_long_review():
    numbers, lengths = encoder(length=5)(["good film " * 50_000])
    np.testing.assert_array_equal(numbers, [[2, 3, 2, 3, 2]])
    np.testing.assert_array_equal(lengths, [5])


def test_no_texts():
    numbers, lengths = encoder()([])
    assert numbers.shape == (0, 3) and lengths.shape == (0,)


def test_unknown_words_are_told_once():
    assert encoder().unknown_words("A good thing, a rare thing") == ["a", "thing", "rare"]


def test_it_comes_back_from_json():
    made = TextEncoder(Tokenizer(STOP_WORDS), VOCABULARY, 7, "pre")
    again = TextEncoder.from_dict(json.loads(json.dumps(made.to_dict(), ensure_ascii=False)))
    assert again.to_dict() == made.to_dict()
    texts = ["This is a good film 👍", ""]
    for a, b in zip(again(texts), made(texts), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        encoder(length=0)
    with pytest.raises(ValueError, match='"pre" or "post", got \'both\''):
        encoder(truncation="both")
    with pytest.raises(TypeError, match="a list of texts, not a single one"):
        encoder()("good film")
