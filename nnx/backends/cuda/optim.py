"""Optimizer steps in CUDA, in place, over all parameters at once (`kernels/optim.cu`)."""

from __future__ import annotations

import math
from typing import Any

from ..kernel import MOST_LISTED
from ..launcher import REALS, Kernel, Modules, Plan, ceil_div, launch, register
from ..portable.optim import OptimKernels

Array = Any
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


SGD = _kernel("sgd", "buffers:inout*?", "first:i32 nesterov:i32 lr:real momentum:real fresh:real")
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
ADAM = _shrinking("adam", "averages:inout* squares:inout* maxima:inout*?", "rate:real root:real")
NADAM = _shrinking(
    "nadam",
    "averages:inout* squares:inout*",
    "gradient_rate:real average_rate:real root:real",
)
RADAM = _shrinking(
    "radam", "averages:inout* squares:inout*", "average_rate:real adaptive_rate:real"
)


class CudaOptim(OptimKernels):
    """Parameters and state are written in place; what cannot be goes to the portable rules."""

    xp: Any
    modules: Modules

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
        if not writable(params, buffers):
            return super().sgd_(
                params,
                grads,
                buffers,
                lr,
                momentum,
                dampening,
                nesterov,
                weight_decay,
                maximize,
            )
        first = buffers is None
        if not momentum:
            buffers = None
        elif buffers is None:
            buffers = [self.xp.empty(p.shape, dtype=p.dtype) for p in params]
        self._step(
            SGD,
            params,
            grads,
            {"buffers": buffers},
            first=first,
            nesterov=nesterov,
            lr=lr,
            momentum=momentum,
            fresh=1 - dampening,
            **descent(weight_decay, maximize),
        )
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
        numbers = descent(weight_decay, maximize)
        self._step(ADAGRAD, params, grads, {"sums": sums}, rate=rate, eps=eps, **numbers)
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
            return super().rmsprop_(
                params,
                grads,
                squares,
                averages,
                buffers,
                lr,
                alpha,
                eps,
                weight_decay,
                momentum,
                maximize,
            )
        self._step(
            RMSPROP,
            params,
            grads,
            {"squares": squares, "averages": averages, "buffers": buffers},
            lr=lr,
            alpha=alpha,
            fresh=1 - alpha,
            eps=eps,
            momentum=momentum,
            **descent(weight_decay, maximize),
        )
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
            return super().adadelta_(
                params, grads, squares, deltas, lr, rho, eps, weight_decay, maximize
            )
        self._step(
            ADADELTA,
            params,
            grads,
            {"squares": squares, "deltas": deltas},
            lr=lr,
            rho=rho,
            fresh=1 - rho,
            eps=eps,
            **descent(weight_decay, maximize),
        )
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
            return super().adam_(
                params,
                grads,
                averages,
                squares,
                maxima,
                step,
                lr,
                beta1,
                beta2,
                eps,
                weight_decay,
                decoupled,
                maximize,
            )
        self._step(
            ADAM,
            params,
            grads,
            {"averages": averages, "squares": squares, "maxima": maxima},
            rate=lr / (1 - beta1**step),
            root=math.sqrt(1 - beta2**step),
            **moments(beta1, beta2, eps),
            **decayed(lr, weight_decay, decoupled, maximize),
        )
        return params, averages, squares, maxima

    def nadam_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        squares: Arrays,
        step: int,
        gradient_rate: float,
        average_rate: float,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
        maximize: bool,
    ) -> tuple[Arrays, Arrays, Arrays]:
        if not writable(params, averages, squares):
            return super().nadam_(
                params,
                grads,
                averages,
                squares,
                step,
                gradient_rate,
                average_rate,
                lr,
                beta1,
                beta2,
                eps,
                weight_decay,
                decoupled,
                maximize,
            )
        self._step(
            NADAM,
            params,
            grads,
            {"averages": averages, "squares": squares},
            gradient_rate=gradient_rate,
            average_rate=average_rate,
            root=math.sqrt(1 - beta2**step),
            **moments(beta1, beta2, eps),
            **decayed(lr, weight_decay, decoupled, maximize),
        )
        return params, averages, squares

    def radam_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        squares: Arrays,
        average_rate: float,
        adaptive_rate: float,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
        maximize: bool,
    ) -> tuple[Arrays, Arrays, Arrays]:
        if not writable(params, averages, squares):
            return super().radam_(
                params,
                grads,
                averages,
                squares,
                average_rate,
                adaptive_rate,
                lr,
                beta1,
                beta2,
                eps,
                weight_decay,
                decoupled,
                maximize,
            )
        self._step(
            RADAM,
            params,
            grads,
            {"averages": averages, "squares": squares},
            average_rate=average_rate,
            adaptive_rate=adaptive_rate,
            **moments(beta1, beta2, eps),
            **decayed(lr, weight_decay, decoupled, maximize),
        )
        return params, averages, squares

    def adamax_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        norms: Arrays,
        rate: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        maximize: bool,
    ) -> tuple[Arrays, Arrays, Arrays]:
        if not writable(params, averages, norms):
            return super().adamax_(
                params, grads, averages, norms, rate, beta1, beta2, eps, weight_decay, maximize
            )
        self._step(
            ADAMAX,
            params,
            grads,
            {"averages": averages, "norms": norms},
            rate=rate,
            fresh1=1 - beta1,
            beta2=beta2,
            eps=eps,
            **descent(weight_decay, maximize),
        )
        return params, averages, norms

    def _step(
        self,
        kernel: Kernel,
        params: Arrays,
        grads: Arrays,
        state: dict[str, Arrays | None],
        **numbers: float,
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
                **{name: None if a is None else a[part] for name, a in state.items()},
                **numbers,
            )


def writable(*lists: Arrays | None) -> bool:
    """Whether the kernels can write into all these arrays."""
    return all(a.dtype in REALS and a.flags.c_contiguous for arrays in lists for a in arrays or ())


def descent(weight_decay: float, maximize: bool) -> dict[str, float]:
    return {"sign": -1.0 if maximize else 1.0, "decay": weight_decay}


def decayed(lr: float, weight_decay: float, decoupled: bool, maximize: bool) -> dict[str, float]:
    if decoupled:
        return descent(0.0, maximize) | {"shrink": 1 - lr * weight_decay}
    return descent(weight_decay, maximize) | {"shrink": 1.0}


def moments(beta1: float, beta2: float, eps: float) -> dict[str, float]:
    return {"fresh1": 1 - beta1, "beta2": beta2, "fresh2": 1 - beta2, "eps": eps}
