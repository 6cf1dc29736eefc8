import numpy as np
import pytest

import nnx
from nnx.data import ArrayDataset, Subset, random_split, train_test_split
from nnx.random import Generator

X = np.arange(12, dtype=np.float32).reshape(6, 2)
Y = np.arange(6)


def test_rows_of_arrays(backend):
    x, y = backend.asarray(X), backend.asarray(Y)
    data = ArrayDataset(x, nnx.Tensor(y))
    assert len(data) == 6 and data.arrays[0] is x and data.arrays[1] is y
    row, label = data[2]
    np.testing.assert_array_equal(backend.to_numpy(row), X[2])
    assert int(label) == 2
    np.testing.assert_array_equal(backend.to_numpy(data[1:3][0]), X[1:3])
    assert repr(data) == "ArrayDataset(6 examples; (6, 2), (6,))"


def test_lists_become_arrays():
    data = ArrayDataset([[0.5], [1.5]], [1, 0])
    assert data.arrays[0].dtype == np.float32 and data.arrays[1].dtype == np.int64


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((), "ArrayDataset: give at least one array"),
        ((X, Y[:5]), r"must have the same length; shapes \(6, 2\), \(5,\)"),
        ((X, np.float32(1)), r"needs an axis to count them; shapes \(6, 2\), \(\)"),
    ],
)
def test_array_dataset_errors(arrays, message):
    with pytest.raises(ValueError, match=message):
        ArrayDataset(*arrays)


def test_arrays_of_two_libraries_are_refused():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match="numpy and array_api_strict"):
        ArrayDataset(X, strict.asarray(Y))


def test_a_subset_in_its_own_order():
    part = Subset(ArrayDataset(X, Y), [4, 0, 4])
    assert len(part) == 3
    assert [int(part[k][1]) for k in range(3)] == [4, 0, 4]
    assert len(Subset(ArrayDataset(X, Y), [])) == 0
    for bad, error in [
        ([6], IndexError),
        ([-1], IndexError),
        ([0.5], ValueError),
        ([[1]], ValueError),
    ]:
        with pytest.raises(error, match="Subset: "):
            Subset(ArrayDataset(X, Y), bad)


def indices(parts):
    return [part.indices.tolist() for part in parts]


@pytest.mark.parametrize("lengths", [[3, 2, 1], [6], [6, 0], [0.5, 0.25, 0.25], [0.9, 0.1]])
def test_random_split_gives_every_example_once(lengths):
    parts = random_split(ArrayDataset(X, Y), lengths, seed=3)
    assert sorted(k for part in indices(parts) for k in part) == list(range(6))
    if isinstance(lengths[0], int):
        assert [len(p) for p in parts] == lengths


def test_random_split_by_fractions():
    data = ArrayDataset(np.zeros(100))
    assert [len(p) for p in random_split(data, [0.7, 0.2, 0.1], seed=0)] == [70, 20, 10]
    assert [len(p) for p in random_split(data, [1 / 3, 1 / 3, 1 / 3], seed=0)] == [34, 33, 33]


def test_random_split_follows_its_seed():
    data = ArrayDataset(X, Y)
    assert indices(random_split(data, [3, 3], seed=1)) == indices(
        random_split(data, [3, 3], seed=1)
    )
    assert indices(random_split(data, [3, 3], seed=1)) != indices(
        random_split(data, [3, 3], seed=2)
    )
    generator = Generator(1)
    first = indices(random_split(data, [3, 3], generator=generator))
    assert first == indices(random_split(data, [3, 3], seed=1))
    assert first != indices(random_split(data, [3, 3], generator=generator))
    nnx.manual_seed(5)
    first = indices(random_split(data, [3, 3]))
    nnx.manual_seed(5)
    assert indices(random_split(data, [3, 3])) == first
    nnx.manual_seed(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([3, 2],), r"must add up to 6, .*; \[3, 2\] add up to 5"),
        (([7, -1],), "must not be negative"),
        (([0.5, 0.4],), "must add up to 6"),
        (([3, 3], 1, Generator(1)), "give a seed or a generator, not both"),
    ],
)
def test_random_split_errors(arguments, message):
    with pytest.raises(ValueError, match=f"random_split: .*{message}"):
        random_split(ArrayDataset(X, Y), *arguments)


def test_train_test_split():
    x, y = np.arange(50).reshape(50, 1), np.arange(50)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test=0.3, seed=1)
    assert len(y_train) == 35 and len(y_test) == 15
    np.testing.assert_array_equal(x_train[:, 0], y_train)
    np.testing.assert_array_equal(x_test[:, 0], y_test)
    assert sorted([*y_train, *y_test]) == list(range(50))
    assert len(train_test_split(y, test=7, seed=1)[1]) == 7
    assert not np.array_equal(
        train_test_split(y, test=7, seed=2)[1], train_test_split(y, test=7, seed=1)[1]
    )


def test_train_test_split_of_each_class():
    labels = np.repeat([0, 1, 2], [40, 20, 5])
    rows = np.arange(65)
    train, test = train_test_split(rows, test=0.2, stratify=labels, seed=0)
    assert np.bincount(labels[test]).tolist() == [8, 4, 1]
    assert sorted([*train, *test]) == list(range(65))
    by_number = train_test_split(rows, test=13, stratify=labels, seed=0)
    np.testing.assert_array_equal(by_number[1], test)


@pytest.mark.parametrize(
    ("arrays", "arguments", "message"),
    [
        ((), {}, "give at least one array"),
        ((X, Y[:5]), {}, r"same length; shapes \(6, 2\), \(5,\)"),
        ((X,), {"stratify": Y[:5]}, r"stratify: .* same length"),
        ((X,), {"test": 0}, "test=0 of 6 rows leaves 6 to train on and 0 to test on"),
        ((X,), {"test": 1.0}, "leaves 0 to train on"),
        ((X[:0],), {}, "leaves 0 to train on"),
    ],
)
def test_train_test_split_errors(arrays, arguments, message):
    with pytest.raises(ValueError, match=message):
        train_test_split(*arrays, seed=0, **arguments)


@pytest.mark.parametrize(
    "test", [-0.1, 1.5, 20.0, -3, 7, float("nan"), True, "half", None, np.float32(-0.5)]
)
def test_a_share_that_is_none_is_refused(test):
    with pytest.raises(ValueError, match=r"train_test_split: test"):
        nnx.data.train_test_split(np.arange(6), test=test)


def test_numpy_numbers_are_shares_too():
    for test in (np.float32(0.5), np.int64(3)):
        assert len(nnx.data.train_test_split(np.arange(6), test=test)[1]) == 3
    parts = nnx.data.random_split(np.arange(6), np.array([0.5, 0.5], np.float32))
    assert [len(p) for p in parts] == [3, 3]
    for lengths in ([float("nan"), 1.0], [0.7, 0.7], [4.0, 2.0]):
        with pytest.raises(ValueError, match="random_split: lengths must"):
            nnx.data.random_split(np.arange(6), lengths)
    with pytest.raises(ValueError, match="stratify holds NaN"):
        nnx.data.train_test_split(np.arange(4), stratify=[0.0, np.nan, 1.0, 1.0])
