"""Conv1d, Conv2d, ConvTranspose2d, pooling and normalisation modules against PyTorch's."""

import numpy as np
import pytest

import nnx
from nnx import nn

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
        (lambda: nn.GroupNorm(3, 4), r"num_channels must split into num_groups"),
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
