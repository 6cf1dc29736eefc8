"""Pictures of filters and of mistakes."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.plots import errors, filters
from nnx.plots.images import confusion

pytest.importorskip("matplotlib")


def test_confusion_counts_truth_in_rows():
    truth = np.asarray([0, 0, 1, 2, 2, 2])
    said = np.asarray([0, 1, 1, 2, 2, 0])
    np.testing.assert_array_equal(confusion(truth, said, 3), [[1, 1, 0], [0, 1, 0], [1, 0, 2]])


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (10, 1, 3, 3), (5, 4, 5, 3)])
def test_filters_of_any_number_are_drawn(tmp_path, shape):
    rng = np.random.default_rng(0)
    filters(rng.standard_normal(shape), tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("wrong", [0, 1, 40])
def test_mistakes_are_drawn_however_many(tmp_path, wrong):
    n = 50
    truth = np.arange(n) % 3
    said = np.where(np.arange(n) < wrong, (truth + 1) % 3, truth)
    p = np.full((n, 3), 0.1)
    p[np.arange(n), said] = 0.8
    path = tmp_path / "e.png"
    errors(np.zeros((n, 4, 4)), truth, p, ("a", "b", "c"), path)
    assert path.read_bytes().startswith(b"\x89PNG")
