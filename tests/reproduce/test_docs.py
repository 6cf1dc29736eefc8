"""docs/experiments/ is what the last full run wrote, of the experiments that there are."""

from __future__ import annotations

from pathlib import Path

from nnx.reproduce import experiments
from nnx.reproduce.report import COVERAGE, RESULTS, pages, stored

DOCS = Path(__file__).parent.parent.parent / "docs" / "experiments"


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


def test_figures_are_small():
    for path in DOCS.rglob("*.svg"):
        assert path.stat().st_size < 200_000, path
