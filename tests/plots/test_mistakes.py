"""Confusion matrices, and the pictures that are got wrong."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import metrics, plots
from nnx.plots.mistakes import confusion

pytest.importorskip("matplotlib")

COUNTS = np.asarray([[5, 0, 2], [1, 7, 0], [0, 3, 4]])


def written(axes):
    """The numbers in the cells: (row, column) -> text."""
    return {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}


def test_confusion_counts_truth_in_rows():
    truth = np.asarray([0, 0, 1, 2, 2, 2])
    said = np.asarray([0, 1, 1, 2, 2, 0])
    np.testing.assert_array_equal(confusion(truth, said, 3), [[1, 1, 0], [0, 1, 0], [1, 0, 2]])


@pytest.mark.parametrize("kind", [np.asarray, nnx.tensor, np.ndarray.tolist, np.uint8])
def test_a_row_for_each_true_class(kind):
    (axes,) = plots.confusion_matrix(kind(COUNTS), ["cat", "dog", "$1"], title="of pets").axes
    assert written(axes) == {(i, j): str(v) for (i, j), v in np.ndenumerate(COUNTS) if v}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("taken for", "true class")
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [t.get_text() for t in labels] == ["cat", "dog", "$1"]
        assert not labels[2].get_parse_math()
    image = axes.images[0]
    assert image.get_clim() == (0, 3)
    np.testing.assert_array_equal(image.get_array(), COUNTS - np.diag(np.diag(COUNTS)))


def test_a_metric_shares_and_many_classes():
    metric = metrics.ConfusionMatrix(classes=2)
    metric.update(nnx.tensor([0, 1, 1]), nnx.tensor([0, 1, 0]))
    (axes,) = plots.confusion_matrix(metric).axes
    assert written(axes) == {(0, 0): "1", (0, 1): "1", (1, 1): "1"}
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "1"]
    (axes,) = plots.confusion_matrix([[0.75, 0.25], [0.0, 1.0]]).axes
    assert written(axes) == {(0, 0): "0.75", (0, 1): "0.25", (1, 1): "1.00"}
    (axes,) = plots.confusion_matrix(np.eye(100, dtype=int)).axes
    assert not axes.texts and len(axes.get_xticks()) == 25


@pytest.mark.parametrize(
    ("counts", "classes", "message"),
    [
        (np.zeros((2, 3)), (), r"\(C, C\); it has shape \(2, 3\)"),
        (np.zeros((0, 0)), (), r"shape \(0, 0\)"),
        (np.zeros(4), (), r"shape \(4,\)"),
        (np.eye(3), "ab", r"3 names for an array of shape \(3, 3\); it has 2"),
        ([[1.0, np.nan], [0.0, 1.0]], (), r"finite and not negative; of shape \(2, 2\)"),
        ([[1, -1], [0, 1]], (), "the least is -1"),
    ],
)
def test_what_is_no_confusion_matrix(counts, classes, message):
    with pytest.raises(ValueError, match=message):
        plots.confusion_matrix(counts, classes)


@pytest.mark.parametrize("wrong", [0, 1, 40])
def test_mistakes_are_drawn_however_many(wrong):
    n = 50
    truth = np.arange(n) % 3
    said = np.where(np.arange(n) < wrong, (truth + 1) % 3, truth)
    p = np.full((n, 3), 0.1)
    p[np.arange(n), said] = 0.8 + 0.001 * np.arange(n)
    pictures = np.arange(n)[:, None, None] * np.ones((1, 4, 4))
    every = plots.errors(pictures, truth, p, ("a", "b", "c")).axes
    (matrix,) = [axes for axes in every if axes.get_xlabel()]
    rest = [axes for axes in every if axes is not matrix]
    assert sum(map(int, written(matrix).values())) == n
    shown = [int(axes.images[0].get_array()[0, 0]) for axes in rest if axes.images]
    assert shown == list(range(wrong))[::-1][:32], "the surest first"
    if wrong:
        assert (
            rest[0]
            .get_title()
            .startswith(f"{'abc'[truth[shown[0]]]} taken for {'abc'[said[shown[0]]]}")
        )


def test_mistakes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"C = 2 .*\(3, 4, 4\), truth \(3,\).*\(3, 3\)"):
        plots.errors(np.zeros((3, 4, 4)), [0, 1, 1], np.zeros((3, 3)), "ab")
    with pytest.raises(ValueError, match="of 0 to 2"):
        plots.errors(np.zeros((3, 4, 4)), [0, 1, 2], np.zeros((3, 2)), "ab")
