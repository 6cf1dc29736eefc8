"""Training steps of networks that no text of ours has: other shapes than those we tune for.

Small sizes of what people train: residual networks, a U-Net, depthwise convolutions, wide recurrent
layers, a Transformer layer, a large vocabulary.  Not among the rows that `compare.py` runs when no
name is given; `--more` adds them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import nnx
from benchmarks.recurrent import sequences
from benchmarks.steps import Step, pair, row
from nnx import nn, optim


def resnet18(framework: Any) -> Any:
    """ResNet-18 (He et al. 2016) for small images: a first convolution of 3x3, no pooling after."""

    class Block(framework.Module):
        def __init__(self, channels: int, filters: int, stride: int) -> None:
            super().__init__()
            n = framework
            self.conv1 = n.Conv2d(channels, filters, 3, stride=stride, padding=1, bias=False)
            self.norm1 = n.BatchNorm2d(filters)
            self.conv2 = n.Conv2d(filters, filters, 3, padding=1, bias=False)
            self.norm2 = n.BatchNorm2d(filters)
            self.relu = n.ReLU()
            self.shortcut = n.Sequential()
            if stride != 1 or channels != filters:
                self.shortcut = n.Sequential(
                    n.Conv2d(channels, filters, 1, stride=stride, bias=False),
                    n.BatchNorm2d(filters),
                )

        def forward(self, x: Any) -> Any:
            y = self.relu(self.norm1(self.conv1(x)))
            return self.relu(self.norm2(self.conv2(y)) + self.shortcut(x))

    n = framework
    layers = [n.Conv2d(3, 64, 3, padding=1, bias=False), n.BatchNorm2d(64), n.ReLU()]
    channels = 64
    for filters, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(channels, filters, stride), Block(filters, filters, 1)]
        channels = filters
    return n.Sequential(*layers, n.AdaptiveAvgPool2d(1), n.Flatten(), n.Linear(512, 10))


def depthwise_net(framework: Any) -> Any:
    """Depthwise and 1x1 convolutions in turn, as in MobileNet (Howard et al. 2017)."""
    n = framework
    layers = [n.Conv2d(3, 32, 3, padding=1), n.BatchNorm2d(32), n.ReLU()]
    channels = 32
    for filters, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        layers += [
            n.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False),
            n.BatchNorm2d(channels),
            n.ReLU(),
            n.Conv2d(channels, filters, 1, bias=False),
            n.BatchNorm2d(filters),
            n.ReLU(),
        ]
        channels = filters
    return n.Sequential(*layers, n.AdaptiveAvgPool2d(1), n.Flatten(), n.Linear(256, 10))


def unet(framework: Any, cat: Callable[..., Any]) -> Any:
    """A U-Net (Ronneberger et al. 2015) of two levels, 16 to 64 channels."""

    def twice(channels: int, filters: int) -> Any:
        n = framework
        return n.Sequential(
            n.Conv2d(channels, filters, 3, padding=1), n.ReLU(),
            n.Conv2d(filters, filters, 3, padding=1), n.ReLU(),
        )  # fmt: skip

    class UNet(framework.Module):
        def __init__(self) -> None:
            super().__init__()
            n = framework
            self.down1, self.down2, self.bottom = twice(1, 16), twice(16, 32), twice(32, 64)
            self.up2, self.up1 = twice(64, 32), twice(32, 16)
            self.larger2 = n.ConvTranspose2d(64, 32, 2, stride=2)
            self.larger1 = n.ConvTranspose2d(32, 16, 2, stride=2)
            self.pool, self.flatten = n.MaxPool2d(2), n.Flatten(2)
            self.output = n.Conv2d(16, 2, 1)

        def forward(self, x: Any) -> Any:
            a = self.down1(x)
            b = self.down2(self.pool(a))
            c = self.bottom(self.pool(b))
            b = self.up2(cat([self.larger2(c), b], 1))
            a = self.up1(cat([self.larger1(b), a], 1))
            return self.flatten(self.output(a))

    return UNet()


def transformer_layer(framework: Any) -> Any:
    """One encoder layer (Vaswani et al. 2017), 8 heads, 256 wide, 1024 inside; then 10 classes."""
    layer = framework.TransformerEncoderLayer(256, 8, 1024, dropout=0.0, batch_first=True)
    return framework.Sequential(layer, framework.Flatten(), framework.Linear(64 * 256, 10))


def words(framework: Any) -> Any:
    """A vocabulary of 50,000, vectors of 128, 32 words of each text; 10 classes."""
    layers = framework.Embedding(50_000, 128), framework.Flatten(), framework.Linear(32 * 128, 10)
    return framework.Sequential(*layers)


def images(
    make: Callable[[Any], Any], shape: tuple[int, ...], pixels: int = 0
) -> tuple[Step, Callable[[], Step]]:
    """Classes of images, or of each of so many pixels, SGD with momentum."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2 if pixels else 10, (shape[0], pixels) if pixels else shape[0])
    return trained(make, rng.standard_normal(shape).astype("float32"), y)


def trained(
    make: Callable[[Any], Any], x: np.ndarray, y: np.ndarray
) -> tuple[Step, Callable[[], Step]]:
    nnx.random.manual_seed(0)
    return pair(
        make(nn),
        nn.CrossEntropyLoss(),
        partial(optim.SGD, lr=0.01, momentum=0.9),
        lambda torch: (
            make(torch.nn),
            torch.nn.CrossEntropyLoss(),
            partial(torch.optim.SGD, lr=0.01, momentum=0.9),
        ),
        x,
        y,
    )


@row("resnet18-32", more=True, numpy=1.5, jit=1.0)
def resnet18_32() -> tuple[Step, Callable[[], Step]]:
    """ResNet-18 on images of 32 x 32, batch 8."""
    return images(resnet18, (8, 3, 32, 32))


@row("resnet18-64", more=True, numpy=1.5, jit=1.0)
def resnet18_64() -> tuple[Step, Callable[[], Step]]:
    """ResNet-18 on images of 64 x 64, batch 2."""
    return images(resnet18, (2, 3, 64, 64))


@row("depthwise", more=True, numpy=1.5, jit=1.0)
def depthwise() -> tuple[Step, Callable[[], Step]]:
    """Depthwise convolutions on images of 32 x 32, batch 16."""
    return images(depthwise_net, (16, 3, 32, 32))


@row("unet", more=True, numpy=1.5, jit=1.0)
def unet_64() -> tuple[Step, Callable[[], Step]]:
    """A U-Net on images of 64 x 64, batch 4."""

    def make(framework: Any) -> Any:
        if framework is nn:
            return unet(nn, nnx.concat)
        import torch

        return unet(torch.nn, torch.cat)

    return images(make, (4, 1, 64, 64), 64 * 64)


@row("lstm-256", more=True, numpy=1.5, jit=1.0)
def lstm_256() -> tuple[Step, Callable[[], Step]]:
    """LSTM, 3 layers of 256, 32 steps, batch 32, SGD."""
    return sequences("LSTM", 64, 256, 10, 32, 32, lambda o: partial(o.SGD, lr=0.01), True)


@row("lstm-512", more=True, numpy=1.5, jit=1.0)
def lstm_512() -> tuple[Step, Callable[[], Step]]:
    """LSTM, 3 layers of 512, 16 steps, batch 32, SGD."""
    return sequences("LSTM", 64, 512, 10, 16, 32, lambda o: partial(o.SGD, lr=0.01), True)


@row("bilstm", more=True, numpy=1.5, jit=1.0)
def bilstm() -> tuple[Step, Callable[[], Step]]:
    """LSTM in both directions, 3 layers of 64, 64 steps, batch 32, SGD."""
    return sequences(
        "LSTM", 32, 64, 10, 64, 32, lambda o: partial(o.SGD, lr=0.01), True, bidirectional=True
    )


@row("transformer", more=True, numpy=1.5, jit=1.0)
def transformer() -> tuple[Step, Callable[[], Step]]:
    """A Transformer layer of 256, sequences of 64, batch 16."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 64, 256)).astype("float32")
    return trained(transformer_layer, x, rng.integers(0, 10, 16))


@row("words", more=True, numpy=1.5, jit=1.0)
def vocabulary() -> tuple[Step, Callable[[], Step]]:
    """An embedding of 50,000 words, batch 32."""
    rng = np.random.default_rng(0)
    return trained(words, rng.integers(0, 50_000, (32, 32)), rng.integers(0, 10, 32))
