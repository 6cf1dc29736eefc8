"""Safetensors files: any backend's arrays, whole or not at all, clear errors."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

import nnx
from nnx.io import CorruptFile, load, replacing, save, write_text


def leftovers(folder):
    return [p.name for p in folder.iterdir() if p.name.endswith(".tmp")]


def test_arrays_of_every_backend_come_back(backend, tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = {
        "weight": backend.asarray(values),
        "strided": backend.strided(values),
        "transposed": backend.xp.permute_dims(backend.asarray(values), (1, 0)),
        "tensor": backend.tensor(values, requires_grad=True),
        "scalar": backend.asarray(np.float32(2.5)),
        "empty": backend.asarray(np.zeros((0, 4), np.float32)),
        "labels": backend.asarray(np.asarray([3, 1], np.int64)),
        "mask": backend.asarray(np.asarray([True, False])),
    }
    save(tmp_path / "a.safetensors", arrays, {"layers": [1, 2], "rate": 0.1})
    loaded, metadata = load(tmp_path / "a.safetensors")
    assert metadata == {"layers": [1, 2], "rate": 0.1}
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        expected = backend.to_numpy(array)
        assert isinstance(loaded[name], np.ndarray)
        assert loaded[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(loaded[name], expected, err_msg=name)


def test_another_program_reads_the_file(tmp_path):
    from safetensors.numpy import load_file

    save(tmp_path / "a.safetensors", {"w": np.eye(3, dtype=np.float32).T[::-1]})
    np.testing.assert_array_equal(load_file(tmp_path / "a.safetensors")["w"], np.eye(3)[::-1])


def test_the_file_of_another_program_is_read(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.ones(2, np.float32)}, tmp_path / "a.safetensors", {"format": "pt"})
    tensors, metadata = load(tmp_path / "a.safetensors")
    assert metadata == {"format": "pt"}
    np.testing.assert_array_equal(tensors["w"], [1, 1])


def test_a_dtype_that_numpy_lacks_is_named(tmp_path):
    header = b'{"w":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}'
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(TypeError, match=r"a\.safetensors: w is F8_E4M3, a dtype NumPy lacks"):
        load(path)


def test_the_same_state_gives_the_same_bytes(tmp_path):
    for name in "ab":
        save(tmp_path / name, {"w": np.ones(3), "v": np.zeros(2, np.int8)}, {"x": 1, "y": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_saved_is_not_changed_by_the_loaded(tmp_path):
    array = np.zeros(3)
    save(tmp_path / "a", {"w": array})
    first, _ = load(tmp_path / "a")
    first["w"][:] = 7
    again, _ = load(tmp_path / "a")
    assert not again["w"].any() and not array.any()


@pytest.mark.parametrize("keep", [0, 4, 8, 60, -8, -1])
def test_a_cut_off_file_is_named(tmp_path, keep):
    path = tmp_path / "cut.safetensors"
    save(path, {"w": np.ones((4, 4), np.float32)}, {"note": "x"})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptFile, match=r"cut\.safetensors is not a whole safetensors file"):
        load(path)


def test_a_file_of_another_kind_is_named(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(CorruptFile, match=r"picture\.png"):
        load(path)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CorruptFile, match=r"weights\.pt"):
        load(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("text", ["{", "[1]", "null", "[" * 200_000])
def test_damaged_json_in_the_header_is_named(tmp_path, text):
    from safetensors.numpy import save_file

    save_file({"w": np.ones(2)}, tmp_path / "odd.safetensors", {"nnx": text})
    with pytest.raises(CorruptFile, match=r"odd\.safetensors.*header"):
        load(tmp_path / "odd.safetensors")


def test_a_missing_file_and_a_folder_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load(tmp_path / "nothing.safetensors")
    with pytest.raises(OSError, match=tmp_path.name):
        load(tmp_path)


def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(TypeError, match=r"metadata for .*a\.safetensors.*JSON"):
        save(path, {}, {"function": print})
    with pytest.raises(TypeError, match="save: w has dtype complex128"):
        save(path, {"w": np.ones(2, np.complex128)})
    with pytest.raises(TypeError, match="expected an array"):
        save(path, {"w": [1, 2]})
    assert list(tmp_path.iterdir()) == []


# ---- never half ----


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save(path, {"w": np.ones(2)})
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(path, {"w": np.zeros(2)})
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == []


def test_an_interrupt_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "history.csv"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as beside:
        beside.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == []


def test_the_file_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    """A rename that reached the disk before the contents would be an empty file after a crash."""
    path, events = tmp_path / "a.txt", []
    fsync, replace = os.fsync, type(path).replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(
        type(path), "replace", lambda a, b: (events.append("rename"), replace(a, b))[1]
    )
    write_text(path, "text")
    assert events[:2] == ["fsync", "rename"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        save(tmp_path / "nowhere" / "a.safetensors", {"w": np.ones(1)})


def test_a_file_is_readable_by_whom_the_umask_says(tmp_path):
    if os.name != "posix":
        pytest.skip("file modes are POSIX")
    save(tmp_path / "a", {"w": np.ones(1)})
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


WRITER = """
import sys, itertools, numpy as np, nnx
for k in itertools.count():
    nnx.io.save(sys.argv[1], {"w": np.full(200_000, k, np.int64)}, {"k": k})
    if k == 0:
        print("ready", flush=True)
"""


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a.safetensors"
    for wait in (0.013, 0.029):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            try:
                assert child.stdout.readline() == "ready\n"
                time.sleep(wait)
            finally:
                child.kill()
        tensors, metadata = load(path)
        assert tensors["w"].shape == (200_000,)
        assert np.all(tensors["w"] == metadata["k"])


def test_the_metadata_is_plain_json_in_the_header(tmp_path):
    path = tmp_path / "a.safetensors"
    nnx.io.save(path, {"w": np.ones(1)}, {"model": "mlp"})
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    ours = json.loads(header["__metadata__"]["nnx"])
    assert len(ours.pop("$sha256")) == 64
    assert ours == {"model": "mlp"}


def test_bfloat16_is_read_as_float32(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    values = torch.tensor([[1.0, -2.5, 3.140625], [float("inf"), 1e-40, 0.0]])
    file = tmp_path / "bf16.safetensors"
    save_file(
        {
            "first": torch.ones(3),
            "w": values.to(torch.bfloat16),
            "empty": torch.zeros(0, 2).to(torch.bfloat16),
            "last": torch.arange(5),
        },
        file,
    )
    tensors, _ = nnx.io.load(file)
    assert tensors["w"].dtype == tensors["empty"].dtype == np.float32
    np.testing.assert_array_equal(tensors["w"], values.to(torch.bfloat16).float().numpy())
    assert tensors["empty"].shape == (0, 2) and tensors["last"].tolist() == [0, 1, 2, 3, 4]
    layer = nnx.nn.Linear(3, 2, bias=False)
    layer.load_state_dict({"weight": tensors["w"]})
    save_file({"f8": torch.ones(2).to(torch.float8_e4m3fn)}, file)
    with pytest.raises(TypeError, match=r"f8 is F8_E4M3, .*; write it as float32"):
        nnx.io.load(file)


@pytest.mark.parametrize(
    "kind, message",
    [
        (
            "pt",
            r"a PyTorch file \(\.pt\).*nnx\.interop\.torch\.load\(path\).*weights_only=True.*save_",
        ),
        ("old.pt", r"a pickle \(old PyTorch files are\).*weights_only=True"),
        ("npz", r"a NumPy archive \(\.npz\): nnx\.load\(path\).*load_state_dict"),
        ("npy", r"a NumPy file \(\.npy\): np\.load"),
        ("h5", r"an HDF5 file: nnx\.interop\.keras .*h5py"),
        ("zip", "a zip archive"),
    ],
)
def test_weights_in_other_kinds_of_files(tmp_path, kind, message):
    file = tmp_path / f"weights.{kind}"
    if kind.endswith("pt"):
        torch = pytest.importorskip("torch")
        new = kind == "pt"
        torch.save({"w": torch.ones(2)}, file, _use_new_zipfile_serialization=new)
    elif kind == "npz":
        np.savez(file, w=np.ones(2))
    elif kind == "npy":
        np.save(file, np.ones(2))
    elif kind == "h5":
        file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("readme.txt", "words")
    for read in (load, nnx.io.load_state):
        with pytest.raises(nnx.io.CorruptFile, match=f"no safetensors file: it is {message}"):
            read(file)


@pytest.mark.parametrize("name", ["w.pt", "w.PTH", "w.onnx", "w.weights.h5", "w.npy", "w.pkl"])
def test_a_file_under_another_formats_name_is_written_and_told_of(tmp_path, name):
    for write in (nnx.save, lambda model, path: nnx.io.save_state(path, {"a": 1})):
        with pytest.warns(UserWarning, match="is a safetensors file.*under another format's name"):
            write(nnx.nn.Linear(3, 2), tmp_path / name)
    assert nnx.io.load_state(tmp_path / name)[0] == {"a": 1}
