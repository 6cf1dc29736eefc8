"""The grid of window geometries that convolution and pooling are tested over, with exact data.

Values are small integers, so sums are exact in float32 and every summation order gives the same
bits: results can be compared for equality.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np

from nnx import reference

KERNELS = [(1, 1), (2, 2), (3, 2), (5, 5)]
STRIDES = [(1, 1), (2, 2), (3, 1)]
PADDINGS = [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 2), (1, 1)), ((0, 1), (2, 0))]
DILATIONS = [(1, 1), (2, 2), (1, 3)]
GROUPS = [1, 2, 4]


class Case(NamedTuple):
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int]
    groups: int


def fits(kernel, padding, dilation, size=(6, 7)):
    return all(
        n + sum(p) >= d * (k - 1) + 1
        for n, k, p, d in zip(size, kernel, padding, dilation, strict=True)
    )


def cases(kernel):
    """Every geometry with this kernel that has at least one window."""
    grid = itertools.product(STRIDES, PADDINGS, DILATIONS, GROUPS)
    found = [Case(kernel, s, p, d, g) for s, p, d, g in grid if fits(kernel, p, d)]
    assert len(found) > 30
    return found


def integers(seed, *shape, low=-3, high=4, dtype="float32"):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


@cache
def operands(kernel, groups):
    """x (2, 4, 6, 7), weight (4, 4/groups, *kernel), bias (4,)."""
    return (
        integers(1, 2, 4, 6, 7),
        integers(2, 4, 4 // groups, *kernel),
        integers(3, 4),
    )


@cache
def conv2d_by_definition(case):
    """y, a gradient for it, and the gradients of x, weight and bias: read-only, shared by tests."""
    x, weight, bias = operands(case.kernel, case.groups)
    y = reference.conv2d(x, weight, bias, *case[1:])
    gy = integers(4, *y.shape)
    arrays = (y, gy, *reference.conv2d_backward(gy, x, weight, *case[1:]))
    for a in arrays:
        a.flags.writeable = False
    return arrays


def thinned(backend, grid):
    """All of a grid where a backend has kernels of its own; every seventh point elsewhere."""
    own = backend.kind in ("numpy", "jit", "portable", "cupy")
    return grid if own else grid[::7]
