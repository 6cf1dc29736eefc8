"""Batches that other processes make, and loaders that are pickled."""

import copy
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import nnx
from nnx.data import (
    ArrayDataset,
    DataLoader,
)

N = 23
X = np.arange(N * 3, dtype=np.float32).reshape(N, 3)
Y = np.arange(N)


class Drawn:
    """Items that draw random numbers, or do worse."""

    def __init__(self, at=None, what=None):
        self.at, self.what = at, what

    def __len__(self):
        return 11

    def __getitem__(self, i):
        if i == self.at:
            self.what()
        return nnx.random.uniform((2,)).data, i


def noisy_stack(items):
    x, y = (np.stack([item[k] for item in items]) for k in (0, 1))
    return x + nnx.random.uniform((2,)).data, y


def as_bytes(loader, epochs=2):
    return [[part.data.tobytes() for part in batch] for _ in range(epochs) for batch in loader]


@pytest.mark.parametrize("collate", [None, noisy_stack])
def test_batches_do_not_depend_on_the_number_of_workers(collate):
    def loader(workers):
        return DataLoader(Drawn(), 3, True, seed=4, num_workers=workers, collate=collate)

    before = nnx.random.default_generator().state()
    expected = as_bytes(loader(0))
    assert as_bytes(loader(1)) == as_bytes(loader(3)) == expected
    assert nnx.random.default_generator().state() == before
    assert len({part for batch in expected for part in batch[:1]}) == 8  # drawn anew each epoch
    resumed = loader(2)
    walked = loader(2)
    next(iter(walked))  # a loop that is left early
    resumed.load_state_dict(walked.state_dict())
    assert as_bytes(resumed, 1) == expected[1:4]


class Elsewhere(Drawn):
    """Items that draw from generators that are not nnx's."""

    def __getitem__(self, i):
        numbers = [random.random(), np.random.rand()]  # noqa: NPY002
        if "torch" in sys.modules:
            numbers.append(float(sys.modules["torch"].rand(())))
        return np.array(numbers), i


def noisy_elsewhere(items):
    x, y = (np.stack([item[k] for item in items]) for k in (0, 1))
    return x + np.random.rand(), y  # noqa: NPY002


@pytest.mark.parametrize("collate", [None, noisy_elsewhere])
def test_workers_draw_from_other_libraries_too_what_depends_on_the_item_alone(collate):
    def values(workers, seed=4):
        loader = DataLoader(Elsewhere(), 3, seed=seed, num_workers=workers, collate=collate)
        return [x.numpy() for _ in range(2) for x, _ in loader]

    one = values(1)
    for many in (values(1), values(3)):
        for a, b in zip(one, many, strict=True):
            np.testing.assert_array_equal(a, b)
    rows = np.concatenate(one)  # (2 epochs of 11 items, libraries)
    assert len(np.unique(rows.round(6))) == rows.size  # no item, epoch or library repeats another
    assert not np.array_equal(values(1, seed=5)[0], one[0])


@pytest.mark.parametrize(
    "generator", [np.random.default_rng(0), random.Random(0), nnx.random.Generator(0)]
)
def test_a_generator_that_a_data_set_holds_would_repeat_itself_and_is_told_of(generator):
    data = Drawn()
    data.flip = lambda x: x
    data.transform = Drawn()
    data.transform.rng = generator
    DataLoader(data, 3)
    with pytest.warns(UserWarning, match=r"Subset.dataset.transform.rng is a random generator"):
        DataLoader(nnx.data.Subset(data, [0, 1]), 2, num_workers=1)


def fail():
    raise KeyError("no such file")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_errors_of_workers_arrive_and_a_killed_one_is_no_hang():
    with pytest.raises(KeyError, match="no such file"):
        list(DataLoader(Drawn(7, fail), 3, num_workers=2))
    with pytest.raises(RuntimeError, match="a worker process ended before its batch was loaded"):
        list(DataLoader(Drawn(7, die), 3, num_workers=2))
    with pytest.raises(ValueError, match="num_workers must be at least 0"):
        DataLoader(Drawn(), num_workers=-1)


def test_a_loader_and_what_holds_one_can_be_pickled():
    loader = DataLoader((X, Y), 4, True, seed=3)
    next(iter(loader))
    again = pickle.loads(pickle.dumps(loader))
    assert as_bytes(again, 1) == as_bytes(loader, 1)
    part = nnx.data.random_split(ArrayDataset(X, Y), [3, 20], seed=1)[0]
    again = pickle.loads(pickle.dumps(part))
    assert [again[k][1] for k in range(3)] == [part[k][1] for k in range(3)]


def test_a_trainer_that_has_trained_can_be_pickled():
    model = nnx.nn.Linear(3, N)
    loss, adam = nnx.nn.CrossEntropyLoss(), nnx.optim.Adam(model.parameters())
    trainer = nnx.Trainer(model, loss, adam, metrics=["accuracy"], progress=False)
    trainer.fit(DataLoader((X, Y), 4, True, seed=3), (X, Y), epochs=1)
    for again in (pickle.loads(pickle.dumps(trainer)), copy.deepcopy(trainer)):
        assert again.evaluate((X, Y)) == trainer.evaluate((X, Y))
        again.fit((X, Y), epochs=1)
    assert trainer.epoch == 1


KILLED = """
import os, signal, sys
from nnx.data import DataLoader

class Slow:
    def __len__(self):
        return 9

    def __getitem__(self, i):
        return os.getpid()

pids = {int(x.item()) for x, in DataLoader(Slow(), num_workers=3)}
batches = iter(DataLoader(Slow(), num_workers=3))
print(*{int(next(batches)[0].item()) for _ in range(3)}, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_workers_end_with_the_process_that_was_killed():
    done = subprocess.run(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    left = [int(pid) for pid in done.stdout.split()]
    assert left
    end = time.monotonic() + 30
    while left and time.monotonic() < end:
        time.sleep(0.05)
        left = [pid for pid in left if alive(pid)]
    assert not left


def alive(pid):
    """Whether a process runs; one that ended and that nobody waits for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
