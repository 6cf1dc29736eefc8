"""Every experiment and figure of the five textbooks, by one command: `nnx reproduce`.

A folder for each text, and in it one short file for each experiment, which a reader can copy and
change: `nnx reproduce ./mine.py` runs the copy.  Such a file has two names in it:

    EXPERIMENT = Experiment(about=..., section=..., prints=..., tolerance=..., seconds=...)

    def run(page: Page) -> Result:
        ...                             # the public API of nnx, as anyone uses it
        page.draw("name", plots.lines, ..., title="Liu fig. 3.3: ...")
        assert difference < 1e-10, ...  # the experiment fails where its number does not come out
        return Result("what came out", "how well it agrees", {"number": 1.0})

`docs/reproduce.md` tells how to add one.
"""

from .experiment import BOOKS, Experiment, Page, Result
from .registry import experiments, find

__all__ = ["BOOKS", "Experiment", "Page", "Result", "experiments", "find"]
