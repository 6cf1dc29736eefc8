"""What a training step is compared with computes the same step."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax")

from benchmarks.peers import in_jax
from benchmarks.steps import all_rows


@pytest.mark.parametrize("name", ["small", "mlp-adam", "rnn", "lstm", "gru", "lenet-bn-32"])
def test_three_steps_of_jax(name):
    ours, _ = all_rows()[name].build()
    theirs = in_jax(ours)
    losses = [(ours().item(), theirs().item()) for _ in range(3)]
    a, b = np.transpose(losses)
    assert len(set(a.tolist())) == 3
    np.testing.assert_allclose(a, b, rtol=1e-4)
