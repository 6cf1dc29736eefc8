"""What the package says of itself to those who install and cite it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nnx
from nnx.version import __version__

ROOT = Path(__file__).parent.parent


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert __version__ == project["version"] == cited[1]


def test_the_index_page_has_no_dead_links():
    """README's links to other files mean nothing there: the build keeps their words alone."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
    shown = text = (ROOT / "README.md").read_text(encoding="utf-8")
    for rule in table["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        shown = re.sub(rule["pattern"], rule["replacement"], shown)
    assert "](docs/" in text and "| the design, convolution from" in shown
    assert "![" in text and "![" not in shown
    assert not re.search(r"\]\((?!https?:)", shown)


def test_advice_works_before_and_after_the_package_is_published():
    """Messages name the library that is missing, which every index has."""
    for path in Path(nnx.__file__).parent.rglob("*.py"):
        assert "nnx-array[" not in path.read_text(encoding="utf-8"), path
