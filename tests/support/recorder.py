"""A stand-in for what records steps on a device: it replays them in Python, on NumPy arrays."""

from __future__ import annotations

from contextlib import contextmanager

import nnx
from nnx import nn


class Recorder:
    """Runs a step to see what it returns, undoes it, and replays it into the same arrays."""

    def __init__(self):
        self.owners = ()  # the modules and optimizers of the step
        self.recorded = self.played = self.aside_entered = 0

    @contextmanager
    def aside(self):
        self.aside_entered += 1
        yield

    def record(self, body):
        self.recorded += 1
        before = [(a, a.copy()) for a in written(*self.owners)]
        try:
            result = body()
        finally:
            for array, values in before:
                array[...] = values

        def play():
            self.played += 1
            leaves = [p for owner in self.owners for p in parameters(owner)]
            gradients = [p.grad for p in leaves]
            for old, new in zip(arrays(result), arrays(body()), strict=True):
                old[...] = new
            for p, gradient in zip(leaves, gradients, strict=True):
                p.grad = gradient  # which a graph, being no Python, does not touch

        return result, play


def arrays(result):
    if isinstance(result, tuple | list):
        return [a for part in result for a in arrays(part)]
    if result is None:
        return []
    return [result.data if isinstance(result, nnx.Tensor) else result]


def parameters(owner):
    if isinstance(owner, nn.Module):
        return list(owner.parameters())
    return [p for group in owner.param_groups for p in group["params"]]


def written(*owners):
    """Every array that a step may write in place."""
    found = [p.data for owner in owners for p in parameters(owner)]
    for owner in owners:
        if isinstance(owner, nn.Module):
            found += [a for _, a in owner.named_buffers()]
        else:
            states = owner.state.values()
            found += [a for s in states for a in s.values() if hasattr(a, "dtype")]
    return found
