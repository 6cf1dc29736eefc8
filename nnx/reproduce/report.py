"""What is shown of results: a web page with all figures, and the pages of docs/experiments/."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..io import read_json, write_text
from .experiment import BOOKS, Experiment
from .runner import Outcome, Settings, earlier

COLUMNS = ("experiment", "section", "the text prints", "came out", "agreement", "seconds")
RESULTS = "results.json"
COVERAGE = {  # the tables of every formula and figure of the texts, kept by hand beside the pages
    "coverage-xu.md": "Xu",
    "coverage-liu.md": "Liu",
    "coverage-saito.md": "the notes on Saito",
    "coverage-wang.md": "Wang",
    "coverage-lecture.md": "the lecture notes",
}
Record = Mapping[str, Any]


def row(outcome: Outcome) -> list[str]:
    """An outcome as a row of the table."""
    record = outcome.record
    again = " (kept)" if outcome.again else ""
    return [
        outcome.experiment.id,
        record["section"],
        record["prints"],
        record["came_out"],
        record["agreement"],
        f"{record['took']:.1f}{again}",
    ]


def write_index(out: Path, outcomes: Sequence[Outcome]) -> Path:
    """Write OUT/index.html: every result with its tables and figures.  Its path."""
    esc = html.escape
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'><title>nnx reproduce</title>",
        "<style>body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "img{max-width:100%}table{border-collapse:collapse;font-size:14px}"
        "td,th{border:1px solid #ccc;padding:.2rem .5rem;text-align:left;vertical-align:top}"
        "</style><h1>The experiments of the five texts</h1>",
        "<table><tr>" + "".join(f"<th>{name}</th>" for name in COLUMNS) + "</tr>",
    ]
    for outcome in outcomes:
        first, *others = row(outcome)
        cells = "".join(f"<td>{esc(cell)}</td>" for cell in others)
        parts.append(f"<tr><td><a href='#{esc(first)}'>{esc(first)}</a></td>{cells}</tr>")
    parts.append("</table>")
    for outcome in outcomes:
        record, experiment = outcome.record, outcome.experiment
        parts.append(f"<h2 id='{esc(experiment.id)}'>{esc(experiment.id)}</h2>")
        parts.append(f"<p>{esc(record['about'])}. <i>{esc(record['section'])}</i></p>")
        parts.append(f"<p>{esc(record['came_out'])} ({esc(record['agreement'])})</p>")
        for title, columns, rows in record["tables"]:
            cells = "".join(f"<th>{esc(c)}</th>" for c in columns)
            parts.append(f"<p>{esc(title)}</p><table><tr>{cells}</tr>")
            for line in rows:
                parts.append("<tr>" + "".join(f"<td>{esc(c)}</td>" for c in line) + "</tr>")
            parts.append("</table>")
        for name, title in record["figures"]:
            source = f"{experiment.book}/{experiment.name}/{name}"
            parts.append(f"<p><img src='{esc(source)}' alt='{esc(title)}'></p>")
        parts += [f"<p>{esc(note)}</p>" for note in record["notes"]]
    path = out / "index.html"
    out.mkdir(parents=True, exist_ok=True)
    write_text(path, "\n".join(parts) + "\n")
    return path


def write_docs(folder: Path, every: Iterable[Experiment], settings: Settings) -> list[Path]:
    """Write docs/experiments/ from the results of a full run, figures and all.  The files.

    Raises:
        ValueError: an experiment has no such result, with its figures, as SVG.
    """
    records: dict[str, Any] = {}
    lacks = []
    for experiment in every:
        kept = earlier(experiment, settings)
        if kept is None or kept.record["form"] != "svg":
            lacks.append(experiment.id)
        else:
            records[experiment.id] = kept.record
    if lacks or settings.quick:
        raise ValueError(
            "the pages are written from a full run with figures, in which everything agrees; "
            + (f"it lacks {', '.join(lacks)}" if lacks else "--quick is none")
        )
    made = []
    for book in BOOKS:
        shutil.rmtree(folder / book, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for record in records.values():
        for name, _ in record["figures"]:
            target = folder / record["name"] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(settings.out / record["name"] / name, target)
            made.append(target)
    write_text(folder / RESULTS, json.dumps(records, indent=1) + "\n")
    for name, text in pages(records).items():
        write_text(folder / name, text)
        made.append(folder / name)
    return made


def stored(folder: Path) -> dict[str, Any]:
    """The results that the pages of a folder were written from; none where there are none."""
    try:
        return dict(read_json(folder / RESULTS))
    except FileNotFoundError:
        return {}


def pages(records: Mapping[str, Record]) -> dict[str, str]:
    """The text of every page by its file, from stored results."""
    if not records:
        return {}
    made = {"README.md": _contents(records)}
    for book in BOOKS:
        those = [r for r in records.values() if r["name"].startswith(f"{book}/")]
        if those:
            made[f"{book}.md"] = _book(book, those)
    return made


def _contents(records: Mapping[str, Record]) -> str:
    first = next(iter(records.values()))
    dates = sorted({record["date"] for record in records.values()})
    took = sum(record["took"] for record in records.values())
    lines = [
        "# The experiments of the five texts",
        "",
        "Written by `nnx reproduce --docs`; not to be changed by hand. "
        f"{len(records)} experiments, run {' to '.join(dict.fromkeys((dates[0], dates[-1])))} "
        f"with seed {first['seed']} on {first['processor']}, nnx {first['version']}, in "
        f"{took / 60:.0f} minutes.",
        "",
        "    nnx reproduce --list          which there are",
        "    nnx reproduce liu/commuting   one of them; `nnx reproduce liu`: a text",
        "    nnx reproduce --quick         all of them, small",
        "",
        "How to add one, or change a copy of one: [reproduce.md](../reproduce.md).",
        "",
        "| text | experiments |",
        "| --- | --- |",
    ]
    for book, title in BOOKS.items():
        those = [r for r in records.values() if r["name"].startswith(f"{book}/")]
        if those:
            lines.append(f"| [{title}]({book}.md) | {len(those)} |")
    lines += [
        "",
        "Every formula, number and figure of the texts, row by row, and where nnx has it:",
        "",
    ]
    lines += [f"- [{title}]({file})" for file, title in COVERAGE.items()]
    return "\n".join(lines) + "\n"


def _book(book: str, records: Sequence[Record]) -> str:
    lines = [
        f"# {BOOKS[book]}",
        "",
        "Written by `nnx reproduce --docs`; not to be changed by hand. [All texts](README.md).",
        "",
        "| section | experiment | the text prints | came out | agreement | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in records:
        name = r["name"].partition("/")[2]
        others = [r["prints"] or "–", r["came_out"], r["agreement"], f"{r['took']:.0f}"]
        cells = [_cell(r["section"]), f"[{name}](#{name})", *map(_cell, others)]
        lines.append("| " + " | ".join(cells) + " |")
    for r in records:
        name = r["name"].partition("/")[2]
        lines += ["", f"## {name}", "", f"{_plain(r['about'])} ({_plain(r['section'])}).", ""]
        lines += [f"    nnx reproduce {r['name']}", ""]
        if r["prints"]:
            lines.append(f"- the text: {_plain(r['prints'])}")
        lines.append(f"- here: {_plain(r['came_out'])}")
        lines.append(f"- {_plain(r['agreement'])}; asked for: {_plain(r['tolerance'])}")
        lines.append(
            f"- {r['date']}, seed {r['seed']}, {r['took']:.1f} s on {r['processor']}, "
            f"[the file](../../nnx/reproduce/{r['name'].replace('-', '_')}.py)"
        )
        for title, columns, rows in r["tables"]:
            lines += ["", f"{_plain(title)}:", "", "| " + " | ".join(map(_cell, columns)) + " |"]
            lines.append("|" + " --- |" * len(columns))
            lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
        for note in r["notes"]:
            lines += ["", _plain(note)]
        for file, title in r["figures"]:
            lines += ["", f"![{_plain(title)}]({r['name']}/{file})"]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """A text in which Markdown reads nothing but `code`."""
    return "".join(f"\\{c}" if c in "*_<[]" else c for c in text) if "`" not in text else text


def _cell(text: object) -> str:
    return _plain(str(text)).replace("|", "\\|").replace("\n", " ")
