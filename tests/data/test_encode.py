import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnx import nn
from nnx.data import class_weights, one_hot, pad_sequences
from nnx.train import Trainer


def test_one_hot():
    expected = [[0, 0, 1, 0], [1, 0, 0, 0]]
    encoded = one_hot([2, 0], 4)
    assert encoded.dtype == np.float32 and encoded.tolist() == expected
    assert one_hot([2, 0]).shape == (2, 3)
    np.testing.assert_array_equal(
        one_hot(np.asarray([[2], [0]], np.uint8), 4, "int64")[:, 0], expected
    )
    assert one_hot(np.zeros((0,), int)).shape == (0, 0)
    assert one_hot(np.asarray(1), 3).tolist() == [0, 1, 0]


def test_one_hot_of_any_array(backend):
    assert one_hot(backend.asarray(np.asarray([1, 0])), 2).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("labels", "classes", "error", "message"),
    [
        ([0, 3], 3, ValueError, r"labels must be from 0 to 2, there is a 3; shape \(2,\)"),
        ([0, -1], None, ValueError, "there is a -1"),
        ([0.0, 1.0], None, TypeError, "labels must be integers, got float32"),
        ([True], None, TypeError, "labels must be integers, got bool"),
    ],
)
def test_one_hot_errors(labels, classes, error, message):
    with pytest.raises(error, match=f"one_hot: .*{message}"):
        one_hot(labels, classes)


def test_class_weights_are_scikit_learns(backend):
    y = np.random.default_rng(0).choice(4, 60, p=[0.6, 0.25, 0.1, 0.05])
    w = class_weights(backend.asarray(y))
    assert w.dtype == np.float32 and w.shape == (4,)
    np.testing.assert_allclose(w[y].mean(), 1, rtol=1e-6)
    np.testing.assert_allclose(w * np.bincount(y), 15, rtol=1e-6)
    np.testing.assert_array_equal(class_weights(y.reshape(3, 20), 4), w)
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    expected = sklearn.compute_class_weight("balanced", classes=np.arange(4), y=y)
    np.testing.assert_allclose(class_weights(y, dtype="float64"), expected, rtol=1e-15)
    np.testing.assert_allclose(w[y], sklearn.compute_sample_weight("balanced", y), rtol=1e-6)


def test_a_loss_and_sample_weights_take_them():
    x = np.random.default_rng(1).standard_normal((9, 3)).astype(np.float32)
    y = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2])
    w = class_weights(y)
    model = nn.Linear(3, 3)
    by_class = Trainer(model, nn.CrossEntropyLoss(weight=w), None, progress=False)
    by_example = Trainer(model, nn.CrossEntropyLoss(), None, progress=False, weighted=True)
    np.testing.assert_allclose(
        by_class.evaluate((x, y))["loss"], by_example.evaluate((x, y, w[y]))["loss"], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("labels", "classes", "error", "message"),
    [
        ([0, 3], 3, ValueError, r"labels must be from 0 to 2, there is a 3; shape \(2,\)"),
        ([0, -100], None, ValueError, "there is a -100"),
        ([0.0, 1.0], None, TypeError, "labels must be integers, got float32"),
        ([0, 2], None, ValueError, "no example is of class 1 of 3"),
        ([0, 1], 4, ValueError, "no example is of class 2, 3 of 4"),
        (np.zeros(0, int), None, ValueError, "no example is of class all of 0"),
    ],
)
def test_class_weights_errors(labels, classes, error, message):
    with pytest.raises(error, match=f"class_weights: .*{message}"):
        class_weights(labels, classes)


WORDS = [[1, 2, 3], [4], [], [5, 6]]


@pytest.mark.parametrize(
    ("arguments", "expected", "lengths"),
    [
        ({}, [[1, 2, 3], [4, 0, 0], [0, 0, 0], [5, 6, 0]], [3, 1, 0, 2]),
        ({"padding": "pre"}, [[1, 2, 3], [0, 0, 4], [0, 0, 0], [0, 5, 6]], [3, 1, 0, 2]),
        ({"length": 2}, [[1, 2], [4, 0], [0, 0], [5, 6]], [2, 1, 0, 2]),
        ({"length": 2, "truncation": "pre"}, [[2, 3], [4, 0], [0, 0], [5, 6]], [2, 1, 0, 2]),
        (
            {"length": 4, "value": -1},
            [[1, 2, 3, -1], [4, -1, -1, -1], [-1] * 4, [5, 6, -1, -1]],
            [3, 1, 0, 2],
        ),
    ],
)
def test_pad_sequences(arguments, expected, lengths):
    padded, kept = pad_sequences(WORDS, **arguments)
    assert padded.dtype == kept.dtype == np.int64
    assert padded.tolist() == expected and kept.tolist() == lengths


@given(
    st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=6),
    st.none() | st.integers(1, 8),
    st.sampled_from(["pre", "post"]),
    st.sampled_from(["pre", "post"]),
)
def test_pad_sequences_is_the_definition(sequences, length, padding, truncation):
    padded, lengths = pad_sequences(sequences, length, 0, padding, truncation)
    width = length or max(1, max(map(len, sequences)))
    for row, n, sequence in zip(padded.tolist(), lengths.tolist(), sequences, strict=True):
        kept = (
            sequence[:width] if truncation == "post" else sequence[max(0, len(sequence) - width) :]
        )
        fill = [0] * (width - len(kept))
        assert row == (kept + fill if padding == "post" else fill + kept)
        assert n == len(kept)


def test_sequences_of_vectors_and_their_dtypes():
    rng = np.random.default_rng(0)
    steps = [rng.standard_normal((n, 3)).astype(np.float32) for n in (2, 4)]
    steps[0].flags.writeable = False
    padded, lengths = pad_sequences(steps, padding="pre")
    assert padded.shape == (2, 4, 3) and padded.dtype == np.float32
    np.testing.assert_array_equal(padded[0], np.concatenate([np.zeros((2, 3)), steps[0]]))
    np.testing.assert_array_equal(padded[1], steps[1])
    assert lengths.tolist() == [2, 4]
    assert pad_sequences([[0.5], []])[0].dtype == np.float32
    assert pad_sequences([np.ones(2), np.ones(3)])[0].dtype == np.float64
    assert pad_sequences([[1], [2]], dtype="int32")[0].dtype == np.int32
    assert pad_sequences([[], []])[0].shape == (2, 1)


def test_any_sequence_is_read(backend):
    sequences = [backend.asarray(np.arange(3)), backend.asarray(np.arange(1))]
    assert pad_sequences(sequences)[0].tolist() == [[0, 1, 2], [0, 0, 0]]


@pytest.mark.parametrize(
    ("sequences", "arguments", "message"),
    [
        ([], {}, "there are no sequences"),
        ([[1]], {"length": 0}, "length must be at least 1, got 0"),
        ([[1]], {"padding": "left"}, 'padding must be "pre" or "post", got \'left\''),
        ([[1]], {"truncation": "end"}, 'truncation must be "pre" or "post"'),
        ([1, 2], {}, "one is a number"),
        ([np.ones((2, 3)), np.ones((2, 4))], {}, r"have the shapes \(3,\), \(4,\)"),
    ],
)
def test_pad_sequences_errors(sequences, arguments, message):
    with pytest.raises(ValueError, match=f"pad_sequences: .*{message}"):
        pad_sequences(sequences, **arguments)
