"""Numbers of words: the same for the same texts, and back again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnx.text import PADDING, UNKNOWN, Tokenizer, Vocabulary

TEXTS = [["b", "a", "c"], ["a", "b"], ["a", "d"]]


def test_frequent_words_first_and_equal_ones_by_their_letters():
    assert Vocabulary.build(TEXTS).words == (PADDING, UNKNOWN, "a", "b", "c", "d")
    assert Vocabulary.build(TEXTS[::-1]) == Vocabulary.build(TEXTS)


def test_rare_words_are_left_out():
    assert Vocabulary.build(TEXTS, min_count=2).words[2:] == ("a", "b")
    assert Vocabulary.build(TEXTS, min_count=4).words[2:] == ()


@pytest.mark.parametrize(
    ("size", "words"), [(2, ""), (3, "a"), (4, "ab"), (6, "abcd"), (9, "abcd")]
)
def test_the_size_counts_padding_and_unknown(size, words):
    vocabulary = Vocabulary.build(TEXTS, max_size=size)
    assert vocabulary.words[2:] == tuple(words)
    assert len(vocabulary) == len(words) + 2


def test_words_to_numbers_and_back():
    vocabulary = Vocabulary(["good", "film"])
    assert vocabulary.encode(["a", "good", "film"]) == [1, 2, 3]
    assert vocabulary.encode([]) == []
    assert vocabulary["film"] == 3 and vocabulary["rare"] == 1
    assert "film" in vocabulary and "rare" not in vocabulary
    assert vocabulary.decode([1, 2, 3, 0, 0]) == [UNKNOWN, "good", "film"]
    for number in (-1, 4):
        with pytest.raises(ValueError, match=f"from 0 to 3, got {number}"):
            vocabulary.decode([number])


@given(st.lists(st.lists(st.text(min_size=1), max_size=5), max_size=5))
def test_any_words_come_back(texts):
    vocabulary = Vocabulary.build(texts)
    for text in texts:
        known = [word if word in vocabulary else UNKNOWN for word in text if word != PADDING]
        assert vocabulary.decode(vocabulary.encode(text)) == known


def test_no_tokenizer_gives_the_marks():
    assert PADDING not in Tokenizer()(PADDING) and UNKNOWN not in Tokenizer()(UNKNOWN)
    assert Vocabulary.build([[PADDING, UNKNOWN, "a"]]).words == (PADDING, UNKNOWN, "a")


def test_a_file_gives_the_same_vocabulary(tmp_path):
    vocabulary = Vocabulary(["film", "👍🏽", "\u2028", 'quote"', "好"])
    vocabulary.save(tmp_path / "words.json")
    assert Vocabulary.load(tmp_path / "words.json") == vocabulary
    assert json.loads((tmp_path / "words.json").read_text("utf-8")) == {
        "words": ["film", "👍🏽", "\u2028", 'quote"', "好"]
    }
    assert Vocabulary(vocabulary.to_list()) == vocabulary


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"words": ["a", "b', "is damaged"),
        ("[1, 2]", "holds no vocabulary"),
        ('{"words": "abc"}', "holds no vocabulary"),
        ('{"words": [1]}', "words must be str, one is 1"),
        ('{"words": ["a", "a"]}', "'a' comes twice"),
        ('{"words": ["<unk>"]}', "'<unk>' comes twice"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, message):
    path = tmp_path / "words.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        Vocabulary.load(path)
    assert "words.json" in str(caught.value)


def test_what_makes_no_vocabulary_is_refused():
    with pytest.raises(ValueError, match="min_count must be at least 1, got 0"):
        Vocabulary.build(TEXTS, min_count=0)
    with pytest.raises(ValueError, match="max_size must be at least 2"):
        Vocabulary.build(TEXTS, max_size=1)
    with pytest.raises(TypeError, match="use a Tokenizer first on 'a film'"):
        Vocabulary.build(["a film"])
