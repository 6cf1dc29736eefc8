"""Real signals at random moments: what is left behind must be as it was.

    python tests/train/signals.py 20000 7        # signals, and the seed

Ctrl-C may strike between any two instructions.  A timer's signal does so here, in the middle of
evaluating, predicting, training and in blocks of one's own; its handler is the one of Ctrl-C.
After each, the modes of the model, the tape, the active backend and kernels, NumPy's treatment of
overflow and the handler itself are looked at, and the next step's gradients compared bit by bit
with those of a process that was left alone.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

import nnx
from nnx import backends, nn, optim
from nnx.nn.module import is_watched


def network() -> nn.Sequential:
    nnx.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(4 * 9, 8), nn.Dropout(0.5), nn.Linear(8, 3),
    )  # fmt: skip


rng = np.random.default_rng(0)
X, Y = rng.standard_normal((24, 1, 8, 8)).astype("f4"), rng.integers(0, 3, 24)
model, loss = network(), nn.CrossEntropyLoss()
model[6].eval()  # one module that is not as the others
start = {name: np.array(array) for name, array in model.state_dict().items()}
trainer = nnx.Trainer(
    model, loss, optim.Adam(model.parameters()), metrics=["accuracy"], progress=False
)


def blocks() -> None:
    for _ in range(5):
        with nnx.no_grad():
            model(nnx.tensor(X[:4]))
            with nnx.enable_grad():
                pass
        with nnx.use_backend("numpy"), backends.kernels("portable"):
            nnx.tensor([1.0]) * 2


ACTIONS = {
    "blocks": blocks,
    "evaluate": lambda: trainer.evaluate((X, Y), batch_size=8),
    "predict": lambda: trainer.predict(X, batch_size=8),
    "summary": lambda: nnx.summary(model, (2, 1, 8, 8)),
    "fit": lambda: trainer.fit([(X[:8], Y[:8]), (X[8:], Y[8:])], epochs=2),
}


def step() -> list[bytes]:
    """The bits of a step from the weights that all began with."""
    trainer.model.load_state_dict(start)
    model.zero_grad()
    loss(model(nnx.tensor(X)), nnx.tensor(Y)).backward()
    return [p.grad.tobytes() for p in model.parameters()]


def left() -> dict[str, object]:
    """Whatever a block may have left."""
    return {
        "modes": [m.training for m in model.modules()],
        "recording": nnx.is_grad_enabled(),
        "blocks of no_grad": len(nnx.autograd.mode.blocks),
        "backend": nnx.active_backend(),
        "kernels": backends.kernel_mode(),
        "errors": np.geterr(),
        "watched": any(is_watched(m) for m in model.modules()),
        "handler": signal.getsignal(signal.SIGINT),
    }


again = 0.0


def pressed(number: int, frame: object) -> None:
    """Ctrl-C; and once more where the first was only noted."""
    global again
    signal.raise_signal(signal.SIGINT)
    if again:
        signal.setitimer(signal.ITIMER_REAL, again)
        again = 0.0


def struck(name: str, first: float, second: float) -> bool:
    """Whether a signal interrupted this action."""
    global again
    again, hit, begun = second, False, False
    while True:
        try:
            if not begun:
                begun = True
                signal.setitimer(signal.ITIMER_REAL, first)
                ACTIONS[name]()
            signal.setitimer(signal.ITIMER_REAL, 0)
            return hit
        except KeyboardInterrupt:
            hit = True


def main(count: int, seed: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, pressed)
    draw = random.Random(seed)
    durations = {}
    for name, action in ACTIONS.items():
        for _ in range(3):
            began = time.perf_counter()
            action()
            durations[name] = time.perf_counter() - began
    trainer.model.load_state_dict(start)
    for module in model.modules():
        module.training = module is not model[6]
    expected, before = step(), left()
    hits = dict.fromkeys(ACTIONS, 0)
    while sum(hits.values()) < count:
        name = draw.choice(list(ACTIONS))
        longest = durations[name] * 1.1
        hit = struck(name, 1e-6 + draw.random() * longest, 1e-6 + draw.random() * longest)
        if name == "fit":  # an epoch begins by `model.train()`, and leaves it so
            model.train()
            model[6].eval()
        if not hit:
            continue
        hits[name] += 1
        after = left()
        assert after == before, f"after {hits}, in {name}: {after}, not {before}"
        if draw.random() < 0.05:
            assert step() == expected, f"after {hits}, in {name}: other gradients"
    assert step() == expected
    print(f"{sum(hits.values())} signals: {hits}")


if __name__ == "__main__":
    try:
        with Path(os.devnull).open("w") as sys.stderr:  # "ending after this step", many times
            main(int(sys.argv[1]), int(sys.argv[2]))
    except AssertionError as error:
        sys.exit(f"{error}")
    finally:
        sys.stderr = sys.__stderr__
