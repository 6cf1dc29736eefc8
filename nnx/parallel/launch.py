"""`launch`: start a command in several processes with mpiexec, and again where one is lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from secrets import token_hex
from typing import IO, Any

from ..backends.forks import processors
from .world import SIGNS

LINE = re.compile(r"^-{60,}$")  # Open MPI frames what it says by such lines
# What it says about an end that is told here in a line.
ITS_WORDS = re.compile(
    r"MPI_ABORT was invoked|Primary job +terminated|noticed that process rank|"
    r"exited with non-zero status|has exited improperly|ORTE_ERROR_LOG"
)
KILLED = re.compile(r"process rank (\d+) .*exited on signal (\d+) \((.*)\)")
LEFT = re.compile(r"Process name: \[\[\d+,\d+\],(\d+)\]\s+Exit code:\s+(\d+)")
TOLD = re.compile(r"^nnx: rank (\d+) of \d+ failed: (.*)")


class CannotLaunch(RuntimeError):
    """Something that is needed is missing; the message says what, and the remedy."""


@dataclass
class Ranks:
    """How to start.

    Attributes:
        n: how many ranks.
        oversubscribe: more of them than there are processors.
        allow_root: start them as root.
        hosts: Open MPI's --host: "a:4,b:4", or none for this machine.
        options: further options for mpiexec.
    """

    n: int
    oversubscribe: bool = False
    allow_root: bool = False
    hosts: str | None = None
    options: Sequence[str] = field(default_factory=tuple)


def find_mpiexec() -> str:
    """The path of mpiexec.

    Raises:
        CannotLaunch: it or mpi4py is missing.
    """
    path = shutil.which("mpiexec")
    if path is None:
        raise CannotLaunch(
            "there is no mpiexec on the PATH: install Open MPI (apt install openmpi-bin, "
            "dnf install openmpi, brew install open-mpi)"
        )
    if find_spec("mpi4py") is None:
        raise CannotLaunch("mpi4py is not installed: pip install mpi4py")
    return path


def command_line(command: Sequence[str], ranks: Ranks) -> list[str]:
    """What is started: mpiexec, its options, Python, and the command.

    Args:
        command: a script (a name that ends in .py) or `-m MODULE` with its arguments, or a
            command of nnx.

    Raises:
        CannotLaunch: mpiexec or mpi4py is missing, there are fewer processors than ranks, or the
            user is root, which Open MPI refuses.
    """
    mpiexec = find_mpiexec()
    if ranks.n < 1:
        raise CannotLaunch(f"there must be at least 1 rank, got {ranks.n}")
    if ranks.hosts is None and ranks.n > processors() and not ranks.oversubscribe:
        raise CannotLaunch(
            f"{ranks.n} ranks are more than the {processors()} processors here: start fewer, or "
            "let them share the processors with --oversubscribe"
        )
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root and not (ranks.allow_root or os.environ.get("OMPI_ALLOW_RUN_AS_ROOT")):
        raise CannotLaunch(
            "Open MPI does not start ranks for root: become another user, or insist with "
            "--allow-root, for example inside a container"
        )
    line = [mpiexec, "-n", str(ranks.n)]
    line += ["--allow-run-as-root"] if root else []
    line += ["--oversubscribe"] if ranks.oversubscribe else []
    if ranks.hosts is not None:
        line += ["--host", ranks.hosts]
        for name in sorted(os.environ):
            if name.startswith("NNX_"):
                line += ["-x", name]
    line += [*ranks.options, sys.executable]
    if command[0] == "-m" or command[0].endswith(".py"):
        return [*line, *command]
    return [*line, "-m", "nnx", *command]


def launch(
    command: Sequence[str], ranks: Ranks, restarts: int = 0, timeout: float | None = None
) -> int:
    """Run a command on some ranks until it ends; the exit status.

    Where a rank is lost, the command is started again with one rank less.  `nnx train` then goes
    on from its last checkpoint, since it knows by `NNX_LAUNCH_ID` that the run is its own; a
    script of one's own loads the checkpoint that it finds.

    Ctrl-C ends all ranks after the running step; pressed again, at once.

    Args:
        command: see `command_line`.
        restarts: how often at most.
        timeout: seconds without a sign of life after which a rank counts as lost.

    Raises:
        CannotLaunch: see `command_line`.
    """
    environment = {k: v for k, v in os.environ.items() if k not in SIGNS}
    environment["NNX_LAUNCH_ID"] = token_hex(8)
    if timeout is not None:
        environment["NNX_PARALLEL_TIMEOUT"] = f"{timeout:g}"
    environment.setdefault("PYTHONUNBUFFERED", "1")
    n = ranks.n
    for attempt in range(restarts + 1):
        line = command_line(command, Ranks(**{**vars(ranks), "n": n}))
        status, cause = _run(line, environment)
        if status == 0 or status == 130 or cause == "interrupted":
            return status
        _say(cause or f"the ranks ended with status {status}")
        if attempt < restarts:
            n = max(1, n - 1)
            left = f"{n} rank{'s' if n > 1 else ''}"
            _say(f"going on with {left} from the last checkpoint ({attempt + 1} of {restarts})")
    return status


def _run(line: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run mpiexec once: its status, and what was not yet told about its end."""
    process = subprocess.Popen(
        line,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C comes here alone
    )
    assert process.stderr is not None
    said: list[str] = []
    listener = threading.Thread(target=_listen, args=(process.stderr, said), daemon=True)
    listener.start()
    with _passing_on(process) as asked:
        status = process.wait()
    listener.join(5)
    status = 128 - status if status < 0 else status
    if asked:
        return status or 130, "interrupted"
    return status, said[0] if said else ""


def _listen(stream: IO[str], said: list[str]) -> None:
    """Pass on what the ranks print, without Open MPI's own words about an end."""
    told = False
    for text in _paragraphs(stream):
        if TOLD.match(text):
            told = True
        if not ITS_WORDS.search(text):
            sys.stderr.write(text)
            sys.stderr.flush()
            continue
        one_line = " ".join(text.split())
        if killed := KILLED.search(one_line):
            rank, number, name = killed.groups()
            said.append(f"rank {rank} was ended by signal {number} ({name})")
        elif (left := LEFT.search(one_line)) and not told:
            said.append(f"rank {left[1]} ended with status {left[2]}")
    if told:
        said.insert(0, "all ranks have ended")


def _paragraphs(stream: IO[str]) -> Iterator[str]:
    """The lines; what Open MPI frames by two long lines as one text."""
    frame: list[str] | None = None
    for line in stream:
        if LINE.match(line.strip()):
            if frame is None:
                frame = [line]
            else:
                yield "".join([*frame, line])
                frame = None
        elif frame is not None:
            frame.append(line)
        else:
            yield line
    if frame is not None:
        yield "".join(frame)


@contextmanager
def _passing_on(process: subprocess.Popen[Any]) -> Iterator[list[int]]:
    """Pass Ctrl-C on to the ranks; the second one, and the wish to terminate, to mpiexec."""
    asked: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        asked.append(number)
        first = len(asked) == 1 and number == signal.SIGINT
        process.send_signal(signal.SIGUSR1 if first else signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {n: signal.signal(n, interrupt) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# What `two_ranks` starts: each rank gives its number plus one.
_TRIAL = """
import numpy as np
from nnx.parallel.mpi import MPIRank
ranks = MPIRank()
total = ranks.tree_sum(ranks.size, [np.array([ranks.rank + 1.0])])
if ranks.rank == 0:
    from mpi4py import MPI
    print(total[0], ranks.size, MPI.Get_library_version().split(",")[0].strip(), sep=";")
"""


def two_ranks(timeout: float = 30.0) -> tuple[float, int, str, str]:
    """Start two ranks that add 1 and 2.

    Returns:
        The sum, how many ranks they believe to be, mpi4py's MPI library, and mpiexec's version.

    Raises:
        CannotLaunch: mpiexec or mpi4py is missing.
        subprocess.SubprocessError: they did not come to their end; the message says why.
    """
    line = command_line(["-m", "nnx"], Ranks(2, oversubscribe=True, allow_root=True))
    line[line.index("-m") :] = ["-c", _TRIAL]
    environment = {k: v for k, v in os.environ.items() if k not in SIGNS} | {"NNX_BACKEND": ""}
    done = subprocess.run(
        line, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        last = [text for text in done.stderr.splitlines() if text.strip(" -")]
        raise subprocess.SubprocessError(last[0] if last else f"status {done.returncode}")
    total, size, library = done.stdout.strip().splitlines()[0].split(";")
    version = subprocess.run(
        [line[0], "--version"], capture_output=True, text=True, timeout=timeout, check=True
    )
    return float(total), int(size), library, version.stdout.splitlines()[0]


def _say(line: str) -> None:
    print(f"nnx launch: {line}", file=sys.stderr, flush=True)
