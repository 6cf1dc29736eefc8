"""The code on the pages for learners runs, and says what is true."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from nnx.ops.array import autocast

DOCS = Path(__file__).parent.parent / "docs"
GUIDE = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.glob("guide/*.md"))
PAGES = sorted(p.name for p in DOCS.glob("*.md")) + GUIDE


@pytest.mark.parametrize(
    "page",
    [
        *GUIDE,
        "convolution.md",
        "cpu-kernels.md",
        "onnx.md",
        "training.md",
        "sklearn.md",
        "weights.md",
        "../CONTRIBUTING.md",
    ],
)
def test_the_code_runs(page, tmp_path, monkeypatch):
    """All blocks in one namespace; they hold what they compute to the references themselves."""
    needed = {
        "cpu-kernels.md": "numba",
        "onnx.md": "onnx",
        "sklearn.md": "sklearn",
        "weights.md": "torch",
        "guide/backends.md": "array_api_strict",
    }.get(page)
    if needed:
        pytest.importorskip(needed)
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r"^( *)```python\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    blocks = [textwrap.dedent(block) for _, block in found]
    assert "assert" in "".join(blocks)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(autocast, "LISTS", {k: [*v] for k, v in autocast.LISTS.items()})
    names = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_the_files_it_names_are_there(page):
    folder = (DOCS / page).parent
    text = (DOCS / page).read_text(encoding="utf-8")
    named = re.findall(r"\]\(([^):]+)\)", text)
    named += [
        str(DOCS.parent / path)
        for path in re.findall(r"`((?:nnx|benchmarks|kernels)/[\w/]+\.\w+)`", text)
    ]
    missing = [name for name in named if not (folder / name.partition("#")[0]).exists()]
    assert not missing


def test_the_way_in_names_what_is_there():
    """CONTRIBUTING's bases, files and tables of cases: the page is followed to the letter."""
    text = (DOCS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    missing = []
    for base, file in re.findall(r"`(\w+)` \(`((?:ops|autograd)[\w/.]*)`\)", text):
        path = DOCS.parent / "nnx" / file
        sources = [path] if path.suffix else sorted(path.glob("*.py"))
        if not any(f"class {base}(" in p.read_text() or f"class {base}:" in p.read_text()
                   for p in sources):  # fmt: skip
            missing.append(base)
    for path in re.findall(r"`((?:nnx|tests|docs|benchmarks)/[\w/]+\.(?:py|md))`", text):
        if not (DOCS.parent / path).exists():
            missing.append(path)
    for table, path in re.findall(r"`([A-Z]{4,})` of\s+`(tests/[\w/]+\.py)`", text):
        if not re.search(rf"^{table} = ", (DOCS.parent / path).read_text(), re.MULTILINE):
            missing.append(f"{table} of {path}")
    assert not missing


def test_every_environment_variable_is_in_the_table():
    """Those that the code reads are on the page, and the page names no other."""
    root = DOCS.parent
    read = set()
    for path in [*(root / "nnx").rglob("*.py"), *(root / "tests").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        read |= set(re.findall(r"\bNNX_[A-Z]+(?:_[A-Z]+)*\b", text))
    page = (DOCS / "environment.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(NNX_[A-Z_]+?)(?:_<NAME>)?` \|", page, re.MULTILINE))
    of_limits = {name for name in read if name.startswith("NNX_LIMIT")}
    assert (read - of_limits) | {"NNX_LIMIT"} == rows


def test_every_page_is_in_the_sites_navigation():
    """mkdocs fails at a page that is not; this says it sooner."""
    nav = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    assert not set(PAGES) - set(re.findall(r"([\w/-]+\.md)", nav))
