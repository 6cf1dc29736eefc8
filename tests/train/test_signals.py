"""Ctrl-C at random moments leaves nothing behind: `signals.py`, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signal timers are POSIX's")
@pytest.mark.parametrize("jit", ["0", "1"])
def test_signals_leave_nothing_behind(jit):
    done = subprocess.run(
        [sys.executable, str(HERE / "signals.py"), "1000", "7"],
        env=os.environ | {"NNX_JIT": jit, "PYTHONPATH": str(HERE.parent.parent)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("10"), done.stdout
