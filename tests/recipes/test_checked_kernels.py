"""One training step of every experiment with each kernel beside its portable twin.

Batches of 1 and 2, a number that divides no block of images, and the experiment's own: NumPy's
kernels and, where numba is installed, the compiled ones.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import nnx
from nnx.backends import Backend, override
from nnx.backends.check import CheckBackend
from nnx.backends.numpy import NumpyBackend
from nnx.recipes import NAMES, find
from nnx.recipes.char_lm import CharLM
from nnx.recipes.images import ImageRecipe
from nnx.recipes.imdb import ImdbRecipe
from nnx.recipes.seq2seq import Seq2Seq


def kernels_of(kind):
    if kind == "numpy":
        return NumpyBackend()
    if importlib.util.find_spec("numba") is None:
        pytest.skip("numba is not installed")
    from nnx.backends.jit import JitBackend

    return JitBackend()


def example(recipe, options, n):
    """Inputs and targets as the experiment's, of random numbers."""
    random = np.random.default_rng(n)
    if isinstance(recipe, ImageRecipe):
        pictures = random.random((n, *recipe.size), dtype=np.float32)
        return recipe.to_input(pictures), random.integers(0, len(recipe.classes), n)
    if isinstance(recipe, ImdbRecipe):
        lengths = random.integers(1, 21, n)
        lengths[0] = 20
        words = random.integers(2, 100, (n, 20)) * (np.arange(20) < lengths[:, None])
        return words, lengths, random.integers(0, 2, n)
    if isinstance(recipe, CharLM):
        numbers = random.integers(0, 50, (n, options.length + 1))
        return numbers[:, :-1], numbers[:, 1:]
    if isinstance(recipe, Seq2Seq):
        lengths = random.integers(1, 9, n)
        lengths[0] = 8
        source = random.integers(3, 13, (n, 8)) * (np.arange(8) < lengths[:, None])
        numbers = random.integers(3, 13, (n, 7))
        return source, lengths, numbers[:, :-1], numbers[:, 1:]
    steps, features, ahead = (64, 3, 20) if recipe.name == "csi300-lstm" else (options.steps, 1, 1)
    series = random.standard_normal((n, steps, features)).astype(np.float32)
    return series, random.standard_normal((n, ahead)).astype(np.float32)


@pytest.mark.parametrize("kind", ["numpy", "jit"])
@pytest.mark.parametrize("name", NAMES)
def test_a_step(name, kind):
    recipe = find(name)
    options = recipe.make_options()
    options.assets = {"encoder": {"words": [str(k) for k in range(98)]}, "embedding": 32}
    options.assets |= {"alphabet": "c" * 50, "source": "0123456789", "target": "0123456789"}
    with override(np.ndarray, CheckBackend(kernels_of(kind), Backend(np, "numpy"))):
        nnx.manual_seed(0)
        model = recipe.model(options)
        loss, optimizer = recipe.loss(options), recipe.optimizer(model, options)
        for n in (1, 2, 17, options.batch_size):
            *inputs, targets = (nnx.tensor(a) for a in example(recipe, options, n))
            optimizer.zero_grad()
            value = loss(model(*inputs), targets)
            value.backward()
            optimizer.step()
            assert np.isfinite(float(value))
    assert all(p.grad is not None for p in model.parameters())
