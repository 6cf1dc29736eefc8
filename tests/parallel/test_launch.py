"""`nnx launch`: what it starts, what it refuses, and that it goes on after a loss."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cuda_cpu.available import skip_or_fail
from parallel_helpers import why_no_mpi

from nnx.cli.main import run
from nnx.io import load
from nnx.parallel import launch
from nnx.parallel.launch import CannotLaunch, Ranks, command_line

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def here(monkeypatch):
    """A machine with Open MPI, eight processors and a user who is not root."""
    monkeypatch.setattr(launch.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(launch, "find_spec", lambda name: True)
    monkeypatch.setattr(launch, "processors", lambda: 8)
    monkeypatch.setattr(launch.os, "geteuid", lambda: 1000, raising=False)
    return monkeypatch


def test_what_is_started(here):
    python = sys.executable
    assert command_line(["train", "digits"], Ranks(4)) == [
        "/bin/mpiexec", "-n", "4", python, "-m", "nnx", "train", "digits",
    ]  # fmt: skip
    assert command_line(["a.py", "-x"], Ranks(2))[3:] == [python, "a.py", "-x"]
    assert command_line(["-m", "pkg", "-x"], Ranks(2))[3:] == [python, "-m", "pkg", "-x"]
    here.setenv("NNX_BACKEND", "numpy")
    line = " ".join(command_line(["train"], Ranks(64, hosts="a:32,b:32", options=["--tag-output"])))
    assert "--host a:32,b:32" in line and "-x NNX_BACKEND" in line and "--tag-output" in line


def test_more_ranks_than_processors(here):
    with pytest.raises(CannotLaunch, match=r"9 ranks are more than the 8 processors here.*--over"):
        command_line(["train"], Ranks(9))
    assert "--oversubscribe" in command_line(["train"], Ranks(9, oversubscribe=True))
    command_line(["train"], Ranks(9, hosts="a:5,b:5"))


def test_root(here):
    here.setattr(launch.os, "geteuid", lambda: 0)
    here.delenv("OMPI_ALLOW_RUN_AS_ROOT", raising=False)
    with pytest.raises(CannotLaunch, match=r"Open MPI does not start ranks for root.*--allow-root"):
        command_line(["train"], Ranks(2))
    assert "--allow-run-as-root" in command_line(["train"], Ranks(2, allow_root=True))


def test_no_mpiexec_and_no_mpi4py(here, capsys):
    here.setattr(launch, "find_spec", lambda name: None)
    with pytest.raises(CannotLaunch, match=r"mpi4py is not installed: pip install mpi4py"):
        command_line(["train"], Ranks(2))
    here.setattr(launch.shutil, "which", lambda name: None)
    assert run(["launch", "-n", "2", "train"]) == 1
    assert "error: there is no mpiexec on the PATH: install Open MPI" in capsys.readouterr().err


def test_dry_run(here, capsys):
    assert run(["launch", "-n", "3", "--dry-run", "train", "digits", "--epochs", "2"]) == 0
    assert capsys.readouterr().out.endswith("-m nnx train digits --epochs 2\n")


BANNER = """\
what a rank said
--------------------------------------------------------------------------
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
--------------------------------------------------------------------------
--------------------------------------------------------------------------
mpiexec noticed that process rank 3 with PID 0 on node vm exited on signal 9 (Killed).
--------------------------------------------------------------------------
"""


def test_open_mpi_s_words_become_a_line(capsys):
    said = []
    launch._listen(io.StringIO(BANNER), said)
    assert said == ["rank 3 was ended by signal 9 (Killed)"]
    assert capsys.readouterr().err == "what a rank said\n"


def test_a_frame_that_says_something_else_is_passed_on(capsys):
    text = "-" * 74 + "\nA requested component was not found\n" + "-" * 74 + "\n"
    said = []
    launch._listen(io.StringIO(text), said)
    assert said == [] and capsys.readouterr().err == text


# ---- with Open MPI ----


def nnx(*arguments, cwd, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "nnx", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NNX_JIT": "0", **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def launched(n, *arguments, cwd, restarts=0):
    options = ["--oversubscribe", "--allow-root", "--restarts", restarts]
    return nnx("launch", "-n", n, *options, *arguments, cwd=cwd)


def weights(folder):
    tensors, header = load(folder / "last.safetensors")
    for row in header["state"]["history"]["rows"]:
        row.pop("seconds")
    return {k: v.tobytes() for k, v in tensors.items()}, header["state"]


@pytest.mark.parametrize("failure", [False, True])
def test_an_experiment_on_one_process_and_on_several(tmp_path, failure):
    """The same file; also where a rank is killed on the way and two ranks go on without it."""
    skip_or_fail(why_no_mpi(), "NNX_REQUIRE_MPI")
    train = ["train", "digits", "--epochs", "3", "--parts", "4"]
    alone = nnx(*train, "--out", "one", cwd=tmp_path)
    alone.communicate(timeout=120)
    assert alone.returncode == 0
    process = launched(3, *train, "--out", "three", cwd=tmp_path, restarts=2)
    if failure:
        lines = iter(process.stdout.readline, "")
        next(line for line in lines if line.startswith("epoch 1"))
        victim = _rank_process(process.pid, 1)
        os.kill(victim, 9)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert weights(tmp_path / "three" / "digits-1") == weights(tmp_path / "one" / "digits-1")
    assert len(list((tmp_path / "three").iterdir())) == 1
    if failure:
        assert "nnx launch: rank 1 was ended by signal 9 (Killed)" in errors
        assert "nnx launch: going on with 2 ranks from the last checkpoint (1 of 2)" in errors
        assert "on 2 ranks" in out
    else:
        assert errors == "" and out.count("test accuracy") == 1


def _rank_process(launcher, rank):
    """The process of a rank, among those that the launcher began."""
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdecimal() and f"OMPI_COMM_WORLD_RANK={rank}\0" in (
                path / "environ"
            ).read_text(errors="replace"):
                parent, above = int(path.name), []
                while parent > 1:
                    parent = int(
                        re.search(r"PPid:\s+(\d+)", Path(f"/proc/{parent}/status").read_text())[1]
                    )
                    above.append(parent)
                if launcher in above:
                    return int(path.name)
        except (OSError, TypeError):
            continue
    raise AssertionError(f"no process of rank {rank}")


def test_ctrl_c_ends_all_ranks_after_the_same_step(tmp_path):
    import signal

    skip_or_fail(why_no_mpi(), "NNX_REQUIRE_MPI")
    process = launched(2, "train", "digits", "--epochs", "400", cwd=tmp_path)
    next(line for line in iter(process.stdout.readline, "") if line.startswith("epoch   2"))
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert time.monotonic() - began < 20
    assert errors.count("Ctrl-C: ending after this step") == 1
    assert "go on with: nnx train digits --resume runs/digits-1" in out
    again = nnx("train", "--resume", "runs/digits-1", "--parts", "4", cwd=tmp_path)
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 2 and "not --parts" in errors


def test_a_message_is_told_once(tmp_path):
    skip_or_fail(why_no_mpi(), "NNX_REQUIRE_MPI")
    process = launched(2, "train", "digits", "--resume", "nowhere", cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and errors.count("there is no run folder nowhere") == 1
