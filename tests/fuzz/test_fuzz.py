"""A bounded run of the fuzz on every path, and that it sees what it is there to see."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import nnx
from fuzz.case import Case, Input
from fuzz.engine import Disagreement, examine
from fuzz.families import FAMILIES
from fuzz.paths import PATHS, taking, why_not
from fuzz.run import fuzz, make
from nnx import ops

CASES = 40  # of each family on each path

SEED = 20


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_bounded_run(path, family):
    reason = why_not(path)
    if reason:
        pytest.skip(reason)
    tally = fuzz(path, SEED, family, cases=CASES)
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.agreed > CASES / 2


def test_the_same_number_is_the_same_case():
    for number in range(60):
        first, second = make(7, number), make(7, number)
        assert str(first) == str(second)
        for a, b in zip(first.inputs, second.inputs, strict=True):
            np.testing.assert_array_equal(a.values, b.values)


# ---- it sees ----

X = np.asarray([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], "float32")

TWICE = 25  # of a generator that asks for a second run


def wrong_value(x):
    return x * 3 + 1e-3


def wrong_gradient(x):
    return x * 2 + x.detach()


def wrong_shape(x):
    return (x * 3).reshape(-1)


def wrong_dtype(x):
    return (x * 3).astype("float64")


def writing(x):
    y = x * 3
    x.data[0, 0] = 7
    return y


def refusing(x):
    raise ValueError("said by somebody else")


def stumbling(x):
    return nnx.Tensor(np.reshape(x.data, (7, 7)))


CALLS = itertools.count()


def unsteady(x):
    """Right once, and wrong from then on."""
    return x * 3 if next(CALLS) == 0 else x * 3 + 1


@pytest.mark.parametrize(
    "ours, word",
    [
        (wrong_value, "values differ"),
        (wrong_gradient, "gradient"),
        (wrong_shape, "shape"),
        (wrong_dtype, "float64"),
        (writing, "written"),
        (refusing, "not nnx's own"),
        (stumbling, "not nnx's own"),
        (unsteady, "second run"),
    ],
)
def test_a_fault_is_seen(ours, word):
    """The answer key says 3 x; with PyTorch it is PyTorch's, else the portable twin's."""
    pytest.importorskip("torch")
    case = Case("", [Input(X)], ours, lambda x: x * 3)
    with taking("numpy") as backend, pytest.raises(Disagreement, match=word):
        examine(case, backend, np.random.default_rng(TWICE))


def test_accepting_what_is_wrong_is_seen():
    torch = pytest.importorskip("torch")
    case = Case("", [Input(X)], ops.relu, lambda x: torch.ones(2) + torch.ones(3))
    with taking("numpy") as backend, pytest.raises(Disagreement, match="accepted"):
        examine(case, backend, np.random.default_rng(0))
