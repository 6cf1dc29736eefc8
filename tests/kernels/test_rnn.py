"""kernels/rnn.cu against the portable RNN."""

from __future__ import annotations

import numpy as np
import pytest
from sequences import SEQUENCES

from nnx.backends.cuda.recurrent import MOST_UNITS

# The sums of a step's product are added in another order than in the twin, and tanh on a GPU is
# exact to 2 units in the last place; over a few steps the errors stay that small.
RTOL = {"float32": 1e-5, "float64": 1e-14}


def sequence(nonlinearity):
    def body(b, z, h0, weight, gy, gh_n, *lengths):
        states, saved = b.rnn_sequence(z, h0, weight, *lengths or (None,), nonlinearity)
        return states, b.rnn_sequence_backward(gy, gh_n, saved)

    return body


def arguments(real, steps, n, directions, hidden, lengths):
    """Weights so small that states stay far from where a relu or its slope would jump."""
    rng = np.random.default_rng(1)

    def values(scale, *shape):
        return (rng.standard_normal(shape) * scale).astype(real)

    gy = values(0.5, steps, n, directions, hidden)
    if lengths is not None:
        gy[np.arange(steps)[:, None] >= np.array(lengths)] = 0
    state = (directions, n, hidden)
    return (
        values(1, steps, n, directions, hidden),
        values(0.5, *state),
        values(0.5 / hidden**0.5, directions, hidden, hidden),
        gy,
        values(0.5, *state),
        *([] if lengths is None else [np.array(lengths)]),
    )


@pytest.mark.kernels(
    "rnn_sequence_32",
    "rnn_sequence_64",
    "rnn_sequence_128",
    "rnn_sequence_backward_32",
    "rnn_sequence_backward_64",
    "rnn_sequence_backward_128",
    "rnn_wide",
    "rnn_wide_backward",
    "rnn_step",
    "rnn_step_backward",
)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_every_rnn_kernel(cuda, real, nonlinearity):
    """Every way through a sequence, each on a case of its own."""
    for case in ("32 units, both directions", "33 units", "65 units", "129 units"):
        given = arguments(real, *SEQUENCES[case])
        cuda.agree(sequence(nonlinearity), *given, rtol=RTOL[real])
    with cuda.without_room():
        cuda.agree(sequence(nonlinearity), *given, rtol=RTOL[real])


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("case", SEQUENCES)
def test_rnn_sequence(cuda, real, case, nonlinearity):
    given = arguments(real, *SEQUENCES[case])
    cuda.agree(sequence(nonlinearity), *given, rtol=RTOL[real])


@pytest.mark.parametrize("hidden", [5, 130])
def test_relu_of_nan_is_nan(cuda, hidden):
    z, h0, weight = arguments("float32", 3, 2, 1, hidden, None)[:3]
    z[1, 0, 0, 2] = np.nan
    b = cuda.backend
    states, _ = b.rnn_sequence(*(b.from_numpy(a) for a in (z, h0, weight)), None, "relu")
    states = b.to_numpy(states)
    assert np.isnan(states[1, 0, 0, 2]) and not np.isnan(states[:, 1]).any()


def test_mixed_dtypes_use_the_twin(cuda):
    given = arguments("float64", 2, 2, 1, 3, None)
    given = (*given[:2], given[2].astype("float32"), *given[3:])
    cuda.agree(sequence("tanh"), *given, rtol=1e-6)
    assert not any("rnn" in name for name in cuda.launched)


def test_a_layer_wider_than_a_launch_goes_step_by_step(cuda):
    """Of all three kinds; it is one rule (`scanned_whole`)."""

    def body(b, x, w_ih, w_hh, bias, gy, gh_n):
        y, h_n, saved = b.rnn(x, None, [(w_ih, w_hh, bias, bias)], None, "tanh")
        return y, h_n, b.rnn_backward(gy, gh_n, saved, True)

    hidden = MOST_UNITS + 1
    z, _, weight, gy, gh_n = arguments("float32", 2, 3, 1, hidden, None)
    given = z[:, :, 0, :5], weight[0, :, :5], weight[0], weight[0, 0], gy[:, :, 0], gh_n
    with cuda.without_room():
        cuda.agree(body, *given, rtol=1e-5)
    assert "rnn_step" in cuda.launched


@pytest.mark.in_half(
    "rnn_step",
    "rnn_step_backward",
    "rnn_sequence_32",
    "rnn_sequence_64",
    "rnn_sequence_128",
    "rnn_sequence_backward_32",
    "rnn_sequence_backward_64",
    "rnn_sequence_backward_128",
)
def test_in_half(cuda):
    """A scan's states are in float32 from step to step, and rounded once each; its backward reads
    states that were rounded.  The step-by-step way rounds products as well."""
    body = sequence("tanh")
    for case in ("32 units, both directions", "33 units", "65 units"):
        given = arguments("float16", *SEQUENCES[case])
        cuda.agree(lambda b, *a: body(b, *a)[0], *given, rtol=1e-5, layouts=("contiguous",))
        cuda.agree(body, *given, rtol=2e-3, layouts=("contiguous",))
    with cuda.without_room():
        given = arguments("float16", *SEQUENCES["129 units"])
        cuda.agree(body, *given, rtol=2e-3, layouts=("contiguous",))
