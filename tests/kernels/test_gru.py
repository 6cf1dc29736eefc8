"""kernels/gru.cu and kernels/gru_sequence.cu against the portable GRU, in its two variants."""

from __future__ import annotations

import numpy as np
import pytest
from sequences import SEQUENCES

# As for the LSTM: another order of additions in a step's product, and a GPU's exponentials.
RTOL = {"float32": 1e-5, "float64": 1e-14}

SIZES = [(1, 1), (3, 11), (2, 16), (7, 40), (1, 300)]
VARIANTS = pytest.mark.parametrize("after", [True, False], ids=["after", "before"])


def values(rng, real, *shape):
    return (rng.standard_normal(shape) * 0.5).astype(real)


@pytest.mark.kernels("gru_cell", "gru_cell_backward")
@pytest.mark.parametrize("n,hidden", SIZES)
def test_gru_cell(cuda, real, n, hidden):
    rng = np.random.default_rng(0)
    x, u = (2 * values(rng, real, n, 3 * hidden) for _ in range(2))
    h, gh = (values(rng, real, n, hidden) for _ in range(2))

    def body(b, x, u, h, gh):
        gates, h_next = b.gru_cell(x, u, h)
        return gates, h_next, b.gru_cell_backward(gh, gates, u[:, 2 * hidden :], h)

    cuda.agree(body, x, u, h, gh, rtol=RTOL[real])


@pytest.mark.kernels("gru_reset", "gru_reset_backward", "gru_update", "gru_update_backward")
@pytest.mark.parametrize("n,hidden", SIZES)
def test_gru_reset_and_update(cuda, real, n, hidden):
    rng = np.random.default_rng(0)
    x, u = (2 * values(rng, real, n, 2 * hidden) for _ in range(2))
    x_n, u_n, h, g, gz = (values(rng, real, n, hidden) for _ in range(5))

    def body(b, x, u, x_n, u_n, h, g, gz):
        rz, rh = b.gru_reset(x, u, h)
        z = rz[:, hidden:]
        candidate, h_next = b.gru_update(x_n, u_n, z, h)
        return (
            rz,
            rh,
            candidate,
            h_next,
            b.gru_update_backward(g, z, candidate, h),
            b.gru_reset_backward(g, gz, rz, h),
        )

    cuda.agree(body, x, u, x_n, u_n, h, g, gz, rtol=RTOL[real])


def sequence(after, biased=True):
    def body(b, x, h0, weight, bias, gy, gh_n, *lengths):
        states, saved = b.gru_sequence(
            x, h0, weight, bias if biased else None, *lengths or (None,), after
        )
        return states, b.gru_sequence_backward(gy, gh_n, saved)

    return body


def arguments(real, steps, n, directions, hidden, lengths):
    rng = np.random.default_rng(1)
    gy = values(rng, real, steps, n, directions, hidden)
    if lengths is not None:
        gy[np.arange(steps)[:, None] >= np.array(lengths)] = 0
    return (
        2 * values(rng, real, steps, n, directions, 3 * hidden),
        values(rng, real, directions, n, hidden),
        values(rng, real, directions, 3 * hidden, hidden),
        values(rng, real, directions, 3 * hidden),
        gy,
        values(rng, real, directions, n, hidden),
        *([] if lengths is None else [np.array(lengths)]),
    )


@pytest.mark.kernels(
    "gru_sequence_after_32",
    "gru_sequence_after_64",
    "gru_sequence_after_128",
    "gru_sequence_backward_after_32",
    "gru_sequence_backward_after_64",
    "gru_sequence_backward_after_128",
    "gru_sequence_before_32",
    "gru_sequence_before_64",
    "gru_sequence_before_128",
    "gru_sequence_backward_before_32",
    "gru_sequence_backward_before_64",
    "gru_sequence_backward_before_128",
    "gru_wide",
    "gru_wide_backward",
    "gru_wide_before",
    "gru_wide_before_backward",
    "gru_cell",
    "gru_cell_backward",
    "gru_reset",
    "gru_reset_backward",
    "gru_update",
    "gru_update_backward",
)
def test_every_gru_kernel(cuda, real):
    """Every way through a sequence, in both variants."""
    for case in ("32 units, both directions", "33 units", "65 units", "129 units"):
        for after in (True, False):
            cuda.agree(sequence(after), *arguments(real, *SEQUENCES[case]), rtol=RTOL[real])
    for after in (True, False):
        with cuda.without_room():
            cuda.agree(sequence(after), *arguments(real, *SEQUENCES[case]), rtol=RTOL[real])


@VARIANTS
@pytest.mark.parametrize("case", SEQUENCES)
def test_gru_sequence(cuda, real, case, after):
    cuda.agree(sequence(after), *arguments(real, *SEQUENCES[case]), rtol=RTOL[real])


@VARIANTS
@pytest.mark.parametrize("case", ["31 units", "129 units"])
def test_without_bias(cuda, case, after):
    given = arguments("float64", *SEQUENCES[case])
    cuda.agree(sequence(after, biased=False), *given, rtol=1e-14)


@VARIANTS
def test_mixed_dtypes_use_the_twin(cuda, after):
    given = arguments("float64", 2, 2, 1, 3, None)
    body = sequence(after)
    cuda.agree(body, *given[:2], given[2].astype("float32"), *given[3:], rtol=1e-6)
    assert not any("sequence" in name for name in cuda.launched)


def test_cells_of_mixed_dtypes_use_the_twin(cuda):
    rng = np.random.default_rng(0)
    a, b, c = values(rng, "float32", 2, 9), values(rng, "float64", 2, 9), np.ones((2, 3))
    cuda.agree(lambda k, x, u, h: k.gru_cell(x, u, h), a, b, c, rtol=1e-6)
    cuda.agree(lambda k, x, u, h: k.gru_reset(x, u, h), a[:, :6], b[:, :6], c, rtol=1e-6)
    cuda.agree(lambda k, x, u, h: k.gru_update(x, u, u, h), a[:, :3], c, c, rtol=1e-6)
    assert not cuda.launched


@pytest.mark.in_half(
    "gru_cell",
    "gru_cell_backward",
    "gru_reset",
    "gru_reset_backward",
    "gru_update",
    "gru_update_backward",
    "gru_sequence_after_32",
    "gru_sequence_after_64",
    "gru_sequence_after_128",
    "gru_sequence_backward_after_32",
    "gru_sequence_backward_after_64",
    "gru_sequence_backward_after_128",
    "gru_sequence_before_32",
    "gru_sequence_before_64",
    "gru_sequence_before_128",
    "gru_sequence_backward_before_32",
    "gru_sequence_backward_before_64",
    "gru_sequence_backward_before_128",
)
def test_in_half(cuda):
    """A scan's states are in float32 from step to step, and rounded once each; its backward reads
    gates that were rounded.  The step-by-step way rounds products as well."""
    for after in (True, False):
        body = sequence(after)
        for case in ("32 units, both directions", "33 units", "65 units"):
            given = arguments("float16", *SEQUENCES[case])
            cuda.agree(body, *given, rtol=4e-3, layouts=("contiguous",))
        given = arguments("float16", *SEQUENCES["129 units"])
        cuda.agree(body, *given, rtol=4e-3, layouts=("contiguous",))
    given = arguments("float16", *SEQUENCES["33 units"])
    first = sequence(True)
    cuda.agree(lambda b, *a: first(b, *a)[0], *given, rtol=1e-5, layouts=("contiguous",))
