"""What is compiled is compiled once, by whichever process comes first, and said."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

linux = pytest.mark.skipif(sys.platform != "linux", reason="helpers are forked on Linux alone")


def started(code, folder, threads=2):
    kept = {k: v for k, v in os.environ.items() if k not in ("NNX_JIT", "NNX_KERNELS")}
    env = {**kept, "NUMBA_CACHE_DIR": str(folder), "NNX_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def output(process):
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return out


TRAINED = """
import numpy as np
import nnx
from nnx import nn, optim, train

class Watched(nn.Module):
    calls = 0

    def __init__(self):
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))

    def forward(self, x):
        Watched.calls += 1
        return self.net(x)

nnx.manual_seed(1)
model = Watched()
x = np.random.default_rng(0).random((256, 64), np.float32)
trainer = train.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()))
trainer.fit((x, np.arange(256) % 8), epochs=1, batch_size=128)
state = [np.asarray(p.detach().data).tobytes() for p in model.parameters()]
print("state", hash((tuple(state), str(nnx.random.default_generator().state()))), Watched.calls)
"""


@linux
@pytest.mark.ci
def test_a_helped_training_is_the_same_training(tmp_path, monkeypatch):
    """What the helpers change is theirs: parameters, random numbers, what a model counts."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    alone, helped = (
        output(started(TRAINED, tmp_path / str(threads), threads)) for threads in (1, 2)
    )
    again = output(started(TRAINED, tmp_path / "2", 2))
    states = {re.search(r"state.*", text).group() for text in (alone, helped, again)}
    assert len(states) == 1 and states.pop().endswith(" 2")
    assert "compiling kernels for this processor, once" in alone
    assert re.search(r"compiling [4-9] kernels for this processor, once", helped)
    assert "compiling" not in again


HELPED = """
import numpy as np
from nnx.backends import compiles
from nnx.backends.jit.codegen.helped import helped
from nnx.backends.jit.loops import linear, optim

x = np.ones((4, 4), np.float32)

def step():
    y, flat = np.empty_like(x), x.reshape(-1).copy()
    linear.relu(x.reshape(-1), y.reshape(-1))
    linear.relu_backward(x.reshape(-1), y.reshape(-1), flat)
    optim.sgd(flat, x.reshape(-1), 0.5, 0.0, 1.0)
    return y, flat

own = []
with compiles.listening(own.append), helped(step):
    y, flat = step()
    others, total = compiles.by_others()
assert (y == 1).all() and (flat == 0.5).all()
assert total == 3 and len(own) + others == total and others >= 1, (own, others, total)
assert compiles.by_others() == (0, 0)
with compiles.listening(own.append), helped(step):
    step()
    assert compiles.by_others() == (0, 0), "helpers where there is nothing to do"
"""


@linux
def test_helpers_and_the_helped_share_the_work(tmp_path):
    output(started(HELPED, tmp_path))


COMPILED = """
import numpy as np
from nnx.backends import compiles
from nnx.backends.jit.loops import linear

with compiles.listening(lambda name: print(name, flush=True)):
    x, y = np.full(8, -1, np.float32), np.empty(8, np.float32)
    linear.relu(x, y)
    assert (y == 0).all()
    linear.relu_backward(x, y, x)
"""


@linux
def test_of_two_processes_one_compiles_and_the_other_waits(tmp_path):
    both = [started(COMPILED, tmp_path) for _ in range(2)]
    told = [name for process in both for name in output(process).split()]
    assert sorted(told) == ["relu", "relu_backward"]
    assert output(started(COMPILED, tmp_path)) == ""


def test_what_was_compiled_from_other_sources_is_removed(tmp_path):
    output(started(COMPILED, tmp_path))
    (index,) = tmp_path.rglob("linear.relu-*.nbi")
    (data,) = tmp_path.rglob("linear.relu-*.nbc")
    assert index.name.startswith(data.name.split(".py")[0])
    end = index.stem.split(".py")[1]
    old = [index.with_name(f"linear.gone-3.py{end}.{kind}") for kind in ("nbi", "1.nbc", "2.nbc")]
    other = [index.with_name("linear.gone-3.py27.nbi"), Path(index.parent, "linear.gone.txt")]
    for path in (*old, *other):
        path.write_bytes(b"of another time")
    output(started(COMPILED, tmp_path))
    assert all(path.exists() for path in old), "nothing was compiled, so nobody looked"
    index.unlink()
    assert output(started(COMPILED, tmp_path)).split() == ["relu"]
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in (*other, index, data))
