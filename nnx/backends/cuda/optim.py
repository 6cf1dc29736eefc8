"""Optimizer steps in CUDA, in place, over all parameters at once (`kernels/optim.cu`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...typing import Array
from ..portable.optim import OptimKernels
from .kernel import MOST_LISTED
from .launcher import REALS, Kernel, Modules, Plan, ceil_div, launch, register

if TYPE_CHECKING:
    from ..portable import optim_rules as rules

Arrays = list[Any]

CHUNK = 1024  # elements that a block updates: the kernels' CHUNK


def per_chunk(sizes: list[int]) -> Plan:
    return Plan((sum(ceil_div(n, CHUNK) for n in sizes),), (256,))


def _kernel(name: str, state: str, numbers: str) -> Kernel:
    args = f"params:inout* grads:in* {state} sizes:i64* count:i32 {numbers} sign:real decay:real"
    return register(Kernel("optim.cu", name, args, per_chunk))


def _shrinking(name: str, state: str, numbers: str) -> Kernel:
    args = f"params:inout* grads:in* {state} sizes:i64* count:i32 {numbers}"
    both = "fresh1:real beta2:real fresh2:real eps:real sign:real decay:real shrink:real"
    return register(Kernel("optim.cu", name, f"{args} {both}", per_chunk))


SGD = _kernel(
    "sgd",
    "buffers:inout*?",
    "skip:in?:i32 first:i32 nesterov:i32 lr:real momentum:real fresh:real",
)
ADAGRAD = _kernel("adagrad", "sums:inout*", "rate:real eps:real")
RMSPROP = _kernel(
    "rmsprop",
    "squares:inout* averages:inout*? buffers:inout*?",
    "lr:real alpha:real fresh:real eps:real momentum:real",
)
ADADELTA = _kernel(
    "adadelta", "squares:inout* deltas:inout*", "lr:real rho:real fresh:real eps:real"
)
ADAMAX = _kernel(
    "adamax", "averages:inout* norms:inout*", "rate:real fresh1:real beta2:real eps:real"
)
ADAM = _shrinking(
    "adam",
    "averages:inout* squares:inout* maxima:inout*?",
    "skip:in?:i32 steps:in?:i64 lr:real log_beta1:real log_beta2:real rate:real root:real",
)
NADAM = _shrinking(
    "nadam",
    "averages:inout* squares:inout*",
    "gradient_rate:real average_rate:real root:real",
)
RADAM = _shrinking(
    "radam", "averages:inout* squares:inout*", "average_rate:real adaptive_rate:real"
)
COUNT_STEP = register(
    Kernel("optim.cu", "count_step", "steps:inout:i64 skip:in?:i32", lambda: Plan((1,), (32,)))
)
UNSCALE = register(
    Kernel(
        "optim.cu",
        "unscale",
        "grads:inout* sizes:i64* count:i32 scale:in:f32 found:inout:i32",
        per_chunk,
    )
)
UPDATE_SCALE = register(
    Kernel(
        "optim.cu",
        "update_scale",
        "scale:inout:f32 growth:inout:i32 found:in:i32 growth_factor:f32 backoff_factor:f32 "
        "interval:i32",
        lambda: Plan((1,), (32,)),
    )
)


class CudaOptim(OptimKernels):
    """Parameters and state are written in place; what cannot be goes to the portable rules."""

    xp: Any
    modules: Modules

    def sgd_(
        self, params: Arrays, grads: Arrays, buffers: Arrays | None, rule: rules.SGD
    ) -> tuple[Arrays, Arrays | None]:
        if not writable(params, buffers):
            return super().sgd_(params, grads, buffers, rule)
        first = buffers is None
        if not rule.momentum:
            buffers = None
        elif buffers is None:
            buffers = [self.xp.empty(p.shape, dtype=p.dtype) for p in params]
        self._step(
            SGD,
            rule,
            params,
            grads,
            {"buffers": buffers},
            skip=rule.skip,
            first=first,
            nesterov=rule.nesterov,
            lr=rule.lr,
            momentum=rule.momentum,
            fresh=1 - rule.dampening,
        )
        return params, buffers

    def adagrad_(
        self, params: Arrays, grads: Arrays, sums: Arrays, rule: rules.Adagrad
    ) -> tuple[Arrays, Arrays]:
        if not writable(params, sums):
            return super().adagrad_(params, grads, sums, rule)
        self._step(ADAGRAD, rule, params, grads, {"sums": sums}, rate=rule.lr, eps=rule.eps)
        return params, sums

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
        self._step(
            RMSPROP,
            rule,
            params,
            grads,
            {"squares": squares, "averages": averages, "buffers": buffers},
            lr=rule.lr,
            alpha=rule.alpha,
            fresh=1 - rule.alpha,
            eps=rule.eps,
            momentum=rule.momentum,
        )
        return params, squares, averages, buffers

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
        state = {"squares": squares, "deltas": deltas}
        numbers = {"lr": rule.lr, "rho": rule.rho, "fresh": 1 - rule.rho, "eps": rule.eps}
        self._step(ADADELTA, rule, params, grads, state, **numbers)
        return params, squares, deltas

    def adam_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        squares: Arrays,
        maxima: Arrays | None,
        rule: rules.Adam,
    ) -> tuple[Arrays, Arrays, Arrays, Arrays | None]:
        if not writable(params, averages, squares, maxima):
            return super().adam_(params, grads, averages, squares, maxima, rule)
        state = {"averages": averages, "squares": squares, "maxima": maxima}
        counted = rule.counts_on_device
        self._step(
            ADAM,
            rule,
            params,
            grads,
            state,
            skip=rule.skip,
            steps=rule.step if counted else None,
            lr=rule.lr,
            log_beta1=_log(rule.betas[0]),
            log_beta2=_log(rule.betas[1]),
            rate=0.0 if counted else rule.rate,
            root=1.0 if counted else rule.root,
            **moments(rule),
        )
        return params, averages, squares, maxima

    def nadam_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        squares: Arrays,
        rule: rules.NAdam,
    ) -> tuple[Arrays, Arrays, Arrays]:
        if not writable(params, averages, squares):
            return super().nadam_(params, grads, averages, squares, rule)
        self._step(
            NADAM,
            rule,
            params,
            grads,
            {"averages": averages, "squares": squares},
            gradient_rate=rule.gradient_rate,
            average_rate=rule.average_rate,
            root=rule.root,
            **moments(rule),
        )
        return params, averages, squares

    def radam_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        squares: Arrays,
        rule: rules.RAdam,
    ) -> tuple[Arrays, Arrays, Arrays]:
        if not writable(params, averages, squares):
            return super().radam_(params, grads, averages, squares, rule)
        self._step(
            RADAM,
            rule,
            params,
            grads,
            {"averages": averages, "squares": squares},
            average_rate=rule.average_rate,
            adaptive_rate=rule.adaptive_rate,
            **moments(rule),
        )
        return params, averages, squares

    def adamax_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        norms: Arrays,
        rule: rules.Adamax,
    ) -> tuple[Arrays, Arrays, Arrays]:
        if not writable(params, averages, norms):
            return super().adamax_(params, grads, averages, norms, rule)
        beta1, beta2 = rule.betas
        state = {"averages": averages, "norms": norms}
        numbers = {"rate": rule.lr, "fresh1": 1 - beta1, "beta2": beta2, "eps": rule.eps}
        self._step(ADAMAX, rule, params, grads, state, **numbers)
        return params, averages, norms

    def count_step_(self, step: Array, skip: Array | None) -> Array:
        launch(COUNT_STEP, self.modules, steps=step, skip=skip)
        return step

    def unscale_(self, grads: Arrays, scale: Array, found: Array) -> tuple[Arrays, Array]:
        if not writable(grads):
            return super().unscale_(grads, scale, found)
        for k in range(0, len(grads), MOST_LISTED):
            part = grads[k : k + MOST_LISTED]
            launch(
                UNSCALE,
                self.modules,
                grads=part,
                sizes=[g.size for g in part],
                count=len(part),
                scale=scale,
                found=found,
            )
        return grads, found

    def update_scale_(
        self,
        scale: Array,
        found: Array,
        growth: Array,
        growth_factor: float,
        backoff_factor: float,
        interval: int,
    ) -> tuple[Array, Array]:
        launch(
            UPDATE_SCALE,
            self.modules,
            scale=scale,
            growth=growth,
            found=found,
            growth_factor=growth_factor,
            backoff_factor=backoff_factor,
            interval=interval,
        )
        return scale, growth

    def _step(
        self,
        kernel: Kernel,
        rule: rules.Rule,
        params: Arrays,
        grads: Arrays,
        state: Mapping[str, Arrays | None],
        **numbers: Any,
    ) -> None:
        """One launch for each 64 parameters."""
        for k in range(0, len(params), MOST_LISTED):
            part = slice(k, k + MOST_LISTED)
            sizes = [p.size for p in params[part]]
            launch(
                kernel,
                self.modules,
                params=params[part],
                grads=grads[part],
                sizes=sizes,
                count=len(sizes),
                sign=rule.sign,
                decay=rule.decay,
                **{name: None if a is None else a[part] for name, a in state.items()},
                **numbers,
            )


def writable(*lists: Arrays | None) -> bool:
    """Whether the kernels can write into all these arrays."""
    return all(a.dtype in REALS and a.flags.c_contiguous for arrays in lists for a in arrays or ())


def _log(beta: float) -> float:
    """log β, with β^t = e^(t log β); of 0 a number so low that this is 0."""
    return math.log(beta) if beta else -1e30


def moments(rule: rules.Moments) -> dict[str, float]:
    """The numbers that Adam's relatives share."""
    beta1, beta2 = rule.betas
    return {
        "fresh1": 1 - beta1,
        "beta2": beta2,
        "fresh2": 1 - beta2,
        "eps": rule.eps,
        "shrink": rule.shrink,
    }
