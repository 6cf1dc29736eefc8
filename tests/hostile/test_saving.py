"""What a save leaves in its folder: the file, with the mode it had, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import nnx
from nnx.io import atomic, replacing, write_text

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and pipes are POSIX")


def test_a_file_keeps_its_mode(tmp_path):
    path = tmp_path / "a"
    for mode in (0o600, 0o640, 0o444):
        write_text(path, "x")
        path.chmod(mode)
        nnx.io.save(path, {"w": np.ones(2)})
        assert path.stat().st_mode & 0o777 == mode


KILLED = """
import sys, time
from nnx.io import replacing
with replacing(sys.argv[1]) as beside:
    beside.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_save_left_is_cleared_by_the_next(tmp_path):
    for name in ("best.safetensors", "last.safetensors"):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / name)], stdout=subprocess.PIPE
        ) as child:
            child.stdout.readline()
            child.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 2
    with (
        replacing(tmp_path / "other") as ours,
        subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "slow")], stdout=subprocess.PIPE
        ) as working,
    ):
        working.stdout.readline()
        write_text(tmp_path / "last.safetensors", "whole")
        names = [path.name for path in tmp_path.iterdir()]
        assert ours.name in names and len(names) == 3  # the two that are being written stay
        working.kill()
    write_text(tmp_path / "third", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.safetensors", "other", "third"]


def test_the_temporary_file_of_another_machine_is_left_for_a_day(tmp_path):
    foreign = tmp_path / ".last.safetensors.00000000-1-0123abcd.tmp"
    foreign.touch()
    write_text(tmp_path / "a", "")
    assert foreign.exists()
    os.utime(foreign, (time.time() - 90_000,) * 2)
    write_text(tmp_path / "a", "")
    assert not foreign.exists()
    for name in (".hidden.tmp", "notes.tmp", ".a.12345678-99999999-0123abcd.txt"):
        (tmp_path / name).touch()
    write_text(tmp_path / "a", "")
    assert len(list(tmp_path.iterdir())) == 4


def test_a_long_name(tmp_path):
    path = tmp_path / ("ü" * 120 + ".json")
    write_text(path, "x")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_pipes_folders_and_devices_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match=rf"no file can replace.*{name}"):
            write_text(tmp_path / name, "x")
    with pytest.raises(OSError, match="no file can replace"):
        nnx.io.save("/dev/null", {"w": np.ones(1)})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    """A run folder from a stranger may hold a link to a file of one's own."""
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "best").symlink_to(tmp_path / "mine")
    write_text(tmp_path / "best", "x")
    assert (tmp_path / "mine").read_text() == "precious"
    assert not (tmp_path / "best").is_symlink()


def test_a_folder_that_refuses_to_be_synced(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse(descriptor):
        if os.fstat(descriptor).st_mode & 0o040000:
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", refuse)
    write_text(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full") as caught:
        write_text(tmp_path / "a", "x")
    assert caught.value.filename == str(tmp_path / "a") and not list(tmp_path.iterdir())
