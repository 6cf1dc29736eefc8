"""Which dtype an operation computes in, inside of `autocast`; beside PyTorch's own, in bfloat16."""

from __future__ import annotations

import inspect
import weakref

import numpy as np
import pytest

import nnx
from nnx import nn, ops
from nnx.autograd.autocast import casts_apart
from nnx.ops.array import autocast as door
from tests.backends.test_waits import LAYERS
from tests.nn.test_loss import CASES as LOSSES

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 8)).astype("float32")
P = np.abs(X) + 0.1
IMAGES = RNG.standard_normal((2, 3, 8, 8)).astype("float32")
KERNEL = RNG.standard_normal((4, 3, 3, 3)).astype("float32")
SQUARE = RNG.standard_normal((8, 5)).astype("float32")

# PyTorch's lists for CUDA: what the result of float16 operands is in.
RESULTS = {
    "float16": [
        lambda x: ops.linear(x, nnx.tensor(SQUARE.T)),
        lambda x: ops.linear_relu(x, nnx.tensor(SQUARE.T)),
        lambda x: x @ nnx.tensor(SQUARE),
        lambda x: nnx.tensor(SQUARE.T) @ x.T,
        lambda x: ops.einsum("ij,jk->ki", x, nnx.tensor(SQUARE)),
        lambda x: ops.vecdot(x, nnx.tensor(X)),
        lambda x: ops.tensordot(x, nnx.tensor(SQUARE), 1),
        lambda x: ops.conv2d(ops.reshape(x[:4, :], (1, 2, 4, 4)), nnx.tensor(KERNEL[:, :2])),
        lambda x: ops.conv1d(x, nnx.tensor(X[None, :, :3])),
        lambda x: nn.PReLU()(x),
        lambda x: nn.LSTMCell(8, 3)(x)[0],
        lambda x: nn.GRUCell(8, 3)(x),
        lambda x: nn.RNN(8, 3)(x)[0],
        lambda x: ops.relu(x),
        lambda x: ops.gelu(x),
        lambda x: ops.tanh(x),
        lambda x: ops.mean(x),
        lambda x: x + x,
        lambda x: x * 2.0,
        lambda x: nn.BatchNorm1d(8)(x),
        lambda x: ops.avg_pool1d(x, 2),
        lambda x: ops.max_pool1d(x, 2),
        lambda x: nn.Dropout(0.5)(x),
    ],
    "float32": [
        ops.exp,
        ops.expm1,
        lambda x: ops.log(ops.abs(x) + 1.0),
        lambda x: ops.reciprocal(x),
        lambda x: x**2,
        ops.softplus,
        ops.softmax,
        ops.log_softmax,
        ops.sum,
        ops.prod,
        lambda x: ops.cumulative_sum(x, 0),
        ops.norm,
        lambda x: nn.LayerNorm(8)(x),
        lambda x: nn.GroupNorm(2, 8)(x),
        lambda x: ops.mse_loss(x, nnx.tensor(X)),
        lambda x: ops.l1_loss(x, x),
        lambda x: ops.cross_entropy(x, nnx.tensor(np.arange(6))),
        lambda x: x + nnx.tensor(X),
        lambda x: ops.concat([x, nnx.tensor(X)]),
    ],
}


@pytest.mark.parametrize("dtype, at", [(d, k) for d in RESULTS for k in range(len(RESULTS[d]))])
def test_the_dtype_of_the_result(dtype, at):
    x = nnx.tensor(X.astype("float16"), requires_grad=True)
    with nnx.autocast("float16"):
        y = RESULTS[dtype][at](x)
    assert str(y.dtype) == dtype
    ops.sum(y.astype("float32")).backward()
    assert x.grad.dtype == np.float16


def test_of_float32_operands_products_alone_are_in_16_bits():
    x = nnx.tensor(X)
    with nnx.autocast("float16"):
        assert str(ops.relu(x).dtype) == str(ops.gelu(x).dtype) == "float32"
        assert str((x @ nnx.tensor(SQUARE)).dtype) == "float16"
        with nnx.autocast(enabled=False):
            assert str((x @ nnx.tensor(SQUARE)).dtype) == "float32"
        assert str((x.astype("float64") @ nnx.tensor(SQUARE.astype("float64"))).dtype) == "float64"
        with pytest.raises(TypeError, match="one dtype"):
            ops.linear(x.astype("float64"), nnx.tensor(SQUARE.T))
    assert str((x @ nnx.tensor(SQUARE)).dtype) == "float32"


def test_a_function_in_autocast():
    @nnx.autocast("float16")
    def product(a, b):
        return a @ b

    assert str(product(nnx.tensor(X), nnx.tensor(SQUARE)).dtype) == "float16"


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match='"float16" or "bfloat16", got \'float32\''):
        nnx.autocast("float32")


def test_products_are_rounded_once_after_a_float32_sum(backend):
    """70,000 ones: float16 has no such number, nor any odd one from 2049 on."""
    ones = backend.tensor(np.ones((1, 4000), "float32"))
    with nnx.autocast("float16"):
        y = ops.linear(ones, ones)
    assert y.tolist() == [[4000.0]]
    many = backend.tensor(np.ones((1, 70000), "float32"))
    with nnx.autocast("float16"), np.errstate(all="ignore"):
        assert ops.linear(many, many).tolist() == [[float("inf")]]


def test_gradients_are_those_of_the_rounded_operands():
    x, w = (nnx.tensor(a, requires_grad=True) for a in (X, SQUARE.T.copy()))
    with nnx.autocast("float16"):
        y = ops.linear(x, w)
    g = RNG.standard_normal(y.shape).astype("float16")
    y.backward(g)
    half = [a.astype("float16").astype("float32") for a in (X, SQUARE.T, g)]
    for ours, exact in ((x.grad, half[2] @ half[1]), (w.grad, half[2].T @ half[0])):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, exact.astype("float16").astype("float32"))


NUMBERS = np.concatenate(
    [
        np.arange(0, 2**32, 65_537 * 3, dtype=np.int64).astype("uint32").view("float32"),
        np.array([1 + 2**-8, 1 + 3 * 2**-8, 65519.9, 65520.0, 2**-24, 2**-25 * 1.01, 0.0], "f4"),
    ]
)


def test_rounding_to_bfloat16_is_pytorchs(backend):
    torch = pytest.importorskip("torch")
    x = NUMBERS if hasattr(backend.asarray(NUMBERS), "view") else _no_ties(NUMBERS, 16)
    wanted = torch.tensor(x).bfloat16().float().numpy()
    with np.errstate(all="ignore"):
        y = door.rounded(
            backend.backend, backend.asarray(x), "bfloat16", backend.backend.xp.float32
        )
    normal = ~(np.abs(x) < 2.0**-100) & ~(np.abs(x) > 3.38e38)
    np.testing.assert_array_equal(backend.to_numpy(y)[normal], wanted[normal])


def test_rounding_to_float16_is_numpys(backend):
    x = _no_ties(NUMBERS, 13)
    with np.errstate(all="ignore"):
        y = door.rounded(backend.backend, backend.asarray(x), "float16", backend.backend.xp.float32)
        wanted = x.astype("float16").astype("float32")
    np.testing.assert_array_equal(backend.to_numpy(y), wanted)


def _no_ties(x, digits):
    last = x.view("uint32") & ((1 << digits) - 1)
    return x[last != 1 << (digits - 1)]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
# Unpooled, images of odd sizes have places that there are not; a device does not look.
@pytest.mark.parametrize("name", [name for name in LAYERS if "Unpool" not in name])
def test_every_layer_gives_what_it_gives_in_float32(name, dtype):
    make, given = LAYERS[name]
    x = RNG.standard_normal(given).astype("float32") if isinstance(given, tuple) else given
    results = []
    for enabled in (False, True):
        nnx.manual_seed(0)
        layer = make()
        t = nnx.tensor(x, requires_grad=isinstance(given, tuple))
        with nnx.autocast(dtype, enabled):
            y = layer(t)
        while isinstance(y, tuple):
            y = y[0]
        ops.sum(ops.square(y.astype("float32"))).backward()
        results.append([y.detach().numpy(), t.grad, *[p.grad for p in layer.parameters()]])
    digits = 0.004 if dtype == "float16" else 0.03
    for full, low in zip(*results, strict=True):
        if full is not None:
            scale = max(1.0, np.abs(full).max())
            assert np.abs(low.astype("float32") - full).max() <= 4 * digits * scale
            assert str(low.dtype) == "float32" or low is results[1][0]


@pytest.mark.ci
@pytest.mark.parametrize("backend", ["cuda-on-cpu"], indirect=True)
@pytest.mark.parametrize("name", [name for name in LAYERS if "Unpool" not in name])
def test_every_layer_on_the_kernels_that_store_float16(backend, name):
    """Of images in float16, as the layer before leaves them."""
    make, given = LAYERS[name]
    floats = isinstance(given, tuple)
    x = RNG.standard_normal(given).astype("float16") if floats else given
    results = []
    for dtype, enabled in (("float32", False), ("float16", True)):
        nnx.manual_seed(0)
        layer = make()
        t = backend.tensor(x.astype(dtype) if floats else x, requires_grad=floats)
        with nnx.autocast("float16", enabled):
            y = layer(t)
        while isinstance(y, tuple):
            y = y[0]
        ops.sum(ops.square(y.astype("float32"))).backward()
        gradients = [t.grad, *[p.grad for p in layer.parameters()]]
        results.append([backend.to_numpy(a) for a in (y.data, *gradients) if a is not None])
    for full, low in zip(*results, strict=True):
        scale = max(1.0, np.abs(full).max())
        assert np.abs(low.astype("float32") - full).max() <= 0.016 * scale


@pytest.mark.parametrize("name, options, x, target", LOSSES)
def test_losses_are_computed_in_float32(name, options, x, target):
    x = np.asarray(x, "float16")
    loss = getattr(nn, name)(**options)
    wanted = loss(nnx.tensor(x.astype("float32")), nnx.tensor(target))
    with nnx.autocast("float16"):
        got = loss(nnx.tensor(x), nnx.tensor(target))
    assert str(got.dtype) == "float32" and float(got) == float(wanted)


def networks(torch):
    """The same small networks of both libraries."""
    conv = nn.Sequential(
        *[nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()],
        *[nn.Linear(72, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8)],
    )
    t = torch.nn
    theirs = t.Sequential(
        *[t.Conv2d(3, 8, 3), t.BatchNorm2d(8), t.ReLU(), t.MaxPool2d(2), t.Flatten()],
        *[t.Linear(72, 16), t.GELU(), t.LayerNorm(16), t.Linear(16, 8)],
    )
    theirs.load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in conv.state_dict().items()})
    return conv, theirs


def test_a_network_beside_pytorchs_autocast_in_bfloat16():
    torch = pytest.importorskip("torch")
    ours, theirs = networks(torch)
    target = np.array([1, 2])
    with nnx.autocast("bfloat16"):
        y = ours(nnx.tensor(IMAGES))
        loss = nn.CrossEntropyLoss()(y, nnx.tensor(target))
    loss.backward()
    with torch.autocast("cpu", torch.bfloat16):
        their_loss = torch.nn.functional.cross_entropy(
            theirs(torch.tensor(IMAGES)), torch.tensor(target)
        )
    their_loss.backward()
    assert abs(float(loss) - float(their_loss.detach())) < 0.02
    gradients = dict(theirs.named_parameters())
    largest = max(float(p.grad.abs().max()) for p in gradients.values())
    for name, p in ours.named_parameters():
        assert np.abs(p.grad - gradients[name].grad.numpy()).max() < 0.05 * largest, name


def test_no_loss_and_no_layer_with_weights_is_missing():
    """A new loss wants `@in_float32` of `ops.array.autocast`, what has weights one of the three."""
    for (
        name
    ) in ops.__all__:  # a family that is imported when it is asked for stands in the lists then
        getattr(ops, name)
    listed = {name for names in door.LISTS.values() for name in names}
    losses = {name for name in ops.__all__ if name.endswith("_loss")}
    weighed = {
        name
        for name in ops.__all__
        if callable(getattr(ops, name))
        and "weight" in inspect.signature(getattr(ops, name)).parameters
    }
    assert (
        not (losses | weighed)
        - listed
        - {*("cross_entropy", "conv_block2d", "embedding", "embedding_bag")}
    )


def test_the_lists_name_operations_once():
    names = [name for listed in door.LISTS.values() for name in listed]
    public = [name for name in names if "." not in name]
    assert len(names) == len(set(names))
    assert {"linear", "conv2d", "einsum"} <= set(door.LISTS["low"])
    assert {name for name in public if not hasattr(ops, name)} == {
        "batch_norm_of_part",
        "cross_entropy_of",
    }


@pytest.fixture
def casts(monkeypatch):
    """The arrays that were rounded, one after the other."""
    seen = []

    def counted(backend, x, low, held, plain=door.rounded):
        seen.append(x)
        return plain(backend, x, low, held)

    monkeypatch.setattr(door, "rounded", counted)
    return seen


def times(casts, parameter):
    return sum(x is parameter.data for x in casts)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_weight_that_is_used_many_times_is_cast_once_a_step(casts, dtype):
    cell, x = nn.LSTMCell(8, 3), nnx.tensor(X)
    with nnx.autocast(dtype):
        h = c = None
        for _ in range(5):
            with nnx.autocast(dtype):  # of the outermost block
                h, c = cell(x, None if h is None else (h, c))
        with nnx.no_grad():
            cell(x)
        assert [times(casts, p) for p in cell.parameters()] == [1, 1, 1, 1]
        loss = ops.sum(h.astype("float32"))
    with nnx.autocast(dtype):
        cell(x)
    assert [times(casts, p) for p in cell.parameters()] == [2, 2, 2, 2]
    assert times(casts, x) > 2  # what learns nothing is cast as it comes, and not kept
    loss.backward()
    assert {str(p.grad.dtype) for p in cell.parameters()} == {"float32"}


def test_a_weight_that_has_changed_is_cast_anew(casts):
    w = nn.Parameter(nnx.tensor(SQUARE.T.copy()))
    x, optimizer = nnx.tensor(X), nnx.optim.SGD([w], lr=1.0)
    with nnx.autocast("float16"):
        assert times(casts, w) == 0
        for _ in range(3):  # the optimizer may write into the same array
            y = ops.linear(x, w)
            np.testing.assert_array_equal(
                y.data, ops.linear(x, w.detach().astype("float16")).numpy()
            )
            ops.sum(y.astype("float32")).backward()
            optimizer.step()
        w.data = w.data * 2
        np.testing.assert_array_equal(
            ops.linear(x, w).data, ops.linear(x, w.detach().astype("float16")).numpy()
        )


def test_each_use_brings_its_gradient_in_float32():
    """Two losses walk back one after the other, which a tape shared by both would not allow."""
    w = nn.Parameter(nnx.tensor(np.zeros((1, 1), "float32")))
    with nnx.autocast("float16"):
        losses = [ops.linear(nnx.tensor([[value]]), w) for value in (2048.0, 1.0)]
    for loss in losses:
        loss.backward(np.ones((1, 1), "float16"))
    assert w.grad.tolist() == [[2049.0]]  # which float16 does not have
    w.grad = None
    with nnx.autocast("float16"):
        a, b = (ops.linear(nnx.tensor([[value]]), w) for value in (2048.0, 1.0))
        ops.sum(a.astype("float32") + b.astype("float32")).backward()
    assert w.grad.tolist() == [[2049.0]]


def test_what_was_cast_is_gone_with_the_outermost_block(monkeypatch):
    made = []

    def noted(*args, plain=door.rounded):
        y = plain(*args)
        made.append(weakref.ref(y))
        return y

    monkeypatch.setattr(door, "rounded", noted)
    w = nn.Parameter(nnx.tensor(SQUARE.T.copy()))
    block = nnx.autocast("float16")
    with block, nnx.autocast("float16"):
        ops.linear(nnx.tensor(X), w)
        assert sum(ref() is not None for ref in made) == 1
    assert not any(ref() is not None for ref in made)


def test_what_is_recorded_casts_for_itself(casts):
    """A replay has to cast what the weights are by then."""
    w, x = nn.Parameter(nnx.tensor(SQUARE.T.copy())), nnx.tensor(X)
    with nnx.autocast("float16"):
        ops.linear(x, w)
        with casts_apart():
            ops.linear(x, w)
            assert times(casts, w) == 2
        ops.linear(x, w)
    assert times(casts, w) == 2
