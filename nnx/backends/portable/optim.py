"""One step of an optimizer over all parameters of a group, in one call.

Every method takes lists with one array per parameter, all of one dtype, and returns lists of the
same lengths.  Nothing is written here; faster backends write into the parameters and the state,
which the caller gives up by calling.  Gradients belong to the tape and are never written.  The
formulas are derived in `nnx.optim`.
"""

from __future__ import annotations

import math
from typing import Any

Array = Any
Arrays = list[Any]


class OptimKernels:
    """The update rules, with PyTorch's definitions."""

    xp: Any

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
        """v = μ v + (1 - d) g;  p -= lr v, or lr (g + μ v) by Nesterov.

        `buffers` is None before the first step, which starts with v = g; and where momentum is 0.
        """
        new_params, new_buffers = [], []
        for k, (p, g) in enumerate(zip(params, grads, strict=True)):
            g = self._descent(p, g, weight_decay, maximize)
            if momentum:
                if buffers is None:
                    v = self.xp.asarray(g, copy=True)
                else:
                    v = momentum * buffers[k] + (1 - dampening) * g
                g = g + momentum * v if nesterov else v
                new_buffers.append(v)
            new_params.append(p - lr * g)
        return new_params, new_buffers if momentum else None

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
        """m = β1 m + (1-β1) g;  s = β2 s + (1-β2) g²;  p -= lr m̂ / (√ŝ + ε).

        m̂ = m / (1-β1^step) and ŝ = s / (1-β2^step); with `maxima` ŝ is made of the largest s so
        far (AMSGrad).  Weight decay is added to g, or, decoupled, shrinks p first (AdamW).
        """
        xp = self.xp
        rate = lr / (1 - beta1**step)
        root = math.sqrt(1 - beta2**step)
        out: tuple[Arrays, Arrays, Arrays, Arrays] = ([], [], [], [])
        for k, (p, g) in enumerate(zip(params, grads, strict=True)):
            if decoupled:
                g = -g if maximize else g
                p = p * (1 - lr * weight_decay)
            else:
                g = self._descent(p, g, weight_decay, maximize)
            m = beta1 * averages[k] + (1 - beta1) * g
            s = beta2 * squares[k] + (1 - beta2) * g * g
            largest = s
            if maxima is not None:
                largest = xp.maximum(maxima[k], s)
                out[3].append(largest)
            out[0].append(p - rate * m / (xp.sqrt(largest) / root + eps))
            out[1].append(m)
            out[2].append(s)
        return out[0], out[1], out[2], None if maxima is None else out[3]

    def _descent(self, p: Array, g: Array, weight_decay: float, maximize: bool) -> Array:
        """The gradient of what is minimised: of -L to maximise L, and of (λ/2) |p|² besides."""
        if maximize:
            g = -g
        return g + weight_decay * p if weight_decay else g
