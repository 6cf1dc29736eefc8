import itertools
import json

import numpy as np
import pytest

import nnx
from nnx.data import (
    ArrayDataset,
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    pad_sequences,
    rows,
)
from nnx.random import Generator

N = 23
X = np.arange(N * 3, dtype=np.float32).reshape(N, 3)
Y = np.arange(N)


def labels(batches):
    """The second array of each batch, as lists."""
    return [batch[1].tolist() for batch in batches]


def flat(batches):
    return [label for batch in labels(batches) for label in batch]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 5, N, 100])
def test_every_example_once_an_epoch(backend, shuffle, batch_size):
    data = DataLoader((backend.asarray(X), backend.asarray(Y)), batch_size, shuffle, seed=1)
    for _ in range(2):
        batches = list(data)
        assert len(batches) == len(data) == -(-N // batch_size)
        assert [len(y) for y in labels(batches)[:-1]] == [batch_size] * (len(data) - 1)
        assert sorted(flat(batches)) == list(range(N))
        assert (flat(batches) == list(range(N))) is not shuffle
        for x, y in batches:
            assert type(x) is type(y) is nnx.Tensor
            assert not x.requires_grad
            assert type(x.data) is type(backend.asarray(X))
            rows = np.asarray(y.tolist())
            np.testing.assert_array_equal(backend.to_numpy(x), X[rows])


@pytest.mark.parametrize("where", ["resident", "batch by batch"])
def test_data_of_another_library_are_moved(backend, where):
    """NumPy data on the active backend; beyond `resident_bytes` a batch at a time."""
    limit = 1 << 30 if where == "resident" else 100
    data = DataLoader((X, Y), 4, shuffle=True, seed=1, resident_bytes=limit)
    reference = flat(DataLoader((X, Y), 4, shuffle=True, seed=1))
    assert flat(data) == reference
    x, y = next(iter(data))
    like = backend.asarray(X)
    assert type(x.data) is type(y.data) is type(like)
    assert x.data.device == like.device == y.data.device
    assert str(y.dtype).endswith("int64")
    with nnx.use_backend("numpy"):
        assert type(next(iter(data))[0].data) is np.ndarray  # follows the active backend


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(1 << 30, [(N, 3), (N,)]), (100, [(10, 3), (10,), (10, 3), (10,), (3, 3), (3,)] * 3)],
)
def test_data_are_moved_once_if_they_fit(monkeypatch, limit, expected):
    pytest.importorskip("array_api_strict")
    with nnx.use_backend("array_api_strict") as backend:
        moves = []
        move = backend.from_numpy
        monkeypatch.setattr(backend, "from_numpy", lambda x: moves.append(x.shape) or move(x))
        data = DataLoader((X, Y), 10, resident_bytes=limit)
        for _ in range(3):
            list(data)
        assert moves == expected


def test_arrays_that_are_read_only_strided_and_unmodified():
    x = np.zeros((N, 6), np.float32)
    x[:, ::2] = X
    x = x[:, ::2]
    y = Y.copy()
    x.flags.writeable = y.flags.writeable = False
    for shuffle in (False, True):
        for xb, yb in DataLoader((x, y), 5, shuffle, seed=2):
            np.testing.assert_array_equal(xb.numpy(), X[yb.numpy()])
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_one_array_and_dtypes_kept():
    for dtype in (np.uint8, np.float64, bool, np.int32):
        (batch,) = next(iter(DataLoader(X.astype(dtype), 4)))
        assert batch.dtype == dtype and batch.shape == (4, 3)


def test_drop_last():
    data = DataLoader((X, Y), 5, drop_last=True)
    assert len(data) == 4 and [len(y) for y in labels(data)] == [5] * 4
    assert len(DataLoader((X, Y), N, drop_last=True)) == 1


def test_epochs_differ_and_repeat():
    first, second = DataLoader((X, Y), 4, True, seed=9), DataLoader((X, Y), 4, True, seed=9)
    epochs = [flat(first) for _ in range(4)]
    assert len({tuple(e) for e in epochs}) == 4
    assert [flat(second) for _ in range(4)] == epochs
    assert first.epoch == 4
    assert flat(DataLoader((X, Y), 4, True, seed=10)) != epochs[0]
    sizes = [flat(DataLoader((X, Y), b, True, seed=9)) for b in (1, 4, 100)]
    assert sizes == [epochs[0]] * 3  # the batch size has no say in the order


def test_a_generator_is_forked_not_moved():
    generator = Generator(9)
    before = generator.state()
    order = flat(DataLoader((X, Y), 4, True, generator=generator))
    assert generator.state() == before
    assert order == flat(DataLoader((X, Y), 4, True, seed=9))


def test_the_shared_generator_gives_the_seed():
    nnx.manual_seed(3)
    a, b = (DataLoader((X, Y), 4, True) for _ in range(2))
    nnx.manual_seed(3)
    c = DataLoader((X, Y), 4, True)
    first = flat(a)
    assert first != flat(b) and first == flat(c)
    before = nnx.random.default_generator().state()
    DataLoader((X, Y), 4)
    assert nnx.random.default_generator().state() == before  # nothing to draw for
    nnx.manual_seed(0)


def test_with_replacement():
    data = DataLoader((X, Y), 4, replacement=True, seed=1)
    epochs = [flat(data) for _ in range(200)]
    assert all(len(e) == N for e in epochs)
    assert any(len(set(e)) < N for e in epochs)
    counts = np.bincount(np.asarray(epochs).reshape(-1), minlength=N)
    assert np.all(np.abs(counts - 200) < 4 * np.sqrt(200))


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("done", [0, 1, 3, 5, 6, 7, 11, 12])
def test_resume_between_any_two_batches(replacement, done):
    """Also after the last batch of an epoch, and after the epoch."""

    def make():
        return DataLoader((X, Y), 4, not replacement, replacement=replacement, seed=4)

    def forever(data):
        while True:
            for batch in data:
                yield batch[1].tolist()

    reference = list(itertools.islice(forever(make()), 20))
    data = make()
    assert list(itertools.islice(forever(data), done)) == reference[:done]
    other = DataLoader((X, Y), 4, not replacement, replacement=replacement, seed=77)
    other.load_state_dict(json.loads(json.dumps(data.state_dict())))
    assert list(itertools.islice(forever(other), 20 - done)) == reference[done:]


def test_resume_inside_the_loop():
    """The state is taken by the body of the loop, while the batch is in use."""
    data = DataLoader((X, Y), 4, True, seed=4)
    seen, states = [], []
    for _ in range(2):
        for _, y in data:
            seen.append(y.tolist())
            states.append(data.state_dict())
    for k, state in enumerate(states):
        other = DataLoader((X, Y), 4, True, seed=0)
        other.load_state_dict(state)
        rest = labels(other) + (labels(other) if k < 5 else [])
        assert rest[: len(seen) - k - 1] == seen[k + 1 :]


def test_a_loop_left_early_ends_its_epoch():
    reference = DataLoader((X, Y), 4, True, seed=4)
    epochs = [labels(reference) for _ in range(3)]
    data = DataLoader((X, Y), 4, True, seed=4)
    for batch in data:
        assert batch[1].tolist() == epochs[0][0]
        break
    assert labels(data) == epochs[1]
    assert labels(data) == epochs[2]


def test_a_state_that_does_not_fit():
    data = DataLoader((X, Y), 4, True, seed=4)
    state = data.state_dict()
    with pytest.raises(ValueError, match="batch_size 4, this one has 5"):
        DataLoader((X, Y), 5, True).load_state_dict(state)
    with pytest.raises(ValueError, match="examples 23, this one has 22"):
        DataLoader((X[1:], Y[1:]), 4, True).load_state_dict(state)
    with pytest.raises(ValueError, match=r"expected the keys generator, epoch, .*; got epoch"):
        data.load_state_dict({"epoch": 1})


@pytest.mark.parametrize("nbytes", [0, 100, 1 << 30])
def test_gathering_several_batches_at_once_changes_nothing(monkeypatch, nbytes):
    reference = DataLoader((X, Y), 3, True, seed=6)
    expected = [[x.tolist(), y.tolist()] for x, y in reference]
    monkeypatch.setattr(rows, "_GATHER_BYTES", nbytes)
    again = DataLoader((X, Y), 3, True, seed=6)
    assert [[x.tolist(), y.tolist()] for x, y in again] == expected


# ---- samplers and data sets of other kinds ----


def test_samplers():
    draws = Generator(1)
    assert SequentialSampler(4).order(draws) is None and len(SequentialSampler(4)) == 4
    assert sorted(RandomSampler(5).order(draws).tolist()) == [0, 1, 2, 3, 4]
    few = RandomSampler(1000, samples=3)
    assert len(few) == len(set(few.order(draws).tolist())) == 3
    many = RandomSampler(2, replacement=True, samples=50)
    assert len(many.order(draws)) == 50 and set(many.order(draws).tolist()) == {0, 1}
    data = DataLoader((X, Y), 4, sampler=RandomSampler(N, samples=6), seed=1)
    assert [len(y) for y in labels(data)] == [4, 2]
    with pytest.raises(ValueError, match="at most n = 3 samples, got 4"):
        RandomSampler(3, samples=4)
    for arguments in ((0,), (3, True, 0)):
        with pytest.raises(ValueError, match="must be at least 1"):
            RandomSampler(*arguments)


def test_subsets_of_subsets():
    whole = ArrayDataset(X, Y)
    part = Subset(Subset(whole, [20, 3, 5, 8, 13]), [4, 2, 0])
    assert labels(DataLoader(part, 2)) == [[13, 5], [20]]
    assert sorted(flat(DataLoader(part, 2, True, seed=1))) == [5, 13, 20]


class Squares:
    """A data set of one's own: items made when asked for."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        if not 0 <= index < 7:
            raise IndexError(index)
        return np.full(2, index, np.float32), index**2, index / 2


def test_items_are_stacked(backend):
    batches = list(DataLoader(Squares(), 3))
    assert [len(b) for b in batches] == [3, 3, 3]
    x, square, half = batches[1]
    assert type(x.data) is type(backend.asarray(X))
    assert backend.to_numpy(x).tolist() == [[3, 3], [4, 4], [5, 5]]
    assert square.tolist() == [9, 16, 25] and str(square.dtype).endswith("int64")
    assert half.tolist() == [1.5, 2.0, 2.5] and str(half.dtype).endswith("float32")
    assert sorted(flat(DataLoader(Squares(), 2, True, seed=1))) == [k**2 for k in range(7)]
    assert flat(DataLoader(Subset(Squares(), [6, 1]), 2)) == [36, 1]


class Sentences:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return list(range(1, index + 2)), index


def test_collate_pads():
    def collate(items):
        padded, lengths = pad_sequences([words for words, _ in items])
        return padded, lengths, [label for _, label in items]

    batches = list(DataLoader(Sentences(), 2, collate=collate))
    assert [b[0].tolist() for b in batches] == [
        [[1, 0], [1, 2]],
        [[1, 2, 3, 0], [1, 2, 3, 4]],
    ]
    assert [b[1].tolist() for b in batches] == [[1, 2], [3, 4]]
    with pytest.raises(
        ValueError, match=r"value 0 .* has the shapes \(1,\), \(2,\); give a collate"
    ):
        list(DataLoader(Sentences(), 2))


def test_collate_also_for_arrays():
    data = DataLoader((X, Y), 4, collate=lambda items: (sum(x for x, _ in items),))
    np.testing.assert_array_equal(next(iter(data))[0].numpy(), X[:4].sum(axis=0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((X, Y), 0), "batch_size must be at least 1, got 0"),
        (((X, Y), -3), "batch_size must be at least 1, got -3"),
        (((X, Y[1:]), 2), r"same length; shapes \(23, 3\), \(22,\)"),
        (((X[:0], Y[:0]), 2), "there are no examples in ArrayDataset.0 examples"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 24, "drop_last": True}, "no batch of 23 examples with batch_size 24"),
        ({"shuffle": True, "sampler": SequentialSampler(N)}, "a sampler, or shuffle and"),
        (
            {"shuffle": True, "seed": 1, "generator": Generator(1)},
            "a seed or a generator, not both",
        ),
    ],
)
def test_arguments_that_exclude_each_other(arguments, message):
    with pytest.raises(ValueError, match=f"DataLoader: .*{message}"):
        DataLoader((X, Y), **arguments)


def test_a_batch_size_is_an_integer():
    with pytest.raises(TypeError):
        DataLoader((X, Y), 2.5)


# ---- samplers, and what people pass ----


class Says:
    """A sampler that promises a length and says an order."""

    def __init__(self, length, order):
        self.length, self.said = length, order

    def __len__(self):
        return self.length

    def order(self, generator):
        return None if self.said is None else np.array(self.said)


@pytest.mark.parametrize(
    ("length", "order", "error", "message"),
    [
        (3, [0, 1, N], IndexError, f"Says chose example {N}, outside 0 .. {N - 1}"),
        (3, [0, -1, 2], IndexError, "Says chose example -1, outside"),
        (3, [0, 1], ValueError, r"promises 3 examples.* it has shape \(2,\)"),
        (2, [0, 1, 2], ValueError, r"promises 2 examples.* it has shape \(3,\)"),
        (3, [0.0, 1.0, 2.0], ValueError, "so many integers; .*dtype float64"),
        (N, [True] * N, ValueError, "so many integers; .*dtype bool"),
        (N + 1, None, ValueError, f"promises {N + 1} examples as they stand, the data set has {N}"),
    ],
)
def test_a_sampler_is_held_to_its_word(length, order, error, message):
    with pytest.raises(error, match=message):
        list(DataLoader((X, Y), 2, sampler=Says(length, order)))


def test_a_sampler_as_pytorchs_is_not_passed_over():
    """One that only derives from the protocol had the order of the data set, without a word."""

    class Iterable_(Sampler):
        def __len__(self):
            return 2

        def __iter__(self):
            return iter([3, 1])

    for kind in (Iterable_, type("Other", (), {"__len__": lambda self: 2})):
        with pytest.raises(TypeError, match=r"order\(generator\).* has none"):
            DataLoader((X, Y), 2, sampler=kind())


def test_a_list_of_dicts_is_a_data_set():
    samples = [{"x": X[k], "y": k} for k in range(4)]
    first, second = DataLoader(samples, 2)
    np.testing.assert_array_equal(first["x"].numpy(), X[:2])
    assert second["y"].tolist() == [2, 3]


def test_a_sampler_of_nothing_does_not_mean_everything():
    with pytest.raises(ValueError, match=r"DataLoader: the sampler, .* chooses no example"):
        DataLoader((X, Y), 2, sampler=Says(0, []))
    assert flat(DataLoader((X, Y), 2, sampler=Says(3, None))) == [0, 1, 2]


class Items:
    """A data set of items that a function makes."""

    def __init__(self, make):
        self.make = make

    def __len__(self):
        return 5

    def __getitem__(self, i):
        return self.make(i)


def test_items_that_are_dicts_make_batches_that_are(backend):
    data = Items(lambda i: {"x": X[i], "y": i})
    first, second = DataLoader(data, 3)
    assert type(first["x"].data) is type(backend.asarray(X))
    assert list(first) == ["x", "y"] and first["y"].tolist() == [0, 1, 2]
    assert second["x"].shape == (2, 3) and second["x"].tolist() == X[3:5].tolist()
    with pytest.raises(ValueError, match="must have the same keys, y; one has x"):
        list(DataLoader(Items(lambda i: {"x": 1} if i else {"y": 1}), 2))


def test_labels_that_are_texts_are_told_what_to_become():
    names = np.array(["cat", "dog"])[Y % 2]
    for labels in (names, names.astype(object), names.tolist()):
        with pytest.raises(TypeError, match=r"array 1 of shape .* holds .*'cat'.*np\.unique"):
            DataLoader((X, labels))
    with pytest.raises(TypeError, match=r"value 1 of a batch .*np\.unique"):
        list(DataLoader(Items(lambda i: (X[i], "cat"))))
    with pytest.raises(TypeError, match="holds dates"):
        DataLoader(np.array(["2020-01-01"], "datetime64[D]"))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables(library):
    tables = pytest.importorskip(library)
    frame = tables.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    labels = tables.Series(Y)
    x, y = next(iter(DataLoader((frame, labels), 4)))
    np.testing.assert_array_equal(x.data, X[:4, :2])
    assert y.tolist() == [0, 1, 2, 3]
    train, test, y_train, y_test = nnx.data.train_test_split(frame, labels, test=5, seed=1)
    assert train.shape == (18, 2) and test.shape == (5, 2) and len(y_train) == 18
    np.testing.assert_array_equal(test, X[y_test, :2])
    assert nnx.tensor(frame).shape == (N, 2) and nnx.tensor(labels).tolist() == Y.tolist()
    with pytest.raises(TypeError, match=r"the columns name of the table are no numbers"):
        DataLoader(tables.DataFrame({"a": [1, 2], "name": ["x", "y"]}))
    holes = nnx.tensor(tables.DataFrame({"a": [1, 2], "b": [None, 3.5]}))
    assert np.isnan(holes.data).tolist() == [[False, True], [False, False]]
