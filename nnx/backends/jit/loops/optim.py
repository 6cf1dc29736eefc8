"""The loops of the optimizers' steps, compiled by numba; `optim.py` beside this file calls them.

One pass over flat arrays: every value is read once and written once.  The numbers arrive as Python
floats and are rounded to the arrays' dtype first, so that float32 is computed in float32.
A product and a sum may be fused into one rounding; nothing else is reordered.
"""

from __future__ import annotations

import numpy as np

from ..codegen.compiling import fused


@fused
def sgd(p, g, lr, decay, sign):
    real = p.dtype.type
    lr, decay, sign = real(lr), real(decay), real(sign)
    for i in range(p.size):
        p[i] -= lr * (sign * g[i] + decay * p[i])


@fused
def momentum(p, g, v, lr, decay, sign, mu, fresh, ahead):
    """v = mu v + fresh g;  p -= lr (v, or g + mu v where `ahead`)."""
    real = p.dtype.type
    lr, decay, sign, mu, fresh = real(lr), real(decay), real(sign), real(mu), real(fresh)
    if ahead:
        for i in range(p.size):
            d = sign * g[i] + decay * p[i]
            w = mu * v[i] + fresh * d
            v[i] = w
            p[i] -= lr * (d + mu * w)
    else:
        for i in range(p.size):
            w = mu * v[i] + fresh * (sign * g[i] + decay * p[i])
            v[i] = w
            p[i] -= lr * w


@fused
def adagrad(p, g, s, rate, eps, decay, sign):
    real = p.dtype.type
    rate, eps, decay, sign = real(rate), real(eps), real(decay), real(sign)
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        t = s[i] + d * d
        s[i] = t
        p[i] -= rate * d / (np.sqrt(t) + eps)


@fused
def rmsprop(p, g, s, lr, alpha, eps, decay, sign):
    real = p.dtype.type
    fresh = real(1 - alpha)
    lr, alpha, eps, decay, sign = real(lr), real(alpha), real(eps), real(decay), real(sign)
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        t = alpha * s[i] + fresh * d * d
        s[i] = t
        p[i] -= lr * d / (np.sqrt(t) + eps)


@fused
def adadelta(p, g, s, a, lr, rho, eps, decay, sign):
    real = p.dtype.type
    fresh = real(1 - rho)
    lr, rho, eps, decay, sign = real(lr), real(rho), real(eps), real(decay), real(sign)
    for i in range(p.size):
        d = sign * g[i] + decay * p[i]
        t = rho * s[i] + fresh * d * d
        s[i] = t
        step = np.sqrt(a[i] + eps) / np.sqrt(t + eps) * d
        a[i] = rho * a[i] + fresh * step * step
        p[i] -= lr * step


@fused
def adam(p, g, m, s, rate, small, beta1, beta2, shrink, decay, sign):
    real = p.dtype.type
    fresh1, fresh2 = real(1 - beta1), real(1 - beta2)
    rate, small, beta1, beta2 = real(rate), real(small), real(beta1), real(beta2)
    shrink, decay, sign = real(shrink), real(decay), real(sign)
    for i in range(p.size):
        x = p[i]
        d = sign * g[i] + decay * x
        a = beta1 * m[i] + fresh1 * d
        t = beta2 * s[i] + fresh2 * d * d
        m[i] = a
        s[i] = t
        p[i] = shrink * x - rate * a / (np.sqrt(t) + small)
