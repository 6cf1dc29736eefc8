"""Parameters whose rows are gates: in another order, negated, with one bias or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..backends import backend_of
from ..nn import Module
from ..tensor import Tensor
from .refusal import CannotExpress


def host(x: Any) -> np.ndarray:
    """A copy in host memory of an array or tensor of any library, or of a list."""
    data = x.data if isinstance(x, Tensor) else x
    if isinstance(data, np.ndarray) or not hasattr(data, "dtype"):
        return np.array(data)
    return np.array(backend_of(data).to_numpy(data))


def gates(x: np.ndarray, count: int) -> list[np.ndarray]:
    """The blocks along the first axis, as many as there are gates."""
    if x.ndim == 0 or len(x) % count:
        raise CannotExpress(f"an array of shape {x.shape} cannot be cut into {count} gates")
    return np.split(x, count)


def reordered(x: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """The blocks along the first axis, of which there are len(order), in this order."""
    blocks = gates(x, len(order))
    return np.concatenate([blocks[k] for k in order])


def inverse(order: Sequence[int]) -> list[int]:
    """The order that undoes one."""
    return [list(order).index(k) for k in range(len(order))]


def z_inverted(rows: np.ndarray) -> np.ndarray:
    """Rows r, z, n of a GRU with the meaning of z turned round: σ(-a) = 1 - σ(a)."""
    r, z, n = gates(rows, 3)
    return np.concatenate([r, -z, n])


def own(module: Module) -> dict[str, np.ndarray]:
    """The state of one layer, in host memory."""
    return {name: host(value) for name, value in module.state_dict().items()}


def load_all(model: Module, state: Mapping[str, np.ndarray], what: str) -> None:
    """Load a part of a model's state, if all of it fits; else nothing is changed.

    Raises:
        CannotExpress: shapes differ; the message names the first that do.
    """
    try:
        model.load_state_dict({**model.state_dict(), **state})
    except ValueError as error:
        raise CannotExpress(f"{what} does not fit the model: {error}") from error
