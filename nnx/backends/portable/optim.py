"""One step of an optimizer for all parameters of a group, in one call.

Every kernel takes lists with one array per parameter, all of one dtype, and numbers, and returns
lists of the same lengths: the new parameters first, then the new state in the order it was given.
Nothing is written here.  A faster backend may write into the parameters and the state, which the
caller gives up by calling; gradients belong to the tape and are never written.  What the symbols
mean stands with each optimizer in `nnx.optim`.
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

        `buffers` is None before the first step, which starts with v = g, and where μ is 0.
        """
        new, moved = [], []
        for k, p in enumerate(params):
            g = self._descent(p, grads[k], weight_decay, maximize)
            if momentum:
                if buffers is None:
                    v = self.xp.asarray(g, copy=True)
                else:
                    v = momentum * buffers[k] + (1 - dampening) * g
                g = g + momentum * v if nesterov else v
                moved.append(v)
            new.append(p - lr * g)
        return new, moved if momentum else None

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
        """s += g²;  p -= rate g / (√s + ε)."""
        new, squares = [], []
        for p, g, s in zip(params, grads, sums, strict=True):
            g = self._descent(p, g, weight_decay, maximize)
            s = s + g * g
            new.append(p - rate * g / (self.xp.sqrt(s) + eps))
            squares.append(s)
        return new, squares

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
        """s = α s + (1-α) g²;  p -= lr g / (√s + ε).

        With `averages` (centered) a = α a + (1-α) g and √(s - a²) takes the place of √s; with
        `buffers` the quotient moves v = μ v + g / (√s + ε) and p -= lr v.
        """
        xp = self.xp
        out: tuple[Arrays, Arrays, Arrays, Arrays] = ([], [], [], [])
        for k, p in enumerate(params):
            g = self._descent(p, grads[k], weight_decay, maximize)
            s = alpha * squares[k] + (1 - alpha) * g * g
            root = s
            if averages is not None:
                a = averages[k] + (1 - alpha) * (g - averages[k])
                root = s - a * a
                out[2].append(a)
            step = g / (xp.sqrt(root) + eps)
            if buffers is not None:
                step = momentum * buffers[k] + step
                out[3].append(step)
            out[0].append(p - lr * step)
            out[1].append(s)
        return out[0], out[1], None if averages is None else out[2], out[3] if buffers else None

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
        """s = ρ s + (1-ρ) g²;  δ = g √(d + ε) / √(s + ε);  d = ρ d + (1-ρ) δ²;  p -= lr δ."""
        xp = self.xp
        out: tuple[Arrays, Arrays, Arrays] = ([], [], [])
        for p, g, s, d in zip(params, grads, squares, deltas, strict=True):
            g = self._descent(p, g, weight_decay, maximize)
            s = rho * s + (1 - rho) * g * g
            step = xp.sqrt(d + eps) / xp.sqrt(s + eps) * g
            d = rho * d + (1 - rho) * step * step
            for place, array in zip(out, (p - lr * step, s, d), strict=True):
                place.append(array)
        return out

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
        for k, p in enumerate(params):
            p, g = self._decayed(p, grads[k], lr, weight_decay, decoupled, maximize)
            m, s = self._moments(g, averages[k], squares[k], beta1, beta2)
            largest = s
            if maxima is not None:
                largest = xp.maximum(maxima[k], s)
                out[3].append(largest)
            new = p - rate * m / (xp.sqrt(largest) / root + eps)
            for place, array in zip(out, (new, m, s), strict=False):
                place.append(array)
        return out[0], out[1], out[2], None if maxima is None else out[3]

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
        """Adam's m and s;  p -= (gradient_rate g + average_rate m) / (√ŝ + ε)."""
        root = math.sqrt(1 - beta2**step)
        out: tuple[Arrays, Arrays, Arrays] = ([], [], [])
        for k, p in enumerate(params):
            p, g = self._decayed(p, grads[k], lr, weight_decay, decoupled, maximize)
            m, s = self._moments(g, averages[k], squares[k], beta1, beta2)
            change = (gradient_rate * g + average_rate * m) / (self.xp.sqrt(s) / root + eps)
            for place, array in zip(out, (p - change, m, s), strict=True):
                place.append(array)
        return out

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
        """Adam's m and s;  p -= average_rate m + adaptive_rate m / (√s + ε)."""
        out: tuple[Arrays, Arrays, Arrays] = ([], [], [])
        for k, p in enumerate(params):
            p, g = self._decayed(p, grads[k], lr, weight_decay, decoupled, maximize)
            m, s = self._moments(g, averages[k], squares[k], beta1, beta2)
            if adaptive_rate:
                p = p - adaptive_rate * m / (self.xp.sqrt(s) + eps)
            else:
                p = p - average_rate * m
            for place, array in zip(out, (p, m, s), strict=True):
                place.append(array)
        return out

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
        """m = β1 m + (1-β1) g;  u = max(β2 u, |g| + ε);  p -= rate m / u."""
        xp = self.xp
        out: tuple[Arrays, Arrays, Arrays] = ([], [], [])
        for k, p in enumerate(params):
            g = self._descent(p, grads[k], weight_decay, maximize)
            m = averages[k] + (1 - beta1) * (g - averages[k])
            u = xp.maximum(beta2 * norms[k], xp.abs(g) + eps)
            for place, array in zip(out, (p - rate * m / u, m, u), strict=True):
                place.append(array)
        return out

    # ---- what they share ----

    def _descent(self, p: Array, g: Array, weight_decay: float, maximize: bool) -> Array:
        """The gradient of what is minimised: of -L where L is maximised, and of (λ/2) |p|²."""
        if maximize:
            g = -g
        return g + weight_decay * p if weight_decay else g

    def _decayed(
        self, p: Array, g: Array, lr: float, weight_decay: float, decoupled: bool, maximize: bool
    ) -> tuple[Array, Array]:
        """p and g with weight decay: p shrunk by lr λ where it is decoupled, else λ p in g."""
        if decoupled:
            return p * (1 - lr * weight_decay), -g if maximize else g
        return p, self._descent(p, g, weight_decay, maximize)

    def _moments(
        self, g: Array, m: Array, s: Array, beta1: float, beta2: float
    ) -> tuple[Array, Array]:
        """The running averages of g and of g²."""
        return m + (1 - beta1) * (g - m), beta2 * s + (1 - beta2) * g * g
