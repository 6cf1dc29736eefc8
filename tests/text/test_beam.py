"""Beam search against all sequences there are, and drawing from tempered probabilities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import nnx
from nnx.text import beam_search, sample

BEGIN, END, C, LENGTH = 0, 1, 4, 4


@pytest.fixture(scope="module")
def table():
    """Log-probabilities of the next symbol by the two before: (C, C, C); none begins again."""
    z = 2 * np.random.default_rng(5).standard_normal((C, C, C))
    z[:, :, BEGIN] = -np.inf
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def step_of(table, backend):
    def step(ids, state):
        (before,) = state
        last = backend.to_numpy(ids)
        rows = table[backend.to_numpy(before), last].astype("f4")
        return backend.tensor(rows), (ids,)

    return step


def every(table):
    """(ids, log p) of all sequences that end, the most probable first."""
    found = []
    for n in range(LENGTH + 1):
        for ids in itertools.product(range(2, C), repeat=n):
            said = [BEGIN, BEGIN, *ids, END]
            steps = zip(said, said[1:], said[2:], strict=False)
            found.append((list(ids), sum(table[a, b, c] for a, b, c in steps)))
    return sorted(found, key=lambda one: -one[1])


def test_a_wide_beam_finds_the_most_probable(backend, table):
    start = (backend.tensor(np.asarray([BEGIN])),)
    found = beam_search(step_of(table, backend), start, BEGIN, END, 40, LENGTH)
    expected = every(table)
    assert len(found) == len(expected) and all(one.ended for one in found)
    for one, (ids, log_prob) in zip(found[:10], expected, strict=False):
        assert one.ids == ids and one.log_prob == pytest.approx(log_prob, rel=1e-4)


def test_a_beam_of_one_is_greedy_and_a_wider_one_no_worse(backend, table):
    start = (backend.tensor(np.asarray([BEGIN])),)
    greedy = beam_search(step_of(table, backend), start, BEGIN, END, 1, LENGTH)
    ids, before, last = [], BEGIN, BEGIN
    while len(ids) < LENGTH:
        before, last = last, int(np.argmax(table[before, last]))
        if last == END:
            break
        ids.append(last)
    assert len(greedy) == 1 and greedy[0].ids == ids
    best = -math.inf
    for width in (1, 2, 3, 40):
        found = beam_search(step_of(table, backend), start, BEGIN, END, width, LENGTH)
        assert len(found) <= width
        assert found[0].log_prob >= best - 1e-6 or not greedy[0].ended
        best = found[0].log_prob


def test_what_ends_early_does_not_end_the_search():
    """An end at once has 0.05; going on for a step, and ending then, 0.9 times 0.99."""
    rows = {BEGIN: [0.0, 0.05, 0.9, 0.05], 2: [0.0, 0.99, 0.01, 0.0], 3: [0.0, 1.0, 0.0, 0.0]}

    def step(ids, state):
        with np.errstate(divide="ignore"):
            return nnx.tensor(np.log([rows[k] for k in ids.tolist()]).astype("f4")), state

    (found,) = beam_search(step, (nnx.tensor([0.0]),), BEGIN, END, 1, 5)
    assert found.ids == [2] and found.log_prob == pytest.approx(math.log(0.9 * 0.99), rel=1e-5)


def test_what_does_not_end_is_cut():
    def step(ids, state):
        return nnx.tensor(np.asarray([[-np.inf, -np.inf, 0.0]], "f4").repeat(len(ids), 0)), state

    (found,) = beam_search(step, (nnx.tensor([0.0]),), BEGIN, END, 3, 5)
    assert found.ids == [2] * 5 and not found.ended and found.log_prob == 0


def test_a_draw_follows_the_probabilities():
    log_probs = np.log([0.1, 0.6, 0.3])
    chances = (np.arange(1000) + 0.5) / 1000
    counts = np.bincount([sample(log_probs, 1.0, c) for c in chances])
    np.testing.assert_array_equal(counts, [100, 600, 300])
    cold = np.bincount([sample(log_probs + 7, 0.5, c) for c in chances]) / 1000
    np.testing.assert_allclose(cold, np.square([0.1, 0.6, 0.3]) / 0.46, atol=2e-3)
    assert {sample(log_probs, 0.0, c) for c in chances} == {1}
    assert sample([0.0, -np.inf], 1.0, 1 - 2**-53) == 0


def test_what_makes_no_sense():
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        sample([0.0], -1, 0.5)
    with pytest.raises(ValueError, match="must be positive, got 0 and 5"):
        beam_search(lambda ids, state: None, (), BEGIN, END, 0, 5)
