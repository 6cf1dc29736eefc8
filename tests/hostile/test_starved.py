"""Machines that are short of memory, threads and rights; processes that fork or are to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nnx
from nnx.backends.jit.codegen import compiling, threads
from nnx.io import load_state

ROOT = Path(__file__).parent.parent.parent
posix = pytest.mark.skipif(os.name != "posix", reason="signals, forks and limits are POSIX")


def child(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


# ---- threads and memory ----


@pytest.mark.parametrize("value", ["²", "0", "-1", "x", "1.5", "99999999", "9" * 5000, "1e3"])
def test_a_number_of_threads_that_is_none(monkeypatch, value):
    monkeypatch.setattr(threads, "_set", None)
    monkeypatch.setattr(threads, "_found", None)
    monkeypatch.setenv("NNX_NUM_THREADS", value)
    with pytest.raises(ValueError, match=r"NNX_NUM_THREADS must be a whole number from 1 to 1024"):
        threads.thread_count()
    monkeypatch.delenv("NNX_NUM_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.thread_count() >= 1


@pytest.mark.parametrize("started", [0, 2])
def test_threads_that_cannot_be_started(monkeypatch, started):
    """The work is done by those there are."""
    begun, start = [], threads.threading.Thread.start

    def refuse(self):
        if len(begun) == started:
            raise RuntimeError("can't start new thread")
        begun.append(self)
        start(self)

    monkeypatch.setattr(threads, "_pool", None)
    monkeypatch.setattr(threads, "_set", 16)
    monkeypatch.setattr(threads.threading.Thread, "start", refuse)
    done = np.zeros(160, np.int64)

    def fill(lo, hi, out):
        out[lo:hi] += np.arange(lo, hi)

    threads.split(fill, 160, done)
    np.testing.assert_array_equal(done, np.arange(160))
    assert len(begun) == started and threads._pool.size == started + 1
    for _ in begun:
        threads._pool.jobs.put(None)


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]) << 20,) * 2)
from nnx.cli.main import run
sys.exit(run(sys.argv[2:]))
"""


@posix
@pytest.mark.parametrize(
    ("arguments", "threads"),
    [
        (["train", "digits", "--hidden", "3000000", "--out", "runs"], "1"),
        (["train", "digits", "--hidden", "300000000", "--out", "runs"], "1"),
        (["train", "curve-rnn", "--hidden", "20000", "--epochs", "1", "--out", "runs"], "64"),
    ],
)
def test_too_little_memory_is_told_in_a_line(tmp_path, arguments, threads):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "1500", *arguments],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "NNX_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": "1",
            "NNX_JIT": "0",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done
    assert done.stderr.startswith("error: not enough memory") and done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


# ---- forks ----

FORKS = """
import os, sys, threading, time
import numpy as np, nnx
from nnx import nn, optim

def train(steps):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(4 * 13 * 13, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer, loss = optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    x = nnx.tensor(np.random.default_rng(0).standard_normal((32, 1, 28, 28)).astype("float32"))
    t = nnx.tensor(np.arange(32) % 10)
    done = 0
    while not ended if steps is None else done < steps:
        optimizer.zero_grad()
        loss(model(x), t).backward()
        optimizer.step()
        with nnx.no_grad():
            model(x[:4])
        done += 1
    return done

ended, made = False, []
if sys.argv[2] == "warm":
    train(2)
thread = threading.Thread(target=lambda: made.append(train(None)))
thread.start()
hung = 0
for k in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        train(2)
        os._exit(0)
    for _ in range(20_000):
        gone, status = os.waitpid(child, os.WNOHANG)
        if gone:
            break
        time.sleep(0.005)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        hung += 1
    hung += status != 0
ended = True
thread.join()
print(hung, made[0])
"""


@posix
@pytest.mark.parametrize(("forks", "when"), [(25, "warm"), (3, "cold")])
def test_forks_beside_a_thread_that_trains(forks, when):
    """`warm` forks between kernels, `cold` while they are loaded or compiled."""
    done = child(FORKS, str(forks), when, NNX_NUM_THREADS="2")
    assert done.returncode == 0, done
    hung, steps = map(int, done.stdout.split())
    assert hung == 0 and steps > 0


# ---- signals ----

TRAIN = """
import os, signal, sys, threading
import numpy as np, nnx
from nnx import nn, optim
from nnx.train import Checkpoint, Trainer
nnx.manual_seed(0)
model = nn.Linear(4, 2)
trainer = Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()),
                  callbacks=[Checkpoint(sys.argv[1])], progress=False)
number = getattr(signal, sys.argv[2])
class Kill(nnx.train.Callback):
    def on_step_end(self, trainer):
        if trainer.step == 7:
            os.kill(os.getpid(), number)
trainer.callbacks.insert(0, Kill())
x = np.random.default_rng(0).standard_normal((64, 4)).astype("float32")
if sys.argv[3] == "ignored":
    signal.signal(number, signal.SIG_IGN)
trainer.fit(nnx.data.DataLoader((x, np.arange(64) % 2), batch_size=4), epochs=2)
print(trainer.step, signal.getsignal(number) == signal.SIG_IGN)
"""


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_end_writes_the_checkpoint(tmp_path, name):
    done = child(TRAIN, str(tmp_path), name, "heard")
    assert done.returncode == 128 + getattr(signal, name) and done.stdout == done.stderr == ""
    state, weights, _ = load_state(tmp_path / "last.safetensors")
    assert state["step"] == 7 and state["batch"] == 7 and weights
    done = child(TRAIN, str(tmp_path), name, "ignored")
    assert done.returncode == 0 and done.stdout.split() == ["32", "True"]


@posix
def test_the_command_says_how_to_go_on(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "nnx", "train", "digits", "--epochs", "300", "--hidden", "8"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        for line in running.stdout:
            if line.startswith("epoch   2/300"):
                break
        running.send_signal(signal.SIGTERM)
        rest, err = running.stdout.read().splitlines(), running.stderr.read()
    assert running.returncode == 143 and err == ""
    assert rest[-1] == f"go on with: nnx train digits --resume {Path('runs', 'digits-1')}"


# ---- backends ----


@pytest.mark.parametrize(
    "name", ["numpy:cuda", "numpy:0", "cupy:x", "cupy:-1", "torch:foo", "array_api_strict:foo", "",
             ":", ".", "..x", "a.b.c", "json", "x" * 10_000, "\ud800", "\0"],
)  # fmt: skip
def test_backends_that_there_are_not(name):
    before = nnx.active_backend()
    with pytest.raises(ValueError, match="backend") as caught:
        nnx.set_backend(name)
    assert len(str(caught.value)) < 800 and nnx.active_backend() is before


@pytest.mark.parametrize("name", [None, 3, b"numpy"])
def test_the_name_of_a_backend_is_a_text(name):
    with pytest.raises(TypeError, match="is a text"):
        nnx.get_backend(name)


@pytest.mark.parametrize(
    "text",
    ["raise SystemExit", "import sys; sys.exit(3)", "1 / 0", "raise KeyError", "(", "import x.y"],
)
def test_a_module_that_fails_while_it_is_imported(tmp_path, monkeypatch, text):
    name = f"fails_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / f"{name}_package").mkdir()
    (tmp_path / f"{name}_package/__init__.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for backend in (name, f"{name}_package.part"):
        with pytest.raises(ValueError, match=f'"{name}.*cannot be used'):
            nnx.set_backend(backend)


# ---- what compiled code is read from ----


@posix
def test_compiled_code_is_not_read_from_a_folder_that_others_can_write_to(tmp_path):
    compiling.why_not_trusted.cache_clear()
    folder = tmp_path / "cache" / "deep"
    folder.mkdir(parents=True)
    assert compiling.why_not_trusted(folder) is None
    assert compiling.why_not_trusted(folder / "not" / "made") is None
    for place, mode in ((folder, 0o777), (folder.parent, 0o777), (folder, 0o1777), (folder, 0o773)):
        compiling.why_not_trusted.cache_clear()
        place.chmod(mode)
        assert "can be written to by others" in compiling.why_not_trusted(folder)
        place.chmod(0o755)
    compiling.why_not_trusted.cache_clear()
    folder.parent.chmod(0o1777)  # as /tmp is: others can add to it, but not replace what is there
    assert compiling.why_not_trusted(folder) is None
    if os.geteuid() == 0:
        os.chown(folder, 12345, -1)
        compiling.why_not_trusted.cache_clear()
        assert "belongs to another user" in compiling.why_not_trusted(folder)


@posix
def test_numba_keeps_nothing_there(tmp_path):
    code = """
import warnings
import numpy as np
from nnx.backends.jit.codegen.compiling import compiled
from nnx.backends.jit.loops import pool, embedding
"""
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    done = child(code, NUMBA_CACHE_DIR=str(open_to_all))
    assert done.returncode == 0 and "can be written to by others" in done.stderr
    assert not [path for path in open_to_all.rglob("*") if path.is_file()]
