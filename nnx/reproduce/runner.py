"""Running experiments: one after the other, what is done already not again."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import DataNotFoundError
from ..datasets.download import find as find_data
from ..io import read_json, write_text
from ..plots import available
from ..random import manual_seed
from ..version import __version__
from .experiment import Experiment, Page

FILE = "result.json"
AGREES, DIFFERS, FAILED, MISSING = "agrees", "differs", "failed", "missing"

# What an experiment may need: how it is called, and the files of it that must be there.
DATA = {
    "mnist": ("MNIST", "nnx.datasets.load_mnist()", ("train-images-idx3-ubyte.gz",)),
    "csi300": ("the CSI 300 index", "", ("hs300.csv",)),
    "imdb": (
        "the film reviews",
        "nnx.datasets.load_imdb()",
        ("train.csv.gz", "aclImdb", "aclImdb_v1.tar.gz"),
    ),
}
FOLDERS = {"csi300": "hs300"}


@dataclass(frozen=True)
class Settings:
    """What a result depends on beside the experiment's file and nnx's version.

    Attributes:
        out: the folder of the results: OUT/BOOK/NAME/result.json, and the figures beside it.
        quick: the small form.
        seed: of nnx's generator, set anew before each experiment.
        form: of the figures, "svg" or "png".
    """

    out: Path = Path("runs/reproduce")
    quick: bool = False
    seed: int = 0
    form: str = "svg"

    def folder(self, experiment: Experiment) -> Path:
        return self.out / experiment.book / experiment.name


@dataclass
class Outcome:
    """What became of an experiment.

    Attributes:
        experiment: which.
        status: AGREES; DIFFERS, its assertion did not hold; FAILED, with an error; MISSING, data or
            a package that it needs is not here.
        record: all that result.json has.
        again: whether it is an earlier run's.
    """

    experiment: Experiment
    status: str
    record: dict[str, Any] = field(default_factory=dict)
    again: bool = False


def run(
    chosen: Sequence[Experiment],
    settings: Settings,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Run experiments; those that have a result of the same settings, file and version do not run.

    Args:
        chosen: which.
        settings: how.
        tell: prints a line for each as it begins.

    Returns:
        An outcome for each; whatever fails does not keep the others from running.
    """
    outcomes = []
    for number, experiment in enumerate(chosen, start=1):
        kept = earlier(experiment, settings)
        if kept is None:
            about = "" if settings.quick else f", about {experiment.seconds:g} s"
            tell(f"[{number}/{len(chosen)}] {experiment.id}{about}")
            kept = run_one(experiment, settings)
        outcomes.append(kept)
    return outcomes


def run_one(experiment: Experiment, settings: Settings) -> Outcome:
    """Run an experiment, and keep its result."""
    folder = settings.folder(experiment)
    with suppress(FileNotFoundError):
        (folder / FILE).unlink()  # a run that is stopped leaves no result
    page = Page(folder, settings.quick, settings.seed, settings.form)
    record = experiment.header() | _key(experiment, settings)
    missing = lacking(experiment)
    started = time.perf_counter()
    status = MISSING
    came_out, agreement, numbers = missing, "not run", {}
    if not missing:
        try:
            manual_seed(settings.seed)
            result = experiment.run(page)
            status, came_out, agreement = AGREES, result.came_out, result.agreement
            numbers = dict(result.numbers)
        except AssertionError as error:
            status, came_out, agreement = DIFFERS, str(error), "does not agree"
            record["traceback"] = traceback.format_exc()
        except DataNotFoundError as error:
            status, came_out = MISSING, str(error).splitlines()[0]
        except Exception as error:
            if os.environ.get("NNX_TRACEBACK"):
                raise
            status, came_out = FAILED, f"{type(error).__name__}: {error}"
            agreement = "failed"
            record["traceback"] = traceback.format_exc()
    record |= {
        "status": status,
        "came_out": came_out,
        "agreement": agreement,
        "numbers": numbers,
        "figures": page.figures,
        "tables": page.tables,
        "notes": page.notes,
        "took": round(time.perf_counter() - started, 2),
        "date": date.today().isoformat(),
        "processor": processor(),
    }
    text = json.dumps(record, indent=1, default=_plain)
    if status != MISSING:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / FILE, text + "\n")
    return Outcome(experiment, status, json.loads(text))


def earlier(experiment: Experiment, settings: Settings) -> Outcome | None:
    """The outcome of an earlier run of the same, whose figures are all still there."""
    folder, wanted = settings.folder(experiment), _key(experiment, settings)
    try:
        record = read_json(folder / FILE)
        same = all(record[key] == value for key, value in wanted.items())
        there = all((folder / name).is_file() for name, _ in record["figures"])
        if same and there and record["status"] == AGREES:
            return Outcome(experiment, AGREES, record, again=True)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def lacking(experiment: Experiment) -> str:
    """What an experiment needs and is not on this machine, with what to do; "" where all is here.

    Nothing is downloaded by this command: a download is something that a user asks for.
    """
    for need in experiment.needs:
        if need not in DATA:
            if find_spec(need) is None:
                return f"{need} is not installed"
            continue
        name, load, files = DATA[need]
        if find_data(FOLDERS.get(need, need), list(files)) is None:
            fetch = f", or fetch it: python -c 'import nnx; {load}'" if load else ""
            return f"{name} is not here: set NNX_DATA to the folder that holds it{fetch}"
    return ""


def _key(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """What an earlier result must have been made with, to stand for a new one."""
    return {
        "name": experiment.id,
        "quick_run": settings.quick,
        "seed": settings.seed,
        "form": settings.form if available() else "none",
        "version": __version__,
        "file": hashlib.sha256(experiment.path.read_bytes()).hexdigest(),
    }


def processor() -> str:
    """The name of this machine's processor, and how many cores there are to use."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def _plain(value: Any) -> Any:
    """Arrays and NumPy's numbers, as JSON has them."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a result cannot hold {type(value).__name__}")
