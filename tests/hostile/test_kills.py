"""Training that is killed and resumed; `kills.py` says what is held, and tries more of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnx.recipes import Run, find, train
from nnx.recipes.runner import resume


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL, and processes that are forked")
def test_killed_runs_resume_equal_in_every_bit_and_leave_nothing():
    """In a process of its own: this one may have threads, which a fork leaves behind."""
    script = Path(__file__).parent / "kills.py"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NNX_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, str(script), "--count", "3", "--seed", "4"],
        env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"trials": 3' in done.stdout


def test_a_run_folder_appears_with_all_that_makes_it_a_run(tmp_path, monkeypatch):
    """A process that was killed while it made one left an empty folder for ever."""
    seen = []
    rename = Path.rename

    def watched(self, target):
        seen.append(([p.name for p in tmp_path.glob("[!.]*")], (self / "config.json").exists()))
        (tmp_path / "digits-1").mkdir(exist_ok=True)  # another process is faster
        (tmp_path / "digits-1" / "config.json").touch()
        monkeypatch.setattr(Path, "rename", rename)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watched)
    run = Run.create(tmp_path, find("digits"), find("digits").make_options())
    assert seen == [([], True)] and run.folder.name == "digits-2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["digits-1", "digits-2"]


def test_what_is_left_at_the_end_is_done_when_all_epochs_are(tmp_path):
    """Killed after the last checkpoint: the curves were not drawn, nor best weights restored."""
    pytest.importorskip("matplotlib")
    run = train("digits", out=tmp_path, progress=False, epochs=1, hidden=4)
    config = (run.folder / "config.json").read_text()
    (run.folder / "curves.png").unlink()
    resume(Run(run.folder), progress=False)
    assert (run.folder / "curves.png").exists()
    assert (run.folder / "config.json").read_text() == config
