"""What is right and was once refused: unbatched images, thresholds, bounds of any dtype, ..."""

from __future__ import annotations

import inspect
import math
import re

import numpy as np
import pytest
from gradients import check_gradients
from pytorch import assert_same

import nnx
from nnx import data, nn, ops

RNG = np.random.default_rng(4)
IMAGE, LINE = RNG.standard_normal((4, 6, 7)), RNG.standard_normal((4, 9))

# name -> (function of x and a weight, x without a batch, the shape of the weight)
UNBATCHED = {
    "conv2d": (lambda x, w: ops.conv2d(x, w, padding=1), IMAGE, (3, 4, 3, 3)),
    "conv2d, circular": (
        lambda x, w: ops.conv2d(x, w, padding=1, padding_mode="circular"),
        IMAGE,
        (3, 4, 3, 3),
    ),
    "conv1d": (lambda x, w: ops.conv1d(x, w, stride=2), LINE, (3, 4, 2)),
    "conv_transpose2d": (lambda x, w: ops.conv_transpose2d(x, w, stride=2), IMAGE, (4, 3, 3, 3)),
    "conv_block2d": (lambda x, w: ops.conv_block2d(x, w, relu=True)[0], IMAGE, (3, 4, 3, 3)),
    "max_pool2d": (lambda x, w: ops.max_pool2d(x, 2, padding=1), IMAGE, None),
    "max_pool1d": (lambda x, w: ops.max_pool1d(x, 3, 2, ceil_mode=True), LINE, None),
    "avg_pool2d": (lambda x, w: ops.avg_pool2d(x, 3, 2, 1), IMAGE, None),
    "avg_pool1d": (lambda x, w: ops.avg_pool1d(x, 2), LINE, None),
    "adaptive_avg_pool2d": (lambda x, w: ops.adaptive_avg_pool2d(x, (4, 3)), IMAGE, None),
    "adaptive, even": (lambda x, w: ops.adaptive_avg_pool2d(x, (3, 7)), IMAGE, None),
    "adaptive_max_pool2d": (lambda x, w: ops.adaptive_max_pool2d(x, (4, 3)), IMAGE, None),
    "global_avg_pool2d": (lambda x, w: ops.global_avg_pool2d(x), IMAGE, None),
    "global_max_pool2d": (lambda x, w: ops.global_max_pool2d(x), IMAGE, None),
}


@pytest.mark.parametrize("name", UNBATCHED)
def test_one_image_is_a_batch_of_one_without_its_axis(backend, name):
    function, x, shape = UNBATCHED[name]
    w = None if shape is None else RNG.standard_normal(shape).astype("float32")

    def run(x):
        t = backend.tensor(x.astype("float32"), requires_grad=True)
        weight = None if w is None else backend.tensor(w, requires_grad=True)
        y = function(t, weight)
        scale = np.arange(y.size, dtype="float32").reshape(y.shape)
        (y * backend.tensor(scale)).sum().backward()
        gradients = [t.grad] + ([] if weight is None else [weight.grad])
        return backend.to_numpy(y.detach()), [backend.to_numpy(g) for g in gradients]

    y, gradients = run(x)
    ys, batched = run(x[None])
    np.testing.assert_array_equal(y, ys[0])
    np.testing.assert_array_equal(gradients[0], batched[0][0])
    for g, b in zip(gradients[1:], batched[1:], strict=True):
        np.testing.assert_array_equal(g, b)


@pytest.mark.parametrize("pool", [ops.max_pool2d, ops.adaptive_max_pool2d])
def test_places_of_one_image(backend, pool):
    x = IMAGE.astype("float32")
    for size in (3, 5):
        y, places = pool(backend.tensor(x), size, return_indices=True)
        assert places.shape == y.shape and len(y.shape) == 3
        flat = x.reshape(4, -1)
        picked = np.take_along_axis(flat, backend.to_numpy(places).reshape(4, -1), 1)
        np.testing.assert_array_equal(picked.reshape(y.shape), backend.to_numpy(y))


def test_layers_take_one_image():
    model = nn.Sequential(nn.Conv2d(4, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 1))
    x = nnx.Tensor(IMAGE.astype("float32"))
    np.testing.assert_allclose(
        model(x).detach().numpy(), model(ops.expand_dims(x, 0)).detach().numpy()[0], rtol=1e-6
    )


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_output_padding_below_stride_or_dilation(backend, stride, dilation, padding):
    torch = pytest.importorskip("torch")
    for extra in range(max(stride, dilation)):
        if 4 * stride - 2 * padding + 2 * dilation + extra < 0:
            continue
        options = {
            "stride": stride,
            "padding": padding,
            "output_padding": extra,
            "dilation": dilation,
        }
        assert_same(
            backend,
            lambda x, w, b, o=options: ops.conv_transpose2d(x, w, b, **o),
            lambda x, w, b, o=options: torch.nn.functional.conv_transpose2d(x, w, b, **o),
            RNG.standard_normal((2, 3, 5, 4)),
            RNG.standard_normal((3, 2, 3, 2)),
            RNG.standard_normal(2),
        )


def test_output_padding_that_is_below_neither():
    x, w = nnx.zeros((1, 1, 3, 3)), nnx.zeros((1, 1, 2, 2))
    with pytest.raises(ValueError, match=r"output_padding \(2, 2\), stride \(1, 1\), dilation \(2"):
        ops.conv_transpose2d(x, w, output_padding=2, dilation=2)


def test_output_padding_gradient(backend):
    backend.skip_without_float64()
    check_gradients(
        lambda x, w, b: ops.conv_transpose2d(x, w, b, padding=1, output_padding=3, dilation=4),
        RNG.standard_normal((2, 2, 4, 4)),
        RNG.standard_normal((2, 1, 2, 2)),
        RNG.standard_normal(1),
        wrap=backend.asarray,
    )


@pytest.mark.parametrize("beta, threshold", [(1.0, 20.0), (1.0, 0.5), (2.5, 1.0), (1.0, -1.0)])
def test_softplus_threshold(backend, beta, threshold):
    torch = pytest.importorskip("torch")
    x = np.concatenate([np.linspace(-5, 5, 21) + 0.013, [30.0, -30.0]])
    assert_same(
        backend,
        nn.Softplus(beta, threshold),
        lambda t: torch.nn.functional.softplus(t, beta, threshold),
        x,
    )
    assert "threshold" in repr(nn.Softplus(beta, threshold)) and "thr" not in repr(nn.Softplus())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d", "GroupNorm", "LayerNorm"])
def test_norms_without_bias(backend, name, training):
    torch = pytest.importorskip("torch")
    x = RNG.standard_normal((3, 4, 5, 2) if name != "BatchNorm1d" else (3, 4, 5))
    arguments = {"GroupNorm": (2, 4), "LayerNorm": (x.shape[1:],)}.get(name, (4,))
    ours = getattr(nn, name)(*arguments, bias=False).train(training)
    theirs = getattr(torch.nn, name)(*arguments, bias=False).train(training)
    assert ours.bias is None and theirs.bias is None
    dtype = "float64" if backend.float64 else "float32"
    ours.to(dtype=dtype)
    theirs.to(dtype=getattr(torch, dtype))
    scale = RNG.uniform(0.5, 2, ours.weight.shape)
    ours.weight.data = backend.asarray(scale.astype(dtype))
    theirs.weight.data = torch.tensor(scale.astype(dtype))
    assert_same(backend, ours, theirs, x)
    assert_close = np.testing.assert_allclose
    assert_close(backend.to_numpy(ours.weight.grad), theirs.weight.grad.numpy(), rtol=1e-4)
    assert "bias=False" in repr(ours) or name == "LayerNorm"


@pytest.mark.parametrize("bound", ["float64", "float16", "int64", "uint8"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bounds_of_clip_do_not_choose_the_dtype(backend, dtype, bound):
    if "float64" in (dtype, bound):
        backend.skip_without_float64()
    if bound == "float16" and backend.kind.startswith("strict"):
        pytest.skip("array_api_strict has no float16")
    x = RNG.standard_normal((3, 4)).astype(dtype)
    low, high = np.zeros((3, 1), bound), np.asarray([0, 1, 2, 3], bound)
    t = backend.tensor(x, requires_grad=True)
    limits = backend.tensor(low), backend.tensor(high)
    if bound.startswith("float"):
        limits[1].requires_grad_()
    y = ops.clip(t, *limits)
    assert y.dtype == t.dtype
    np.testing.assert_array_equal(backend.to_numpy(y.detach()), np.clip(x, 0, high.astype(dtype)))
    y.sum().backward()
    assert t.grad.dtype == t.dtype
    np.testing.assert_array_equal(backend.to_numpy(t.grad), (x >= 0) & (x <= high))
    if bound.startswith("float"):
        assert limits[1].grad.dtype == limits[1].dtype


def test_clip_of_integers():
    pixels = nnx.Tensor(np.asarray([0, 3, 200, 255], "uint8"))
    for low, high, expected in [
        (-5, 100, [0, 3, 100, 100]),
        (2, 1000, [2, 3, 200, 255]),
        (nnx.tensor([-1, 5, 0, 0]), nnx.tensor([300] * 4), [0, 5, 200, 255]),
        (nnx.Tensor(np.asarray([2, 2, 2, 2], "int8")), None, [2, 3, 200, 255]),
    ]:
        y = ops.clip(pixels, low, high)
        assert y.dtype == np.uint8 and y.tolist() == expected
    y = ops.clip(pixels, 0.5, 2.5)
    assert y.dtype == np.float32 and y.tolist() == [0.5, 2.5, 2.5, 2.5]
    y = ops.clip(pixels, nnx.tensor([0.5], dtype="float64"))
    assert y.dtype == np.float64


def test_where_of_arrays_and_lists():
    """An array was once made an integer here."""
    condition = np.asarray([True, False])
    for other in (np.asarray([1.5, 2.5], "float32"), [1.5, 2.5], nnx.tensor([1.5, 2.5])):
        y = ops.where(condition, other, 0.0)
        assert y.dtype == np.float32 and y.tolist() == [1.5, 0.0]
        assert ops.where([True, False], 0, other).tolist() == [0.0, 2.5]


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", ">i8", ">u2"])
def test_the_byte_order_of_another_machine(backend, dtype):
    """As files have it; what is made of it computes, and has this machine's order."""
    if dtype == ">f8":
        backend.skip_without_float64()
    x = np.asarray([[1, 2, 3], [4, 5, 260]], dtype)
    tensors = [nnx.tensor(x), nnx.Tensor(backend.backend.from_numpy(x))]
    if backend.xp is np:
        tensors += [nnx.Tensor(x), *next(iter(data.DataLoader(x, batch_size=2)))]
    for t in tensors:
        assert backend.to_numpy(t).dtype.isnative
        assert t.tolist() == x.tolist()
        assert nnx.backends.dtype_name(t.dtype) == x.dtype.name
    if dtype == ">f4":
        y = nn.Linear(3, 2)(tensors[0])
        y.sum().backward()
        labels = backend.backend.from_numpy(np.asarray([1, 0], ">i4"))
        ops.cross_entropy(y.detach(), labels)


def test_parameters_in_another_byte_order():
    layer = nn.Linear(3, 2)
    layer.load_state_dict({"weight": np.ones((2, 3), ">f4"), "bias": np.asarray([1, 2], ">f8")})
    assert layer(nnx.ones((1, 3))).tolist() == [[4.0, 5.0]]
    assert nn.Parameter(np.ones(2, ">f4")).dtype == np.float32
    assert nn.Embedding.from_pretrained(np.ones((2, 3), ">f4"))([1]).tolist() == [[1.0] * 3]


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_a_number(backend, name, axis):
    x = backend.tensor(np.asarray(2.5, "float32"), requires_grad=True)
    y = getattr(ops, name)(x, axis=axis)
    assert y.shape == () and float(y.detach()) == (1.0 if name == "softmax" else 0.0)
    y.backward()
    assert float(x.grad) == 0
    with pytest.raises(ValueError, match="axis 1 is out of range"):
        getattr(ops, name)(x, axis=1)


def test_prelu_of_a_number(backend):
    for value in (-2.0, 3.0):
        layer = nn.PReLU()
        x = backend.tensor(np.asarray(value, "float32"), requires_grad=True)
        y = layer(x)
        assert y.shape == () and float(y.detach()) == (value if value > 0 else 0.25 * value)
        y.backward()
        assert float(x.grad) == (1.0 if value > 0 else 0.25)
        assert layer.weight.grad.shape == (1,)
        assert float(layer.weight.grad[0]) == (0 if value > 0 else value)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 0, 3, 3)], ids=str)
def test_initial_values_of_nothing(shape):
    init = nn.init
    for name in ("xavier_uniform_", "xavier_normal_", "orthogonal_", "uniform_", "trunc_normal_"):
        assert getattr(init, name)(nnx.zeros(shape)).shape == shape
    for mode in ("fan_in", "fan_out"):
        assert init.kaiming_uniform_(nnx.zeros(shape), mode=mode).shape == shape
        assert init.kaiming_normal_(nnx.zeros(shape), mode=mode).shape == shape


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: ops.expand_dims(nnx.zeros((2, 3)), 5),
            ValueError,
            r"axis 5 is out .* 3 .* \(2, 3\)$",
        ),
        (lambda: ops.expand_dims(nnx.zeros((2, 3)), (0, -4)), ValueError, r"twice.* \(2, 3\)$"),
        (lambda: ops.stack([nnx.zeros((2, 3))], 3), ValueError, r"stack: axis 3 .* \(2, 3\)$"),
        (
            lambda: ops.logical_or(nnx.zeros(2), nnx.zeros(2)),
            TypeError,
            "logical_or: .*not float32",
        ),
        (lambda: ~nnx.zeros(2), TypeError, "bitwise_invert: .* integers or booleans, not float32"),
        (lambda: ops.eye(-1), ValueError, r"eye: lengths must not be negative, got \(-1, -1\)"),
        (lambda: ops.eye(2.5), TypeError, r"eye: lengths must be integers, got \(2.5, 2.5\)"),
        (lambda: ops.zeros((2, -1)), ValueError, r"zeros: lengths .* \(2, -1\)"),
        (lambda: ops.ones(-1), ValueError, "ones: lengths"),
        (lambda: ops.linspace(0, 1, -1), ValueError, "linspace: lengths"),
        (lambda: ops.arange(0, 3, 0), ValueError, "arange: the step must not be 0"),
        (lambda: ops.repeat(nnx.zeros(2), -1, 0), ValueError, "repeat: .* got -1"),
        (lambda: ops.tile(nnx.zeros(2), -1), ValueError, r"tile: .* got \(-1,\)"),
        (lambda: ops.roll(nnx.zeros(3), (1, 2), 0), ValueError, "roll: .*one shift for each axis"),
        (lambda: ops.roll(nnx.zeros(3), 1.5), TypeError, "integer"),
        (lambda: ops.argmax(nnx.zeros((0, 3)), axis=0), ValueError, r"argmax: .* \(0, 3\)"),
        (lambda: ops.argmin(nnx.zeros(0)), ValueError, "argmin: there is none"),
        (lambda: nnx.zeros(3).astype("f4"), TypeError, "numpy has no dtype 'f4'; there are bool"),
        (lambda: nnx.zeros(3, dtype="sum"), TypeError, "numpy has no dtype 'sum'"),
    ],
)
def test_in_our_own_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_loss_in_a_text():
    assert f"{nnx.tensor(2.34567):.3f}" == "2.346" and f"{nnx.tensor([7]):03d}" == "007"
    assert f"{nnx.tensor(1.0, requires_grad=True) * 2:6.2f}" == "  2.00"
    assert f"{nnx.tensor([1.0, 2.0])}".startswith("tensor([1., 2.]")
    with pytest.raises(TypeError, match=r"only a tensor of one element .* shape \(2,\)"):
        f"{nnx.tensor([1.0, 2.0]):.3f}"
    assert math.isclose(float(f"{nnx.tensor(math.pi):.5f}"), 3.14159)


def takes_one_tensor(name):
    parameters = inspect.signature(getattr(ops, name)).parameters.values()
    return [p.name for p in parameters if p.default is p.empty] == ["x"]


def test_the_refusal_of_integers_names_the_function_to_call():
    """And not the class behind it, which several functions may share."""
    named = {}
    for name in filter(takes_one_tensor, ops.__all__):
        try:
            getattr(ops, name)(nnx.tensor([[1, 2], [3, 4]]))
        except (TypeError, ValueError) as error:
            if found := re.fullmatch(r"(\w+): .* floating-point .*; use (\w+)\(x.*\)", str(error)):
                named[name] = found.groups()
    assert {"exp", "mean", "leaky_relu", "celu", "relu6", "log_softmax"} <= named.keys()
    assert not {name: said for name, said in named.items() if said != (name, name)}
