"""`nnx train` killed at random moments, resumed, and held to the run that was never stopped.

    python tests/hostile/kills.py --count 100 --seed 1

A trial begins an experiment, kills it (SIGKILL) after a random time, resumes it, and may kill it
again, up to three times; then it comes to its end.  Its files must be those of the whole run, equal
in every bit, and nothing else may be left.  Some moments are random, some within a save.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import nnx
from nnx.cli.main import run
from nnx.io import load_state
from nnx.plots import available

# The recipes, with options by which an epoch takes a fraction of a second.
LINES = (
    ["digits", "--epochs", "4", "--hidden", "16"],
    ["digits", "--epochs", "3", "--hidden", "8", "--optimizer", "adam", "--parts", "4"],
    ["curve-rnn", "--epochs", "2", "--hidden", "4"],
    ["digits-cnn", "--epochs", "1"],
)


class Child:
    """`nnx` with some arguments, in a process forked from this one: the imports are made once.

    With `at_save` (k, when) it kills itself before or after the k-th file takes its place.
    """

    def __init__(self, arguments, at_save=None):
        self.log = tempfile.TemporaryFile()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            for stream in (1, 2):
                os.dup2(self.log.fileno(), stream)
            if at_save is not None:
                kill_at(*at_save)
            code = 70
            try:
                code = run(arguments)
                sys.stdout.flush()
            finally:
                os._exit(code)

    def wait(self, seconds=None):
        """The exit code, negative for a signal; None where it takes longer than this."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            pid, status = os.waitpid(self.pid, 0 if end is None else os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        return None

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


def kill_at(left, when):
    rename = Path.replace

    def replace(self, target):
        nonlocal left
        left -= 1
        if left < 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = rename(self, target)
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    Path.replace = replace


def finish(arguments):
    """Run a command to its end; the seconds it took."""
    began = time.monotonic()
    child = Child(arguments)
    code = child.wait()
    assert code == 0, f"{arguments}: {code}\n{child.said()}"
    return time.monotonic() - began


def contents(folder):
    """The files of a run, without what tells the time: seconds, and the picture."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes()
        if name == "history.csv":
            lines = [line.rpartition(",")[0] for line in content.decode().splitlines()]
            content = "\n".join(lines).encode()
        elif name.endswith(".safetensors"):
            content = weights(path)
        elif name.endswith((".png", ".svg")):
            content = b""
        found[name] = content
    return found


def weights(path):
    """Every array of a file, and the state beside it without the seconds."""
    if path.name.startswith("last"):
        state, arrays, header = load_state(path)
        state.pop("checksum")  # of the weights and of all of the state but the seconds
        for row in state["history"]["rows"]:
            row.pop("seconds")
        return repr((nested(state), nested(arrays), header)).encode()
    return repr(nested(nnx.load(path))).encode()


def nested(value):
    if isinstance(value, dict):
        return {k: nested(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [nested(v) for v in value]
    return (value.dtype.str, value.shape, value.tobytes()) if hasattr(value, "tobytes") else value


def trial(line, whole, seconds, out, draws):
    """Begin, kill, resume, ...; the kills that struck, in words."""
    name, told = line[0], []
    for _ in range(draws.choice((1, 1, 2, 3))):
        folders = [path for path in out.glob(f"{name}-*") if (path / "config.json").exists()]
        resumed = ["--resume", str(folders[0])] if folders else [*line[1:], "--out", str(out)]
        arguments = ["train", name, *resumed]
        if draws.random() < 0.4:
            at = (draws.randrange(12), draws.choice(("before", "after")))
            child = Child(arguments, at)
            told.append(f"{at[1]} file {at[0]}")
            code = child.wait()
        else:
            child = Child(arguments)
            moment = draws.uniform(0, seconds)
            told.append(f"after {moment:.2f} s")
            code = child.wait(moment)
            if code is None:
                os.kill(child.pid, signal.SIGKILL)
                code = child.wait()
        assert code in (0, -signal.SIGKILL), f"{told}: {code}\n{child.said()}"
        if code == 0:
            told[-1] += " (it had ended)"
            break
    folders = [path for path in out.glob(f"{name}-*") if (path / "config.json").exists()]
    resumed = ["--resume", str(folders[0])] if folders else [*line[1:], "--out", str(out)]
    finish(["train", name, *resumed])
    left = sorted(path.name for path in out.iterdir())
    assert left == [f"{name}-1"], f"{told}: {left} are left"
    found, expected = contents(out / f"{name}-1"), contents(whole)
    assert found.keys() == expected.keys(), f"{told}: {found.keys() ^ expected.keys()}"
    for path, content in expected.items():
        assert found[path] == content, f"{told}: {path} differs"
    return told


def kill(count, seed, lines=LINES, say=print):
    """So many trials, over these command lines in turn."""
    draws = random.Random(seed)
    if available():
        import matplotlib.backends.backend_agg  # noqa: F401  # once for all children
    with tempfile.TemporaryDirectory() as place:
        wholes = []
        for k, line in enumerate(lines[:count]):
            out = Path(place) / f"whole-{k}"
            seconds = finish(["train", *line, "--out", str(out)])
            wholes.append((out / f"{line[0]}-1", seconds))
        struck = 0
        for k in range(count):
            line, (whole, seconds) = lines[k % len(lines)], wholes[k % len(lines)]
            out = Path(place) / f"trial-{k}"
            told = trial(line, whole, seconds, out, draws)
            struck += sum("ended" not in kill for kill in told)
            say(f"{k + 1}: {' '.join(line)}: killed {', '.join(told)}: equal")
            shutil.rmtree(out)
        say(json.dumps({"trials": count, "kills": struck}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10, help="trials")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    kill(given.count, given.seed)
