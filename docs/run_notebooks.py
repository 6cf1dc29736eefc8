"""Run the notebooks of docs/notebooks/ and keep their outputs, which the site and a reader see.

    python docs/run_notebooks.py            runs each and writes it anew
    python docs/run_notebooks.py --check    runs each; fails where what is kept is not what comes

Two runs agree where each cell gives outputs of the same kinds and words: numbers are passed over,
since times differ, and so does a last digit between processors.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from difflib import ndiff
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
NOTEBOOKS = sorted((HERE / "notebooks").glob("*.ipynb"))
PICTURES = ("image/png", "image/svg+xml")
# One thread, and no compiled kernels, of whose first compilation a run would tell.
SETTINGS = {"NNX_JIT": "0", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}


def run(path: Path) -> Any:
    """The notebook at `path`, run from its first cell to its last in a kernel of its own."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=120,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
        )
        client.execute(env={**os.environ, **SETTINGS})
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # the same in every run
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    return notebook


def joined(outputs: list[Any]) -> list[Any]:
    """Outputs without those that show nothing, and what is printed in one piece: a kernel sends it
    in as many as it happens to."""
    found: list[Any] = []
    for output in outputs:
        if output.output_type == "stream":
            last = found[-1] if found else None
            if last is not None and last.get("name") == output.name:
                last.text += output.text
                continue
        elif output.get("data") == {"text/plain": ""}:  # where the bar was
            continue
        found.append(output)
    return found


def told(notebook: Any) -> list[list[str]]:
    """What each cell gives, without its numbers."""
    return [[_told(output) for output in cell.get("outputs", [])] for cell in notebook.cells]


def _told(output: Any) -> str:
    kind = output.output_type
    if kind == "stream":
        return f"{output.name}: {_words(output.text)}"
    if kind == "error":
        return f"{output.ename}: {output.evalue}"
    data = {
        form: "a picture" if form in PICTURES else _words(text)
        for form, text in sorted(output.data.items())
        if form != "text/plain" or len(output.data) == 1
    }
    return f"{kind}: {data}"


def _words(text: str | list[str]) -> str:
    text = re.sub(r"<(/?\w+)[^>]*>", r"<\1>", "".join(text))
    text = re.sub(r"-?\d[\d.,]*(?:e[+-]?\d+)?|\b(?:nan|inf)\b", "#", text)
    return " ".join(re.sub(r"# [kMG]?B\b|# [mµ]?s\b", "#", text).split())


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the notebooks of docs/notebooks/.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    check = parser.parse_args().check
    stale = 0
    for path in NOTEBOOKS:
        kept, now = nbformat.read(path, as_version=4), run(path)
        if not check:
            beside = path.with_name(path.name + ".part")
            nbformat.write(now, beside)
            beside.replace(path)
            continue
        for number, (before, after) in enumerate(zip(told(kept), told(now), strict=True)):
            if before != after:
                stale += 1
                print(f"{path.name}, cell {number}: kept is")
                print("\n".join(ndiff(before, after)))
    if stale:
        print(f"{stale} cells are stale: python docs/run_notebooks.py writes them anew")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
