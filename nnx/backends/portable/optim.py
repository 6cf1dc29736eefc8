"""One step of an optimizer for all parameters of a group, in one call.

Every kernel takes lists with one array per parameter, all of one dtype, and the numbers of its
rule, and returns lists of the same lengths: the new parameters first, then the new state in the
order it was given.  Nothing is written here.  A faster backend may write into the parameters and
the state, which the caller gives up by calling; gradients belong to the tape and are never
written.  What the symbols mean stands with each optimizer in `nnx.optim`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...typing import Array

if TYPE_CHECKING:
    from . import optim_rules as rules

Arrays = list[Any]


class OptimKernels:
    """The update rules, with PyTorch's definitions.

    Each takes lists with one array per parameter: `params` p, their gradients `grads` g, and the
    state; and a `rule` with the numbers.  It returns the new p and the new state, in the same
    lists.
    """

    xp: Any

    def sgd_(
        self, params: Arrays, grads: Arrays, buffers: Arrays | None, rule: rules.SGD
    ) -> tuple[Arrays, Arrays | None]:
        """v = μ v + (1 - d) g;  p -= lr v, or lr (g + μ v) by Nesterov.

        Args:
            params, grads, rule: p, g, and the numbers, as the class says.
            buffers: v; None before the first step, which starts with v = g, and where μ is 0.
        """
        new, moved = [], []
        for k, p in enumerate(params):
            g = self._descent(p, grads[k], rule)
            if rule.momentum:
                if buffers is None:
                    v = self.xp.asarray(g, copy=True)
                else:
                    v = rule.momentum * buffers[k] + (1 - rule.dampening) * g
                g = g + rule.momentum * v if rule.nesterov else v
                moved.append(v)
            new.append(p - rule.lr * g)
        if rule.skip is not None:
            if rule.momentum:
                before = buffers or [self.xp.zeros_like(p) for p in params]
                moved = self._unless(rule.skip, before, moved)
            new = self._unless(rule.skip, params, new)
        return new, moved if rule.momentum else None

    def asgd_(
        self, params: Arrays, grads: Arrays, averages: Arrays, rule: rules.ASGD
    ) -> tuple[Arrays, Arrays]:
        """p = shrink p - η g;  a += share (p - a).

        Args:
            params, grads, rule: p, g, and the numbers; its lr is η.
            averages: a.
        """
        new, moved = [], []
        for p, g, a in zip(params, grads, averages, strict=True):
            g = self._descent(p, g, rule)
            p = p * rule.shrink - rule.lr * g
            new.append(p)
            a = self.xp.asarray(p, copy=True) if rule.share == 1 else a + rule.share * (p - a)
            moved.append(a)
        return new, moved

    def rprop_(
        self, params: Arrays, grads: Arrays, before: Arrays, sizes: Arrays, rule: rules.Rprop
    ) -> tuple[Arrays, Arrays, Arrays]:
        """s *= η⁺ where g has kept its sign, η⁻ where it has turned, and g = 0 there;  p -= sign(g)
        s.

        Args:
            params, grads, rule: p, g, and the numbers.
            before: the g of the last step.
            sizes: s.
        """
        xp, (down, up), (least, most) = self.xp, rule.etas, rule.step_sizes
        out: tuple[Arrays, Arrays, Arrays] = ([], [], [])
        for p, g, last, s in zip(params, grads, before, sizes, strict=True):
            g = self._descent(p, g, rule)
            along = g * last
            s = xp.clip(xp.where(along > 0, s * up, xp.where(along < 0, s * down, s)), least, most)
            g = xp.where(along < 0, xp.zeros_like(g), g)
            for place, array in zip(out, (p - xp.sign(g) * s, g, s), strict=True):
                place.append(array)
        return out

    def adagrad_(
        self, params: Arrays, grads: Arrays, sums: Arrays, rule: rules.Adagrad
    ) -> tuple[Arrays, Arrays]:
        """s += g²;  p -= lr g / (√s + ε).

        Args:
            params, grads, rule: p, g, and the numbers.
            sums: s.
        """
        new, squares = [], []
        for p, g, s in zip(params, grads, sums, strict=True):
            g = self._descent(p, g, rule)
            s = s + g * g
            new.append(p - rule.lr * g / (self.xp.sqrt(s) + rule.eps))
            squares.append(s)
        return new, squares

    def rmsprop_(
        self,
        params: Arrays,
        grads: Arrays,
        squares: Arrays,
        averages: Arrays | None,
        buffers: Arrays | None,
        rule: rules.RMSprop,
    ) -> tuple[Arrays, Arrays, Arrays | None, Arrays | None]:
        """s = α s + (1-α) g²;  p -= lr g / (√s + ε).

        Args:
            params, grads, rule: p, g, and the numbers.
            squares: s.
            averages: a = α a + (1-α) g, and √(s - a²) takes the place of √s; None: not centered.
            buffers: v = μ v + g / (√s + ε), and p -= lr v; None: no momentum.
        """
        xp, alpha = self.xp, rule.alpha
        out: tuple[Arrays, Arrays, Arrays, Arrays] = ([], [], [], [])
        for k, p in enumerate(params):
            g = self._descent(p, grads[k], rule)
            s = alpha * squares[k] + (1 - alpha) * g * g
            root = s
            if averages is not None:
                a = averages[k] + (1 - alpha) * (g - averages[k])
                root = s - a * a
                out[2].append(a)
            step = g / (xp.sqrt(root) + rule.eps)
            if buffers is not None:
                step = rule.momentum * buffers[k] + step
                out[3].append(step)
            out[0].append(p - rule.lr * step)
            out[1].append(s)
        return out[0], out[1], None if averages is None else out[2], out[3] if buffers else None

    def adadelta_(
        self,
        params: Arrays,
        grads: Arrays,
        squares: Arrays,
        deltas: Arrays,
        rule: rules.Adadelta,
    ) -> tuple[Arrays, Arrays, Arrays]:
        """s = ρ s + (1-ρ) g²;  δ = g √(d + ε) / √(s + ε);  d = ρ d + (1-ρ) δ²;  p -= lr δ.

        Args:
            params, grads, rule: p, g, and the numbers.
            squares: s.
            deltas: d.
        """
        xp, rho, eps = self.xp, rule.rho, rule.eps
        out: tuple[Arrays, Arrays, Arrays] = ([], [], [])
        for p, g, s, d in zip(params, grads, squares, deltas, strict=True):
            g = self._descent(p, g, rule)
            s = rho * s + (1 - rho) * g * g
            step = xp.sqrt(d + eps) / xp.sqrt(s + eps) * g
            d = rho * d + (1 - rho) * step * step
            for place, array in zip(out, (p - rule.lr * step, s, d), strict=True):
                place.append(array)
        return out

    def adam_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        squares: Arrays,
        maxima: Arrays | None,
        rule: rules.Adam,
    ) -> tuple[Arrays, Arrays, Arrays, Arrays | None]:
        """m = β1 m + (1-β1) g;  s = β2 s + (1-β2) g²;  p -= lr m̂ / (√ŝ + ε).

        m̂ = m / (1-β1^t) and ŝ = s / (1-β2^t).  Weight decay is added to g, or, decoupled, shrinks
        p first (AdamW).

        Args:
            params, grads, rule: p, g, and the numbers, t = rule.step among them.
            averages: m.
            squares: s.
            maxima: the largest s so far, of which ŝ is made then (AMSGrad); None: s itself.
        """
        xp = self.xp
        rate, root = self._rates(rule, params)
        out: tuple[Arrays, Arrays, Arrays, Arrays] = ([], [], [], [])
        for k, p in enumerate(params):
            _, m, s = self._moments(p, grads[k], averages[k], squares[k], rule)
            largest = s
            if maxima is not None:
                largest = xp.maximum(maxima[k], s)
                out[3].append(largest)
            new = p * rule.shrink - rate * m / (xp.sqrt(largest) / root + rule.eps)
            for place, array in zip(out, (new, m, s), strict=False):
                place.append(array)
        results = [out[0], out[1], out[2], None if maxima is None else out[3]]
        if rule.skip is not None:
            before = (params, averages, squares, maxima)
            results = [
                new if new is None or old is None else self._unless(rule.skip, old, new)
                for old, new in zip(before, results, strict=True)
            ]
        return tuple(results)  # type: ignore[return-value]

    def _rates(self, rule: rules.Adam, params: Arrays) -> tuple[Any, Any]:
        """lr / (1 - β1^t) and √(1 - β2^t): numbers, or arrays of shape () where t is one."""
        if not rule.counts_on_device or not params:
            return (rule.rate, rule.root) if params else (0.0, 1.0)
        xp, dtype = self.xp, params[0].dtype
        wide = getattr(xp, "float64", dtype)
        t = xp.astype(rule.step, wide)
        one, two = (
            -xp.expm1(t * math.log(beta)) if beta else xp.ones_like(t) for beta in rule.betas
        )
        return xp.astype(rule.lr / one, dtype), xp.astype(xp.sqrt(two), dtype)

    def _unless(self, skip: Array, old: Arrays, new: Arrays) -> Arrays:
        """The old arrays where `skip` is not 0, else the new ones."""
        return [self.xp.where(skip != 0, a, b) for a, b in zip(old, new, strict=True)]

    def count_step_(self, step: Array, skip: Array | None) -> Array:
        """step + 1, unless a step is left out.

        Args:
            step: (), int64.
            skip: (), int32, not 0 where it is left out; None: it is made.
        """
        xp = self.xp
        return xp.asarray(step + (1 if skip is None else xp.astype(skip == 0, step.dtype)))

    def unscale_(self, grads: Arrays, scale: Array, found: Array) -> tuple[Arrays, Array]:
        """g / scale, and whether any of it, or anything before, is infinite or NaN.

        Args:
            grads: g, of any shapes.
            scale: (), float32.
            found: (), int32: not 0 if something was found before.

        Returns:
            The new g, and the new `found`, 1 or as it was.
        """
        xp, new = self.xp, []
        for g in grads:
            g = g * xp.astype(1 / scale, g.dtype)
            new.append(g)
            spoiled = xp.astype(~xp.all(xp.isfinite(g)), xp.int32)
            found = xp.maximum(found, xp.asarray(spoiled))
        return [xp.asarray(g) for g in new], xp.asarray(found)

    def update_scale_(
        self,
        scale: Array,
        found: Array,
        growth: Array,
        growth_factor: float,
        backoff_factor: float,
        interval: int,
    ) -> tuple[Array, Array]:
        """A loss's scale after a step: less after an overflow, more after `interval` steps without.

        Args:
            scale: (), float32; it does not grow to infinity.
            found: (), int32: not 0 where this step had an overflow.
            growth: (), int32: how many steps in a row had none.
            growth_factor, backoff_factor: what the scale is multiplied by.
            interval: see above.

        Returns:
            The new scale and the new growth.
        """
        xp, overflow, steps = self.xp, found != 0, growth + 1
        full = steps == interval
        grown = scale * growth_factor
        grown = xp.where(full & xp.isfinite(grown), grown, scale)
        scale = xp.where(overflow, scale * backoff_factor, grown)
        growth = xp.where(overflow | full, xp.zeros_like(growth), steps)
        return xp.asarray(scale), xp.asarray(growth)

    def nadam_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        squares: Arrays,
        rule: rules.NAdam,
    ) -> tuple[Arrays, Arrays, Arrays]:
        """Adam's m and s;  p -= (gradient_rate g + average_rate m) / (√ŝ + ε).

        Args:
            params, grads, rule: p, g, and the numbers.
            averages, squares: m and s.
        """
        root = rule.root
        out: tuple[Arrays, Arrays, Arrays] = ([], [], [])
        for k, p in enumerate(params):
            g, m, s = self._moments(p, grads[k], averages[k], squares[k], rule)
            change = rule.gradient_rate * g + rule.average_rate * m
            new = p * rule.shrink - change / (self.xp.sqrt(s) / root + rule.eps)
            for place, array in zip(out, (new, m, s), strict=True):
                place.append(array)
        return out

    def radam_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        squares: Arrays,
        rule: rules.RAdam,
    ) -> tuple[Arrays, Arrays, Arrays]:
        """Adam's m and s;  p -= adaptive_rate m / (√s + ε), or average_rate m where that is 0.

        Args:
            params, grads, rule: p, g, and the numbers.
            averages, squares: m and s.
        """
        out: tuple[Arrays, Arrays, Arrays] = ([], [], [])
        for k, p in enumerate(params):
            _, m, s = self._moments(p, grads[k], averages[k], squares[k], rule)
            if rule.adaptive_rate:
                step = rule.adaptive_rate * m / (self.xp.sqrt(s) + rule.eps)
            else:
                step = rule.average_rate * m
            for place, array in zip(out, (p * rule.shrink - step, m, s), strict=True):
                place.append(array)
        return out

    def adamax_(
        self,
        params: Arrays,
        grads: Arrays,
        averages: Arrays,
        norms: Arrays,
        rule: rules.Adamax,
    ) -> tuple[Arrays, Arrays, Arrays]:
        """m = β1 m + (1-β1) g;  u = max(β2 u, |g| + ε);  p -= lr m / u.

        Args:
            params, grads, rule: p, g, and the numbers.
            averages, norms: m and u.
        """
        xp, (beta1, beta2) = self.xp, rule.betas
        out: tuple[Arrays, Arrays, Arrays] = ([], [], [])
        for k, p in enumerate(params):
            g = self._descent(p, grads[k], rule)
            m = averages[k] + (1 - beta1) * (g - averages[k])
            u = xp.maximum(beta2 * norms[k], xp.abs(g) + rule.eps)
            for place, array in zip(out, (p - rule.lr * m / u, m, u), strict=True):
                place.append(array)
        return out

    # ---- what they share ----

    def _descent(self, p: Array, g: Array, rule: rules.Rule) -> Array:
        """The gradient of what is minimised: of -L where L is maximised, and of (λ/2) |p|²."""
        if rule.maximize:
            g = -g
        return g + rule.decay * p if rule.decay else g

    def _moments(
        self, p: Array, g: Array, m: Array, s: Array, rule: rules.Moments
    ) -> tuple[Array, Array, Array]:
        """The gradient of what is minimised, and the running averages of g and of g²."""
        g = self._descent(p, g, rule)
        beta1, beta2 = rule.betas
        return g, m + (1 - beta1) * (g - m), beta2 * s + (1 - beta2) * g * g
