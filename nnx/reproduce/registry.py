"""Which experiments there are: the files in the folders of the texts."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from .experiment import BOOKS, Experiment


@cache
def experiments() -> dict[str, Experiment]:
    """All of them by their names, book by book, in the order of the sections."""
    found = []
    for book in BOOKS:
        for path in sorted((Path(__file__).parent / book).glob("[a-z]*.py")):
            module = import_module(f".{book}.{path.stem}", __package__)
            found.append(_read(module, book, path))
    order = list(BOOKS)
    found.sort(key=lambda e: (order.index(e.book), _chapter(e.section), e.name))
    return {e.id: e for e in found}


def find(name: str) -> list[Experiment]:
    """The experiments of a name: BOOK/NAME, NAME alone, a BOOK, or the path of a reader's own file.

    Raises:
        ValueError: there is none; the message names the nearest.
        FileNotFoundError: the path has no file.
    """
    every = experiments()
    if name.endswith(".py"):
        return [_own(Path(name))]
    plain = name.removesuffix("/")
    matches = [e for e in every.values() if plain in (e.id, e.name, e.book)]
    if not matches:
        known = [*every, *{e.name for e in every.values()}, *BOOKS]
        near = get_close_matches(plain[:60], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"there is no experiment {name!r:.60}{hint} `nnx reproduce --list` shows them all"
        )
    return matches


def _own(path: Path) -> Experiment:
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such file", str(path))
    spec = spec_from_file_location(f"nnx_reproduce_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return _read(module, "own", path)


def _read(module: Any, book: str, path: Path) -> Experiment:
    header: Experiment
    try:
        header, run = module.EXPERIMENT, module.run
    except AttributeError as error:
        raise ValueError(f"{path}: an experiment needs EXPERIMENT and run(page): {error}") from None
    return replace(header, book=book, name=path.stem.replace("_", "-"), run=run, path=path)


def _chapter(section: str) -> list[float]:
    """What sections are sorted by: "3.4.2, eq. 3.3" -> [3, 4, 2]."""
    first = section.replace(",", " ").replace("-", " ").split()
    parts = first[0].split(".") if first else []
    return [float(part) if part.isdecimal() else 0.5 for part in parts]
