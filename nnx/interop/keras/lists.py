"""Lists of weights: what `get_weights()` of a Keras model gives, and `set_weights()` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...nn import Module
from ..blocks import host, load_all
from ..refusal import CannotExpress
from .layers import from_keras, parts_of, to_keras


def get_weights(model: Module, flattened: Mapping[str, int] | None = None) -> list[np.ndarray]:
    """A model's weights as `keras_model.set_weights` takes them: a list of arrays, in their shapes.

    Args:
        model: layers of nnx that Keras has, in the same order.
        flattened: by the name of each Linear that a flattened image goes into, the image's
            channels; {}: none does.  None: seen from the order of the layers, of models without
            classes of one's own.

    Raises:
        CannotExpress: a layer that Keras has no weights for; a Linear that might follow an image.
    """
    parts = parts_of(model, flattened)
    return [np.ascontiguousarray(a) for part in parts for place in to_keras(part) for a in place]


def set_weights(
    model: Module, weights: Sequence[Any], flattened: Mapping[str, int] | None = None
) -> None:
    """Load what `keras_model.get_weights()` gives into a model of the same layers, or nothing.

    A layer with one bias for our two gives b_ih = b, b_hh = 0.

    Args:
        model: layers of nnx that Keras has, in the same order.
        weights: arrays.
        flattened: as in `get_weights`.

    Raises:
        CannotExpress: they are not the arrays of this model, or mean another function.
    """
    left = [host(a) for a in weights]
    count = len(left)
    state: dict[str, np.ndarray] = {}
    for part in parts_of(model, flattened):
        given = []
        for place in to_keras(part):
            given.append(left[: len(place)])
            left = left[len(place) :]
        state |= from_keras(part, given)
    if left:
        raise CannotExpress(f"set_weights: the model takes {count - len(left)} arrays, not {count}")
    load_all(model, state, "set_weights: the list")
