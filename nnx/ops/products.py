"""Sums of products: tensordot, vecdot and einsum, all by one operation.

Every axis of an operand gets a label; `Contract` multiplies and sums as the labels say.  The
functions below only translate into labels.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

from ..backends import Array
from ..tensor import Tensor
from ._broadcast import axes_of, one_axis, same_dtype
from ._function import Binary
from ._operands import as_tensor
from .array.autocast import in_low_precision
from .array.shape import diagonal, permute_dims, reshape
from .reduce import sum as sum_over

Label = Hashable
Labels = tuple[Label, ...]


class Contract(Binary):
    """y[o] = sum over the labels that are not in o of a[la] b[lb].

    For example la = (i, k), lb = (k, j), o = (i, j) is the matrix product.  No label stands twice
    in one operand, and a label of one operand alone is in o.

    Forward.  Four kinds of labels: in a, b and o (B, the batch), in a and b only (K, summed), in
    a and o (I), in b and o (J).  Laid out as matrices, (B, I, K) x (B, K, J) -> (B, I, J).

    Backward.  y[o] depends on a[la] through the factor b[lb], so

        da[la] = sum over the labels that are not in la of g[o] b[lb]

    which is `Contract` again, with the labels permuted; likewise for b.
    """

    def __init__(self, la: Labels, lb: Labels, out: Labels) -> None:
        self.la, self.lb, self.out = la, lb, out

    def forward(self, a: Array, b: Array) -> Array:
        for_a, for_b = self.needs_input_grad
        if for_a:
            self.b = b
        if for_b:
            self.a = a
        return contract(self.backend.xp, a, self.la, b, self.lb, self.out)

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp = self.backend.xp
        for_a, for_b = self.needs_input_grad
        ga = contract(xp, g, self.out, self.b, self.lb, self.la) if for_a else None
        gb = contract(xp, g, self.out, self.a, self.la, self.lb) if for_b else None
        return ga, gb

    def multiply_adds(self, a: Array, b: Array) -> tuple[int, int]:
        length = dict(zip(self.la, a.shape, strict=True)) | dict(zip(self.lb, b.shape, strict=True))
        adds = length.keys() > set(self.out)
        return self.of_product(math.prod(length.values()) if adds else 0)

    def align(self, a: Any, b: Any) -> tuple[Any, Any]:
        return same_dtype(self.backend, "contract", a, b)

    def unbroadcast(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.backend.xp.astype(gradient, dtype)  # the other operand's dtype was wider


def contract(xp: Any, a: Array, la: Labels, b: Array, lb: Labels, out: Labels) -> Array:
    """The sum of products that `Contract` describes, on arrays."""
    batch = [label for label in la if label in lb and label in out]
    summed = [label for label in la if label in lb and label not in out]
    own_a = [label for label in la if label not in lb]
    own_b = [label for label in lb if label not in la]
    length = dict(zip(la, a.shape, strict=True)) | dict(zip(lb, b.shape, strict=True))

    def laid_out(x: Array, labels: Labels, *groups: list[Label]) -> Array:
        """x with its axes in groups, each group one axis; those of the batch stay apart."""
        order = [label for group in (batch, *groups) for label in group]
        if tuple(order) != labels:
            x = xp.permute_dims(x, tuple([labels.index(label) for label in order]))
        sizes = [math.prod([length[label] for label in group]) for group in groups]
        return xp.reshape(x, (*[length[label] for label in batch], *sizes))

    if summed:
        y = laid_out(a, la, own_a, summed) @ laid_out(b, lb, summed, own_b)
    else:  # an outer product is quicker as a product
        y = laid_out(a, la, own_a, []) * laid_out(b, lb, [], own_b)
    made = (*batch, *own_a, *own_b)
    y = xp.reshape(y, tuple([length[label] for label in made]))
    if made != out:
        y = xp.permute_dims(y, tuple([made.index(label) for label in out]))
    return y


def _multiply(a: Tensor, la: Labels, b: Tensor, lb: Labels, out: Labels) -> Tensor:
    """`Contract` of operands of which one may have length 1 where the other is longer."""
    length_a = dict(zip(la, a.shape, strict=True))
    length_b = dict(zip(lb, b.shape, strict=True))
    a, la = _without(a, la, {k for k in la if length_a[k] == 1 != length_b.get(k, 1)})
    b, lb = _without(b, lb, {k for k in lb if length_b[k] == 1 != length_a.get(k, 1)})
    a, la = _summed(a, la, {k for k in la if k not in lb and k not in out})
    b, lb = _summed(b, lb, {k for k in lb if k not in la and k not in out})
    return Contract(la, lb, out)(a, b)


def _without(x: Tensor, labels: Labels, dropped: set[Label]) -> tuple[Tensor, Labels]:
    """x without axes of length 1 that the other operand repeats anyway."""
    if not dropped:
        return x, labels
    kept = [k for k, label in enumerate(labels) if label not in dropped]
    return reshape(x, [x.shape[k] for k in kept]), tuple([labels[k] for k in kept])


def _summed(x: Tensor, labels: Labels, gone: set[Label]) -> tuple[Tensor, Labels]:
    """x summed over the axes that nothing else uses."""
    if not gone:
        return x, labels
    axes = tuple([k for k, label in enumerate(labels) if label in gone])
    return sum_over(x, axis=axes), tuple([label for label in labels if label not in gone])


@in_low_precision
def tensordot(
    a: Tensor, b: Tensor, axes: int | tuple[int | Sequence[int], int | Sequence[int]] = 2
) -> Tensor:
    """Sum of products over `axes`: the last n of a with the first n of b, or the axes given for
    each.  The result has the other axes of a, then those of b.

    Raises:
        ValueError: the axes to be summed over differ in number or length.
    """
    a = as_tensor("tensordot", a)
    b = as_tensor("tensordot", b)
    if isinstance(axes, int):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise ValueError(
                f"tensordot: axes={axes} needs that many axes; shapes {a.shape} and {b.shape}"
            )
        over_a, over_b = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        over_a, over_b = (
            axes_of("tensordot", k if isinstance(k, int) else tuple(k), x.shape)
            for k, x in zip(axes, (a, b), strict=True)
        )
    lengths = [a.shape[k] for k in over_a], [b.shape[k] for k in over_b]
    if lengths[0] != lengths[1]:
        raise ValueError(
            f"tensordot: the axes summed over must have the same lengths, but they have "
            f"{lengths[0]} and {lengths[1]}; axes {axes}, shapes {a.shape} and {b.shape}"
        )
    la = tuple([("sum", over_a.index(k)) if k in over_a else ("a", k) for k in range(a.ndim)])
    lb = tuple([("sum", over_b.index(k)) if k in over_b else ("b", k) for k in range(b.ndim)])
    out = tuple([label for label in (*la, *lb) if label[0] != "sum"])
    return Contract(la, lb, out)(a, b)


@in_low_precision
def vecdot(a: Tensor, b: Tensor, axis: int = -1) -> Tensor:
    """The inner products of the vectors of a and b along `axis`, an axis that goes.

    Args:
        a, b: of one length along it; the other axes broadcast.
        axis: it counts from the end, before they broadcast.

    Raises:
        ValueError: the axis has another length in a than in b, or the rest cannot be broadcast.
    """
    a = as_tensor("vecdot", a)
    b = as_tensor("vecdot", b)
    if axis >= 0:
        raise ValueError(f"vecdot: axis must be negative, counted from the end; got {axis}")
    k, m = one_axis("vecdot", axis, a.shape), one_axis("vecdot", axis, b.shape)
    if a.shape[k] != b.shape[m]:
        raise ValueError(
            f"vecdot: axis {axis} has length {a.shape[k]} in a but {b.shape[m]} in b; "
            f"shapes {a.shape} and {b.shape}"
        )
    la, lb = tuple(range(-a.ndim, 0)), tuple(range(-b.ndim, 0))
    _check_lengths("vecdot", [(a, la), (b, lb)], set(la) | set(lb))
    out = tuple([label for label in (la if a.ndim >= b.ndim else lb) if label != axis])
    return _multiply(a, la, b, lb, out)


@in_low_precision
def einsum(subscripts: str, *operands: Tensor) -> Tensor:
    """A sum of products written with an index for every axis: `einsum("ik,kj->ij", a, b)`.

    Args:
        subscripts: the indices of each operand, and behind "->" those of the output.  An index that
            is not in the output is summed over.  Without "->" the output has the indices that occur
            once, in alphabetical order.  "..." stands for leading or other axes that broadcast.  An
            index that an operand has twice stands for its diagonal: "ii->i", and "ii->" is the
            trace.
        operands: tensors; they are multiplied from the left to the right.

    Raises:
        ValueError: subscripts that cannot be read, lengths that differ for one index, or an index
            twice in the output.
        TypeError: the subscripts are no text.
    """
    if not isinstance(subscripts, str):
        kind = type(subscripts).__name__
        raise TypeError(f'einsum: the subscripts come first, as in "ij,jk->ik"; got {kind}')
    operands = tuple([as_tensor("einsum", x) for x in operands])
    inputs, out = _read(subscripts, operands)
    terms = [
        _diagonals(f"einsum {subscripts!r}", x, labels)
        for x, labels in zip(operands, inputs, strict=True)
    ]
    inputs = [labels for _, labels in terms]
    _check_lengths(f"einsum {subscripts!r}", terms, {k for k in out if isinstance(k, int)})
    terms = [
        _summed(x, labels, {k for k in labels if k not in out and _alone(k, inputs)})
        for x, labels in terms
    ]
    y, labels = terms[0]
    for n, (x, own) in enumerate(terms[1:], start=2):
        later = {label for _, labels in terms[n:] for label in labels} | set(out)
        wanted = tuple(dict.fromkeys(label for label in (*labels, *own) if label in later))
        if n == len(terms):
            wanted = out
        y, labels = _multiply(y, labels, x, own, wanted), wanted
    if labels != out:
        y = permute_dims(y, [labels.index(label) for label in out])
    return y


def _diagonals(name: str, x: Tensor, labels: Labels) -> tuple[Tensor, Labels]:
    """x with one axis for each label: where two have the same one, their diagonal."""
    while len(set(labels)) < len(labels):
        label = next(k for k in labels if labels.count(k) > 1)
        one = labels.index(label)
        two = labels.index(label, one + 1)
        if x.shape[one] != x.shape[two]:
            raise ValueError(
                f"{name}: index {label} stands for axes of lengths {x.shape[one]} and "
                f"{x.shape[two]} of one operand; shape {x.shape}"
            )
        x = diagonal(x, 0, one, two)
        labels = (*labels[:one], *labels[one + 1 : two], *labels[two + 1 :], label)
    return x, labels


def trace(
    x: Tensor, offset: int = 0, axis1: int = -2, axis2: int = -1, dtype: Any = None
) -> Tensor:
    """The sum of a diagonal of x: see `diagonal`, also for the errors.

    Its gradient is the identity.

    Args:
        x: (..., I, J).
        offset: which diagonal: above the main one, or below where it is negative.
        axis1, axis2: the two axes, which go; the shape is that of the others.
        dtype: to add up in, by name or any library's; None: x's own.
    """
    return sum_over(diagonal(x, offset, axis1, axis2), axis=-1, dtype=dtype)


def _alone(label: Label, inputs: list[Labels]) -> bool:
    return len([labels for labels in inputs if label in labels]) == 1


def _read(subscripts: str, operands: tuple[Tensor, ...]) -> tuple[list[Labels], Labels]:
    """The labels of each operand and of the output: letters, and negative numbers for "..."."""

    def refuse(reason: str) -> ValueError:
        shapes = ", ".join(str(x.shape) for x in operands)
        return ValueError(f"einsum {subscripts!r}: {reason}; shapes {shapes}")

    left, arrow, right = subscripts.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(operands):
        raise refuse(f"{len(parts)} operands are written but {len(operands)} are given")

    def labels(part: str, dots: int) -> Labels:
        before, ellipsis, after = part.partition("...")
        if not (before + after).isalpha() and before + after:
            raise refuse(f"{part!r} holds something else than letters and one '...'")
        return (*before, *(range(-dots, 0) if ellipsis else ()), *after)

    inputs: list[Labels] = []
    widest = 0
    for part, x in zip(parts, operands, strict=True):
        dots = x.ndim - len(part.replace("...", ""))
        if dots < 0 or (dots and "..." not in part):
            raise refuse(f"{part!r} does not name the axes of shape {x.shape}")
        widest = max(widest, dots)
        inputs.append(labels(part, dots))
    if arrow:
        out = labels(right, widest)
        if len(set(out)) < len(out):
            raise refuse(f"an index stands twice in the output {right!r}")
    else:
        letters = [label for part in inputs for label in part if isinstance(label, str)]
        once = [label for label in sorted(letters) if letters.count(label) == 1]
        out = (*range(-widest, 0), *once)
    unknown = set(out) - {label for part in inputs for label in part}
    if unknown:
        raise refuse(f"the output names {sorted(map(str, unknown))}, which no operand has")
    return inputs, out


def _check_lengths(name: str, terms: Sequence[tuple[Tensor, Labels]], broadcast: set[Any]) -> None:
    """Raise where a label has two lengths; those in `broadcast` may also have length 1."""
    seen: dict[Label, int] = {}
    for x, labels in terms:
        for label, length in zip(labels, x.shape, strict=True):
            before = seen.setdefault(label, length)
            if before == length or (label in broadcast and length == 1):
                continue
            if label in broadcast and before == 1:
                seen[label] = length
                continue
            raise ValueError(
                f"{name}: axis {label} has length {before} in one operand but {length} in "
                f"another; shapes {', '.join(str(t.shape) for t, _ in terms)}"
            )
