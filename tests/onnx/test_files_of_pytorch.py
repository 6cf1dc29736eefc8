"""Files that PyTorch wrote, read by `nnx.onnx.load`: another maker's choice of operators."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import nnx

pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

pytestmark = pytest.mark.ci


class Functions(nn.Module):
    """What people write between layers."""

    def forward(self, x: Any) -> Any:
        a = x.view(x.size(0), -1)
        left, right = torch.cat([a, a.flip(1)], 1).chunk(2, 1)
        best = torch.einsum("bi,bj->bij", left, right).triu().topk(2, -1)[0].sum((1, 2))
        return (
            *(best, torch.where(a > 0, a, a.exp()).cumsum(1).clamp(-1, 1), a.std(1)),
            *(torch.logsumexp(a, 1), a[:, ::2], a.argmax(1), a.norm(dim=1), a.sort(1)[0]),
            *(F.one_hot(a.argmax(1), 8), a.masked_fill(a > 0, 0), a.repeat(1, 2), x.roll(1, 1)),
            *(a.gather(1, a.argmax(1, keepdim=True)), torch.stack([a, a]).unbind(0)[0]),
            *(F.pad(x, (1, 2)), F.pad(x, (1, 1), mode="reflect"), a.var(1, unbiased=False)),
        )


NORMS = nn.Sequential(
    *(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LocalResponseNorm(3)),
    *(nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.ZeroPad2d(1), nn.Hardswish()),
)
CASES: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    "convolution": (
        nn.Sequential(
            *(nn.Conv2d(3, 8, 3, padding=1, groups=1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
            nn.Softmax(1),
        ),
        [(2, 3, 8, 8)],
    ),
    "volumes": (
        nn.Sequential(nn.Conv3d(3, 4, 2), nn.BatchNorm3d(4), nn.MaxPool3d(2), nn.AvgPool3d(2)),
        [(2, 3, 8, 8, 8)],
    ),
    "larger images": (
        nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
            *(nn.PReLU(6), nn.Upsample(scale_factor=2, mode="bicubic")),
        ),
        [(2, 4, 5, 6)],
    ),
    "LSTM": (nn.LSTM(3, 4, 2, bidirectional=True), [(5, 2, 3)]),
    "GRU": (nn.GRU(3, 4, 2, bidirectional=True, batch_first=True), [(2, 5, 3)]),
    "RNN": (nn.RNN(3, 4, nonlinearity="relu"), [(5, 2, 3)]),
    "attention": (nn.MultiheadAttention(8, 2), [(5, 2, 8), (6, 2, 8), (6, 2, 8)]),
    "norms": (NORMS, [(2, 4, 5, 6)]),  # with an If among the operators
    "functions": (Functions(), [(2, 2, 4)]),
}


def flat(x: Any) -> list[Any]:
    return [a for part in x for a in flat(part)] if isinstance(x, tuple | list) else [x]


@pytest.mark.parametrize("name", CASES)
def test_the_same_is_computed(tmp_path, name):
    torch.manual_seed(0)
    model, shapes = CASES[name]
    model.eval()
    inputs = tuple(torch.randn(shape) for shape in shapes)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, inputs, str(path), dynamo=False, opset_version=17)
    loaded = nnx.onnx.load(path)
    made = flat(loaded(*[nnx.Tensor(x.numpy()) for x in inputs]))
    for y, e in zip(made, flat(model(*inputs)), strict=True):
        e = e.detach().numpy()
        assert y.shape == e.shape and y.dtype == e.dtype
        np.testing.assert_allclose(y.detach().numpy(), e, rtol=1e-4, atol=1e-5)
