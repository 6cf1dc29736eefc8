"""Whole layers, forward and backward, on the CUDA kernels and on the NumPy backend."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_cpu import CpuFactory, why_unavailable
from cuda_cpu.available import skip_or_fail

import nnx
from nnx import nn, optim
from nnx.backends import override
from nnx.backends.cuda import CudaBackend
from nnx.backends.cuda.launcher import Modules
from nnx.backends.numpy import NumpyBackend

# Sums in another order, and products of GPU libraries; relative to each array's largest value.
RTOL = {"float32": 2e-5, "float64": 1e-12}

# name -> layer, shape of its input, kernels that must have run
LAYERS = {
    "linear": (lambda d: nn.Linear(7, 5, dtype=d), (6, 7), {"add_bias"}),
    "conv": (
        lambda d: nn.Conv2d(3, 4, 3, padding=1, dtype=d),
        (2, 3, 6, 5),
        {"conv_forward", "conv_data"},
    ),
    "conv, strided and dilated": (
        lambda d: nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=2, dilation=2, dtype=d),
        (3, 2, 7, 6),
        {"im2col", "col2im", "swap_axes"},
    ),
    "conv, in groups": (
        lambda d: nn.Conv2d(4, 6, 3, groups=2, bias=False, dtype=d),
        (2, 4, 5, 5),
        {"conv_forward", "conv_data"},
    ),
    "conv 1d": (lambda d: nn.Conv1d(3, 2, 3, padding=1, dtype=d), (2, 3, 9), {"im2col"}),
    "conv transposed": (
        lambda d: nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, dtype=d),
        (2, 3, 4, 5),
        {"im2col", "col2im"},
    ),
    "max-pool": (
        lambda d: nn.MaxPool2d(2),
        (2, 3, 7, 6),
        {"max_pool_u8", "max_pool_backward_apart"},
    ),
    "max-pool that overlaps": (
        lambda d: nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
        (2, 2, 6, 7),
        {"max_pool_u8", "max_pool_backward_u8"},
    ),
    "max-pool 1d": (lambda d: nn.MaxPool1d(3, stride=2), (2, 2, 9), {"max_pool_u8"}),
    "average pool": (
        lambda d: nn.AvgPool2d(3, stride=2, padding=1),
        (2, 3, 6, 7),
        {"avg_pool", "avg_pool_backward"},
    ),
    "batch norm": (
        lambda d: nn.BatchNorm2d(3, dtype=d),
        (4, 3, 5, 4),
        {"channel_moments", "channel_normalize", "batch_norm_backward"},
    ),
    "batch norm 1d": (
        lambda d: nn.BatchNorm1d(5, dtype=d),
        (7, 5),
        {"channel_moments", "channel_normalize", "batch_norm_backward"},
    ),
    "layer norm": (
        lambda d: nn.LayerNorm(9, dtype=d),
        (2, 3, 9),
        {"row_normalize", "row_normalize_backward", "channel_sums"},
    ),
    "group norm": (
        lambda d: nn.GroupNorm(2, 6, dtype=d),
        (3, 6, 4, 2),
        {"row_normalize", "row_normalize_backward", "channel_sums"},
    ),
    "LSTM": (
        lambda d: nn.LSTM(4, 5, num_layers=2, bidirectional=True, dtype=d),
        (6, 3, 4),
        {"lstm_sequence_32", "lstm_sequence_backward_32"},
    ),
    "LSTM of many units": (
        lambda d: nn.LSTM(3, 130, bidirectional=True, dtype=d),
        (3, 2, 3),
        {"lstm_wide", "lstm_wide_backward"},
    ),
    "GRU": (
        lambda d: nn.GRU(4, 5, num_layers=2, bidirectional=True, dtype=d),
        (6, 3, 4),
        {"gru_sequence_after_32", "gru_sequence_backward_after_32"},
    ),
    "GRU of many units": (
        lambda d: nn.GRU(3, 130, dtype=d),
        (3, 2, 3),
        {"gru_wide", "gru_wide_backward"},
    ),
    "RNN of many units": (
        lambda d: nn.RNN(3, 130, bidirectional=True, dtype=d),
        (3, 2, 3),
        {"rnn_wide", "rnn_wide_backward"},
    ),
    "GRU, reset before": (
        lambda d: nn.GRU(4, 5, reset_after=False, dtype=d),
        (6, 3, 4),
        {"gru_sequence_before_32", "gru_sequence_backward_before_32"},
    ),
}
OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, lr=0.05),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
}


def hold_to_numpy(cuda, body, rtol):
    """The arrays of `body(backend)` on the CUDA kernels, in every order, and on NumPy."""
    with override(np.ndarray, NumpyBackend()) as numpy_backend:
        expected = [np.array(a) for a in body(numpy_backend)]
    with cuda.active():
        actual = cuda.every_order(lambda: body(cuda.backend))
    assert len(actual) == len(expected)
    for k, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert a.dtype == e.dtype, f"result {k}"
        atol = rtol * np.abs(e).max(initial=0)
        np.testing.assert_allclose(a, e, rtol=0, atol=atol, err_msg=f"result {k}")


def forward_and_backward(make, shape, real):
    def body(backend):
        nnx.manual_seed(0)
        layer = make(real)
        rng = np.random.default_rng(0)
        x = nnx.Tensor(backend.from_numpy(rng.standard_normal(shape).astype(real)), True)
        y = layer(x)
        y = y[0] if isinstance(y, tuple) else y
        y.backward(backend.from_numpy(rng.standard_normal(y.shape).astype(real)))
        buffers = [a for _, a in layer.named_buffers()]
        return [y.data, x.grad, *(p.grad for p in layer.parameters()), *buffers]

    return body


@pytest.mark.parametrize("name", LAYERS)
def test_layer(cuda, real, name):
    make, shape, kernels = LAYERS[name]
    hold_to_numpy(cuda, forward_and_backward(make, shape, real), RTOL[real])
    assert cuda.launched >= kernels


def test_lengths(cuda, real):
    """Sequences of unequal lengths, in both directions, with states given."""

    def body(backend):
        nnx.manual_seed(0)
        rng = np.random.default_rng(0)
        results = []
        for layer in (nn.LSTM(3, 4, bidirectional=True, dtype=real), nn.GRU(3, 4, dtype=real)):
            x = nnx.Tensor(backend.from_numpy(rng.standard_normal((5, 3, 3)).astype(real)), True)
            y, state = layer(x, lengths=[2, 5, 1])
            last = state[0] if isinstance(state, tuple) else state
            ((y * y).sum() + last.sum()).backward()
            results += [y.data, last.data, x.grad, *(p.grad for p in layer.parameters())]
        return results

    hold_to_numpy(cuda, body, RTOL[real])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_step(cuda, real, name):
    def body(backend):
        rng = np.random.default_rng(0)
        shapes = [(3, 5), (7,), (1, 1, 2, 2)]
        params = [
            nn.Parameter(backend.from_numpy(rng.standard_normal(s).astype(real))) for s in shapes
        ]
        optimizer = OPTIMIZERS[name](params)
        for _ in range(3):
            for p in params:
                p.grad = backend.from_numpy(rng.standard_normal(p.shape).astype(real))
            optimizer.step()
        return [p.data for p in params]

    hold_to_numpy(cuda, body, RTOL[real])
    assert name in cuda.launched


# ---- nothing is read back ----


class HostRead(AssertionError):
    """A value was read from an array, which would make the host wait for a GPU."""


class Unreadable(np.ndarray):
    """An array on a device that cannot be looked into, while `watched` is set."""

    watched = False

    def _read(self, *args, **kwargs):
        if Unreadable.watched:
            raise HostRead(f"a value of an array of shape {self.shape} was read")
        return self.view(np.ndarray).item()

    __bool__ = __float__ = __int__ = __index__ = item = tolist = tobytes = _read


class Namespace:
    """NumPy, whose functions give `Unreadable` arrays, also where NumPy gives a scalar."""

    def __getattr__(self, name):
        function = getattr(np, name)
        if isinstance(function, type) or not callable(function):
            return function
        return lambda *args, **kwargs: unreadable(function(*args, **kwargs))


def unreadable(result):
    if isinstance(result, tuple | list):
        return type(result)(unreadable(r) for r in result)
    if isinstance(result, np.ndarray | np.generic):
        return np.asarray(result).view(Unreadable)
    return result


@pytest.fixture(scope="module")
def unreadable_backend():
    skip_or_fail(why_unavailable(), "NNX_REQUIRE_HARNESS")
    backend = CudaBackend(Namespace(), "unreadable", Modules(CpuFactory("fast"), Unreadable))
    backend.values_at_hand = False
    with override(Unreadable, backend):
        yield backend
    Unreadable.watched = False


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_step_reads_nothing_back(unreadable_backend, name, optimizer):
    make, shape, _ = LAYERS[name]
    layer = make("float32")
    step = OPTIMIZERS[optimizer](layer.parameters()).step if list(layer.parameters()) else None
    x = nnx.Tensor(unreadable_backend.from_numpy(np.ones(shape, "float32")), True)
    Unreadable.watched = True
    try:
        y = layer(x)
        y = y[0] if isinstance(y, tuple) else y
        (y * y).sum().backward()
        if step is not None:
            step()
    finally:
        Unreadable.watched = False


def test_reads_are_seen(unreadable_backend):
    x = nnx.Tensor(unreadable_backend.from_numpy(np.ones(3, "float32")), True)
    Unreadable.watched = True
    try:
        for read in (float, bool, int):
            with pytest.raises(HostRead):
                read(x.sum().data)
    finally:
        Unreadable.watched = False
