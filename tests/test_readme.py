"""The README's examples run, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_examples_run(capsys):
    """All in one namespace, as a reader would type them; the first reaches what it promises."""
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    lines = [line for line in lines if not line.startswith("compiling ")]  # the first time
    values = eval(lines[-1])
    assert values["accuracy"] >= 0.96
    assert len(lines) == 16, "an epoch gives one line in a pipe"


def test_the_first_example_has_ten_lines():
    assert len([line for line in blocks("python")[0].splitlines() if line]) <= 10


def test_the_files_it_names_are_there():
    named = re.findall(r"\]\(([^)]+\.md)\)", TEXT)
    assert named and all((ROOT / name).exists() for name in named), named
