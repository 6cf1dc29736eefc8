"""Sample weights: how much each example counts in the loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import ops
from ..backends import backend_of
from ..data.dataset import host_array
from ..tensor import Tensor
from .losses import Losses, by_name


class Weighted(tuple[Any, ...]):
    """A batch whose last array, (N,), says how much each of its N examples counts."""


def checked(who: str, weights: Any, examples: int) -> np.ndarray:
    """Weights for so many examples, (examples,), in host memory.

    Raises:
        ValueError: they are not one finite number, at least 0, for each; or all of them are 0.
    """
    w = host_array(weights)
    if w.shape != (examples,) or w.dtype.kind not in "biuf":
        raise ValueError(
            f"{who}: sample_weight must be one number for each of the {examples} examples; it has "
            f"shape {w.shape}, dtype {w.dtype}"
        )
    w = w.astype(np.float64) if w.dtype.kind != "f" else w
    if not (np.isfinite(w).all() and (w >= 0).all()):
        raise ValueError(
            f"{who}: sample_weight must be finite and at least 0; the least is {w.min()}, the "
            f"largest {w.max()}"
        )
    if not w.any():
        raise ValueError(f"{who}: every sample_weight is 0: nothing is left to train on")
    return w


def size_of(batch: Any) -> float:
    """How much a batch counts beside others: its rows, or the sum of their weights."""
    parts = list(batch.values()) if isinstance(batch, Mapping) else batch
    return float(_host(parts[-1]).sum()) if isinstance(batch, Weighted) else len(parts[-1])


def weighted_loss(loss: Callable[[Any, Any], Any], output: Any, target: Any, w: Any) -> Any:
    """The mean of a loss over the examples of a batch, each as often as its weight says.

        L = Σ_i w_i l_i / Σ_i w_i n_i

    l_i is the sum of the loss over the elements of example i, n_i the number of those (the sum
    of their classes' weights, where the loss has such).  So a weight of 2 is an example that is
    there twice, and a weight of 0 one that is not.  The sum alone where the loss is a sum, or
    where no example counts.

    Args:
        loss: a loss of `nnx.nn`, or a function that gives a loss for each example, (N, ...); or
            several by name (`Losses`).
        output, target: what it is called with.
        w: (N,), the weights.

    Returns:
        The loss, shape (), or several of them by name.

    Raises:
        ValueError: the function gives no loss for each example.
    """
    if isinstance(loss, Losses):
        return loss.of_each(lambda one, y, t: weighted_loss(one, y, t, w), output, target)
    found = _for_each(loss)(output, target)
    several = by_name(found)
    if several is not None:
        return {name: _mean(loss, one, target, w) for name, one in several.items()}
    return _mean(loss, found, target, w)


def _mean(loss: Any, each: Any, target: Any, w: Any) -> Tensor:
    """Of the losses of each example, (N, ...)."""
    n = len(w)
    if not isinstance(each, Tensor) or each.shape[:1] != (n,):
        shape = each.shape if isinstance(each, Tensor) else type(each).__name__
        raise ValueError(
            f"fit: sample weights need a loss for each of the {n} examples of a batch, this gives "
            f"{shape}: use a loss of nnx.nn, or a function that returns one number per example"
        )
    shares = w.detach().astype(each.dtype).reshape((n,) + (1,) * (each.ndim - 1))
    total: Tensor = (each * shares).sum()
    if getattr(loss, "reduction", "mean") == "sum":
        return total
    n_elements = math.prod(each.shape[1:])
    if getattr(loss, "reduction", "mean") == "batchmean":
        n_elements = 1
    count = counted(loss, target, w, n_elements)
    return ops.divide(total, count) if count else total


def counted(loss: Any, target: Any, w: Any, elements: int = 1) -> float:
    """Σ_i w_i n_i of `weighted_loss`, for so many elements of each example.

    Without them it is what the mean over a batch counts beside that over another.
    """
    w = np.asarray(_host(w), np.float64)
    weights_of = getattr(loss, "weights_of", None)
    if weights_of is None:
        return float(w.sum()) * elements
    n = weights_of(target)  # (N,) or one for each element
    return float(w @ n.reshape(len(w), -1).sum(axis=1)) * (elements if n.ndim == 1 else 1)


def _for_each(loss: Any) -> Any:
    """The loss before it is reduced."""
    if getattr(loss, "reduction", "none") == "none":
        return loss
    alone = copy.copy(loss)
    alone.reduction = "none"
    return alone


def _host(x: Any) -> np.ndarray:
    array = x.data if isinstance(x, Tensor) else x
    return np.asarray(backend_of(array).to_numpy(array))
