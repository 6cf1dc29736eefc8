"""Connectionist temporal classification: a sequence of labels whose times are not known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...backends import Array, Backend, backend_of
from ...tensor import Tensor
from .._function import Unary
from .._operands import as_array, as_tensor
from ..array.autocast import in_float32
from ..array.shape import expand_dims, reshape
from .reduction import check_reduction, require_float


class CTC(Unary):
    """-log p(l | x) summed over all ways to say the labels l in T steps (Graves et al. 2006).

    A way names a class or the blank at every step; reading it drops repeats, then blanks.  Between
    labels, before and after them may stand blanks, so that l of S labels becomes l' of L = 2S + 1:
    blank l[1] blank l[2] ... l[S] blank.  A way goes through l' from one of the first two places to
    one of the last two: at each step it stays, goes on by one place, or by two where that leaves
    out a blank between two different labels.  With y[t,c] the log-probability of class c,

        a[t,s] = y[t,l'[s]] + log( e^a[t-1,s] + e^a[t-1,s-1] + e^a[t-1,s-2] )

    is the logarithm of all ways that are at place s at step t, the last term only where that is
    allowed, and log p = log(e^a[T-1,L-1] + e^a[T-1,L-2]).  All in logarithms: a product of a
    thousand probabilities is below the smallest number.

    Backward.  Let b[t,s] be the logarithm of all ways to go on from place s after step t:

        b[t,s] = log sum over s' in s, s+1, s+2 of e^(y[t+1,l'[s']] + b[t+1,s']),   b[T-1,s] = 0 for
                 the last two places, else -∞

    e^(a + b)[t,s] are then all ways through (t, s), and as each way says one class at each step, p
    is their sum over s, for every t.  y[t,c] enters p as the factor e^y of those with l'[s] = c, so

        dloss/dy[t,c] = -1/p sum over s with l'[s] = c of e^(a[t,s] + b[t,s])

    the probability that class c is said at step t, with its sign changed.  (PyTorch gives e^y[t,c]
    more, which is the same after the backward of the log-softmax that y is supposed to come from,
    for that takes the mean away; this is the derivative for y itself.)
    """

    def __init__(
        self,
        targets: Array,
        steps: Array,
        labels: Array,
        blank: int,
        weights: Array,
        reduction: str,
        zero_infinity: bool,
    ) -> None:
        self.targets, self.steps, self.labels, self.blank = targets, steps, labels, blank
        self.weights, self.reduction, self.zero_infinity = weights, reduction, zero_infinity

    def forward(self, y: Array) -> Array:
        xp = self.backend.xp
        losses, saved = self.backend.ctc_loss(y, self.targets, self.steps, self.labels, self.blank)
        if self.needs_input_grad[0]:
            self.saved = saved
        endless = losses == math.inf
        if self.zero_infinity:
            losses = xp.where(endless, xp.zeros_like(losses), losses)
        self.endless = endless
        if self.reduction == "none":
            return losses
        return xp.sum(losses * self.weights)

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        g = g * xp.ones_like(self.weights) if self.reduction == "none" else g * self.weights
        grown = 0.0 if self.zero_infinity else math.nan  # of what no way leads to
        g = xp.where(self.endless, xp.full_like(g, grown), g)
        gy = self.backend.ctc_loss_backward(g, self.saved)
        if self.zero_infinity:
            return gy
        step = xp.arange(gy.shape[0], device=gy.device)
        past = (
            xp.expand_dims(step, axis=1) >= self.steps
        )  # whatever the loss, nothing is read there
        return xp.where(xp.expand_dims(past, axis=2), xp.zeros_like(gy), gy)


@in_float32
def ctc_loss(
    log_probs: Tensor,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability of the labels, whatever the times they are said at (Graves et al.
    2006).

    Args:
        log_probs: log-probabilities of C classes, of which one is the blank: (T, N, C), or (T, C)
            for one sequence.
        targets: the labels, integers: (N, S), of which each sequence has the first target_lengths;
            or all, one sequence after the other, (sum of target_lengths,).
        input_lengths: N integers up to T: how many steps each sequence has; or one, for one.
        target_lengths: N integers: how many labels each has.
        blank: the class that says nothing.
        reduction: "mean" over the batch of the losses divided by the number of labels (at least 1);
            "sum" (one number each); or "none": (N,), or ().
        zero_infinity: a loss is infinite where the steps do not suffice for the labels, and its
            gradient NaN in the steps of the sequence; True: both are 0.

    Raises:
        ValueError: shapes or lengths that do not fit, or an unknown reduction.
        IndexError: a label, or the blank, is none of the C classes.
        TypeError: log_probs is not of a floating-point dtype, or the labels not of integers.
    """
    name = "ctc_loss"
    check_reduction(name, reduction)
    log_probs = as_tensor(name, log_probs)
    require_float(name, log_probs)
    if log_probs.ndim not in (2, 3):
        raise ValueError(
            f"{name}: log_probs must be (T, N, C) or (T, C); its shape is {log_probs.shape}"
        )
    batched = log_probs.ndim == 3
    if not batched:
        log_probs = expand_dims(log_probs, axis=1)
    steps, n, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise IndexError(f"{name}: the blank {blank} is not one of the {classes} classes")
    home = backend_of(log_probs.data)
    said = _host(name, "targets", targets, home, log_probs)
    frames = _lengths(name, "input_lengths", input_lengths, n, steps, home, log_probs)
    if not batched and said.ndim == 1:
        said = said[None]
    most = said.shape[1] if said.ndim == 2 else said.size
    labels = _lengths(name, "target_lengths", target_lengths, n, most, home, log_probs)
    padded = _padded(name, said, labels, n, classes, blank)

    def beside(host: np.ndarray) -> Array:
        return home.xp.asarray(home.from_numpy(host), device=log_probs.data.device)

    scale = 1 / (np.maximum(labels, 1) * max(n, 1)) if reduction == "mean" else np.ones(n)
    weights = home.xp.astype(beside(scale.astype(np.float32)), log_probs.dtype)
    if str(log_probs.dtype).endswith("float64"):
        weights = beside(scale)
    loss = CTC(
        beside(padded), beside(frames), beside(labels), blank, weights, reduction, zero_infinity
    )(log_probs)
    return loss if batched or reduction != "none" else reshape(loss, ())


def _host(name: str, what: str, x: Any, home: Backend, like: Tensor) -> np.ndarray:
    """Integers in host memory: they decide about shapes.

    Raises:
        TypeError: they are no integers.
    """
    if isinstance(x, int | list | tuple):
        host = np.asarray(x) if x != [] and x != () else np.zeros(0, np.int64)
    elif isinstance(x, np.ndarray):
        host = x
    else:
        array = as_array(name, x, like)
        host = np.asarray(home.to_numpy(array))
    if host.dtype.kind not in "iu" and host.size:
        raise TypeError(f"{name}: {what} must be integers, not {host.dtype}")
    return host.astype(np.int64)


def _lengths(
    name: str, what: str, x: Any, n: int, most: int, home: Backend, like: Tensor
) -> np.ndarray:
    """N lengths from 0 to `most`."""
    host = _host(name, what, x, home, like)
    if host.ndim == 0 and n == 1:
        host = host[None]
    if host.shape != (n,) or (host < 0).any() or (host > most).any():
        raise ValueError(
            f"{name}: {what} must be {n} integers from 0 to {most}, one for each sequence; they "
            f"are {host.tolist()}; log_probs has shape {like.shape}"
        )
    return host


def _padded(
    name: str, said: np.ndarray, labels: np.ndarray, n: int, classes: int, blank: int
) -> np.ndarray:
    """The labels (N, S), filled up with the blank."""
    if said.ndim not in (1, 2) or (said.ndim == 2 and said.shape[0] != n):
        raise ValueError(
            f"{name}: targets must be (N, S), with N = {n}, or all in one row; they have shape "
            f"{said.shape}"
        )
    if said.ndim == 1 and said.size != labels.sum():
        raise ValueError(
            f"{name}: targets in one row must be as many as target_lengths add up to, "
            f"{labels.sum()}; they are {said.size}; target_lengths {labels.tolist()}"
        )
    longest = int(labels.max(initial=0))
    there = np.arange(longest) < labels[:, None]
    padded = np.full((n, longest), blank, np.int64)
    padded[there] = said if said.ndim == 1 else said[:, :longest][there]
    wrong = padded[(padded < 0) | (padded >= classes)]
    if wrong.size:
        raise IndexError(f"{name}: target {wrong[0]} is not one of the {classes} classes")
    return padded
