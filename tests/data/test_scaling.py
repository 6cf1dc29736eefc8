import json

import numpy as np
import pytest

from nnx.data import Scaling, minmax, standardize

RNG = np.random.default_rng(0)
TRAIN = RNG.normal([3.0, -100.0, 0.0], [2.0, 50.0, 1e-3], (200, 3))
TEST = RNG.normal([3.0, -100.0, 0.0], [2.0, 50.0, 1e-3], (50, 3))


def test_standardize_learns_from_the_training_part_alone():
    scaling = standardize(TRAIN)
    train, test = scaling(TRAIN, "float64"), scaling(TEST, "float64")
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(train.std(axis=0), 1, rtol=1e-12)
    np.testing.assert_allclose(test, (TEST - TRAIN.mean(axis=0)) / TRAIN.std(axis=0))


def test_minmax_spreads_the_training_part():
    scaling = minmax(TRAIN, -1.0, 3.0)
    train = scaling(TRAIN, "float64")
    np.testing.assert_allclose(train.min(axis=0), -1)
    np.testing.assert_allclose(train.max(axis=0), 3)
    outside = scaling(TRAIN.max(axis=0) + np.ptp(TRAIN, axis=0), "float64")
    np.testing.assert_allclose(outside, 7)


@pytest.mark.parametrize("learn", [standardize, minmax])
def test_there_and_back(learn):
    scaling = learn(TRAIN)
    assert scaling(TEST).dtype == np.float32 and scaling.inverse(TEST).dtype == np.float32
    np.testing.assert_allclose(scaling.inverse(scaling(TEST, "float64"), "float64"), TEST)
    again = Scaling.from_dict(json.loads(json.dumps(scaling.to_dict())))
    np.testing.assert_array_equal(again(TEST), scaling(TEST))


def test_constant_features_make_no_trouble():
    x = np.full((4, 2), 7.0)
    np.testing.assert_array_equal(standardize(x)(x), 0)
    np.testing.assert_array_equal(minmax(x, 2.0, 3.0)(x), 2)


def test_axes():
    x = RNG.normal(5, 2, (10, 4, 3))
    assert standardize(x, axis=None)(x, "float64").std() == pytest.approx(1)
    per_feature = standardize(x, axis=(0, 1))
    assert per_feature.shift.shape == (1, 1, 3)
    np.testing.assert_allclose(per_feature(x, "float64").mean(axis=(0, 1)), 0, atol=1e-12)


def test_any_array_is_read(backend):
    x = np.asarray(TRAIN, np.float32)
    scaling = standardize(backend.asarray(x))
    np.testing.assert_allclose(scaling.shift, x.mean(axis=0, keepdims=True), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(scaling(backend.tensor(x)), scaling(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: standardize(TRAIN[:0]), r"standardize: there are no values .* shape \(0, 3\)"),
        (lambda: standardize([[1.0, np.nan]]), r"must be finite; at \(0, 1\) there is nan"),
        (lambda: minmax([1.0, np.inf]), r"minmax: .* finite; at \(1,\) there is inf"),
        (lambda: minmax(TRAIN, 1.0, 1.0), "low must be less than high; low 1.0, high 1.0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
