"""The floor of a training step: its matrix products alone, by BLAS, into memory that is there.

No step can be quicker, whoever computes it, unless its products are; so what is above the floor is
all that can still be won.  A convolution counts as the product of its columns, (N oh ow, C kh kw)
with (C kh kw, O), which are not laid out here; a recurrent layer as one product for all steps'
inputs and one for each step's state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnx import nn
from nnx.nn.scopes import watching

Product = tuple[int, int, int, int]  # rows, inner length, columns; and how many of them


def products(model: nn.Module, x: Any) -> list[Product]:
    """The products of a training step of `model` on x: forward, and both ways back.

    The gradient of x itself, which nobody asks for, is left out.
    """
    found: list[Product] = []

    def watch(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        first = inputs[0] is x
        if isinstance(layer, nn.Linear):
            rows = math.prod(inputs[0].shape[:-1])
            found.extend(_both_ways(rows, layer.in_features, layer.out_features, first))
        elif isinstance(layer, nn.Conv2d):
            outputs, inner = layer.weight.shape[0], math.prod(layer.weight.shape[1:])
            pixels = math.prod(output.shape) // output.shape[1]
            found.extend(_both_ways(pixels, inner, outputs // layer.groups, first, layer.groups))
        elif isinstance(layer, nn.RNN | nn.LSTM | nn.GRU):
            found.extend(_recurrent(layer, inputs[0].shape, first))

    with watching(watch):  # which also keeps layers from being computed together
        model(x)
    return found


def _both_ways(rows: int, inner: int, outputs: int, first: bool, times: int = 1) -> list[Product]:
    forward, weight = (rows, inner, outputs, times), (outputs, rows, inner, times)
    return [forward, weight] if first else [forward, weight, (rows, outputs, inner, times)]


def _recurrent(layer: Any, shape: tuple[int, ...], first: bool) -> list[Product]:
    batch, steps = (shape[0], shape[1]) if layer.batch_first else (shape[1], shape[0])
    found: list[Product] = []
    for name, weight in layer.named_parameters():
        if not name.startswith("weight_"):
            continue
        gates, inner = weight.shape
        if name.startswith("weight_ih"):
            found += _both_ways(batch * steps, inner, gates, first and "_l0" in name)
        else:  # a product a step there and back; the weight's gradient of all steps at once
            found += [(batch, inner, gates, steps), (batch, gates, inner, steps)]
            found.append((gates, batch * steps, inner, 1))
    return found


def floor(model: nn.Module, x: Any) -> Callable[[], None]:
    """What computes these products, in float32, into memory that is there."""
    rng = np.random.default_rng(0)
    made: dict[tuple[int, int], np.ndarray] = {}

    def matrix(*shape: int) -> np.ndarray:
        if shape not in made:
            made[shape] = rng.standard_normal(shape).astype("float32")  # type: ignore[index]
        return made[shape]  # type: ignore[index]

    work = [
        (matrix(m, k), matrix(k, n), np.empty((m, n), "float32"), times)
        for m, k, n, times in products(model, x)
    ]

    def step() -> None:
        for a, b, out, times in work:
            for _ in range(times):
                np.dot(a, b, out=out)

    return step
