"""The code on the pages for learners runs, and says what is true."""

from __future__ import annotations

import importlib.util
import pkgutil
import re
import shlex
import textwrap
from pathlib import Path

import click
import pytest

from nnx.cli import cli
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


# ---- names and commands, on every page ----

TEXTS = {
    path.relative_to(DOCS.parent).as_posix(): path.read_text(encoding="utf-8")
    for path in [*DOCS.parent.glob("*.md"), *DOCS.rglob("*.md")]
}
INVENTED = {"nnx.name", "nnx.functional.name", "nnx.cat"}  # an operation to be added; PyTorch's


def code(text):
    """What stands in backquotes, and the blocks of a page."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return (
        blocks + re.findall(r"`([^`\n]+)`", text) + re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    )


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_the_names_it_shows_are_there(page):
    names = {
        n for part in code(TEXTS[page]) for n in re.findall(r"(?<![\w./-])nnx(?:\.\w+)+", part)
    }
    for name in names - INVENTED:
        try:
            pkgutil.resolve_name(name)
        except AttributeError:  # a file that has the name of a function in it: ops/linear.py
            file, _, inside = name.rpartition(".")
            getattr(importlib.import_module(file), inside)


def parse(command, name, words):
    """Subcommands and options alike, down to the last; nothing is run."""
    with command.make_context(name, words, resilient_parsing=True) as context:
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]
            if rest:
                name, inner, rest = command.resolve_command(context, rest)
                parse(inner, name, rest)
        else:
            assert not context.args, f"{context.args} is not understood"


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_the_commands_it_shows_exist(page):
    lines = [line for part in code(TEXTS[page]) for line in re.split(r"\n|&&", part)]
    shown = {m[1] for line in lines if (m := re.match(r"\s*(?:NNX_\w+=\S+ +)*nnx +([^#]*)", line))}
    for line in shown:
        if not re.search(r" [A-Z]+\b", line):  # NAME, RUN
            parse(cli, "nnx", shlex.split(line))
    for line in lines:
        for module in re.findall(r"python -m (benchmarks[\w.]*|tests[\w.]*)", line):
            assert importlib.util.find_spec(module), line


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
