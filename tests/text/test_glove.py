"""Vectors from files in GloVe's form: the words that are there, those that are not, and damage."""

import gzip

import numpy as np
import pytest

from nnx.text import Vocabulary, read_glove

VOCABULARY = Vocabulary(["film", "good", "rare", "."])
LINES = "the 9 9 9\nfilm 1 2.5 -3e-1\n. 0 0 1\ngood -1 0.5 2\nfilm 7 7 7\n. . 5 5 5\n"


@pytest.fixture
def glove(tmp_path):
    def write(text, name="glove.txt"):
        path = tmp_path / name
        content = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    return write


@pytest.mark.parametrize("name", ["glove.txt", "glove.txt.gz"])
def test_words_get_their_vectors(glove, name):
    vectors = read_glove(glove(LINES, name), VOCABULARY)
    assert vectors.matrix.dtype == np.float32 and vectors.matrix.shape == (6, 3)
    np.testing.assert_array_equal(vectors.matrix[2], np.float32([1, 2.5, -0.3]))
    np.testing.assert_array_equal(vectors.matrix[3], [-1, 0.5, 2])
    np.testing.assert_array_equal(vectors.matrix[5], [0, 0, 1])
    np.testing.assert_array_equal(vectors.found, [False, False, True, True, False, True])
    assert vectors.share == 0.75


def test_padding_is_zero_unknown_the_mean_and_a_missing_word_drawn(glove):
    path = glove(LINES)
    matrix = read_glove(path, VOCABULARY, seed=1).matrix
    np.testing.assert_array_equal(matrix[0], 0)
    np.testing.assert_allclose(matrix[1], matrix[[2, 3, 5]].mean(axis=0), rtol=1e-6)
    assert np.isfinite(matrix[4]).all() and matrix[4].any()
    np.testing.assert_array_equal(matrix, read_glove(path, VOCABULARY, seed=1).matrix)
    assert (read_glove(path, VOCABULARY, seed=2).matrix[4] != matrix[4]).all()


def test_missing_words_are_spread_like_those_found(glove):
    """Columns with means 0 and 10 and deviations 1 and 3."""
    draws = np.random.default_rng(0).normal([0, 10], [1, 3], (500, 2))
    lines = "".join(f"k{i} {a:.4f} {b:.4f}\n" for i, (a, b) in enumerate(draws))
    words = [f"{kind}{i}" for kind in "km" for i in range(500)]
    drawn = read_glove(glove(lines), Vocabulary(words)).matrix[502:]
    np.testing.assert_allclose(drawn.mean(axis=0), [0, 10], atol=0.5)
    np.testing.assert_allclose(drawn.std(axis=0), [1, 3], rtol=0.15)


def test_lines_of_other_forms(glove):
    """word2vec's first line, other words with spaces, Windows' line ends, none at the end."""
    text = "4 3\r\nfilm 1 2 3\r\nat home 4 5 6\r\ngood 7 8 9"
    np.testing.assert_array_equal(
        read_glove(glove(text), VOCABULARY).matrix[2:4], [[1, 2, 3], [7, 8, 9]]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "none of its words is one of the vocabulary's 6"),
        ("the 1 2\n", "none of its words"),
        ("film\n", "is no GloVe text file: its first line must be a word and numbers"),
        ("<html> <body>\n", "is no GloVe text file"),
        ("film 1 2 3\ngood 1 2\n", "line 2 must be a word and 3 numbers, it has 3 fields"),
        ("film 1 2 3\ngood 1 2 3 4\n", "line 2 must be a word and 3 numbers, it has 5 fields"),
        ("film 1 2 3\n\ngood 1 2 3\n", "line 2 must be a word and 3 numbers, it has 1 fields"),
        ("film 1 2 3\ngood 1 x 3\n", "line 2: 'good' must be followed by 3 finite numbers"),
        ("film 1 2 3\ngood 1 nan 3\n", "line 2: 'good' must be followed by 3 finite numbers"),
        (b"film 1 2 3\ngood\xff 1 2 3\n", "not UTF-8 text"),
    ],
)
def test_damaged_files_are_named(glove, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_glove(glove(text), VOCABULARY)
    assert "glove.txt" in str(caught.value)


def test_a_file_of_another_dimension(glove):
    with pytest.raises(ValueError, match="line 1 must be a word and 50 numbers, it has 4 fields"):
        read_glove(glove(LINES), VOCABULARY, dimension=50)


def test_a_packed_file_that_was_cut_off(glove):
    path = glove(LINES * 200, "glove.txt.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"glove\.txt\.gz: truncated: the gzip stream ends early"):
        read_glove(path, VOCABULARY)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"glove\.txt"):
        read_glove(tmp_path / "glove.txt", VOCABULARY)
