"""Both sides of every threshold of `backends/cpu/thresholds.py` and `backends/jit/thresholds.py`.

    python -m benchmarks.thresholds                       # all of them
    python -m benchmarks.thresholds NORM CONV_THREAD --rounds 60

For sizes below and above a threshold, the same call with the threshold out of the way: once too
high, so that the way for small sizes runs, and once 0, so that the other does.  The two take turns
in one process.  Where a way has one thread the clock is the process's own time, which other work
on the machine disturbs little; where a second thread is the question it is elapsed time, and means
something on a quiet machine only.  A ratio is the way for large sizes over the way for small: the
threshold belongs where it crosses 1, and a little above, as nothing need be compiled there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnx.backends import get_backend
from nnx.backends.cpu import memory
from nnx.backends.cpu import thresholds as cpu
from nnx.backends.cpu.layout import contiguous_channels_last
from nnx.backends.jit import JitBackend
from nnx.backends.jit import thresholds as jit
from nnx.backends.jit.codegen import threads
from nnx.backends.jit.convolution.plan import plan
from nnx.backends.numpy import NumpyBackend
from nnx.backends.portable.optim_rules import Adam
from nnx.backends.portable.window import Window
from nnx.bench.timing import percentile

Call = Callable[[], Any]
FACTORS = (0.25, 0.5, 1, 2, 4)
OUT_OF_REACH = 2**62
random = np.random.default_rng(0)


@dataclass(frozen=True)
class Row:
    """A threshold, and a call whose size is counted as the threshold counts."""

    where: Any
    name: str
    build: Callable[[Any, int], Call]
    what: str
    elapsed: bool  # two threads, and the clock on the wall
    compiled: bool  # on the backend with numba


ROWS: list[Row] = []


def row(
    where: Any, name: str, what: str, elapsed: bool = False, compiled: bool = False
) -> Callable[[Any], Any]:
    """Register a function of a backend and a size, which makes the call."""

    def register(build: Callable[[Any, int], Call]) -> Callable[[Any, int], Call]:
        ROWS.append(Row(where, name, build, what, elapsed, compiled or where is jit))
        return build

    return register


def draw(*shape: int) -> np.ndarray:
    return random.standard_normal(shape, dtype=np.float32)


# ---- compiled, or NumPy ----


@row(jit, "ACTIVATION_QUICK", "tanh")
def tanh(k: Any, size: int) -> Call:
    x = draw(size)
    return lambda: k.tanh(x)


@row(jit, "ACTIVATION_QUICK", "tanh_backward")
def tanh_backward(k: Any, size: int) -> Call:
    g, y = draw(size), draw(size)
    return lambda: k.tanh_backward(g, y)


@row(jit, "ACTIVATION", "gelu, with its slope")
def gelu(k: Any, size: int) -> Call:
    x = draw(size)
    return lambda: k.gelu(x, "none", True)


@row(jit, "ACTIVATION", "softmax of rows of 64")
def softmax(k: Any, size: int) -> Call:
    x = draw(size // 64, 64)
    return lambda: k.softmax(x, -1)


@row(jit, "ACTIVATION", "log_softmax of rows of 64")
def log_softmax(k: Any, size: int) -> Call:
    x = draw(size // 64, 64)
    return lambda: k.log_softmax(x, -1)


@row(cpu, "ROWS", "softmax and its backward, rows of 64")
def softmax_in_rows(k: Any, size: int) -> Call:
    x, g = draw(size // 64, 64), draw(size // 64, 64)
    return lambda: k.softmax_backward(g, k.softmax(x, -1), -1)


@row(jit, "LINEAR", "relu")
def relu(k: Any, size: int) -> Call:
    x = draw(size)
    return lambda: k.relu(x)


@row(jit, "LINEAR", "relu_backward")
def relu_backward(k: Any, size: int) -> Call:
    g, y = draw(size), draw(size)
    return lambda: k.relu_backward(g, y)


@row(jit, "LINEAR", "linear_relu and its backward, 32 rows, 16 inputs")
def linear_relu(k: Any, size: int) -> Call:
    x, w, b, gy = draw(32, 16), draw(size // 32, 16), draw(size // 32), draw(32, size // 32)

    def call() -> None:
        y = k.linear_relu(x, w, b)
        k.linear_relu_backward(gy, y, x, w, (True, True, True))

    return call


@row(jit, "LOSS", "cross-entropy of 8 classes")
def cross_entropy(k: Any, size: int) -> Call:
    logits, targets = draw(size // 8, 8), random.integers(0, 8, size // 8)
    return lambda: k.softmax_cross_entropy(logits, targets)


@row(jit, "LOSS_CLASSES", "cross-entropy of 64 rows")
def classes_compiled(k: Any, size: int) -> Call:
    logits, targets = draw(64, size), random.integers(0, size, 64)
    return lambda: k.softmax_cross_entropy(logits, targets)


@row(jit, "EMBEDDING", "rows of 32 numbers into 1000")
def index_add(k: Any, size: int) -> Call:
    values, indices = draw(size // 32, 32), random.integers(0, 1000, size // 32)
    return lambda: k.index_add(values, indices, 1000)


@row(jit, "RANDOM", "philox")
def philox(k: Any, size: int) -> Call:
    return lambda: k.philox((1, 2), 0, size)


@row(jit, "RANDOM", "dropout")
def dropout(k: Any, size: int) -> Call:
    x = draw(size)
    return lambda: k.dropout(x, (1, 2), 0, 2**31, 2.0)


@row(jit, "OPTIM", "Adam, one parameter")
def adam(k: Any, size: int) -> Call:
    p, g, m, v = draw(size), draw(size), draw(size), np.abs(draw(size))
    rule = Adam(lr=1e-9, betas=(0.9, 0.999), eps=1e-8, step=10)
    return lambda: k.adam_([p], [g], [m], [v], None, rule)


@row(jit, "NORM", "batch_norm and its backward, 16 channels")
def norm_compiled(k: Any, size: int) -> Call:
    return batch_norm(k, size, 16)


@row(jit, "RECURRENT", "an LSTM of 16 units, 8 steps, and its backward")
def lstm(k: Any, size: int) -> Call:
    n, h = max(1, size // (8 * 64)), 16
    weights = [(draw(4 * h, h), draw(4 * h, h), draw(4 * h), draw(4 * h), None)]
    x, gy, state = draw(8, n, h), draw(8, n, h), np.zeros((1, n, h), np.float32)

    def call() -> None:
        *_, residuals = k.lstm(x, None, None, weights, None)
        k.lstm_backward(gy, state, state, residuals, True)

    return call


@row(jit, "RECURRENT", "a GRU of 16 units, 8 steps, and its backward")
def gru(k: Any, size: int) -> Call:
    n, h = max(1, size // (8 * 48)), 16
    weights = [(draw(3 * h, h), draw(3 * h, h), draw(3 * h), draw(3 * h))]
    x, gy, state = draw(8, n, h), draw(8, n, h), np.zeros((1, n, h), np.float32)

    def call() -> None:
        *_, residuals = k.gru(x, None, weights, None, True)
        k.gru_backward(gy, state, residuals, True)

    return call


# ---- another thread: so much for each of two ----


@row(jit, "CONV_THREAD", "3x3, 16 to 16 channels, images 12x12", elapsed=True)
def conv_threads(k: Any, size: int) -> Call:
    x, w = draw(max(2, 2 * size // (10 * 10 * 9 * 256)), 16, 12, 12), draw(16, 16, 3, 3)
    return lambda: k.conv2d(x, w, None, Window((3, 3)), 1)


@row(jit, "DEPTHWISE_THREAD", "3x3, 16 channels, images 16x16", elapsed=True)
def depthwise_threads(k: Any, size: int) -> Call:
    x, w = draw(max(2, 2 * size // (16 * 256)), 16, 16, 16), draw(16, 1, 3, 3)
    return lambda: k.conv2d(x, w, None, Window((3, 3)), 16)


@row(jit, "POOL_THREAD", "max-pooling 2x2, images of 16x16x16", elapsed=True)
def pool_threads(k: Any, size: int) -> Call:
    x = draw(max(2, 2 * size // (16 * 256)), 16, 16, 16)
    return lambda: k.max_pool2d(x, Window((2, 2), (2, 2)))


@row(jit, "NORM_THREAD", "batch_norm and its backward, 16 channels", elapsed=True)
def norm_threads(k: Any, size: int) -> Call:
    return batch_norm(k, 2 * size, 16)


@row(jit, "SCAN_THREAD", "an LSTM of 32 units, 16 steps", elapsed=True)
def scan_threads(k: Any, size: int) -> Call:
    n, h = max(2, 2 * size // (16 * 4 * 32 * 32)), 32
    weights = [(draw(4 * h, h), draw(4 * h, h), draw(4 * h), draw(4 * h), None)]
    x = draw(16, n, h)
    return lambda: k.lstm(x, None, None, weights, None)


@row(jit, "PRODUCT_THREAD", "a product of square matrices", elapsed=True)
def product_threads(k: Any, size: int) -> Call:
    n = round(size ** (1 / 3))
    a, b = draw(n, n), draw(n, n)
    return lambda: threads.matmul(a, b)


# ---- NumPy in the fewest calls, or tuned ----


@row(cpu, "PRODUCT", "a product of square matrices")
def small_product(k: Any, size: int) -> Call:
    n = round(size ** (1 / 3))
    x, weight = draw(n, n), draw(n, n)
    return lambda: k.linear(x, weight, None)


@row(cpu, "COLUMN_BYTES", "conv2d and its backward, 3x3, 8 to 16 channels, one image")
@row(cpu, "COLUMN_BYTES", "the same beside compiled convolution", compiled=True)
def column_bytes(k: Any, size: int) -> Call:
    side = round((size / (4 * 72)) ** 0.5) + 2
    return convolution(k, draw(1, 8, side, side), draw(16, 8, 3, 3))


@row(cpu, "COLUMN_NUMBERS", "conv2d and its backward, kxk of one channel, 64 images 28x28")
def column_numbers(k: Any, size: int) -> Call:
    side = round(size**0.5)
    return convolution(k, draw(64, 1, 28, 28), draw(16, 1, side, side))


@row(cpu, "COLUMN_NUMBERS", "conv2d and its backward, 2x2, channels, 64 images 28x28")
def column_channels(k: Any, size: int) -> Call:
    channels = max(1, size // 4)
    return convolution(k, draw(64, channels, 28, 28), draw(16, channels, 2, 2))


@row(cpu, "COLUMN_GROUP", "conv2d and its backward, 3x3, 64 channels in groups, 16 images 14x14")
@row(cpu, "COLUMN_GROUP", "the same beside compiled convolution", compiled=True)
def column_group(k: Any, size: int) -> Call:
    channels = 2 ** round(np.log2(max(1, size / 9)))  # of a group
    return convolution(k, draw(16, 64, 14, 14), draw(64, channels, 3, 3), groups=64 // channels)


@row(cpu, "CONV_ROW", "a first layer's 3x3 and 5x5 windows, 32 images 24x24, channels last")
def conv_row(k: Any, size: int) -> Call:
    channels, side = (max(1, size // 3), 3) if size < 4 or size > 5 else (1, 5)
    x = draw(32, 24, 24, channels).transpose(0, 3, 1, 2)
    return convolution(k, x, draw(16, channels, side, side), needs_input=False)


@row(cpu, "TURN", "planes of 32x32 to channels last")
def turn(k: Any, size: int) -> Call:
    x = draw(1, max(1, size // 1024), 32, 32)
    return lambda: contiguous_channels_last(x)


@row(cpu, "POOL", "max-pooling 2x2")
@row(jit, "POOL", "max-pooling 2x2, compiled over NumPy in few calls")
def pool(k: Any, size: int) -> Call:
    side = 2 * round((size / 16 / 4) ** 0.5)
    x = draw(1, 4, side, side)
    return lambda: k.max_pool2d(x, Window((2, 2), (2, 2)))


@row(cpu, "POOL_WHOLE", "mean of all of 8x8, beside compiled loops", compiled=True)
def means_of_images(k: Any, size: int) -> Call:
    x = draw(1, size // 64, 8, 8)
    return lambda: k.avg_pool2d(x, Window((8, 8), (8, 8)), ((0, 0), (0, 0)))


@row(cpu, "POOL_WINDOWS", "mean of 2x2, one image of 3 channels")
def means_of_windows(k: Any, size: int) -> Call:
    x = draw(1, 3, 8, size // 6)
    return lambda: k.avg_pool2d(x, Window((2, 2), (2, 2)), ((0, 0), (0, 0)))


@row(cpu, "POOL_WINDOWS", "mean of 3x3, stride 2, one image of 3 channels")
def means_of_windows_that_overlap(k: Any, size: int) -> Call:
    x = draw(1, 3, 9, 2 * (size // 12) + 1)
    return lambda: k.avg_pool2d(x, Window((3, 3), (2, 2)), ((0, 0), (0, 0)))


@row(cpu, "EMBEDDING_ROW", "2048 rows into 5000")
def rows_written_at_once(k: Any, size: int) -> Call:
    values, indices = draw(2048, size), random.integers(0, 5000, 2048)
    return lambda: k.index_add(values, indices, 5000)


@row(cpu, "NORM", "batch_norm and its backward, 16 channels")
def norm_in_blocks(k: Any, size: int) -> Call:
    return batch_norm(k, size, 16)


@row(cpu, "NORM", "layer_norm and its backward, rows of 64")
def layer_norm_in_blocks(k: Any, size: int) -> Call:
    x, gy, w, b = draw(size // 64, 64), draw(size // 64, 64), draw(64), draw(64)

    def call() -> None:
        _, residuals = k.layer_norm(x, w, b, 1e-5)
        k.layer_norm_backward(gy, residuals, (True, True, True))

    return call


@row(cpu, "STRETCH", "the gradient of a sum over rows, and its product with an array")
def stretch(k: Any, size: int) -> Call:
    g, x = draw(1, 64), draw(size // 64, 64)
    return lambda: k.stretch(g, x.shape) * x


@row(cpu, "LOSS_CLASSES", "cross-entropy of 64 rows")
def classes(k: Any, size: int) -> Call:
    logits, targets = draw(64, size), random.integers(0, size, 64)
    return lambda: k.softmax_cross_entropy(logits, targets)


@row(cpu, "RELU_ZEROS", "relu")
def relu_zeros(k: Any, size: int) -> Call:
    x = draw(size)
    return lambda: k.relu(x)


@row(cpu, "RELU_CLIP", "relu of rows of 64")
def relu_clip(k: Any, size: int) -> Call:
    x = draw(size // 64, 64)
    return lambda: k.relu(x)


@row(cpu, "RELU_ROW", "linear_relu, 64 rows, 16 inputs")
def relu_row(k: Any, size: int) -> Call:
    x, w, b = draw(64, 16), draw(size, 16), draw(size)
    return lambda: k.linear_relu(x, w, b)


@row(cpu, "MEMORY", "eight arrays, filled, and dropped together")
def kept_memory(k: Any, size: int) -> Call:
    def call() -> None:
        arrays = [memory.empty((size // 4,), np.float32) for _ in range(8)]
        for array in arrays:
            array.fill(1)

    return call


def batch_norm(k: Any, size: int, channels: int) -> Call:
    side = 4
    shape = (max(2, size // (channels * side * side)), channels, side, side)
    x, gy, w, b = draw(*shape), draw(*shape), draw(channels), draw(channels)

    def call() -> None:
        *_, residuals = k.batch_norm(x, w, b, 1e-5)
        k.batch_norm_backward(gy, residuals, (True, True, True))

    return call


def convolution(k: Any, x: Any, w: Any, needs_input: bool = True, groups: int = 1) -> Call:
    window = Window(w.shape[2:])
    gy = draw(len(x), len(w), *window.counts(x.shape[2:]))

    def call() -> None:
        _, residuals = k.conv2d(x, w, None, window, groups)
        k.conv2d_backward(gy, residuals, (needs_input, True, True))

    return call


# ---- taking turns ----


def both_ways(row: Row, size: int, rounds: int, seconds: float) -> tuple[float, float]:
    """Seconds of a call the way for small sizes takes, and the other way."""
    clock = time.perf_counter if row.elapsed else time.process_time
    call = row.build(JitBackend() if row.compiled else NumpyBackend(), size)
    before = getattr(row.where, row.name)
    times: tuple[list[float], list[float]] = ([], [])
    count = 1
    try:
        for turn in range(-2, rounds):  # compilation, and how many calls make a turn
            for values, threshold in zip(times, (OUT_OF_REACH, 0), strict=True):
                setattr(row.where, row.name, threshold)
                plan.cache_clear()
                call()
                start = clock()
                for _ in range(count):
                    call()
                if turn >= 0:
                    values.append((clock() - start) / count)
            if turn < 0:
                start = time.perf_counter()
                call()
                count = max(1, round(seconds / (time.perf_counter() - start)))
    finally:
        setattr(row.where, row.name, before)
        plan.cache_clear()
    small, large = (percentile(values, 0.1) for values in times)
    return small, large


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="thresholds, all where none is named")
    parser.add_argument("--rounds", type=int, default=40, help="turns of each way")
    parser.add_argument("--seconds", type=float, default=0.005, help="about how long a turn is")
    options = parser.parse_args()
    get_backend("numpy")
    print("| threshold | call | ways compared at | large / small |")
    print("| --- | --- | --- | --- |")
    for row in ROWS:
        if options.names and row.name not in options.names:
            continue
        threads.set_thread_count(2 if row.elapsed else 1)
        at = getattr(row.where, row.name)
        sizes = [max(1, round(at * factor)) for factor in FACTORS]
        ratios = []
        for size in sizes:
            small, large = both_ways(row, size, options.rounds, options.seconds)
            ratios.append(f"{large / small:.2f}")
        tree = row.where.__name__.split(".")[-2]
        clock = ", elapsed" if row.elapsed else ""
        print(
            f"| {tree} {row.name} = {at:,} | {row.what}{clock} | "
            f"{', '.join(f'{s:,}' for s in sizes)} | {', '.join(ratios)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
