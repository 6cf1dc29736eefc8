"""What an experiment is: its header, the page it writes on, and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..plots import available

BOOKS = {  # the folder of each text -> its title
    "xu": "Xu Bin, Deep learning algorithms in Python and NumPy (2019)",
    "liu": "Liu Junhong, The mathematics of neural computation",
    "saito": "Notes on Saito, Deep learning from scratch",
    "wang": "Wang Shusen, Deep learning basics",
    "lecture": "Lecture notes, chapter 4: Deep learning",
    "own": "Your own",
}


@dataclass(frozen=True)
class Experiment:
    """The header of an experiment's file.

    Attributes:
        about: what it does, in a line.
        section: where it stands in the text: sections, equations, figures.
        prints: what the text prints, or says; "" where it prints nothing.
        tolerance: how near the number must come, in words.
        seconds: how long the whole of it takes on two cores, about.
        quick: what is smaller with `--quick`; "" where nothing is.
        needs: what must be there: "mnist", "imdb", "csi300", or a package, "sklearn".
        book, name: the folder and the file it stands in, filled in when it is found.
        run: the function.
        path: the file.
    """

    about: str
    section: str
    prints: str
    tolerance: str
    seconds: float
    quick: str = ""
    needs: tuple[str, ...] = ()
    book: str = "own"
    name: str = ""
    run: Callable[[Page], Result] = field(default=lambda page: Result("", ""), compare=False)
    path: Path = field(default=Path(), compare=False)

    @property
    def id(self) -> str:
        """What it is called on the command line: liu/commuting."""
        return f"{self.book}/{self.name}"

    def header(self) -> dict[str, Any]:
        """What the pages say of it beside its result."""
        names = ("about", "section", "prints", "tolerance", "quick")
        return {name: getattr(self, name) for name in names}


@dataclass
class Result:
    """What an experiment returns when its number has come out.

    Attributes:
        came_out: the number, beside the one that the text prints.
        agreement: how well the two agree, in a few words.
        numbers: everything that was measured, by names: numbers, texts, lists of them.
    """

    came_out: str
    agreement: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


class Page:
    """What an experiment shows beside its result: figures, tables, remarks.

    Attributes:
        quick: whether the experiment shall be small, for a first look and for CI.
        seed: what nnx's generator was seeded with before it began.
        folder: where its figures go.
        form: "svg" or "png".
        figures: (file, title) of those drawn.
        tables: (title, columns, rows).
        notes: remarks.
    """

    def __init__(self, folder: Path, quick: bool = False, seed: int = 0, form: str = "svg") -> None:
        self.folder, self.quick, self.seed, self.form = folder, quick, seed, form
        self.figures: list[tuple[str, str]] = []
        self.tables: list[tuple[str, list[str], list[list[str]]]] = []
        self.notes: list[str] = []

    def draw(self, name: str, draw: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """Draw a figure: `draw(*args, path=FILE, title=..., ...)`, a function of `nnx.plots`.

        Where matplotlib is missing nothing is drawn; the numbers come all the same.

        Args:
            name: the file's, without its end.
            draw: what draws.
            args, kwargs: its arguments, but for `path`; `title` is the caption too.
        """
        if available():
            self.folder.mkdir(parents=True, exist_ok=True)
            draw(*args, path=self.folder / f"{name}.{self.form}", **kwargs)
            self.figures.append((f"{name}.{self.form}", kwargs.get("title", name)))

    def keep(self, name: str, text: str, title: str) -> None:
        """A picture that is SVG text already, such as `nnx.draw_graph`'s.

        Args:
            name: the file's, without its end.
            text: the SVG.
            title: the caption.
        """
        from ..io import write_text

        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / f"{name}.svg", text)
        self.figures.append((f"{name}.svg", title))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table of what was measured.

        Args:
            title: above it.
            columns: their names.
            rows: cells; numbers are written with four digits.
        """
        self.tables.append((title, list(columns), [[written(c) for c in row] for row in rows]))

    def note(self, text: str) -> None:
        """A remark below the figures: what is to be seen, where the text is wrong."""
        self.notes.append(text)


def written(value: Any) -> str:
    """A cell of a table."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
