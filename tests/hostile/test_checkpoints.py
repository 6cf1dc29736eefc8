"""Checkpoints with a byte or a value changed: refused by name, and nothing is changed by trying."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.data import DataLoader
from nnx.io import CorruptFile, load_state, save_state
from nnx.train import EarlyStopping, Schedule, Trainer
from nnx.train.checkpoint import signed


def trainer(kind=optim.Adam, **options):
    nnx.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    optimizer = kind(model.parameters(), **{"lr": 0.01, **options})
    schedule = optim.lr_scheduler.StepLR(optimizer, 2)
    return Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        metrics=["accuracy"],
        callbacks=[Schedule(schedule), EarlyStopping(5)],
        progress=False,
    )


def loader():
    x = np.random.default_rng(0).standard_normal((24, 6)).astype(np.float32)
    return DataLoader((x, np.arange(24) % 3), batch_size=8, shuffle=True, seed=1)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    made = trainer()
    made.fit(loader(), epochs=2)
    path = tmp_path_factory.mktemp("run") / "a.safetensors"
    made.save(path)
    return path


def everything(made):
    """All that `load` writes, as bytes and text."""
    weights = {name: np.array(a).tobytes() for name, a in made.model.state_dict().items()}
    return weights, repr(made.state_dict())


def places(value, path=()):
    """Where the numbers, texts, arrays and containers of a nest are."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list | tuple):
        items = enumerate(value)
    for key, part in items:
        yield from places(part, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    made = copy.copy(value) if isinstance(value, dict) else list(value)
    made[path[0]] = replaced(value[path[0]], path[1:], new)
    return tuple(made) if isinstance(value, tuple) else made


STRANGE = [None, -1, 2**70, float("nan"), float("inf"), "x", [], {}, True, [[1]], np.zeros((2, 3))]


def test_every_value_replaced(written, tmp_path):
    """Whoever writes the file anew gets a new checksum of the file, but not of the state."""
    state, weights, metadata = load_state(written)
    kept = trainer()
    before = everything(kept)
    path = tmp_path / "b.safetensors"
    rng = np.random.default_rng(0)
    tried = 0
    for place in places(state):
        if not place or place[-1] == "seconds":
            continue
        for new in rng.choice(np.asarray([*STRANGE, 0], dtype=object), 2, replace=False):
            value = state
            for key in place:
                value = value[key]
            if type(value) is type(new) and repr(value) == repr(new):
                continue
            save_state(path, replaced(state, place, new), weights, metadata)
            with pytest.raises(CorruptFile, match=r"b\.safetensors"):
                kept.load(path)
            tried += 1
    for name in weights:
        changed = {**weights, name: weights[name] + np.float32(1e-3)}
        save_state(path, state, changed, metadata)
        with pytest.raises(CorruptFile, match="checksum"):
            kept.load(path)
    assert tried > 100 and everything(kept) == before
    kept.load(written)


def test_values_replaced_by_one_who_signs_them(written, tmp_path):
    """What no checksum can show is refused too, if it cannot be gone on from."""
    state, weights, metadata = load_state(written)
    del state["checksum"]
    kept = trainer()
    before = everything(kept)
    path = tmp_path / "b.safetensors"
    wrong = [
        (("optimizer", "param_groups", 0, "maximize"), float("nan")),
        (("optimizer", "param_groups", 0, "lr"), "fast"),
        (("optimizer", "param_groups", 0, "betas"), (0.9,)),
        (("optimizer", "param_groups", 0, "momentum"), 0.9),
        (("optimizer", "state", 0), {"step": 3}),
        (("optimizer", "state", 0, "exp_avg"), 7),
        (("optimizer", "state", 0, "exp_avg"), np.zeros(3, np.float32)),
        (("optimizer",), {}),
        (("epoch",), -1),
        (("step",), True),
        (("history", "rows"), 3),
        (("metrics", 0), {"count": 1}),
        (("loss", "sizes"), None),
        (("callbacks", 1, 1), {}),
        (("position", "random", "key"), 2**64),
        (("position", "random"), {}),
    ]
    for place, new in wrong:
        target = state
        for key in place[:-1]:
            target = target[key]
        changed = state
        if isinstance(target, dict) and place[-1] not in target:
            group = {**target, place[-1]: new}
            changed = replaced(state, place[:-1], group)
        else:
            changed = replaced(state, place, new)
        try:
            changed = signed(changed, weights)
        except (TypeError, KeyError):
            changed = {**changed, "checksum": "none"}
        save_state(path, changed, weights, metadata)
        with pytest.raises(ValueError, match=r"b\.safetensors"):
            kept.load(path)
        assert everything(kept) == before, place


def test_the_checkpoint_of_another_optimizer_is_refused(written):
    for kind in (optim.SGD, optim.RMSprop):
        kept = trainer(kind)
        before = everything(kept)
        with pytest.raises(ValueError, match="with the optimizer Adam, this trainer has"):
            kept.load(written)
        assert everything(kept) == before


def test_every_flipped_bit(written, tmp_path):
    content = bytearray(written.read_bytes())
    kept = trainer()
    before = everything(kept)
    path = tmp_path / "c.safetensors"
    rng = np.random.default_rng(0)
    for at in rng.choice(len(content) * 8, 400, replace=False):
        content[at // 8] ^= 1 << at % 8
        path.write_bytes(content)
        try:
            kept.load(path)
        except ValueError as error:
            assert "c.safetensors" in str(error)
            assert everything(kept) == before
        else:  # white space; a flipped letter of a name that is noted nowhere else is none
            state = load_state(path)[0]
            assert repr(state) == repr(load_state(written)[0])
            before = everything(kept)
        content[at // 8] ^= 1 << at % 8


def test_a_model_says_what_reads_a_checkpoint(written):
    model = trainer().model
    with pytest.raises(ValueError, match=r"training checkpoint: trainer\.load\(path\)"):
        model.load_state_dict(nnx.io.load(written)[0])
    with pytest.raises(TypeError, match=r"nnx\.load\(path\) reads one"):
        model.load_state_dict(nnx.io.load(written))
    model.load_state_dict(nnx.load(written))


def test_save_and_load(tmp_path):
    model = trainer().model
    nnx.save(model, tmp_path / "a")
    nnx.save(model.state_dict(), tmp_path / "b")
    weights, plain = nnx.load(tmp_path / "a"), nnx.load(tmp_path / "b")
    assert weights.keys() == plain.keys()
    assert all(np.array_equal(weights[name], plain[name]) for name in plain)
    assert list(weights) == sorted(weights) or set(weights) == set(model.state_dict())
    other = trainer().model
    other.load_state_dict(weights)
    with pytest.raises(TypeError, match=r"first what is to be written"):
        nnx.save(tmp_path / "a", model)
    with pytest.raises(TypeError, match=r"nnx\.io\.save_state writes nests"):
        nnx.save({"lr": 0.1}, tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"__metadata__": np.ones(2)}, {}, "no array can be called"),
        ({"\ud800": np.ones(2)}, {}, "cannot be an array's name"),
        ({3: np.ones(2)}, {}, "must be a text"),
        ({"w": np.ones(2)}, {"a": "\udcff"}, "cannot be written"),
        ({"w": np.ones(2)}, {"a": 10**5000}, "cannot be written"),
        ({"w": np.ones(2)}, {"$sha256": "x"}, None),
        ({"w": np.ones(2)}, {"a": [[]] * 2000}, "items of JSON"),
    ],
)
def test_what_could_not_be_read_again_replaces_nothing(
    tmp_path, monkeypatch, tensors, metadata, message
):
    monkeypatch.setitem(vars(nnx.io.limits), "items", 2000)
    path = tmp_path / "a.safetensors"
    nnx.io.save(path, {"good": np.ones(3)})
    before = path.read_bytes()
    if message is None:
        nnx.io.save(path, tensors, metadata)
        assert nnx.io.load(path)[1] == metadata
        return
    with pytest.raises((TypeError, ValueError), match=message):
        nnx.io.save(path, tensors, metadata)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_list_that_holds_itself(tmp_path):
    endless: list = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested too deeply"):
        nnx.io.save(tmp_path / "a", {}, {"x": endless})
    with pytest.raises(ValueError, match="nested too deeply"):
        save_state(tmp_path / "a", {"x": endless})
    assert not (tmp_path / "a").exists()


def test_names_and_keys_come_back(tmp_path):
    save_state(tmp_path / "a", {"v": 1}, {"state/mine": np.ones(2)}, {1: (2, 3), "x": {4: None}})
    state, beside, metadata = load_state(tmp_path / "a")
    assert state == {"v": 1} and list(beside) == ["state/mine"]
    assert metadata == {1: (2, 3), "x": {4: None}}
    with pytest.raises(ValueError, match="'state' of the metadata"):
        save_state(tmp_path / "a", {}, {}, {"state": 1})


def test_the_checksum_is_in_the_header(written):
    raw = written.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert len(json.loads(header["__metadata__"]["nnx"])["$sha256"]) == 64
