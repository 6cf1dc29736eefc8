"""`ShardedSampler`: every rank loads its own rows, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from parallel_helpers import digest, on_ranks

import nnx
from nnx import nn, optim
from nnx.data import DataLoader, Shard
from nnx.parallel import DataParallel, LocalWorld, ShardedSampler, world
from nnx.train import Checkpoint, Trainer

N = 53
X = np.arange(3 * N, dtype=np.float32).reshape(N, 3)
T = np.arange(N) % 3


def model(parts=8):
    nnx.manual_seed(1)
    return DataParallel(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.2)), parts=parts)


@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("shuffle", [True, False])
def test_the_ranks_rows_together_are_the_batch(n, shuffle):
    def load():
        sampler = ShardedSampler(model(), N, shuffle)
        loader = DataLoader((X, T), batch_size=12, sampler=sampler, seed=2)
        assert len(loader) == 5 and len(loader.sampler) == N
        return [[b.first, b.size, b[0].tolist(), b[1].tolist()] for b in loader]

    whole = DataLoader((X, T), batch_size=12, shuffle=shuffle, seed=2)
    by_rank = LocalWorld(n).run(load)
    for k, (x, t) in enumerate(whole):
        rows = [rank[k] for rank in by_rank]
        assert [size for _, size, _, _ in rows] == [len(t)] * n
        assert [row for r in rows for row in r[2]] == x.tolist()
        assert [row for r in rows for row in r[3]] == t.tolist()
        firsts = np.cumsum([0, *[len(r[3]) for r in rows[:-1]]]).tolist()
        assert [r[0] for r in rows] == firsts


def fitted(folder=None, sharded=True, batch_size=12, epochs=2, load=False):
    net = model()
    trainer = Trainer(
        net,
        nn.CrossEntropyLoss(),
        optim.Adam(net.parameters(), lr=0.01),
        metrics=["accuracy"],
        callbacks=[Checkpoint(folder, every_steps=2)] if folder else [],
        progress=False,
    )
    how = {"sampler": ShardedSampler(net, N)} if sharded else {"shuffle": True}
    if load:
        trainer.load(folder / "last.safetensors")
    trainer.fit(DataLoader((X / 100, T), batch_size=batch_size, seed=2, **how), epochs=epochs)
    return digest(trainer.state_dict() | {"callbacks": 0}, net.state_dict())


@pytest.mark.parametrize("batch_size", [12, 17, 26])  # the last: one row, in 8 parts
def test_training_is_the_same_with_and_without(batch_size):
    expected = on_ranks(1, fitted, None, False, batch_size)
    assert {on_ranks(n, fitted, None, True, batch_size) for n in (1, 2, 5, 8)} == {expected}


def test_a_run_goes_on_on_another_number_of_ranks(tmp_path):
    expected = on_ranks(1, fitted, tmp_path / "whole")
    on_ranks(4, fitted, tmp_path / "run", True, 12, 1)
    assert on_ranks(3, fitted, tmp_path / "run", True, 12, 1, True) == expected


class Items:
    """A data set that counts what is asked of it."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return N

    def __getitem__(self, k):
        self.asked.append(k)
        return X[k], T[k]


def test_only_own_rows_are_loaded():
    def load():
        items = Items()
        loader = DataLoader(items, batch_size=15, sampler=ShardedSampler(model(), N), seed=2)
        batches = list(loader)
        assert all(isinstance(b, Shard) for b in batches)
        return len(items.asked), [b[0].shape for b in batches]

    by_rank = LocalWorld(4).run(load)
    assert sum(asked for asked, _ in by_rank) == N
    assert max(asked for asked, _ in by_rank) == 14
    assert by_rank[0][1] == [(4, 3)] * 3 + [(2, 3)]


class Noisy(Items):
    """Draws while an item is loaded."""

    def __getitem__(self, k):
        return X[k] + nnx.random.uniform((3,)), T[k]


def test_what_items_draw_does_not_depend_on_the_ranks():
    def load():
        sampler = ShardedSampler(model(), N)
        return [b[0].tolist() for b in DataLoader(Noisy(), batch_size=9, sampler=sampler, seed=2)]

    def together(n):
        by_rank = LocalWorld(n).run(load)
        return [[row for rows in batch for row in rows] for batch in zip(*by_rank, strict=True)]

    one = together(1)
    assert len({tuple(map(tuple, batch)) for batch in one}) == len(one)
    assert together(4) == one and together(3) == one


def test_a_rank_without_rows_has_a_batch_of_none():
    def load():
        sampler = ShardedSampler(model(), 3, shuffle=False)
        (batch,) = DataLoader(Items(), batch_size=3, sampler=sampler)
        return world().rank, batch.first, batch[0].shape

    assert LocalWorld(8).run(load)[2:4] == [(2, 2, (1, 3)), (3, 3, (0, 3))]
