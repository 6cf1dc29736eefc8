"""Nested state: what goes in comes out, types and bits and keys alike."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnx.io import CorruptFile, load_state, save, save_state
from nnx.io.tensors import on_host, write


def same(a, b):
    """Equal in structure, type and every bit."""
    if hasattr(a, "dtype"):
        assert isinstance(b, np.ndarray)
        assert a.dtype == b.dtype and a.shape == b.shape
        assert np.asarray(a).tobytes() == b.tobytes()
    elif isinstance(a, dict):
        assert type(b) is dict and list(a) == list(b)
        assert [type(k) for k in a] == [type(k) for k in b]
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, float):
        assert type(b) is float
        assert np.float64(a).tobytes() == np.float64(b).tobytes() or (a != a and b != b)
    else:
        assert type(a) is type(b) and a == b


def round_trip(state, path):
    save_state(path, state)
    return load_state(path)[0]


def test_an_optimizer_s_state_comes_back(backend, tmp_path):
    state = {
        "state": {
            0: {"step": 3, "exp_avg": backend.asarray(np.ones((2, 3), np.float32))},
            1: {"step": 3, "exp_avg": backend.asarray(np.zeros(2, np.float32))},
        },
        "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "nesterov": False, "params": [0, 1]}],
        "rest": {"0": None, 0: "text", "key": 2**64 - 1, "best": math.inf, "": []},
    }
    loaded = round_trip(state, tmp_path / "a")
    assert loaded["state"][1]["exp_avg"].dtype == np.float32
    for k in (0, 1):
        state["state"][k]["exp_avg"] = backend.to_numpy(state["state"][k]["exp_avg"])
    same(state, loaded)


atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.sampled_from([np.arange(3), np.ones((2, 2), np.float32), np.asarray(True)])
)
keys = st.integers(0, 3) | st.sampled_from(["a", "0", "1", "a/b", "$tensor", "$tuple", "$items"])
nests = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(state=st.dictionaries(keys, nests, max_size=3))
def test_any_nest_comes_back(state, tmp_path_factory):
    same(state, round_trip(state, tmp_path_factory.mktemp("nest") / "a"))


def test_weights_stand_beside_the_state_under_their_own_names(tmp_path):
    path = tmp_path / "a"
    weights = {"0.weight": np.ones(2, np.float32)}
    save_state(path, {"step": 1, "v": np.zeros(1)}, weights, {"config": {"seed": 3}})
    state, beside, metadata = load_state(path)
    same(state, {"step": 1, "v": np.zeros(1)})
    same(beside, weights)
    assert metadata == {"config": {"seed": 3}}


def test_a_value_of_another_kind_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"state/groups/1/rule is of type function"):
        save_state(tmp_path / "a", {"groups": [0, {"rule": lambda k: k}]})
    with pytest.raises(ValueError, match="state/v"):
        save_state(tmp_path / "a", {"v": np.ones(1)}, {"state/v": np.ones(1)})
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_state_says_so(tmp_path):
    save(tmp_path / "weights.safetensors", {"w": np.ones(1)}, {"epochs": 3})
    with pytest.raises(CorruptFile, match=r"weights\.safetensors holds no training state"):
        load_state(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    "state",
    [
        {"v": {"$tensor": "state/gone"}},
        {"v": {"$tensor": ["w"]}},
        {"v": {"$tuple": 3}},
        {"v": {"$items": [[1, 2, 3]]}},
        {"v": {"$items": [[{}, 2]]}},
    ],
    ids=json.dumps,
)
def test_a_damaged_state_is_named(tmp_path, state):
    write(tmp_path / "odd.safetensors", on_host({"w": np.ones(1)}), {"state": state})
    with pytest.raises(CorruptFile, match=r"odd\.safetensors: the state"):
        load_state(tmp_path / "odd.safetensors")
