"""Ranks as processes: the same hash as threads give, and an end for all when one fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cuda_cpu.available import skip_or_fail
from parallel_helpers import on_ranks, why_no_mpi
from parallel_job import train

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _mpi():
    skip_or_fail(why_no_mpi(), "NNX_REQUIRE_MPI")


def start(n, *arguments, **environment):
    """mpiexec, as a user starts it, of this folder's job."""
    job = str(ROOT / "tests" / "support" / "parallel_job.py")
    return subprocess.Popen(
        ["mpiexec", "--oversubscribe", "-n", str(n), sys.executable, job, *map(str, arguments)],
        env={
            **os.environ,
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}",
            "NNX_JIT": "0",  # so that a rank starts at once
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """(status, output, errors)."""
    try:
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, errors


def test_processes_give_the_hash_of_threads(monkeypatch):
    monkeypatch.setenv("NNX_JIT", "0")
    hashes = {}
    for n in (1, 2, 4):
        status, out, errors = finish(start(n))
        assert status == 0, errors
        said = re.findall(r"hash (\w+)", out)
        assert len(said) == n
        hashes[n] = set(said)
    expected = on_ranks(2, train)
    assert hashes == {n: {expected} for n in (1, 2, 4)}


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raise", "rank 1 of 3 failed: ValueError: told to fail"),
        ("kill", "rank 1 with PID .* exited on signal 9"),
        ("sleep", "rank 1 of 3 failed: it hangs: no sign of life for"),
        ("loop", "rank 1 of 3 failed: it hangs: no sign of life for"),
        ("stop", "rank 1 of 3 failed: it has not answered for"),
        ("leave", "rank 1 of 3 failed: its program has ended, while rank"),
        ("nan", r"the loss became nan in step 5 .*on rank 1: first in the output of layer"),
    ],
)
def test_when_one_rank_fails_all_end(how, told):
    silent = how in ("sleep", "loop", "stop")  # which is noticed after the limit, 5 s by itself
    process = start(3, how, 1, 4, **{"NNX_PARALLEL_TIMEOUT": "2.5"} if silent else {})
    for line in process.stdout:
        if line.startswith("failing"):
            break
    status, _, errors = finish(process)
    assert status not in (0, None)
    assert re.search(told, errors), errors
    assert len(re.findall(r"^nnx: ", errors, re.M)) == (how != "kill")


def test_an_error_of_all_ranks_is_told_once():
    status, _, errors = finish(start(2, "all"))
    assert status != 0
    assert errors.count("nnx: ") == 1 and "rank 0 of 2 failed: ValueError: all of us" in errors
