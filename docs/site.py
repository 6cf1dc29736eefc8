"""What the site has that is no file of `docs/`: hooks that mkdocs calls (`mkdocs.yml`).

- README, CONTRIBUTING, SECURITY and CHANGELOG, with their links as they are from here;
- a page for each notebook, with what its cells gave;
- the reference: a page for each public room, an entry for each name in its `__all__`;
- the index by the texts' numbers: (7.19) -> `nnx.nn.RNN`.
"""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from importlib import import_module
from inspect import getdoc, ismodule
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import nnx

ROOT = Path(__file__).resolve().parent.parent
BORROWED = {  # file of the project -> page of the site
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
TEXTS = "Xu|Liu|Saito|Wang|[Ll]ecture notes"
CITED = re.compile(
    rf"\b({TEXTS}),? (?:(equations?|eq\.|sections?|fig\.) )?(\d+(?:\.\d+)+)(?:[-–](\d+(?:\.\d+)+))?"
)
ELSEWHERE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:nnx|kernels|tests|benchmarks)/[^)]*\)")

INTRODUCTION = """Equations, sections and figures of the five texts that a docstring names. Every
formula, number and figure of the texts, row by row: [the experiments](../experiments/README.md)."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The reference's pages are entered where the navigation leaves room for them."""
    pages = [{"By the texts' numbers": "reference/numbers.md"}]
    pages += [{room: f"reference/{room}.md"} for room in rooms()]
    for entry in config.nav or []:
        if "Reference" in entry:
            entry["Reference"] = pages
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in BORROWED.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=from_docs(text)))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        for name, content in notebook(path).items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    for room, names in rooms().items():
        files.append(File.generated(config, f"reference/{room}.md", content=entries(room, names)))
    files.append(File.generated(config, "reference/numbers.md", content=numbers()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links to files that the site has not become their words; borrowed ones are led to."""
    up = "../" * page.file.src_uri.count("/")
    for source, there in BORROWED.items():
        markdown = re.sub(rf"\]\((\.\./)+{source}", f"]({up}{there}", markdown)
    markdown = markdown.replace("\\<", "&lt;")  # which this dialect does not know
    return ELSEWHERE.sub(r"\1", markdown)


def from_docs(text: str) -> str:
    """A file of the project's root, as if it lay in docs/."""
    for source, there in BORROWED.items():
        text = text.replace(f"]({source}", f"]({there}")
    return text.replace("](docs/", "](")


def notebook(path: Path) -> dict[str, str | bytes]:
    """The page of a notebook, and its pictures: the name of each file and what is in it."""
    lines, pictures = [], {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            lines += [text, ""]
            continue
        lines += ["```python", text, "```", ""]
        for output in cell["outputs"]:
            data = {form: "".join(part) for form, part in output.get("data", {}).items()}
            if "image/png" in data:
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                width = output["metadata"].get("image/png", {}).get("width")
                size = f"{{ width={width} }}" if width else ""
                lines += [f"![what the cell above draws]({name}){size}", ""]
            elif html := data.get("text/html") or data.get("image/svg+xml"):
                lines += [f'<div class="given">{html.replace(chr(10), " ")}</div>', ""]
            else:
                text = "".join(output.get("text", data.get("text/plain", ""))).rstrip()
                lines += ["```text", text, "```", ""]
    there = f"[This page is a notebook]({path.name}): download it, and run it."
    first, *rest = lines
    return {f"{path.stem}.md": "\n".join([first, "", there, "", *rest]), **pictures}


@cache
def rooms() -> dict[str, list[str]]:
    """Every public room, and what it shows beside further rooms; `nnx` itself first."""
    found, left = {}, [nnx]
    while left:
        module = left.pop(0)
        if module is nnx.ops:
            continue  # its names are `nnx.functional`'s
        inside = {name: getattr(module, name) for name in module.__all__}
        found[module.__name__] = [n for n, thing in inside.items() if not ismodule(thing)]
        left += sorted((m for m in inside.values() if ismodule(m)), key=lambda m: m.__name__)
    return {room: names for room, names in found.items() if names}


def entries(room: str, names: list[str]) -> str:
    """The page of a room: its docstring, and an entry for each of its names."""
    lines = [f"# {room}", "", getdoc(import_module(room)) or "", ""]
    home = "nnx.ops" if room == "nnx.functional" else room
    for name in sorted(names, key=str.lower):
        thing = getattr(import_module(home), name)
        if callable(thing):
            lines += [f"::: {home}.{name}", ""]
        else:
            lines += [f"## {name}", "", f"`{thing!r:.80}`", ""]
    return "\n".join(lines)


def numbers() -> str:
    """Who looks up a number of a text finds what holds it here."""
    found: dict[str, dict[str, set[str]]] = {}
    for room, names in rooms().items():
        home = "nnx.ops" if room == "nnx.functional" else room
        for name in names:
            text = getdoc(getattr(import_module(home), name)) or ""
            for book, kind, *ends in CITED.findall(text):
                number = "-".join(filter(None, ends))
                label = f"{kind} {number}" if kind == "fig." else number
                found.setdefault(book.capitalize(), {}).setdefault(label, set()).add(
                    f"[`{room}.{name}`][{home}.{name}]"
                )
    lines = ["# By the texts' numbers", "", INTRODUCTION]
    for book in sorted(found):
        lines += ["", f"## {book}", "", "| number | where it is here |", "| --- | --- |"]
        for number in sorted(found[book], key=in_order):
            lines.append(f"| {number} | {', '.join(sorted(found[book][number]))} |")
    return "\n".join(lines)


def in_order(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", number))
