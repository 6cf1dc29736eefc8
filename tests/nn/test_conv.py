"""Convolution, pooling, padding and normalisation modules against PyTorch's."""

import numpy as np
import pytest

import nnx
from nnx import nn

IMAGE = nnx.tensor(np.zeros((1, 3, 3, 3), "f4"))
CASES = {
    "Conv2d": ((4, 6, 3), {"stride": 2, "padding": 1}, (2, 4, 9, 8)),
    "Conv2d-groups": (
        (4, 8, (3, 2)), {"groups": 2, "dilation": (1, 2), "bias": False}, (2, 4, 9, 8),
    ),
    "Conv2d-reflect": ((2, 3, 3), {"padding": 2, "padding_mode": "reflect"}, (2, 2, 5, 6)),
    "Conv2d-same": ((2, 3, 3), {"padding": "same"}, (2, 2, 5, 6)),
    "Conv1d": ((4, 6, 3), {"stride": 2, "padding": 1}, (2, 4, 9)),
    "ConvTranspose2d": (
        (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}, (2, 4, 5, 4),
    ),
    "ConvTranspose1d": ((4, 6, 3), {"stride": 3, "padding": 1, "output_padding": 2}, (2, 4, 5)),
    "ConvTranspose3d": ((4, 6, 2), {"stride": 2, "groups": 2, "bias": False}, (1, 4, 2, 3, 2)),
    "Conv3d": ((4, 6, (2, 3, 1)), {"stride": (1, 2, 1), "padding": 1}, (2, 4, 3, 4, 3)),
    "Conv3d-circular": ((2, 3, 2), {"padding": 1, "padding_mode": "circular"}, (2, 2, 3, 4, 3)),
    "MaxPool3d": ((2,), {"stride": 1, "padding": 1, "ceil_mode": True}, (2, 3, 3, 4, 3)),
    "AvgPool3d": ((2,), {"divisor_override": 3, "padding": 1}, (2, 3, 3, 4, 3)),
    "AdaptiveAvgPool1d": ((3,), {}, (2, 3, 8)),
    "AdaptiveMaxPool1d": ((3,), {}, (2, 3, 8)),
    "AdaptiveAvgPool3d": ((2,), {}, (2, 3, 3, 4, 3)),
    "AdaptiveMaxPool3d": (((1, 2, None),), {}, (2, 3, 3, 4, 3)),
    "LPPool1d": ((2, 3), {"stride": 2}, (2, 3, 8)),
    "LPPool2d": ((2, 3), {"ceil_mode": True}, (2, 3, 8, 8)),
    "LPPool3d": ((2.0, 2), {}, (2, 3, 3, 4, 3)),
    "ConstantPad1d": (((1, -2), 2.5), {}, (2, 3, 8)),
    "ConstantPad2d": (((1, -2, 0, 3), -1.0), {}, (2, 3, 4, 5)),
    "ConstantPad3d": ((2, 0.5), {}, (2, 3, 2, 3, 2)),
    "ZeroPad1d": ((2,), {}, (3, 8)),
    "ZeroPad2d": (((1, 2, -1, 0),), {}, (2, 3, 4, 5)),
    "ZeroPad3d": (((1, 2, -1, 0, 0, 1),), {}, (2, 3, 2, 3, 2)),
    "ReflectionPad1d": (((3, 1),), {}, (2, 3, 5)),
    "ReflectionPad2d": (((3, 1, 0, 2),), {}, (2, 3, 4, 5)),
    "ReflectionPad3d": ((1,), {}, (2, 3, 2, 3, 2)),
    "ReplicationPad1d": (((3, 7),), {}, (2, 3, 5)),
    "ReplicationPad2d": (((3, 1, 0, 6),), {}, (2, 3, 4, 5)),
    "ReplicationPad3d": ((2,), {}, (2, 3, 2, 3, 2)),
    "CircularPad1d": (((3, 5),), {}, (2, 3, 5)),
    "CircularPad2d": (((3, 1, 0, 2),), {}, (2, 3, 4, 5)),
    "CircularPad3d": (((1, 2, 0, 1, 2, 2),), {}, (2, 3, 2, 3, 2)),
    "MaxPool2d": ((3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 8, 7)),
    "MaxPool1d": ((2,), {}, (2, 3, 8)),
    "AvgPool2d": ((3, 2), {"padding": 1, "count_include_pad": False}, (2, 3, 8, 7)),
    "AvgPool1d": ((3, 2), {"padding": 1}, (2, 3, 8)),
    "AdaptiveAvgPool2d": (((3, 2),), {}, (2, 3, 8, 7)),
    "AdaptiveMaxPool2d": ((3,), {}, (2, 3, 8, 7)),
    "BatchNorm1d": ((5,), {}, (6, 5)),
    "BatchNorm1d-sequence": ((5,), {"momentum": None}, (6, 5, 4)),
    "BatchNorm2d": ((5,), {"momentum": 0.3, "eps": 1e-3}, (3, 5, 4, 2)),
    "BatchNorm2d-plain": ((5,), {"affine": False, "track_running_stats": False}, (3, 5, 4, 2)),
    "BatchNorm3d": ((5,), {"momentum": 0.3}, (3, 5, 2, 3, 2)),
    "BatchNorm3d-nobias": ((5, 1e-3, 0.2, True, True, "cpu"), {"bias": False}, (3, 5, 2, 3, 2)),
    "InstanceNorm1d": ((5,), {}, (3, 5, 6)),
    "InstanceNorm1d-one": ((5,), {"affine": True}, (5, 6)),
    "InstanceNorm2d": ((5, 1e-3, 0.3, True, True), {}, (3, 5, 4, 2)),
    "InstanceNorm2d-one": ((5,), {"track_running_stats": True, "momentum": None}, (5, 4, 2)),
    "InstanceNorm3d": ((5,), {"affine": True, "bias": False}, (3, 5, 2, 3, 2)),
    "LocalResponseNorm": ((3,), {"alpha": 0.5, "beta": 0.6, "k": 2.0}, (3, 5, 4, 2)),
    "RMSNorm": (((4, 2),), {}, (3, 5, 4, 2)),
    "RMSNorm-plain": ((8, 1e-3, False), {}, (3, 5, 8)),
    "LayerNorm": (((4, 2),), {}, (3, 5, 4, 2)),
    "LayerNorm-nobias": ((8,), {"bias": False}, (3, 5, 8)),
    "GroupNorm": ((2, 6), {}, (3, 6, 4, 2)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_same_names_values_and_gradients_as_pytorch(case):
    torch = pytest.importorskip("torch")
    args, kwargs, shape = CASES[case]
    name = case.partition("-")[0]
    theirs, ours = getattr(torch.nn, name)(*args, **kwargs), getattr(nn, name)(*args, **kwargs)
    state = {k: v.numpy() for k, v in theirs.state_dict().items()}
    assert {k: (v.shape, str(v.dtype)) for k, v in ours.state_dict().items()} == {
        k: (v.shape, str(v.dtype)) for k, v in state.items()
    }
    rng = np.random.default_rng(0)
    for k, v in theirs.named_parameters():  # away from ones and zeros
        v.data = torch.tensor(rng.standard_normal(v.shape).astype("f4"))
        state[k] = v.data.numpy()
    ours.load_state_dict(state)
    close = {"rtol": 1e-4, "atol": 1e-5}
    for mode in (True, True, False):
        ours.train(mode), theirs.train(mode)
        values = rng.standard_normal(shape).astype("f4")
        x, t = nnx.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
        y, expected = ours(x), theirs(t)
        np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), **close)
        gy = rng.standard_normal(y.shape).astype("f4")
        ours.zero_grad(), theirs.zero_grad()
        y.backward(gy)
        expected.backward(torch.tensor(gy))
        np.testing.assert_allclose(x.grad, t.grad.numpy(), **close)
        for (k, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            np.testing.assert_allclose(p.grad, q.grad.numpy(), err_msg=k, rtol=1e-4, atol=1e-4)
        for k, v in theirs.named_buffers():
            np.testing.assert_allclose(dict(ours.named_buffers())[k], v.numpy(), err_msg=k, **close)


def test_a_transposed_convolution_to_a_size():
    """PyTorch's `output_size`: the sizes that the convolution sends to the same."""
    torch = pytest.importorskip("torch")
    ours, theirs = (
        nn.ConvTranspose2d(3, 4, 2, stride=3),
        torch.nn.ConvTranspose2d(3, 4, 2, stride=3),
    )
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((1, 3, 3, 3)).astype("f4")
    for size in ((8, 10), (1, 4, 9, 9)):
        y = ours(nnx.tensor(x), output_size=size)
        expected = theirs(torch.tensor(x), output_size=size)
        np.testing.assert_allclose(
            y.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("kind", ["torch.float64", np.float64, "float64", None])
def test_dtype_and_device_as_pytorch_has_them(kind):
    kind = pytest.importorskip("torch").float64 if kind == "torch.float64" else kind
    layer = nn.Conv1d(2, 3, 2, 1, 0, 1, 1, True, "zeros", "cpu", kind)
    assert layer.weight.dtype == layer.bias.dtype == (np.float32 if kind is None else np.float64)
    layer = nn.ConvTranspose1d(2, 3, 2, 1, 0, 0, 1, False, 1, "zeros", None, kind)
    assert layer.weight.dtype == (np.float32 if kind is None else np.float64)


@pytest.mark.parametrize("name, args", [("Conv2d", (6, 8, 3)), ("ConvTranspose2d", (6, 4, 5))])
def test_initial_values_have_pytorchs_range(name, args):
    torch = pytest.importorskip("torch")
    nnx.manual_seed(0)
    ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
    for k, p in theirs.named_parameters():
        bound = p.detach().abs().max().item()
        mine = np.abs(dict(ours.named_parameters())[k].data)
        # Both are U(-b, b): the largest of many draws comes close to b.
        assert mine.max() <= bound * (1.05 if mine.size > 50 else 3)
        assert mine.max() >= bound * (0.95 if mine.size > 50 else 1 / 3)


def test_the_running_statistics_keep_their_dtypes():
    layer = nn.BatchNorm2d(3)
    for _ in range(3):
        layer(nnx.tensor(np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype("f4")))
    assert layer.running_mean.dtype == layer.running_var.dtype == np.float32
    assert layer.num_batches_tracked.dtype == np.int64 and layer.num_batches_tracked.shape == ()
    assert layer.num_batches_tracked == 3
    layer.reset_running_stats()
    assert not layer.running_mean.any() and (layer.running_var == 1).all()
    assert layer.num_batches_tracked == 0


@pytest.mark.parametrize("name", ["BatchNorm2d", "InstanceNorm2d"])
def test_statistics_that_are_not_tracked_any_more(name):
    """`norm.track_running_stats = False` for some batches, as people write it, is PyTorch's."""
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("f4") + 2
    layers = [getattr(library, name)(3, track_running_stats=True) for library in (nn, torch.nn)]
    rows = []
    for layer, tensor in zip(layers, (nnx.tensor, torch.tensor), strict=True):
        layer(tensor(x))
        layer.track_running_stats = False
        y = [layer(tensor(3 * x))]
        if name == "BatchNorm2d":
            assert int(layer.num_batches_tracked) == 1
            rows.append([layer.running_mean.tolist(), layer.running_var.tolist()])
        else:
            rows.append([])
        y.append(layer.eval()(tensor(x)))
        rows[-1] += [part.detach().numpy() for part in y]
    for ours, theirs in zip(*rows, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_running_variance_is_unbiased_over_all_values_of_a_channel():
    """A known defect of the textbook's code: it corrects with N/(N-1) after a convolution too,
    where N H W / (N H W - 1) is right."""
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("f4")
    layer = nn.BatchNorm2d(3, momentum=1.0)
    layer(nnx.tensor(x))
    rows = np.moveaxis(x, 1, -1).reshape(-1, 3)
    np.testing.assert_allclose(layer.running_var, rows.var(0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(layer.running_mean, rows.mean(0), rtol=1e-4, atol=1e-6)


def test_modules_run_on_every_backend(backend):
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3), nn.GroupNorm(2, 6), nn.AdaptiveAvgPool2d(1),
    )  # fmt: skip
    x = np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype("f4")
    y = model(backend.tensor(x))
    assert y.shape == (3, 6, 1, 1) and y.dtype == backend.asarray(x).dtype
    y.backward(backend.asarray(np.ones((3, 6, 1, 1), "f4")))
    model.eval()
    evaluated = model(backend.tensor(x))
    assert evaluated.shape == y.shape
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.Conv2d(0, 3, 3), r"Conv2d: in_channels and out_channels must be positive"),
        (lambda: nn.Conv2d(4, 6, 3, groups=4),
         r"Conv2d: .*multiples of groups; in_channels 4, out_channels 6, groups 4"),
        (lambda: nn.Conv2d(4, 6, 3, padding_mode="mirror"), r"padding_mode 'mirror' is not one of"),
        (lambda: nn.Conv2d(4, 6, 3, padding="same", stride=2), r"needs stride 1"),
        (lambda: nn.Conv2d(4, 6, (3, 0)), r"kernel_size must be positive, got \(3, 0\)"),
        (lambda: nn.BatchNorm2d(0), r"num_features must be positive, got 0"),
        (lambda: nn.BatchNorm2d(3)(nnx.tensor(np.zeros((2, 3), "f4"))),
         r"BatchNorm2d: x must be \(N, C, H, W\) with C = 3; x has shape \(2, 3\)"),
        (lambda: nn.BatchNorm1d(3)(nnx.tensor(np.zeros((2, 4), "f4"))),
         r"BatchNorm1d: x must be \(N, C\) or \(N, C, L\) with C = 3; x has shape \(2, 4\)"),
        (lambda: nn.InstanceNorm2d(3)(IMAGE[0, 0]),
         r"InstanceNorm2d: x must be \(N, C, H, W\), or without N, with C = 3; x has shape"),
        (lambda: nn.InstanceNorm1d(3)(IMAGE[:, :, 0, :1]), r"instance_norm: .* at least 2 values"),
        (lambda: nn.RMSNorm(4)(IMAGE), r"rms_norm: the last axes of x must be \(4,\)"),
        (lambda: nn.GroupNorm(3, 4), r"num_channels must split into num_groups"),
        (lambda: nn.ConvTranspose2d(3, 4, 2, padding_mode="reflect"),
         r"ConvTranspose2d: padding_mode must be \"zeros\", not 'reflect'"),
        (lambda: nn.ConvTranspose2d(3, 4, 2, stride=2)(IMAGE, output_size=(8, 7)),
         r"output_size must be from \(6, 6\) to \(7, 7\), not \(8, 7\); x has shape"),
        (lambda: nn.Conv2d(3, 4, 2, device="cuda"), r"device='cuda': .* numpy on cpu; .*module.to"),
        (lambda: nn.FractionalMaxPool2d(2), r"either output_size or output_ratio"),
        (lambda: nn.ZeroPad2d((1, 2, 3)), r"ZeroPad2d: padding must be an integer or 4 of them"),
        (lambda: nn.ReflectionPad2d((1, 2, -3, 0)), r"padding must not be negative, got"),
        (lambda: nn.ReflectionPad2d(3)(IMAGE), r"'reflect' can add at most 2 to an axis of 3"),
        (lambda: nn.CircularPad1d(1)(IMAGE), r"CircularPad1d: x must be \(N, C, L\), or without N"),
        (lambda: nn.ZeroPad3d(1)(IMAGE[0, 0]), r"ZeroPad3d: x must be \(..., D, H, W\)"),
        (lambda: nn.ZeroPad1d((-2, -2))(IMAGE), r"padding \(-2, -2\) cuts off more than there is"),
    ],
)  # fmt: skip
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_they_show_themselves():
    text = repr(nn.Sequential(nn.Conv2d(1, 32, 5, padding=2), nn.BatchNorm2d(32), nn.MaxPool2d(2)))
    assert "Conv2d(1, 32, kernel_size=(5, 5), stride=(1, 1), padding=2)" in text
    assert "BatchNorm2d(32, eps=1e-05, momentum=0.1" in text
    assert "MaxPool2d(kernel_size=2, stride=2, padding=0" in text
