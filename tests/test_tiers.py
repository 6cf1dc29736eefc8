"""What is left to CI, and that nothing is left to nobody."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiers

from tests.conftest import BACKENDS

TESTS = Path(__file__).parent
ROOT = TESTS.parent
SOME = ["tests/parallel", "tests/random"]
# Tables in which every operation, layer, loss, optimizer, kernel and experiment has its line.
WHOLE = ["ops/test_every_operation.py", "nn/test_doors.py", "nn/test_loss.py",
         "nn/test_empty_batch.py", "optim/test_optimizers.py", "backends/test_every_kernel.py",
         "recipes/test_recipes.py", "recipes/test_checked_kernels.py"]  # fmt: skip


def collected(*options):
    """The tests in `SOME`, and the line that says what is left out."""
    command = [sys.executable, "-m", "pytest", "--co", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, cwd=ROOT, check=True
    )
    lines = done.stdout.splitlines()
    return {s for s in lines if "::" in s}, [s for s in lines if "left to CI" in s]


@pytest.mark.ci
def test_a_newcomers_tests_and_the_rest_are_all():
    here, (line,) = collected(*SOME)
    everything, nothing = collected("--all", *SOME)
    rest = everything - here
    assert here < everything and not nothing
    assert line == f"{len(rest):,} tests are left to CI; --all runs them too"
    left = "|".join(tiers.LEFT_TO_CI["backend"])
    assert all(re.search(rf"/test_(launch|mpi)\.py|\[({left})\b", name) for name in rest)
    assert any("[numpy" in s for s in here) and any("test_launch" in s for s in rest)


@pytest.mark.ci
def test_what_is_named_runs_whole():
    named, nothing = collected("tests/fuzz", "tests/random/test_generator.py")
    assert any("tests/fuzz" in s for s in named) and any("[portable" in s for s in named)
    assert not nothing


def test_ci_runs_all():
    runs = re.findall(r"python -m pytest (.*)", (ROOT / ".ci/run").read_text())
    assert any(
        "--all" in s and not re.search(r"-[km] |--deselect|--ignore|tests/", s) for s in runs
    )


@pytest.mark.parametrize(
    ("processes", "asked", "chosen"),
    [(2, "no", "worksteal"), ("auto", "no", "worksteal"), (2, "each", "each"), (None, "no", "no")],
)
def test_processes_begin_with_a_part_of_the_list(processes, asked, chosen):
    option = SimpleNamespace(numprocesses=processes, dist=asked)
    tiers.pytest_cmdline_main(SimpleNamespace(option=option))
    assert option.dist == chosen


def test_every_file_with_tests_is_one_that_pytest_collects():
    for path in TESTS.rglob("*.py"):
        if re.search(r"^(async )?def test_|^class Test", path.read_text(), re.M):
            assert path.name.startswith("test_"), path


def test_what_is_left_to_ci_is_there():
    assert set(tiers.LEFT_TO_CI["backend"]) <= set(BACKENDS)
    for place in tiers.LEFT_TO_CI["files"]:
        assert (TESTS / place).exists(), place


@pytest.mark.parametrize("place", WHOLE)
def test_a_newcomer_meets_every_layer_on_numpy_and_numba(place):
    assert not {"numpy", "jit", "strict-device1"} & set(tiers.LEFT_TO_CI["backend"])
    parts = Path(place)
    assert not {p.as_posix() for p in (parts, *parts.parents)} & set(tiers.LEFT_TO_CI["files"])
    assert "mark.ci" not in (TESTS / place).read_text()
