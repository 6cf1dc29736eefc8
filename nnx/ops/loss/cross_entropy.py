"""Classification losses over C classes: cross-entropy and the negative log-likelihood.

Inside, inputs are rows (M, C) and targets (M,): (N, C, d1, ...) is laid out so before, and the
losses are put back in the targets' shape after.  Targets that are to be ignored arrive as -1.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from ...backends import Array, backend_of, dtype_name
from ...tensor import Tensor
from .._function import Function, Unary
from .._operands import as_array, as_tensor
from ..array.autocast import in_float32
from ..array.shape import moveaxis, reshape
from ..softmax import Softmax
from .reduction import check_reduction, matching, require_float, share_times


class CrossEntropy(Unary):
    """Softmax and the negative log-likelihood of the right class, in one step.

    Forward.  With z a row of logits, t its class and p = softmax(z),

        loss = -log p[t] = log(sum_c exp z[c]) - z[t]                          (Xu 2.13)

    computed with z - max(z), which changes neither p nor the loss and keeps exp in range.

    Backward.  d log(sum exp z) / dz[c] = p[c], so dloss/dz = p - onehot(t): the simple form the
    two have together (Xu 2.14-2.20).  It is made in the forward pass, while p is at hand.

    With a weight w for each class, loss and gradient of a row are multiplied by w[t], and the mean
    divides by the sum of these.
    """

    def __init__(
        self, targets: Array, counted: Array | None, rows: Array | None, reduction: str
    ) -> None:
        self.targets, self.counted, self.rows = targets, counted, rows
        self.reduction = reduction

    def forward(self, logits: Array) -> Array:
        losses, gradient = self.backend.softmax_cross_entropy(logits, self.targets)
        if self.rows is not None:
            losses = share_times(self.backend.xp, self.rows, losses)
            gradient = gradient * self.backend.xp.expand_dims(self.rows, axis=1)
        if self.needs_input_grad[0]:
            self.gradient = gradient
        if self.reduction == "none":
            return losses
        total = self.backend.sum_over(losses, (0,), False)
        self.scale: Any = 1.0
        if self.reduction == "sum":
            return total
        if self.rows is not None:
            count = self.backend.xp.sum(self.rows)
        elif self.counted is not None:
            count = self.backend.xp.sum(self.backend.xp.astype(self.counted, losses.dtype))
        else:
            self.scale = 1.0 / losses.shape[0] if losses.shape[0] else math.nan
            return total * self.scale
        mean, self.scale = _weighted_mean(self.backend.xp, total, count)
        return mean

    def backward(self, g: Array) -> Array:
        if self.reduction == "none":
            return self.gradient * self.backend.xp.expand_dims(g, axis=1)
        return self.gradient * (g * self.scale)


class MeanCrossEntropy(Unary):
    """`CrossEntropy`'s mean on a device: what counts is decided there, and nothing is read back.

    With n the number of rows that count, loss = (1/n) sum of theirs and dz = (p - onehot(t)) / n.
    """

    def __init__(self, targets: Array, ignore_index: int | None) -> None:
        self.targets, self.ignore_index = targets, ignore_index

    def forward(self, logits: Array) -> Array:
        mean, self.gradient, self.scale = self.backend.cross_entropy_mean(
            logits, self.targets, self.ignore_index
        )
        return mean

    def backward(self, g: Array) -> Array:
        return self.backend.scaled(self.gradient, g, self.scale)


class NegativeLogLikelihood(Unary):
    """loss = -w x[t] for a row x of log-probabilities, its class t and the weight w of the row.

    dx[c] = -g w where c = t, else 0.  The mean divides by the sum of the weights.
    """

    def __init__(self, targets: Array, rows: Array, reduction: str) -> None:
        self.targets, self.rows, self.reduction = targets, rows, reduction

    def forward(self, x: Array) -> Array:
        xp = self.backend.xp
        hit = _one_hot(xp, self.targets, x.shape[1])
        if self.needs_input_grad[0]:
            self.hit = hit
        picked = xp.sum(xp.where(hit, x, xp.zeros_like(x)), axis=1)
        losses = -share_times(xp, self.rows, picked)
        self.scale: Any = 1.0
        if self.reduction == "none":
            return losses
        total = xp.sum(losses)
        if self.reduction == "sum":
            return total
        mean, self.scale = _weighted_mean(xp, total, xp.sum(self.rows))
        return mean

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        per_row = xp.expand_dims(-(g * self.scale) * self.rows, axis=1)  # (M, 1)
        return xp.where(self.hit, per_row, xp.zeros_like(per_row))


class SoftCrossEntropy(Function):
    """Cross-entropy with a distribution q over the classes instead of one class.

    Forward.  With smoothing e, q' = (1 - e) q + e/C; with class weights w, a = w q':

        loss = -sum_c a[c] log p[c],   log p = log_softmax(z),   where a[c] = 0 adds nothing

    Backward.  d log p[c] / dz[j] = δ[c,j] - p[j], so dz = p sum(a) - a;  dq = -(1 - e) w log p.
    """

    def __init__(
        self,
        reduction: str,
        smoothing: float,
        weight: Array | None,
        counted: Array | None,
        count: Array | None,
    ) -> None:
        self.reduction, self.smoothing, self.weight = reduction, smoothing, weight
        self.counted, self.count = counted, count

    def forward(self, z: Array, q: Array) -> Array:
        xp = self.backend.xp
        log_p = self.backend.log_softmax(z, 1)
        a = q
        if self.smoothing:
            a = q * (1 - self.smoothing) + self.smoothing / z.shape[1]
        if self.weight is not None:
            a = a * self.weight
        if self.counted is not None:
            a = xp.where(xp.expand_dims(self.counted, axis=1), a, xp.zeros_like(a))
        if True in self.needs_input_grad:
            self.log_p = log_p
        if self.needs_input_grad[0]:
            self.a = a
        losses = -xp.sum(share_times(xp, a, log_p), axis=1)
        self.scale: Any = 1.0
        if self.reduction == "none":
            return losses
        total = xp.sum(losses)
        if self.reduction == "sum":
            return total
        if self.count is None:
            self.scale = 1.0 / losses.shape[0] if losses.shape[0] else math.nan
            return total * self.scale
        mean, self.scale = _weighted_mean(xp, total, self.count)
        return mean

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp = self.backend.xp
        g = xp.expand_dims(g, axis=1) if self.reduction == "none" else g * self.scale
        gz = gq = None
        if self.needs_input_grad[0]:
            gz = (xp.exp(self.log_p) * xp.sum(self.a, axis=1, keepdims=True) - self.a) * g
        if self.needs_input_grad[1]:
            slope = self.log_p if self.weight is None else self.log_p * self.weight
            gq = slope * (g * (self.smoothing - 1))
        return gz, gq


def _weighted_mean(xp: Any, total: Array, weights: Array) -> tuple[Array, Array]:
    """total / weights and 1 / weights; where there is no weight, NaN and 0, as in PyTorch."""
    some = weights != 0
    scale = xp.where(some, 1 / xp.where(some, weights, xp.ones_like(weights)), 0 * weights)
    return xp.where(some, total * scale, xp.full_like(total, math.nan)), scale


def _one_hot(xp: Any, targets: Array, classes: int) -> Array:
    """(M,) -> (M, C) bool; a row of False for a target of -1."""
    every = xp.arange(classes, dtype=xp.int64, device=targets.device)
    return xp.expand_dims(targets, axis=1) == every


def as_rows(x: Tensor) -> Tensor:
    """(C,), (N, C) or (N, C, d1, ...) -> (M, C)."""
    if x.ndim == 2:
        return x
    if x.ndim == 1:
        return reshape(x, (1, -1))
    return reshape(moveaxis(x, 1, -1), (-1, x.shape[1]))


def flat_targets(name: str, input: Tensor, target: Any) -> Array:
    """Class indices as an array (M,), after a look at their shape and dtype.

    Raises:
        TypeError: they are not integers.
        ValueError: their shape is not the input's without its axis of classes.
    """
    array, home = as_array(name, target, input), backend_of(input.data)
    shape = tuple(input.data.shape)
    wanted = (*shape[: 1 if len(shape) > 1 else 0], *shape[2:])
    if tuple(array.shape) != wanted:
        raise ValueError(
            f"{name}: for an input of shape {shape}, (N, C, ...), class indices must have shape "
            f"{wanted}, (N, ...); target {tuple(array.shape)}"
        )
    if not home.is_integer(array.dtype):
        raise TypeError(f"{name}: class indices must be integers, not {array.dtype}")
    return array if len(shape) == 2 else home.xp.reshape(array, (-1,))


def class_weight(name: str, weight: Any, input: Tensor) -> Array | None:
    """The weight of each class, (C,), in the input's dtype."""
    if weight is None:
        return None
    array, home = as_array(name, weight, input), backend_of(input.data)
    classes = input.shape[1 if input.ndim > 1 else 0]
    if tuple(array.shape) != (classes,):
        raise ValueError(
            f"{name}: weight must have shape ({classes},), one per class; weight "
            f"{tuple(array.shape)}, input {input.shape}"
        )
    return array if array.dtype == input.data.dtype else home.xp.astype(array, input.data.dtype)


def _row_weights(xp: Any, targets: Array, weight: Array | None, like: Array) -> Array:
    """The weight of each row's class (M,): 1 without weights, 0 for a row that is ignored."""
    counted = xp.astype(targets >= 0, like.dtype)
    if weight is None:
        return counted
    return counted * xp.take(weight, xp.where(targets >= 0, targets, 0 * targets), axis=0)


def looks_like_probabilities(x: Tensor) -> bool:
    """Whether rows of scores (N, C, ...) are a softmax's: made by one, or, where looking waits for
    no device, not negative and of sum 1."""
    if isinstance(x.creator, Softmax):
        return True
    a = x.data
    home = backend_of(a)
    if not home.checks_values or not home.is_float(a.dtype) or a.ndim < 2 or a.shape[1] < 2:
        return False
    if math.prod(a.shape) == 0 or bool(home.xp.any(a < 0)):
        return False
    return bool(home.xp.all(home.xp.abs(home.xp.sum(a, axis=1) - 1) < 1e-3))


def warn_of_probabilities(stacklevel: int) -> None:
    warnings.warn(
        "cross_entropy: the input looks like probabilities (no negative number, rows of sum 1), "
        "but logits are expected: the loss takes the softmax itself, and a second one before it "
        "hardly lets the model learn; leave the Softmax layer out",
        stacklevel=stacklevel + 1,
    )


def cross_entropy(
    input: Tensor,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Softmax cross-entropy of logits with class indices or with probabilities (Xu 2.5, 2.13).

    input (C,), (N, C) or (N, C, d1, ...); target either integers without the axis of classes,
    (), (N,) or (N, d1, ...), or probabilities of the input's shape.

    Args:
        weight: (C,), a factor for each class.
        ignore_index: targets with this value count for nothing; integers only.
        reduction: "mean" divides by the number of targets, or for integers by the sum of their
            classes' weights, the ignored ones left out; "sum", the lecture notes' loss; or "none",
            one loss per target.
        label_smoothing: this share of every target is spread evenly over the classes.

    If every target is ignored the mean is NaN and its gradient 0, as in PyTorch.

    The texts that define cross-entropy between probabilities (Saito 3.2.2; Wang 1.1.2) take the
    softmax first; here it is part of the loss, and an input that a softmax made is warned of.  Xu's
    code holds probabilities above 1e-10, so that its loss ends at 23.03; this one is exact.

    Raises:
        ValueError: shapes that do not fit, an unknown reduction, or smoothing outside [0, 1].
        IndexError: a target outside [0, C) that is not `ignore_index`.
        TypeError: the input is not of a floating-point dtype, or the target neither of integers nor
            of floats.
    """
    if isinstance(input, Tensor) and isinstance(input.creator, Softmax):
        warn_of_probabilities(2)
    return cross_entropy_of(input, target, weight, ignore_index, reduction, label_smoothing)


@in_float32
def cross_entropy_of(
    input: Tensor,
    target: Any,
    weight: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Tensor:
    """`cross_entropy` without a look at where its input comes from."""
    name = "cross_entropy"
    check_reduction(name, reduction)
    input = as_tensor(name, input)
    require_float(name, input)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"{name}: label_smoothing must be between 0 and 1, got {label_smoothing}")
    if input.data.ndim == 0:
        raise ValueError(f"{name}: the input must have an axis of classes; its shape is ()")
    home = backend_of(input.data)
    weights = class_weight(name, weight, input)
    target = as_tensor(name, target, input)
    given = target.data
    if home.is_float(given.dtype):
        if given.ndim == input.data.ndim - 1:
            raise ValueError(
                f"{name}: a target of floats holds a probability for each class, in the shape of "
                f'the input, {input.shape}; class indices are integers, target.astype("int64"); '
                f"the target has shape {target.shape} and dtype {dtype_name(given.dtype)}"
            )
        q = as_rows(matching(name, input, target)[1])
        y = SoftCrossEntropy(reduction, label_smoothing, weights, None, None)(as_rows(input), q)
        shape = (*input.shape[: 1 if input.ndim > 1 else 0], *input.shape[2:])
    else:
        rows = as_rows(input)
        shape = tuple(given.shape)
        targets = flat_targets(name, input, target)
        plain = weights is None and not label_smoothing
        if plain and reduction == "mean" and not home.checks_values:
            return MeanCrossEntropy(home.positions(targets), ignore_index)(rows)
        targets, counted = home.class_indices(targets, rows.data.shape[1], ignore_index)
        per_row = None
        if weights is not None or label_smoothing:
            per_row = _row_weights(home.xp, targets, weights, rows.data)
        if not label_smoothing:
            y = CrossEntropy(targets, counted, per_row, reduction)(rows)
        else:
            count = home.xp.sum(per_row)
            q = Tensor(home.xp.astype(_one_hot(home.xp, targets, rows.shape[1]), rows.dtype))
            y = SoftCrossEntropy(reduction, label_smoothing, weights, counted, count)(rows, q)
    return reshape(y, shape) if reduction == "none" and input.ndim != 2 else y


@in_float32
def nll_loss(
    input: Tensor,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-input[target] for log-probabilities, as `log_softmax` gives them.

    Args:
        input: (N, C, ...), or (C,) for one sample.
        target: class indices (N, ...), integers in [0, C) or `ignore_index`.
        weight: (C,), a factor for each class, or None.
        ignore_index: targets of this value count for nothing.
        reduction: "mean" (by the weights of the targets that count) or "sum": one number;
            "none": the target's shape.

    Raises:
        TypeError: input is not of a floating-point dtype, or target not of integers.
        ValueError: shapes that do not fit, or an unknown reduction.
        IndexError: a target outside [0, C).
    """
    name = "nll_loss"
    check_reduction(name, reduction)
    input = as_tensor(name, input)
    require_float(name, input)
    if input.data.ndim == 0:
        raise ValueError(f"{name}: the input must have an axis of classes; its shape is ()")
    home, rows = backend_of(input.data), as_rows(input)
    weights = class_weight(name, weight, input)
    target = as_tensor(name, target, input)
    targets = flat_targets(name, input, target)
    targets, _ = home.class_indices(targets, rows.shape[1], ignore_index)
    per_row = _row_weights(home.xp, targets, weights, rows.data)
    y = NegativeLogLikelihood(targets, per_row, reduction)(rows)
    return reshape(y, tuple(target.shape)) if reduction == "none" and input.ndim != 2 else y
