"""What an editor and `mypy --strict` know of nnx, in a file as a user writes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
USER = ROOT / "tests" / "typed" / "user.py"


def test_a_users_file(tmp_path):
    """Every `assert_type` in it holds; and what is not there is an error, not Any."""
    pytest.importorskip("mypy")
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import nnx\n\nnnx.nosuchthing(nnx.tensor([1.0]))\nnnx.sum()\n")
    # By the project's settings, so that what mypy knows of nnx from its last run there serves here.
    command = [sys.executable, "-m", "mypy", USER, wrong]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and lines.pop().startswith("Found 2 errors in 1 file"), done
    assert 'wrong.py:3: error: Module has no attribute "nosuchthing"' in lines[0]
    assert 'wrong.py:4: error: Missing positional argument "x" in call to "sum"' in lines[1]
