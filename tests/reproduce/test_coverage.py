"""The tables of what is where: every row of the texts, and only what there is is named."""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path

import pytest

import nnx
from nnx import functional, reference
from nnx.cli import plot
from nnx.cli.train import _command as train_command
from nnx.recipes import NAMES
from nnx.recipes import find as recipe
from nnx.reproduce import BOOKS, experiments
from nnx.reproduce.report import COVERAGE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "experiments"
ROOTS = [ROOT, ROOT / "nnx", ROOT / "nnx/recipes", ROOT / "docs", DOCS]  # a row's paths begin there
ROWS = {  # the letter of a table's rows, and how many there are
    "coverage-xu.md": ("", 157),
    "coverage-liu.md": ("L", 70),
    "coverage-saito.md": ("S", 54),
    "coverage-wang.md": ("W", 35),
    "coverage-lecture.md": ("N", 40),
}
PUBLIC = [nnx.nn, nnx.nn.init, nnx.nn.utils, nnx.ops, nnx.optim, nnx.optim.lr_scheduler, nnx.train,
          nnx.data, nnx.datasets, nnx.linear_model, nnx.metrics, nnx.plots, nnx.text, functional,
          reference, nnx]  # fmt: skip


def rows(file: str) -> list[list[str]]:
    """Number, section, what, what the text prints, the answer, where and how verified."""
    lines = (DOCS / file).read_text(encoding="utf-8").splitlines()
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines if re.match(r"\| [A-Z]?\d+ \| ", line)
    ]  # fmt: skip


def test_there_are_tables_of_all_texts():
    assert set(COVERAGE) == set(ROWS) == {p.name for p in DOCS.glob("coverage-*.md")}


@pytest.mark.parametrize("file", ROWS)
def test_every_row_is_answered_and_held_by_something(file):
    letter, count = ROWS[file]
    table = rows(file)
    assert [row[0] for row in table] == [f"{letter}{k}" for k in range(1, count + 1)]
    loose = []
    for name, *_, answer, how in table:
        if answer == "**yes**":
            held = re.search(r"tests/\w|nnx reproduce \w|[\w-]+\.md", how)
            loose += [] if held else [name]
        else:
            assert answer == "**why not**" and len(how.split()) > 5, name
    assert not loose, "verified by nothing that can be run or read"
    yes = sum(row[4] == "**yes**" for row in table)
    text = (DOCS / file).read_text(encoding="utf-8")
    assert f"**{count} rows: {yes} yes, {count - yes} with the reason why not.**" in text


@pytest.mark.parametrize("file", ROWS)
def test_what_it_names_is_there(file):
    wrong = []
    for name, *_, how in rows(file):
        wrong += [f"{name}: {token}" for token in re.findall(r"`([^`]+)`", how) if not known(token)]
        for path in re.findall(r"[\w./-]+\.(?:py|md)|(?:tests|docs)/[\w/-]+", how):
            written = path in (f"{book}.md" for book in BOOKS)  # by `nnx reproduce --docs`
            there = written or any((root / path).exists() for root in ROOTS)
            wrong += [] if there else [f"{name}: {path}"]
    assert not wrong


def test_every_experiment_stands_in_a_row():
    text = " ".join(row[-1] for file in ROWS for row in rows(file))
    assert set(experiments()) == set(re.findall(r"nnx reproduce (\w+/[\w-]+)", text))


def test_a_name_that_is_not_there_is_seen():
    for token in ("tests/nowhere.py", "nnx reproduce liu/nothing", "nnx train nothing",
                  "nnx plot nothing", "--nothing", "nn.Nothing", "ops.conv5d", "nothing=1",
                  "ops/loss/margin.py:nothing", "Nothing(p=1)"):  # fmt: skip
        assert not known(token), token


def known(token: str) -> bool:
    """Whether there is what a name in backticks names."""
    command, _, rest = token.partition(" ")
    if command == "nnx":
        what, *arguments = rest.split()
        first = arguments[0] if arguments else ""
        option = {a for a in arguments if a.startswith("--")}
        if what == "train":
            return first in ("", "NAME", *NAMES) and option <= options()
        if what == "reproduce":
            return first in experiments() or first in BOOKS
        if what == "plot":
            return first in plot.command.commands
        return what in ("predict", "bench")
    if token.startswith("--"):
        return {word for word in token.split() if word.startswith("--")} <= options()
    file, _, name = token.partition(":")
    if "/" in file:
        paths = [p for p in (ROOT / file, ROOT / "nnx" / file) if p.exists()]
        return any(not name or re.search(rf"(class|def) {name}\b", p.read_text()) for p in paths)
    plain = re.sub(r"\(.*\)$", "", token)  # Name(argument=1)
    return reached(plain) or plain.partition("=")[0] in parameters() or plain.startswith(".")


def reached(name: str) -> bool:
    """Whether it is public: of nnx, or of one of its rooms."""
    for room in PUBLIC:
        value = room
        for part in name.removeprefix("nnx.").removeprefix("reference.").split("."):
            value = getattr(value, part, None)
        if value is not None:
            return True
    return False


@cache
def options() -> set[str]:
    """Of all recipes."""
    return {o for name in NAMES for p in train_command(recipe(name)).params for o in p.opts}


@cache
def parameters() -> set[str]:
    """Of everything public that a row speaks of by its arguments."""
    found = set()
    for room in (nnx.nn, nnx.ops, nnx.optim, nnx.linear_model, nnx.train, nnx.text, nnx.data):
        for name in room.__all__:
            value = getattr(room, name)
            made = value.__init__ if inspect.isclass(value) else value
            found |= set(inspect.signature(made).parameters) if callable(made) else set()
    return found
