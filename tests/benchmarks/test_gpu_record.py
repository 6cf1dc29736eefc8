"""The command that records a run on a GPU: what can be known of it without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_facts, gpu_smoke
from nnx.backends import unavailable

ROOT = Path(__file__).parents[2]
QUICK = ("ten steps", "structures", "null pointers", "products on", "capture of an MLP")


@pytest.mark.skipif(unavailable("cupy") is None, reason="a GPU answers")
def test_without_a_gpu_it_says_so_and_ends(tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    environment = {**os.environ, "OUT": str(tmp_path / "out"), "PYTHON": sys.executable}
    environment.pop("NNX_BACKEND", None)
    done = subprocess.run(
        [bash, str(ROOT / "benchmarks" / "gpu_record.sh"), "60"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.startswith("no GPU to record: CuPy ") and done.stdout.count("\n") == 1


def test_the_checks_run_one_by_one(on_cupy, monkeypatch, capsys):
    chosen = {n: f for n, f in gpu_smoke.CHECKS.items() if n.startswith(QUICK)}
    assert len(chosen) == len(QUICK)

    def broken(b):
        raise ZeroDivisionError("on\npurpose")

    monkeypatch.setattr(gpu_smoke, "CHECKS", {"a broken one": broken, **chosen})
    assert gpu_smoke.main(["--small"]) == 1
    first, *others, last = capsys.readouterr().out.splitlines()
    assert first == "FAIL a broken one ZeroDivisionError: on purpose"
    assert all(text.startswith("ok ") for text in others) and len(others) == len(QUICK)
    assert last == f"1 of {1 + len(QUICK)} failed"


def test_facts_are_lines(on_cupy, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_facts", "--small"])
    assert gpu_facts.main() == 0
    names = [text.split("\t")[0] for text in capsys.readouterr().out.splitlines()]
    assert {"device", "CuPy", "copy", "product float32"} <= set(names)
