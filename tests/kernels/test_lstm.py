"""kernels/lstm.cu against the portable LSTM."""

from __future__ import annotations

import numpy as np
import pytest
from sequences import SEQUENCES

# The sums of a step's product are added in another order than in the twin, and the exponentials
# of a GPU are exact to 2 units in the last place; over a few steps the errors stay that small.
RTOL = {"float32": 1e-5, "float64": 1e-14}


def values(rng, real, *shape):
    return (rng.standard_normal(shape) * 0.5).astype(real)


@pytest.mark.kernels("lstm_cell", "lstm_cell_backward")
@pytest.mark.parametrize("n,hidden", [(1, 1), (3, 11), (2, 16), (7, 40), (1, 300)])
def test_lstm_cell(cuda, real, n, hidden):
    rng = np.random.default_rng(0)
    z, c = 2 * values(rng, real, n, 4 * hidden), values(rng, real, n, hidden)
    gh, gc = values(rng, real, n, hidden), values(rng, real, n, hidden)

    def body(b, z, c, gh, gc):
        gates, c_next, h_next = b.lstm_cell(z, c)
        return gates, c_next, h_next, b.lstm_cell_backward(gh, gc, gates, c, c_next)

    cuda.agree(body, z, c, gh, gc, rtol=RTOL[real])


def sequence(b, z, h0, c0, weight, gy, gh_n, gc_n, *lengths):
    states, c_n, saved = b.lstm_sequence(z, h0, c0, weight, None, *lengths or (None,))
    return states, c_n, b.lstm_sequence_backward(gy, gh_n, gc_n, saved)


def arguments(real, steps, n, directions, hidden, lengths):
    rng = np.random.default_rng(1)
    gy = values(rng, real, steps, n, directions, hidden)
    if lengths is not None:
        gy[np.arange(steps)[:, None] >= np.array(lengths)] = 0
    state = (directions, n, hidden)
    return (
        2 * values(rng, real, steps, n, directions, 4 * hidden),
        values(rng, real, *state),
        values(rng, real, *state),
        values(rng, real, directions, 4 * hidden, hidden),
        gy,
        values(rng, real, *state),
        values(rng, real, *state),
        *([] if lengths is None else [np.array(lengths)]),
    )


@pytest.mark.kernels(
    "lstm_sequence_32",
    "lstm_sequence_64",
    "lstm_sequence_128",
    "lstm_sequence_backward_32",
    "lstm_sequence_backward_64",
    "lstm_sequence_backward_128",
    "lstm_wide",
    "lstm_wide_backward",
)
def test_every_lstm_kernel(cuda, real):
    """Every way through a sequence, each on a case of its own."""
    for case in ("32 units, both directions", "33 units", "65 units", "129 units"):
        cuda.agree(sequence, *arguments(real, *SEQUENCES[case]), rtol=RTOL[real])


@pytest.mark.parametrize("case", SEQUENCES)
def test_lstm_sequence(cuda, real, case):
    cuda.agree(sequence, *arguments(real, *SEQUENCES[case]), rtol=RTOL[real])


def test_projection_uses_the_twin(cuda):
    rng = np.random.default_rng(0)
    z, h0, c0 = (values(rng, "float64", *s) for s in ((3, 2, 1, 16), (1, 2, 3), (1, 2, 4)))
    weight, project = values(rng, "float64", 1, 16, 3), values(rng, "float64", 1, 3, 4)

    def body(b, z, h0, c0, weight, project):
        states, c_n, saved = b.lstm_sequence(z, h0, c0, weight, project, None)
        return states, c_n, b.lstm_sequence_backward(states, h0, c0, saved)

    cuda.agree(body, z, h0, c0, weight, project, rtol=1e-14)
    assert not any("sequence" in name for name in cuda.launched)


def test_mixed_dtypes_use_the_twin(cuda):
    rng = np.random.default_rng(0)
    z, c = values(rng, "float32", 2, 12), values(rng, "float64", 2, 3)
    cuda.agree(lambda b, z, c: b.lstm_cell(z, c), z, c, rtol=1e-6)
    assert not cuda.launched
    given = arguments("float64", 2, 2, 1, 3, None)
    cuda.agree(sequence, *given[:3], given[3].astype("float32"), *given[4:], rtol=1e-6)
    assert not any("sequence" in name for name in cuda.launched)


@pytest.mark.in_half(
    "lstm_cell",
    "lstm_cell_backward",
    "lstm_sequence_32",
    "lstm_sequence_64",
    "lstm_sequence_128",
    "lstm_sequence_backward_32",
    "lstm_sequence_backward_64",
    "lstm_sequence_backward_128",
)
def test_in_half(cuda):
    """A scan's states are in float32 from step to step, and rounded once each; its backward reads
    gates and cells that were rounded."""
    rng = np.random.default_rng(0)
    z, gates = 2 * values(rng, "float16", 3, 44), abs(values(rng, "float16", 3, 44))
    c, after, gh, gc = (values(rng, "float16", 3, 11) for _ in range(4))
    cuda.agree(
        lambda b, z, c, gates, after, gh, gc: (
            b.lstm_cell(z, c),
            b.lstm_cell_backward(gh, gc, gates, c, after),
        ),
        *(z, c, gates, after, gh, gc),
        rtol=1e-6,
    )
    for case in ("32 units, both directions", "33 units", "65 units"):
        given = arguments("float16", *SEQUENCES[case])
        cuda.agree(lambda b, *a: sequence(b, *a)[:2], *given, rtol=1e-5, layouts=("contiguous",))
        cuda.agree(sequence, *given, rtol=2e-3, layouts=("contiguous",))
