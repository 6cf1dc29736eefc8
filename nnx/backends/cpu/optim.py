"""Optimizer steps on NumPy: in place, a cache-sized block at a time.

A step reads and writes every parameter and its state once per operation of its formula.  Done
array by array that is memory traffic; done block by block all but the first touch of a block is
cache, and the one temporary a block needs is memory that the allocator hands out again and again.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..portable.optim import OptimKernels

Array = Any
Arrays = list[Any]

BLOCK = 16384  # elements: a parameter, its gradient, two states and a temporary in 320 KB


class NumpyOptim(OptimKernels):
    def sgd_(
        self,
        params: Arrays,
        grads: Arrays,
        buffers: Arrays | None,
        lr: float,
        momentum: float,
        dampening: float,
        nesterov: bool,
        weight_decay: float,
        maximize: bool,
    ) -> tuple[Arrays, Arrays | None]:
        options = (lr, momentum, dampening, nesterov, weight_decay, maximize)
        if not writable(params, buffers) or (momentum and buffers is None):
            return super().sgd_(params, grads, buffers, *options)
        if not momentum:
            for p, g in blocks(params, grads):
                t = descent(p, g, weight_decay, maximize)
                t = np.multiply(t, lr, out=None if t is g else t)
                p -= t
            return params, None
        for p, g, v in blocks(params, grads, buffers):
            g = descent(p, g, weight_decay, maximize)
            v *= momentum
            v += g * (1 - dampening) if dampening else g
            t = v * (lr * momentum if nesterov else lr)
            p -= t
            if nesterov:
                np.multiply(g, lr, out=t)
                p -= t
        return params, buffers

    def adagrad_(
        self,
        params: Arrays,
        grads: Arrays,
        sums: Arrays,
        rate: float,
        eps: float,
        weight_decay: float,
        maximize: bool,
    ) -> tuple[Arrays, Arrays]:
        if not writable(params, sums):
            return super().adagrad_(params, grads, sums, rate, eps, weight_decay, maximize)
        for p, g, s in blocks(params, grads, sums):
            g = descent(p, g, weight_decay, maximize)
            t = g * g
            s += t
            np.sqrt(s, out=t)
            t += eps
            np.divide(g, t, out=t)
            t *= rate
            p -= t
        return params, sums

    def rmsprop_(
        self,
        params: Arrays,
        grads: Arrays,
        squares: Arrays,
        averages: Arrays | None,
        buffers: Arrays | None,
        lr: float,
        alpha: float,
        eps: float,
        weight_decay: float,
        momentum: float,
        maximize: bool,
    ) -> tuple[Arrays, Arrays, Arrays | None, Arrays | None]:
        if not writable(params, squares, averages, buffers):
            options = (lr, alpha, eps, weight_decay, momentum, maximize)
            return super().rmsprop_(params, grads, squares, averages, buffers, *options)
        for p, g, s, a, v in blocks(params, grads, squares, averages, buffers):
            g = descent(p, g, weight_decay, maximize)
            t = g * g
            t *= 1 - alpha
            s *= alpha
            s += t
            if averages is None:
                np.sqrt(s, out=t)
            else:
                np.subtract(g, a, out=t)
                t *= 1 - alpha
                a += t
                np.multiply(a, a, out=t)
                np.subtract(s, t, out=t)
                np.sqrt(t, out=t)
            t += eps
            np.divide(g, t, out=t)
            if buffers is not None:
                v *= momentum
                v += t
                np.multiply(v, lr, out=t)
            else:
                t *= lr
            p -= t
        return params, squares, averages, buffers

    def adadelta_(
        self,
        params: Arrays,
        grads: Arrays,
        squares: Arrays,
        deltas: Arrays,
        lr: float,
        rho: float,
        eps: float,
        weight_decay: float,
        maximize: bool,
    ) -> tuple[Arrays, Arrays, Arrays]:
        if not writable(params, squares, deltas):
            options = (lr, rho, eps, weight_decay, maximize)
            return super().adadelta_(params, grads, squares, deltas, *options)
        for p, g, s, d in blocks(params, grads, squares, deltas):
            g = descent(p, g, weight_decay, maximize)
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
            step *= lr
            p -= step
        return params, squares, deltas

    def adam_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        squares: Arrays,
        maxima: Arrays | None,
        step: int,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
        maximize: bool,
    ) -> tuple[Arrays, Arrays, Arrays, Arrays | None]:
        if not writable(params, averages, squares, maxima):
            options = (step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize)
            return super().adam_(params, grads, averages, squares, maxima, *options)
        # m̂ / (√ŝ + ε) with both of its divisions folded into two numbers
        root = math.sqrt(1 - beta2**step)
        rate, small = lr / (1 - beta1**step) * root, eps * root
        decay = 0.0 if decoupled else weight_decay
        for p, g, m, s, largest in blocks(params, grads, averages, squares, maxima):
            g = descent(p, g, decay, maximize)
            if decoupled and weight_decay:
                p *= 1 - lr * weight_decay
            t = g * (1 - beta1)
            m *= beta1
            m += t
            np.multiply(g, g, out=t)
            t *= 1 - beta2
            s *= beta2
            s += t
            if maxima is not None:
                s = np.maximum(largest, s, out=largest)
            np.sqrt(s, out=t)
            t += small
            np.divide(m, t, out=t)
            t *= rate
            p -= t
        return params, averages, squares, maxima


def descent(p: Array, g: Array, weight_decay: float, maximize: bool) -> Array:
    """The gradient of what is minimised, weight decay included: g itself, or a new array."""
    if weight_decay:
        t = p * weight_decay
        return np.subtract(t, g, out=t) if maximize else np.add(t, g, out=t)
    return -g if maximize else g


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
    for k, array in enumerate(first):
        row = (array, *[None if arrays is None else arrays[k] for arrays in others])
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
