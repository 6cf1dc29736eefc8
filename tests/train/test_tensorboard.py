"""TensorBoard's event files, read back from the disk as the format is described."""

from __future__ import annotations

import struct
from collections import defaultdict

import numpy as np
import pytest

from nnx.train import Checkpoint, TensorBoard
from nnx.train.callbacks import tensorboard

EVENTS = {"tensorboardX": "tensorboardX.proto.event_pb2",
          "tensorboard": "tensorboard.compat.proto.event_pb2"}  # fmt: skip


def read(folder, package):
    """By tag, (step, value), in the order of the files: records are length, CRC, event, CRC."""
    proto = pytest.importorskip(EVENTS[package])
    found = defaultdict(list)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = proto.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                given = value.simple_value
                if value.HasField("tensor"):
                    given = value.tensor.float_val[0] if value.tensor.float_val else np.frombuffer(
                        value.tensor.tensor_content, np.float32)[0]  # fmt: skip
                found[value.tag].append((event.step, float(given)))
    return found


@pytest.fixture(params=EVENTS)
def package(request, monkeypatch):
    pytest.importorskip(request.param)
    monkeypatch.setattr(
        tensorboard, "_WRITERS", {request.param: tensorboard._WRITERS[request.param]}
    )
    return request.param


def same(found, expected, begin=1):
    assert [step for step, _ in found] == list(range(begin, begin + len(expected)))
    np.testing.assert_allclose([value for _, value in found], expected, rtol=1e-6)


def test_the_history_stands_in_the_events(task, tmp_path, package):
    trainer, loader = task.trainer([TensorBoard(tmp_path / "board")])
    history = trainer.fit(loader, task.arrays(), epochs=3)
    found = read(tmp_path / "board", package)
    same(found["loss/training"], history["loss"])
    same(found["loss/validation"], history["val_loss"])
    same(found["accuracy/training"], history["accuracy"])
    same(found["accuracy/validation"], history["val_accuracy"])
    same(found["lr"], history["lr"])
    same(found["loss/steps"], history.step_losses)
    assert found.keys() == {"lr", "seconds", "loss/steps", *(
        f"{name}/{part}" for name in ("loss", "accuracy") for part in ("training", "validation")
    )}  # fmt: skip


def test_a_resumed_run_goes_on(task, tmp_path, package):
    def callbacks():
        return [TensorBoard(tmp_path / "board"), Checkpoint(tmp_path / "run")]

    trainer, loader = task.trainer(callbacks())
    trainer.fit(loader, epochs=2)
    again, loader = task.trainer(callbacks())
    again.load(tmp_path / "run" / "last.safetensors")
    history = again.fit(loader, epochs=1)
    found = read(tmp_path / "board", package)
    assert sorted(found["loss/steps"]) == [
        (k, pytest.approx(loss, rel=1e-6)) for k, loss in enumerate(history.step_losses, 1)
    ]
    assert len(list((tmp_path / "board").iterdir())) == 2 and len(found["loss/training"]) == 3


def test_what_is_missing_is_told_when_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"pip install tensorboardX"):
        TensorBoard(tmp_path)
