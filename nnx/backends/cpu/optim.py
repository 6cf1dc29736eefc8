"""Optimizer steps on NumPy: in place, a cache-sized block at a time.

A step reads and writes every parameter and its state once per operation of its formula.  Done
array by array that is memory traffic; done block by block all but the first touch of a block is
cache, and the one temporary a block needs is memory that the allocator hands out again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ...typing import Array
from ..flush import by_hand, clean, flushing
from ..portable.optim import OptimKernels

if TYPE_CHECKING:
    from ..portable import optim_rules as rules

Arrays = list[Any]
T = TypeVar("T")

BLOCK = 32768  # elements: a parameter, its gradient, two states and a temporary in 640 KB
FLUSHED = 4096  # numbers: for fewer, subnormal ones cost less than asking for 0 instead


class NumpyOptim(OptimKernels):
    def sgd_(
        self, params: Arrays, grads: Arrays, buffers: Arrays | None, rule: rules.SGD
    ) -> tuple[Arrays, Arrays | None]:
        if rule.momentum or count(params) >= FLUSHED:
            return self._flushed_sgd(params, grads, buffers, rule)
        return self._sgd(params, grads, buffers, rule)  # nothing in it fades from step to step

    @flushing
    def _flushed_sgd(
        self, params: Arrays, grads: Arrays, buffers: Arrays | None, rule: rules.SGD
    ) -> tuple[Arrays, Arrays | None]:
        return self._sgd(params, grads, buffers, rule)

    def _sgd(
        self, params: Arrays, grads: Arrays, buffers: Arrays | None, rule: rules.SGD
    ) -> tuple[Arrays, Arrays | None]:
        lr, momentum, dampening = rule.lr, rule.momentum, rule.dampening
        if rule.on_device or not writable(params, buffers):
            return super().sgd_(params, grads, buffers, rule)
        if not momentum:
            (rate,) = as_arrays(params, lr)
            for p, g in blocks(params, grads):
                t = descent(p, g, rule)
                t = np.multiply(t, rate, out=None if t is g else t)
                p -= t
            return params, None
        if buffers is None:  # v = g is the step from v = 0, undamped
            buffers, dampening = [np.zeros_like(p) for p in params], 0.0
        by_us = by_hand()
        for p, g, v in blocks(params, grads, buffers):
            g = descent(p, g, rule)
            v *= momentum
            v += g * (1 - dampening) if dampening else g
            t = v * (lr * momentum if rule.nesterov else lr)
            p -= t
            if rule.nesterov:
                np.multiply(g, lr, out=t)
                p -= t
            if by_us:
                clean(v)
        return params, buffers

    @flushing
    def adagrad_(
        self, params: Arrays, grads: Arrays, sums: Arrays, rule: rules.Adagrad
    ) -> tuple[Arrays, Arrays]:
        if not writable(params, sums):
            return super().adagrad_(params, grads, sums, rule)
        for p, g, s in blocks(params, grads, sums):
            g = descent(p, g, rule)
            t = g * g
            s += t
            np.sqrt(s, out=t)
            t += rule.eps
            np.divide(g, t, out=t)
            t *= rule.lr
            p -= t
        return params, sums

    @flushing
    def rmsprop_(
        self,
        params: Arrays,
        grads: Arrays,
        squares: Arrays,
        averages: Arrays | None,
        buffers: Arrays | None,
        rule: rules.RMSprop,
    ) -> tuple[Arrays, Arrays, Arrays | None, Arrays | None]:
        if not writable(params, squares, averages, buffers):
            return super().rmsprop_(params, grads, squares, averages, buffers, rule)
        by_us = by_hand()
        for p, g, s, a, v in blocks(params, grads, squares, averages, buffers):
            g = descent(p, g, rule)
            t = g * g
            t *= 1 - rule.alpha
            s *= rule.alpha
            s += t
            if averages is None:
                np.sqrt(s, out=t)
            else:
                np.subtract(g, a, out=t)
                t *= 1 - rule.alpha
                a += t
                np.multiply(a, a, out=t)
                np.subtract(s, t, out=t)
                np.sqrt(t, out=t)
            t += rule.eps
            np.divide(g, t, out=t)
            if buffers is not None:
                v *= rule.momentum
                v += t
                np.multiply(v, rule.lr, out=t)
            else:
                t *= rule.lr
            p -= t
            if by_us:
                clean(s, a, v)
        return params, squares, averages, buffers

    @flushing
    def adadelta_(
        self,
        params: Arrays,
        grads: Arrays,
        squares: Arrays,
        deltas: Arrays,
        rule: rules.Adadelta,
    ) -> tuple[Arrays, Arrays, Arrays]:
        if not writable(params, squares, deltas):
            return super().adadelta_(params, grads, squares, deltas, rule)
        rho, eps, by_us = rule.rho, rule.eps, by_hand()
        for p, g, s, d in blocks(params, grads, squares, deltas):
            g = descent(p, g, rule)
            t = g * g
            t *= 1 - rho
            s *= rho
            s += t
            step = d + eps
            np.add(s, eps, out=t)
            step /= t
            np.sqrt(step, out=step)
            step *= g
            np.multiply(step, step, out=t)
            t *= 1 - rho
            d *= rho
            d += t
            step *= rule.lr
            p -= step
            if by_us:
                clean(s, d)
        return params, squares, deltas

    @flushing
    def adam_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        squares: Arrays,
        maxima: Arrays | None,
        rule: rules.Adam,
    ) -> tuple[Arrays, Arrays, Arrays, Arrays | None]:
        if rule.on_device or not writable(params, averages, squares, maxima):
            return super().adam_(params, grads, averages, squares, maxima, rule)
        (beta1, beta2), by_us = rule.betas, by_hand()
        # m̂ / (√ŝ + ε) with both of its divisions folded into two numbers
        root, shrink = rule.root, rule.shrink
        rate, small, beta1, beta2, fresh1, fresh2 = as_arrays(
            params, rule.rate * root, rule.eps * root, beta1, beta2, 1 - beta1, 1 - beta2
        )
        for p, g, m, s, largest in blocks(params, grads, averages, squares, maxima):
            g = descent(p, g, rule)
            if shrink != 1:
                p *= shrink
            t = g * fresh1
            m *= beta1
            m += t
            np.multiply(g, g, out=t)
            t *= fresh2
            s *= beta2
            s += t
            if by_us:
                clean(m, s)
            if maxima is not None:
                s = np.maximum(largest, s, out=largest)
            np.sqrt(s, out=t)
            t += small
            np.divide(m, t, out=t)
            t *= rate
            p -= t
        return params, averages, squares, maxima

    def asgd_(
        self, params: Arrays, grads: Arrays, averages: Arrays, rule: rules.ASGD
    ) -> tuple[Arrays, Arrays]:
        return in_blocks(super().asgd_, rule, params, grads, averages)

    def rprop_(
        self, params: Arrays, grads: Arrays, before: Arrays, sizes: Arrays, rule: rules.Rprop
    ) -> tuple[Arrays, Arrays, Arrays]:
        return in_blocks(super().rprop_, rule, params, grads, before, sizes)

    def nadam_(
        self, params: Arrays, grads: Arrays, averages: Arrays, squares: Arrays, rule: rules.NAdam
    ) -> tuple[Arrays, Arrays, Arrays]:
        return in_blocks(super().nadam_, rule, params, grads, averages, squares)

    def radam_(
        self, params: Arrays, grads: Arrays, averages: Arrays, squares: Arrays, rule: rules.RAdam
    ) -> tuple[Arrays, Arrays, Arrays]:
        return in_blocks(super().radam_, rule, params, grads, averages, squares)

    def adamax_(
        self, params: Arrays, grads: Arrays, averages: Arrays, norms: Arrays, rule: rules.Adamax
    ) -> tuple[Arrays, Arrays, Arrays]:
        return in_blocks(super().adamax_, rule, params, grads, averages, norms)


def in_blocks(
    formula: Callable[..., T], rule: rules.Rule, params: Arrays, grads: Arrays, *state: Arrays
) -> T:
    """A portable formula, a block at a time, written where the arrays stand: what it takes beside
    them is a few blocks, not a second network with its state.  Arrays that may not be written are
    the formula's own."""
    if not writable(params, *state):
        return formula(params, grads, *state, rule)
    _write_in_blocks(formula, rule, params, grads, *state)
    return params, *state  # type: ignore[return-value]


@flushing
def _write_in_blocks(
    formula: Any, rule: rules.Rule, params: Arrays, grads: Arrays, *state: Arrays
) -> None:
    for p, g, *kept in blocks(params, grads, *state):
        new = formula([p], [g], *[[a] for a in kept], rule)
        for old, (array,) in zip((p, *kept), new, strict=True):
            old[...] = array
            if by_hand() and old is not p:
                clean(old)


def count(arrays: Arrays) -> int:
    """How many numbers there are in all of these arrays."""
    n = 0
    for array in arrays:
        n += array.size
    return n


def as_arrays(params: Arrays, *numbers: float) -> list[Any]:
    """Numbers in the parameters' dtype, as arrays of shape (): NumPy makes one of every Python
    number that it meets, which takes as long as a small parameter's arithmetic."""
    dtype = params[0].dtype if params else None
    return [np.array(number, dtype) for number in numbers]


def descent(p: Array, g: Array, rule: rules.Rule) -> Array:
    """The gradient of what is minimised, weight decay included: g itself, or a new array."""
    if rule.decay:
        t = p * rule.decay
        return np.subtract(t, g, out=t) if rule.maximize else np.add(t, g, out=t)
    return -g if rule.maximize else g


def writable(*lists: Arrays | None) -> bool:
    """Whether a kernel may write into all of these arrays."""
    for arrays in lists:
        if arrays is not None:
            for array in arrays:
                if not array.flags.writeable:
                    return False
    return True


def blocks(first: Arrays, *others: Arrays | None) -> list[tuple[Any, ...]]:
    """Corresponding pieces of corresponding arrays, as views; None for a list that is None.

    Small arrays come whole; big ones flat and in pieces of BLOCK elements, where their layout
    allows it.
    """
    pieces: list[tuple[Any, ...]] = []
    columns = [repeat(None) if arrays is None else arrays for arrays in others]
    for row in zip(first, *columns):  # noqa: B905 (slow)
        array = row[0]
        size = array.size
        if array.ndim == 0:  # arithmetic on these would give scalars, which cannot be written to
            row = tuple([a if a is None else a.reshape(1) for a in row])
        if size <= BLOCK or not all([a is None or a.flags.c_contiguous for a in row]):
            pieces.append(row)
            continue
        flat = [a if a is None else a.reshape(-1) for a in row]
        for lo in range(0, size, BLOCK):
            hi = lo + BLOCK
            pieces.append(tuple([a if a is None else a[lo:hi] for a in flat]))
    return pieces
