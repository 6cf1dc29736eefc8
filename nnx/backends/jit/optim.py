"""Optimizer steps compiled by numba: one pass over each parameter and its state.

One thread suffices: the pass takes a tenth of what the step's matrix products take, and those
leave BLAS's own threads awake on the other cores.  Rare variants (AMSGrad, centered RMSprop or one
with momentum) and arrays that are not contiguous are left to NumPy.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cpu.optim import NumpyOptim, count
from ..flush import flushing
from . import thresholds

if TYPE_CHECKING:
    from ..portable import optim_rules as rules

Arrays = list[Any]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

_loops: Any = None


class JitOptim(NumpyOptim):
    def _sgd(
        self, params: Arrays, grads: Arrays, buffers: Arrays | None, rule: rules.SGD
    ) -> tuple[Arrays, Arrays | None]:
        given, dampening = buffers, rule.dampening
        if rule.momentum and buffers is None:  # v = g is the step from v = 0, undamped
            buffers, dampening = [np.zeros_like(p) for p in params], 0.0
        rows = None if rule.on_device else rows_in_place(params, grads, buffers)
        if rows is None:
            return super()._sgd(params, grads, given, rule)
        numbers = (rule.lr, rule.decay, rule.sign)
        if not rule.momentum:
            sgd = loops().sgd
            for p, g, _ in rows:
                sgd(p, g, *numbers)
            return params, None
        more = (rule.momentum, 1.0 - dampening, rule.nesterov)
        for p, g, v in rows:
            loops().momentum(p, g, v, *numbers, *more)
        return params, buffers

    @flushing
    def adagrad_(
        self, params: Arrays, grads: Arrays, sums: Arrays, rule: rules.Adagrad
    ) -> tuple[Arrays, Arrays]:
        rows = rows_in_place(params, grads, sums)
        if rows is None:
            return super().adagrad_(params, grads, sums, rule)
        for p, g, s in rows:
            loops().adagrad(p, g, s, rule.lr, rule.eps, rule.decay, rule.sign)
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
        plain = averages is None and buffers is None
        rows = rows_in_place(params, grads, squares) if plain else None
        if rows is None:
            return super().rmsprop_(params, grads, squares, averages, buffers, rule)
        for p, g, s in rows:
            loops().rmsprop(p, g, s, rule.lr, rule.alpha, rule.eps, rule.decay, rule.sign)
        return params, squares, None, None

    @flushing
    def adadelta_(
        self,
        params: Arrays,
        grads: Arrays,
        squares: Arrays,
        deltas: Arrays,
        rule: rules.Adadelta,
    ) -> tuple[Arrays, Arrays, Arrays]:
        rows = rows_in_place(params, grads, squares, deltas)
        if rows is None:
            return super().adadelta_(params, grads, squares, deltas, rule)
        for p, g, s, d in rows:
            loops().adadelta(p, g, s, d, rule.lr, rule.rho, rule.eps, rule.decay, rule.sign)
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
        plain = maxima is None and not rule.on_device
        rows = rows_in_place(params, grads, averages, squares) if plain else None
        if rows is None:
            return super().adam_(params, grads, averages, squares, maxima, rule)
        rate, small = rule.rate * rule.root, rule.eps * rule.root
        numbers = (rate, small, *rule.betas, rule.shrink, rule.decay, rule.sign)
        adam = loops().adam
        for p, g, m, s in rows:
            adam(p, g, m, s, *numbers)
        return params, averages, squares, None


def loops() -> Any:
    """The compiled loops: numba is imported when they are first wanted."""
    global _loops
    if _loops is None:
        from .loops import optim as _loops
    return _loops


def rows_in_place(params: Arrays, *others: Arrays | None) -> list[tuple[Any, ...]] | None:
    """Per parameter, the arrays that belong together as vectors; None for a list that is None.

    None instead where not all may be written to in place, one after another; and where there is
    too little to do for compiled loops.
    """
    if not params or params[0].dtype not in _FLOATS:
        return None
    if count(params) < thresholds.OPTIM:
        return None
    columns: list[Any] = []
    for arrays in (params, *others):
        if arrays is None:
            columns.append(repeat(None))
            continue
        flat = []
        for a in arrays:
            flags = a.flags
            # the gradients, which come second, are only read
            if not flags.c_contiguous or not (flags.writeable or len(columns) == 1):
                return None
            flat.append(a.ravel())
        columns.append(flat)
    return list(zip(*columns))  # noqa: B905 (slow)
