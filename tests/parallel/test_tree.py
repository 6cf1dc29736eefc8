"""The tree: its order does not depend on who holds which leaves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnx.parallel import Link, LocalWorld, RankFailed, world
from nnx.parallel.tree import Nodes, rows_of_part, share, spans


def in_halves(leaves):
    """The definition: the left half's sum plus the right half's."""
    if len(leaves) == 1:
        return leaves[0]
    middle = len(leaves) // 2
    return in_halves(leaves[:middle]) + in_halves(leaves[middle:])


@given(st.integers(0, 5), st.integers(0, 32), st.integers(0, 32))
def test_spans_are_whole_subtrees(k, a, b):
    parts = 2**k
    first, end = sorted((a % (parts + 1), b % (parts + 1)))
    found = spans(first, end)
    assert [leaf for low, high in found for leaf in range(low, high)] == list(range(first, end))
    for low, high in found:
        size = high - low
        assert size & (size - 1) == 0 and low % size == 0
    sizes = [high - low for low, high in found]
    assert not any(
        a == b and low % (2 * a) == 0
        for (low, _), a, b in zip(found, sizes, sizes[1:], strict=False)
    ), "two of them are one larger subtree"


@pytest.mark.parametrize("parts", [1, 2, 8, 16])
def test_nodes_add_in_the_tree_s_order(parts):
    leaves = np.random.default_rng(parts).standard_normal((parts, 5)).astype(np.float32)
    nodes = Nodes()
    for k in range(parts):
        nodes.add((k, k + 1), leaves[k].copy())
    assert len(nodes.sums) == 1
    assert np.array_equal(nodes.total(), in_halves(leaves))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 64, 1001])
@pytest.mark.parametrize("n", range(1, 17))
def test_every_number_of_ranks_gives_the_tree_s_bits(n, length):
    parts = 16
    rng = np.random.default_rng(n + length)
    scale = 10.0 ** rng.integers(-6, 7, (parts, length))
    leaves = (rng.standard_normal((parts, length)) * scale).astype(np.float32)

    def summed():
        ranks = world()
        nodes = Nodes()
        for part in range(*share(parts, n, ranks.rank)):
            nodes.add((part, part + 1), leaves[part].copy())
        assert nodes.spans == spans(*share(parts, n, ranks.rank))
        return ranks.tree_sum(parts, nodes.take())

    for total in LocalWorld(n).run(summed):
        np.testing.assert_array_equal(total, in_halves(leaves))


@given(st.integers(1, 300), st.integers(0, 5))
def test_parts_cover_a_batch_and_the_first_is_never_empty(examples, k):
    parts = 2**k
    rows = [rows_of_part(examples, parts, part) for part in range(parts)]
    assert rows[0][0] == 0 and rows[-1][1] == examples and rows[0][1] > 0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(rows))
    lengths = [high - low for low, high in rows]
    assert max(lengths) - min(lengths) <= 1 and lengths == sorted(lengths, reverse=True)


# ---- what ranks tell each other ----


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_values_and_vectors_reach_every_rank(n):
    def talk():
        ranks = world()
        vector = np.arange(6, dtype=np.float32) * (1 if ranks.rank == n - 1 else 0)
        ranks.broadcast(vector, n - 1)
        told = ranks.broadcast_value({"from": ranks.rank, "nan": float("nan")}, n // 2)
        ranks.barrier()
        everyone = ranks.gather([ranks.rank, 0.1, np.eye(2)])
        return vector, told["from"], everyone

    for vector, root, everyone in LocalWorld(n).run(talk):
        assert vector.tolist() == list(range(6)) and root == n // 2
        for rank, (number, tenth, array) in enumerate(everyone):
            assert number == rank and tenth == 0.1 and array.tolist() == [[1, 0], [0, 1]]


def test_two_sums_at_once_do_not_meet():
    def both():
        ranks = world()
        a = ranks.tree_sum(4, [np.full(5, 1.0)], channel=0)
        b = ranks.tree_sum(4, [np.full(5, 10.0)], channel=1)
        return a.tolist() + b.tolist()

    assert LocalWorld(4).run(both) == [[4.0] * 5 + [40.0] * 5] * 4


def test_the_fast_sum_adds_up_at_any_number():
    for n in (1, 2, 3, 6):
        got = LocalWorld(n).run(lambda: world().fast_sum(np.arange(4.0)).tolist())
        assert got == [[0.0, n, 2 * n, 3 * n]] * n


# ---- failures ----


@pytest.mark.parametrize("rank", [0, 2, 3])
def test_an_error_on_one_rank_ends_all(rank):
    def work():
        world().barrier()
        if world().rank == rank:
            raise ZeroDivisionError("no")
        world().barrier()

    with pytest.raises(RankFailed, match=f"rank {rank} failed: ZeroDivisionError: no") as e:
        LocalWorld(4).run(work)
    assert isinstance(e.value.__cause__, ZeroDivisionError) and e.value.rank == rank


def test_a_rank_that_hangs_is_named():
    import threading

    let_go = threading.Event()

    def work():
        if world().rank == 2:
            let_go.wait(30)
        world().barrier()

    with pytest.raises(RankFailed, match=r"rank 2 failed: it has not answered for 0\.3 s"):
        LocalWorld(4, timeout=0.3).run(work)
    let_go.set()


def test_a_rank_that_leaves_is_named():
    def work():
        return world().rank == 1 or world().gather(0)

    with pytest.raises(RankFailed, match="rank 1 failed: it has ended, and rank 0 still waits"):
        LocalWorld(3).run(work)


def test_abort_ends_all():
    def work():
        if world().rank == 1:
            world().abort("no more paper")
        world().barrier()

    with pytest.raises(RankFailed, match="rank 1 failed: no more paper"):
        LocalWorld(3).run(work)


@pytest.mark.parametrize("n", [2, 8, 64])
def test_the_exchange_costs_what_the_model_says(n):
    """t = 2 log2 n latency + 2 (n-1)/n bytes / bandwidth, on the ranks' own clocks."""
    link, length = Link(latency=2e-5, bandwidth=1e9), 64 * 1024
    world_ = LocalWorld(n, link)
    world_.run(lambda: world().tree_sum(n, [np.ones(length, np.float32)]) is None)
    steps = n.bit_length() - 1
    model = 2 * steps * link.latency + 2 * (n - 1) / n * 4 * length / link.bandwidth
    assert model <= max(world_.seconds) * 1.0001 and max(world_.seconds) <= model / 0.95
