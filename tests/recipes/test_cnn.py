"""The convolutional experiments: shapes, plans, and pictures that are moved at random."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import recipes
from nnx.recipes.augment import RandomShift
from nnx.recipes.mnist_cnn import MnistCNN, share

LENET = [5e-4] * 2 + [2e-4] * 3 + [1e-4] * 3 + [5e-5] * 4 + [1e-5] * 2  # LeCun et al., 1998


def test_the_rate_falls_as_that_of_lenet():
    rates = [MnistCNN.lr * share(epoch) for epoch in range(14)]
    np.testing.assert_allclose(rates, LENET)


@pytest.mark.parametrize("name", ["mnist-cnn", "mnist-cnn-bn"])
def test_the_network_has_the_textbooks_sizes(name):
    recipe = recipes.find(name)
    model = recipe.model(recipe.make_options())
    shapes = [p.shape for p in model.parameters() if p.ndim > 1]
    assert shapes == [(32, 1, 5, 5), (64, 32, 5, 5), (512, 3136), (10, 512)]
    x = nnx.tensor(np.zeros((2, 28, 28), "float32"))
    assert model.eval()(recipe.to_input(x)).shape == (2, 10)


def test_digits_cnn_learns(tmp_path):
    run = recipes.train("digits-cnn", out=tmp_path, progress=False, epochs=2, channels=4)
    assert run.result["accuracy"] > 0.85
    assert run.predict(np.zeros((3, 1, 8, 8), "float32")).shape == (3, 10)


def test_shifts_move_whole_pictures_and_fill_with_black():
    nnx.random.manual_seed(0)
    x = np.zeros((200, 1, 5, 6), "float32")
    x[:, 0, 2, 3] = 1
    y = RandomShift(1)(nnx.tensor(x)).numpy()
    assert y.shape == x.shape and y.dtype == np.float32
    places = [tuple(np.argwhere(p[0])[0]) for p in y]
    assert set(places) == {(i, j) for i in (1, 2, 3) for j in (2, 3, 4)}
    np.testing.assert_array_equal(y.sum(axis=(1, 2, 3)), np.ones(200))
    edge = np.ones((50, 1, 3, 3), "float32")
    sums = set(RandomShift(1)(nnx.tensor(edge)).numpy().sum(axis=(1, 2, 3)))
    assert sums == {9.0, 6.0, 4.0}  # not moved; along one axis; along both


def test_shifts_are_for_training_only(backend):
    x = backend.tensor(np.arange(18, dtype="float32").reshape(2, 1, 3, 3))
    assert RandomShift(0)(x) is x
    layer = RandomShift(1)
    moved = layer(x)
    assert moved.shape == x.shape and not moved.requires_grad
    assert layer.eval()(x) is x
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        RandomShift(-1)
