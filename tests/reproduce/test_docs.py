"""docs/experiments/ is what the last full run wrote, of the experiments that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nnx.reproduce import BOOKS, experiments
from nnx.reproduce.report import COVERAGE, RESULTS, pages, stored

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs" / "experiments"


def test_the_pages_are_those_of_the_stored_results():
    records = stored(DOCS)
    written = {p.name: p.read_text(encoding="utf-8") for p in DOCS.glob("*.md")}
    assert {k: v for k, v in written.items() if k not in COVERAGE} == pages(records)
    figures = {f"{r['name']}/{name}" for r in records.values() for name, _ in r["figures"]}
    there = {p.relative_to(DOCS).as_posix() for p in DOCS.glob("*/**/*") if p.is_file()}
    assert there == figures
    assert not (DOCS / RESULTS).exists() or records


def test_the_stored_results_are_of_the_experiments_there_are():
    """What a file says of itself, and which files there are, stands on the pages as it is now."""
    records = stored(DOCS)
    if not records:
        assert not list(DOCS.glob("*/*")), "figures without results"
        return
    assert {name: e.header() for name, e in experiments().items()} == {
        name: {key: record[key] for key in experiments()[name].header()} if name in experiments()
        else record for name, record in records.items()
    }  # fmt: skip


@pytest.mark.parametrize("page", sorted(p.name for p in DOCS.glob("coverage-*.md")))
def test_every_row_of_a_text_is_there_or_says_why_not(page):
    """And the experiments, files and pages that verify it exist."""
    text = (DOCS / page).read_text(encoding="utf-8")
    rows = [re.split(r"(?<!\\)\|", line) for line in text.splitlines() if "| **" in line]
    assert page in COVERAGE and len(rows) >= 35
    for _, number, *_, status, how, _ in rows:
        assert status.strip() in ("**yes**", "**why not**"), number
        assert len(how.strip()) > (20 if "why not" in status else 2), number
    named = set(re.findall(r"nnx reproduce ([a-z]+/[a-z-]+)", text))
    named |= {f"xu/{name}" for name in re.findall(r"`xu/([a-z-]+)`", text)}
    assert named <= set(experiments()), sorted(named - set(experiments()))
    roots = [ROOT, ROOT / "nnx", ROOT / "nnx/recipes", ROOT / "docs", DOCS]
    for path in re.findall(r"[\w./-]+\.(?:py|md)", text):
        written = path in (f"{book}.md" for book in BOOKS)  # by `nnx reproduce --docs`
        assert written or any((root / path).exists() for root in roots), path


def test_figures_are_small():
    for path in DOCS.rglob("*.svg"):
        assert path.stat().st_size < 200_000, path
