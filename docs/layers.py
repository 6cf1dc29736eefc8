"""The lists of layers, losses, optimizers: `python docs/layers.py` writes `docs/layers.md`.

Every name has the first sentence of its docstring beside it.  With `--check` the page is only
compared with the code.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from nnx import nn, optim
from nnx.nn import init, utils
from nnx.optim import lr_scheduler

PAGE = Path(__file__).parent / "layers.md"
HEAD = """# Layers, losses, initialisers, optimizers, schedules

All of them, a line each; their pages in the reference, and `help(nnx.nn.Conv2d)`, have shapes,
arguments and errors. Names and arguments are PyTorch's where it has them.
`python docs/layers.py` writes this page from the docstrings, and a test holds it to them.
"""
# heading -> the files of nnx.nn, without their beginning, whose names stand under it
LAYERS = {
    "Dense layers": ["linear"],
    "Convolution": ["windows.conv", "windows.conv_transpose"],
    "Pooling": ["windows.pool", "windows.adaptive_pool", "windows.unpool"],
    "Padding": ["windows.padding"],
    "Images of another size, windows as columns": ["windows.resize", "windows.fold"],
    "Normalisation": ["norm.batch", "norm.instance", "norm.sample"],
    "Activations": ["activation", "piecewise"],
    "Dropout": ["dropout"],
    "Recurrent layers": ["recurrent", "cells", "truncated_bptt"],
    "Attention": ["attention.multihead", "attention.transformer", "attention.positions"],
    "Embeddings": ["embedding"],
    "Distances": ["distance"],
    "Arranging, and models of layers": ["flatten", "container", "module", "state", "summary"],
    "Losses": ["loss."],
}
AXES = re.compile(r"[1-3]d$")


def first_sentence(thing: Any) -> str:
    """The beginning of a docstring, up to its first full stop, as a cell of a table."""
    text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    end = re.search(r"(?<!al)(?<![ (][A-Z])\.(?= |$)", text)
    text = text[: end.end()] if end else text
    return text.rstrip(":").replace("|", r"\|").replace("*", r"\*").replace("<", r"\<")


def table(things: dict[str, Any]) -> str:
    """Names and what they are; a layer in one, two and three dimensions is one row."""
    rows: dict[str, list[str]] = {}
    for name in sorted(things, key=lambda name: (AXES.sub("", name).lower(), name)):
        rows.setdefault(AXES.sub("?", name), []).append(name)
    lines = ["| name | what it is |", "| --- | --- |"]
    for names in rows.values():
        told = next((n for n in names if n.endswith("2d")), names[0])
        shown = ", ".join(f"`{name}`" for name in names)
        lines.append(f"| {shown} | {first_sentence(things[told])} |")
    return "\n".join(lines)


def home(thing: Any) -> str:
    return getattr(thing, "__module__", "").removeprefix("nnx.nn.")


def page() -> str:
    """The whole page.

    Raises:
        ValueError: a name is in a file that belongs under no heading.
    """
    left = {n: getattr(nn, n) for n in nn.__all__ if not inspect.ismodule(getattr(nn, n))}
    parts = [HEAD]
    for title, files in LAYERS.items():
        own = {n: thing for n, thing in left.items() if belongs(home(thing), files)}
        left = {n: thing for n, thing in left.items() if n not in own}
        parts.append(f"## {title} (`nnx.nn`)\n\n{table(own)}\n")
    if left:
        raise ValueError(f"give these a heading in docs/layers.py: {', '.join(left)}")
    for title, place in (
        ("Initialisers (`nnx.nn.init`)", init),
        ("Gradients, vectors, computed weights (`nnx.nn.utils`)", utils),
        ("Sequences of different lengths (`nnx.nn.utils.rnn`)", utils.rnn),
        ("Optimizers (`nnx.optim`)", optim),
        ("Learning-rate schedules (`nnx.optim.lr_scheduler`)", lr_scheduler),
    ):
        own = {n: getattr(place, n) for n in place.__all__ if callable(getattr(place, n))}
        parts.append(f"## {title}\n\n{table(own)}\n")
    return "\n".join(parts)


def belongs(file: str, files: list[str]) -> bool:
    return any(file.startswith(f) if f.endswith(".") else file == f for f in files)


def main() -> int:
    text = page()
    if "--check" in sys.argv:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
