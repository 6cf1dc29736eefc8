"""Words as they are written, and whatever else stands in a text field."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnx.text import STOP_WORDS, Tokenizer

tokenize = Tokenizer()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A good film.", ["a", "good", "film"]),
        ("", []),
        ("   \n\t ", []),
        ("... --- ___ ,;:", []),
        ("first<br /><br />second</p><!-- note -->third", ["first", "second", "third"]),
        ("I <3 it, 1 < 2 and 3 > 2", ["i", "3", "it", "1", "2", "and", "3", "2"]),
        ("Tom &amp; Jerry&nbsp;&quot;live&quot;", ["tom", "jerry", "live"]),
        ("It isn't bad; don't, can't!", "it is n't bad do n't ca n't !".split()),
        ("the film\u2019s \u2018end\u2019", ["the", "film", "'s", "end"]),
        ("What?! 10/10", ["what", "?", "!", "10", "10"]),
        ("snake_case", ["snake", "case"]),
        ("GROSS-ARTIG, Über cafe\u0301", ["gross", "artig", "über", "café"]),
        ("好电影", ["好电影"]),
        ("so good 👍👍🏽 ❤\ufe0f", ["so", "good", "👍", "👍🏽", "❤\ufe0f"]),
        ("👨\u200d👩\u200d👧", ["👨\u200d👩\u200d👧"]),
        ("n't", ["n't"]),
        ("<", []),
        ("a<b", ["a", "b"]),
    ],
)
def test_words(text, words):
    assert tokenize(text) == words


def test_case_is_kept_where_it_shall_be():
    assert Tokenizer(lower=False)("A Film") == ["A", "Film"]


def test_stop_words_are_left_out_and_negations_are_not():
    tokenize = Tokenizer(STOP_WORDS)
    assert tokenize("This is not a film I'd see; it isn't good, but it's short") == (
        "not film see n't good but short".split()
    )
    assert not STOP_WORDS & {"not", "no", "n't", "never", "nor", "but", "very"}


def test_every_stop_word_is_one_that_the_tokenizer_gives():
    for word in STOP_WORDS:
        assert tokenize(f"x{word}" if word.startswith("'") else word)[-1] == word


@pytest.mark.parametrize("piece", ["<", "<br ", "a", "n'", "don't ", "❤\u200d", "&", "!", "'", "_"])
def test_a_long_text_is_read_once(piece):
    """An expression that goes back and forth would take hours here, not milliseconds."""
    assert len(tokenize(piece * 200_000)) <= 400_000


@given(st.text())
def test_any_text_gives_words_that_are_words(text):
    words = tokenize(text)
    assert all(words) and not any(c.isspace() or c == "_" for word in words for c in word)
    assert tokenize(" ".join(words)) == [w for word in words for w in tokenize(word)]


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="a text must be a str, got NoneType"):
        tokenize(None)
    with pytest.raises(TypeError, match="several words, not the text 'the'"):
        Tokenizer("the")


def test_it_comes_back_from_json():
    state = json.loads(json.dumps(Tokenizer(STOP_WORDS, lower=False).to_dict()))
    again = Tokenizer.from_dict(state)
    assert again.stop_words == STOP_WORDS and again.lower is False
