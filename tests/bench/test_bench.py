"""What `nnx bench` times: that its ways agree, that they are held to one another, and the clock."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.bench import conv as conv_bench
from nnx.bench import lenet as lenet_bench
from nnx.bench import timing
from nnx.bench.conv import Layer
from nnx.bench.timing import Guard, interleaved, percentile

SMALL = Layer("small", 2, 3, 6, 3)


# ---- one convolution ----


@pytest.mark.parametrize("needs", [True, False])
def test_every_way_to_convolve_is_timed(needs):
    timed = conv_bench.time_layer(SMALL._replace(needs_input=needs), 3, 1, 1e-4)
    names = [t.method for t in timed]
    assert names[0].startswith("definition") and len(names) in (5, 6)
    assert [t.images for t in timed] == [1] + [3] * (len(names) - 1)
    assert all(0 < t.forward < 1 and 0 < t.both < 1 for t in timed)


@pytest.mark.parametrize("what", ["y", "dx", "dweight", "dbias"])
@pytest.mark.parametrize("k", range(5))
def test_a_wrong_result_is_not_timed(monkeypatch, k, what):
    ways = list(conv_bench.methods(SMALL))
    name, place = (
        ("forward", 0) if what == "y" else ("backward", ["dx", "dweight", "dbias"].index(what))
    )
    right = getattr(ways[k], name)

    def wrong(*arguments):
        got = list(right(*arguments))
        got[place] = got[place].copy()
        got[place].flat[-1] += 0.1
        return tuple(got)

    ways[k] = ways[k]._replace(**{name: wrong})
    monkeypatch.setattr(conv_bench, "methods", lambda layer: ways)
    with pytest.raises(RuntimeError, match=f"differ in {what} by"):
        conv_bench.time_layer(SMALL, 2, 1, 1e-4)


def test_images_are_laid_out_as_the_result_is():
    y = np.zeros((2, 5, 5, 3), "float32").transpose(0, 3, 1, 2)
    x = np.arange(2 * 4 * 6 * 6, dtype="float32").reshape(2, 4, 6, 6)
    laid = conv_bench.laid_out_as(y, x)
    np.testing.assert_array_equal(laid, x)
    assert laid.transpose(0, 2, 3, 1).flags.c_contiguous


# ---- the network ----


def test_every_library_is_timed_layer_by_layer():
    spent = lenet_bench.time_networks(2, 1, 1)
    names = ["textbook's style", "nnx, layer by layer", "nnx", "PyTorch"]
    assert list(spent) == names[: len(spent)] and len(spent) >= 3
    for name, rows in spent.items():
        expected = [r for r in lenet_bench.ROWS if name != "nnx" or "pool" not in r]
        assert list(rows) == expected
        assert all(f > 0 and b > 0 for f, b in rows.values())


def test_a_walk_forgets_the_walk_before():
    net = next(n for n in lenet_bench.networks(2) if n.name == "nnx")
    losses = []
    for _ in range(2):
        losses.append(net.walk()[0])
        gradients = [g.copy() for g in net.gradients()]
    np.testing.assert_equal(losses[0], losses[1])
    lenet_bench.agree([net, net])
    for g, e in zip(net.gradients(), gradients, strict=True):
        np.testing.assert_array_equal(g, e)


@pytest.mark.parametrize("k", [0, 3, 6])
def test_a_network_that_differs_is_found(k):
    first = lenet_bench.textbook(2)
    changed = lenet_bench.weights()
    changed[k][0] += 0.05
    with pytest.raises(RuntimeError, match=r"the loss is|differ in gradient"):
        lenet_bench.agree([first, lenet_bench.textbook(2, changed)])


def test_a_gradient_that_differs_is_found():
    first, other = lenet_bench.textbook(2), lenet_bench.textbook(2)
    last = other.stages[-1]
    other.stages[-1] = last._replace(backward=lambda g, saved: 1.01 * last.backward(g, saved))
    with pytest.raises(RuntimeError, match="differ in gradient 0 "):
        lenet_bench.agree([first, other])


# ---- the clock ----


def test_steps_take_turns():
    calls = []
    times = interleaved({n: lambda n=n: calls.append(n) for n in "ab"}, 3, 0.0, least=2)
    assert {n: len(t) for n, t in times.items()} == {"a": 6, "b": 6}
    assert "".join(calls) == "aaabbb" + "aaabbb" * 3  # two and one; then one uncounted and two


def test_a_turn_is_timed_by_the_clock_that_is_given():
    ticks = iter(range(100))
    times = interleaved({"a": lambda: next(ticks)}, 2, 0.0, clock=lambda: next(ticks))
    assert times == {"a": [2, 2]}  # a tick within the step, one to its end


def test_a_disturbed_turn_is_made_again(monkeypatch):
    stops = iter([0, 1, 1, 1, 1, 2, 2, 3])  # at the start and the end of each turn
    monkeypatch.setattr(timing, "_stops", lambda: next(stops))
    monkeypatch.setattr(timing.time, "thread_time", lambda: 0.0)  # the core was another's
    calls, guard = [], Guard(patience=1)
    times = interleaved({"a": lambda: calls.append("a")}, 3, 0.0, guard=guard)
    assert len(times["a"]) == 3 and len(calls) == 2 + 4  # one turn was made twice, and not counted
    assert (guard.turns, guard.disturbed) == (3, 2)
    assert str(guard) == "2 of 3 turns disturbed by other work"


def test_a_wait_that_nobody_else_caused_disturbs_nothing(monkeypatch):
    monkeypatch.setattr(timing, "_stops", lambda: 7)
    monkeypatch.setattr(timing.time, "thread_time", lambda: 0.0)
    guard = Guard(patience=9)
    interleaved({"a": lambda: None}, 2, 0.0, guard=guard)
    assert (guard.patience, guard.turns, guard.disturbed) == (9, 2, 0)


def test_percentile():
    assert percentile([5.0, 1.0, 4.0, 2.0, 3.0], 0.5) == 3.0
    assert percentile([2.0, 1.0], 0.1) == 1.0
