"""What only a device can answer, asked one thing at a time: `python -m benchmarks.gpu_smoke`.

Each check prints a line, and a failed one its error; none keeps the next from running.  The exit
status says whether any failed.  With `--small`, without what needs tens of gigabytes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

CHECKS: dict[str, Callable[[Any], Any]] = {}


def check(name: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        CHECKS[name] = function
        return function

    return register


def tensor(b: Any, *shape: int, seed: int = 0) -> Any:
    import nnx

    rng = np.random.default_rng(seed)
    return nnx.Tensor(b.from_numpy(rng.standard_normal(shape).astype("float32")))


def classes(b: Any, n: int = 32) -> Any:
    import nnx

    return nnx.Tensor(b.from_numpy(np.random.default_rng(1).integers(0, 10, n)))


def mlp() -> Any:
    from nnx import nn

    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))


@check("ten steps of an MLP lower the loss")
def _(b: Any) -> str:
    from nnx import ops, optim

    model, x, y = mlp(), tensor(b, 32, 20), classes(b)
    optimizer, losses = optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(10):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0], losses
    return f"{losses[0]:.3f} -> {losses[-1]:.3f}"


@check("structures by value: Adam over 70 parameters")
def _(b: Any) -> None:
    from nnx import nn, optim

    parameters = [nn.Parameter(b.from_numpy(np.ones(5, "float32"))) for _ in range(70)]
    for p in parameters:
        p.grad = b.from_numpy(np.ones(5, "float32"))
    optim.Adam(parameters, lr=0.5).step()
    values = np.concatenate([b.to_numpy(p.data) for p in parameters])
    assert np.allclose(values, 0.5), values[:5]


@check("null pointers: an LSTM without biases, without a state")
def _(b: Any) -> Any:
    from nnx import nn

    return nn.LSTM(5, 6, bias=False)(tensor(b, 7, 3, 5))[0].shape


@check("products on nnx's own cuBLAS handle, eager, views among them")
def _(b: Any) -> None:
    a, c = tensor(b, 33, 17).data, tensor(b, 17, 9, seed=1).data
    for left, right in ((a, c), (c.T, a.T), (a[:, 3:9], c[3:9]), (a[::2], c)):
        expected = b.to_numpy(left) @ b.to_numpy(right)
        assert np.allclose(b.to_numpy(b.product(left, right)), expected, atol=1e-4)


def captured(b: Any, model: Any, inputs: tuple[Any, ...], body: Callable[..., Any]) -> None:
    """Five calls of the captured step give what the step itself gives."""
    import nnx

    step = nnx.capture(body, model)
    replayed = [float(step(*inputs).data) for _ in range(5)][-1]
    plain = float(body(*inputs).data)
    assert step.recorded and abs(replayed - plain) < 1e-3 * max(1, abs(plain)), (replayed, plain)


@check("capture of an MLP")
def _(b: Any) -> None:
    from nnx import ops

    model = mlp()

    def body(x: Any, y: Any) -> Any:
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        return loss

    captured(b, model, (tensor(b, 32, 20), classes(b)), body)


@check("capture of a CNN with batch norm")
def _(b: Any) -> None:
    from nnx import nn, ops

    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2), nn.Flatten()
    )

    def body(x: Any) -> Any:
        loss = ops.sum(ops.square(model(x)))
        loss.backward()
        return loss

    captured(b, model, (tensor(b, 8, 1, 8, 8),), body)


def _recurrent(kind: str, hidden: int) -> Callable[[Any], None]:
    def run(b: Any) -> None:
        from nnx import nn, ops

        model = getattr(nn, kind)(5, hidden, bidirectional=True)

        def body(x: Any) -> Any:
            loss = ops.sum(ops.square(model(x)[0]))
            loss.backward()
            return loss

        captured(b, model, (tensor(b, 7, 3, 5),), body)

    return run


for _kind in ("RNN", "LSTM", "GRU"):
    for _hidden in (16, 140):
        CHECKS[f"capture of {_kind}, {_hidden} units, both ways"] = _recurrent(_kind, _hidden)


@check("capture of an embedding, whose gradient sorts")
def _(b: Any) -> None:
    import nnx
    from nnx import nn, ops

    model = nn.Embedding(50, 4)
    indices = nnx.Tensor(b.from_numpy(np.random.default_rng(0).integers(0, 50, (6, 7))))

    def body(i: Any) -> Any:
        loss = ops.sum(ops.square(model(i)))
        loss.backward()
        return loss

    captured(b, model, (indices,), body)


@check("the same bits twice: gradients of a CNN and an LSTM")
def _(b: Any) -> None:
    import nnx
    from nnx import nn, ops

    def gradients() -> bytes:
        nnx.manual_seed(1)
        cnn = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
        lstm = nn.LSTM(6, 200)
        ops.sum(ops.square(cnn(tensor(b, 32, 3, 8, 8)))).backward()
        ops.sum(lstm(tensor(b, 9, 4, 6))[0]).backward()
        return b"".join(
            b_.tobytes() for m in (cnn, lstm) for p in m.parameters() for b_ in [b.to_numpy(p.grad)]
        )

    assert len({gradients() for _ in range(3)}) == 1


@check("a step on a stream that is not the default one")
def _(b: Any) -> None:
    import cupy

    from nnx import ops

    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        loss = ops.cross_entropy(mlp()(tensor(b, 32, 20)), classes(b))
        loss.backward()
        stream.synchronize()
    assert np.isfinite(loss.item())


@check("clip does not wait for the device")
def _(b: Any) -> str:
    import cupy

    large, small = cupy.ones((4096, 4096), "float32"), cupy.ones(10, "float32")
    out = cupy.empty_like(large)
    cupy.matmul(large, large, out=out)
    b.xp.clip(small, 0.0, 1.0)
    cupy.cuda.Device().synchronize()
    begun = time.perf_counter()
    for _ in range(5):
        cupy.matmul(large, large, out=out)
    b.xp.clip(small, 0.0, 1.0)
    asked = time.perf_counter() - begun
    cupy.cuda.Device().synchronize()
    done = time.perf_counter() - begun
    return f"asked after {asked * 1e3:.2f} ms, all done after {done * 1e3:.2f} ms"


@check("PyTorch's memory by DLPack, both ways")
def _(b: Any) -> str | None:
    import cupy

    try:
        import torch
    except ImportError:
        return "PyTorch is not installed"
    if not torch.cuda.is_available():
        return "PyTorch sees no GPU"
    assert float(cupy.from_dlpack(torch.arange(6.0, device="cuda") * 2).sum()) == 30
    assert float(torch.from_dlpack(cupy.arange(6, dtype="float32") + 1).sum()) == 21
    return None


@check("whole layers against the CPU (nnx.parity)")
def _(b: Any) -> str:
    import nnx
    from nnx import nn

    model = nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    )
    model.append(nn.Linear(8 * 144, 10))
    x = np.random.default_rng(0).standard_normal((16, 1, 28, 28)).astype("float32")
    y = np.random.default_rng(1).integers(0, 10, 16)
    with nnx.use_backend("numpy"):
        report = nnx.parity(model.to("numpy"), (x, y), nn.CrossEntropyLoss(), ("numpy", b))
    assert report.ok, str(report.first)
    return f"{len(report.rows)} tensors"


def beyond_2_31(b: Any) -> None:
    """Needs about 35 GB."""
    import cupy

    n = 2**31 + 4096
    x = cupy.full(n, -1, "float32")
    x[-5:] = 3
    y = b.relu(x)
    assert float(y[-1]) == 3 and float(y[2**31 - 1]) == float(y[0]) == 0
    g = b.relu_backward(x, y)
    assert float(g[-1]) == 3 and float(g[-6]) == 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="nothing of more than 2^31 elements")
    options = parser.parse_args(arguments)
    import nnx
    from nnx.backends import active_backend

    backend = active_backend()
    checks = dict(CHECKS)
    if not options.small:
        checks["more than 2^31 elements"] = beyond_2_31
    failed = 0
    with nnx.use_backend(backend):
        for name, function in checks.items():
            try:
                print("ok  ", name, function(backend) or "", flush=True)
            except Exception as error:  # whatever it is, the next check is asked
                failed += 1
                text = str(error)[:300].replace("\n", " ")
                print("FAIL", name, f"{type(error).__name__}: {text}", flush=True)
    print(f"{failed} of {len(checks)} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
