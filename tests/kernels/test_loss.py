"""kernels/loss.cu against the portable softmax_cross_entropy."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.backends.cuda.loss import FEW_CLASSES, FEW_ROWS, WIDE

# Sums of C terms in another order, and exp of the other side (2 units in the last place on a GPU).
RTOL = {"float32": 4e-6, "float64": 1e-14}


def data(rows, classes, real, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, classes)).astype(real), rng.integers(0, classes, rows)


def both(b, logits, targets):
    return b.softmax_cross_entropy(logits, targets)


@pytest.mark.kernels("softmax_cross_entropy")
@pytest.mark.parametrize("shape", [(1, 1), (7, 2), (8, 31), (9, 32), (3, 33), (2, 200)])
def test_a_warp_for_each_row(cuda, real, shape):
    cuda.agree(both, *data(*shape, real), rtol=RTOL[real])


@pytest.mark.kernels("softmax_cross_entropy_wide")
@pytest.mark.parametrize("shape", [(1, WIDE), (3, WIDE + 1)])
def test_a_block_for_each_row(cuda, real, shape):
    cuda.agree(both, *data(*shape, real), rtol=RTOL[real])


@pytest.mark.parametrize("classes", [5, WIDE])
def test_rows_that_do_not_count(cuda, real, classes):
    """A target out of range (ignore_index is one) gives loss 0 and gradient 0."""
    logits, targets = data(4, classes, real)
    targets[1], targets[2] = -100, classes
    losses, gradient = cuda.agree(both, logits, targets, rtol=RTOL[real])
    assert losses[1] == losses[2] == 0 and not gradient[1:3].any() and losses[0] > 0


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_any_integer_is_a_class(cuda, real, dtype):
    logits, targets = data(3, 4, real)
    cuda.agree(both, logits, targets.astype(dtype), rtol=RTOL[real])


@pytest.mark.parametrize("classes", [4, WIDE])
def test_large_logits_do_not_overflow(cuda, real, classes):
    """The textbook's published code saturates at 23.03."""
    logits = np.zeros((2, classes), real)
    logits[:, 0] = 1000, -1000
    losses, _ = cuda.agree(both, logits, np.array([1, 0]), rtol=RTOL[real])
    assert losses[0] == 1000 and abs(losses[1] - 1000 - np.log(classes - 1)) < 1e-3


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("classes", [4, WIDE])
def test_nan_and_infinity_show(cuda, real, classes):
    """NaN or +inf anywhere makes its row NaN; -inf is a class of probability 0."""
    logits, targets = data(4, classes, real)
    logits[0, 2], logits[1, 2], logits[2, 2] = np.nan, np.inf, -np.inf
    targets[2] = 0
    losses, gradient = cuda.agree(both, logits, targets, rtol=RTOL[real])
    assert np.isnan(losses[:2]).all() and np.isnan(gradient[:2]).all()
    assert gradient[2, 2] == 0 and np.isfinite(losses[2:]).all()


def test_no_rows(cuda, real):
    cuda.agree(both, *data(0, 3, real))
    assert not cuda.launched


def mean(ignore):
    def body(b, logits, targets, g):
        loss, gradient, scale = b.cross_entropy_mean(logits, targets, ignore)
        return loss, b.scaled(gradient, g, scale)

    return body


@pytest.mark.kernels("cross_entropy_mean_few", "scaled")
@pytest.mark.parametrize("shape", [(1, 1), (7, 2), (33, FEW_CLASSES), (1100, 3), (FEW_ROWS, 2)])
def test_the_mean_of_few(cuda, real, shape):
    g = np.array(3, real)
    cuda.agree(mean(None), *data(*shape, real), g, rtol=RTOL[real])


@pytest.mark.kernels("mean_of_losses", "softmax_cross_entropy", "scaled")
@pytest.mark.parametrize("shape", [(1, FEW_CLASSES + 1), (1030, 40), (FEW_ROWS + 1, 2)])
def test_the_mean_of_many(cuda, real, shape):
    g = np.array(3, real)
    cuda.agree(mean(None), *data(*shape, real), g, rtol=RTOL[real])


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("classes", [5, 40, WIDE])
def test_the_mean_of_those_that_count(cuda, real, classes):
    logits, targets = data(6, classes, real)
    targets[1], targets[2], targets[4] = -100, classes, 3
    targets[[0, 3, 5]] = 1
    logits[1] = np.nan  # whatever a row holds that does not count
    loss, gradient = cuda.agree(mean(3), logits, targets, np.array(1, real), rtol=RTOL[real])
    assert loss > 0
    assert not gradient[[1, 2, 4]].any() and gradient[[0, 3, 5]].all()
    loss, gradient = cuda.agree(mean(1), logits[:1], targets[:1], np.array(1, real))
    assert np.isnan(loss) and not gradient.any()
