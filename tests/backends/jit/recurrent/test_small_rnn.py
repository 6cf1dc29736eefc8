"""A small simple recurrent layer in one compiled call, against its portable twin."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from nnx.backends.base import Backend
from nnx.backends.jit import JitBackend
from nnx.backends.jit.recurrent.small_rnn import Whole

KINDS = ["tanh", "relu"]


def example(directions=1, steps=7, n=5, features=6, hidden=13, bias=True, lengths=None):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.uniform(-0.6, 0.6, shape).astype("float32")

    weights = [
        (draw(hidden, features), draw(hidden, hidden))
        + ((draw(hidden), draw(hidden)) if bias else (None, None))
        for _ in range(directions)
    ]
    return {
        "x": draw(steps, n, features),
        "h0": draw(directions, n, hidden),
        "weights": weights,
        "lengths": None if lengths is None else np.array(lengths),
        "gy": draw(steps, n, directions * hidden),
        "gh_n": draw(directions, n, hidden),
    }


def both_ways(backend, kind, x, h0, weights, lengths, gy, gh_n, needs_x=True):
    y, h_n, saved = backend.rnn(x, h0, weights, lengths, kind)
    gx, gh, gradients = backend.rnn_backward(gy, gh_n, saved, needs_x)
    return [y, h_n, gx, gh, *(g for own in gradients for g in own)], saved


def assert_equal_to_the_twin(kind, arrays, plain=None):
    """`plain` are the same numbers, laid out simply, for the twin."""
    got, saved = both_ways(JitBackend(), kind, **arrays)
    assert isinstance(saved, Whole), "the compiled layer must have run"
    expected, _ = both_ways(Backend(np, "numpy"), kind, **(plain or arrays))
    for k, (g, e) in enumerate(zip(got, expected, strict=True)):
        if e is None:
            assert g is None, k
            continue
        assert g.dtype == np.float32 and g.shape == e.shape, k
        np.testing.assert_allclose(g, e, atol=3e-6 * max(1, np.abs(e).max()), rtol=0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [None, [7, 3, 1, 5, 6]])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_portable_twin(kind, directions, lengths, bias):
    assert_equal_to_the_twin(kind, example(directions, bias=bias, lengths=lengths))


@pytest.mark.parametrize(
    "steps, n, features, hidden", [(1, 1, 1, 1), (3, 29, 70, 37), (2, 12, 16, 64)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_sizes_with_and_without_remainders(kind, steps, n, features, hidden):
    assert_equal_to_the_twin(kind, example(2, steps, n, features, hidden))


@pytest.mark.parametrize("kind", KINDS)
def test_no_initial_state_and_read_only_strided_inputs(kind):
    def awkward(a):
        if isinstance(a, list):
            return [tuple(awkward(w) for w in own) for own in a]
        if a is None:
            return None
        wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
        wide[..., ::2] = a
        wide.flags.writeable = False
        return wide[..., ::2]

    arrays = example(2, lengths=[7, 3, 1, 5, 6]) | {"h0": None}
    strange = {name: awkward(a) for name, a in arrays.items()}
    assert_equal_to_the_twin(kind, strange, arrays)


def test_what_is_not_needed_is_not_computed():
    got, _ = both_ways(JitBackend(), "tanh", **example(), needs_x=False)
    assert got[2] is None


@pytest.mark.parametrize("kind", KINDS)
def test_nan_stays_in_its_sequence_and_in_the_padding(kind):
    arrays = example(lengths=[7, 3, 1, 5, 6])
    arrays["x"][1, 0, 2] = np.nan  # within the first sequence
    arrays["x"][4, 1, 2] = np.nan  # after the end of the second
    (y, *_), _ = both_ways(JitBackend(), kind, **arrays)
    assert np.isnan(y[1:, 0]).any(axis=-1).all()
    assert np.isfinite(y[:, 1:]).all() and np.isfinite(y[0]).all()
    arrays["x"][1, 0, 2] = 0
    got, _ = both_ways(JitBackend(), kind, **arrays)
    assert all(np.isfinite(a).all() for a in got), "padding must not reach a gradient"


def test_results_are_arrays_of_their_own():
    """What is kept for the backward pass is not what the caller may write into."""
    arrays = example()
    _, h_n, saved = JitBackend().rnn(arrays["x"], arrays["h0"], arrays["weights"], None, "tanh")
    first, _, _ = JitBackend().rnn_backward(arrays["gy"], arrays["gh_n"], saved, True)
    h_n[:] = 9
    again, _, _ = JitBackend().rnn_backward(arrays["gy"], arrays["gh_n"], saved, True)
    np.testing.assert_array_equal(first, again)
