"""Checks that the recurrent operations share: every fault is named with every shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backends import Array, Backend, backend_of
from ...tensor import Tensor
from .._function import Several
from .._operands import as_tensor, require_one_dtype

Weights = Sequence[Tensor | None]  # (weight_ih, weight_hh, bias_ih, bias_hh) of one direction


class RecurrentLayer(Several):
    """What the three layers share: how the gradients of outputs that nobody used arrive."""

    takes_none = True
    directions: int

    def filled(self, *gradients: Array | None) -> list[Array | None]:
        """Zeros in the place of None for y, and for last states where the kernels want them."""
        some = next(g for g in gradients if g is not None)
        zeros = self.backend.xp.zeros
        return [
            zeros(shape, dtype=dtype, device=some.device)
            if g is None and (k == 0 or not self.backend.takes_none)
            else g
            for k, (g, (shape, dtype)) in enumerate(zip(gradients, self.outputs, strict=True))
        ]

    def multiply_adds(self, x: Array, *others: Array | None) -> tuple[int, int]:
        """Those of the weights at every step, beyond a sequence's end too; none of the gates'.

        On the way back each product has its two gradients, but that of x may not be wanted.
        """
        matrices = [a for a in others if a is not None and len(a.shape) == 2]
        each = len(matrices) // self.directions  # weight_ih, weight_hh, and an LSTM's projection
        rows = x.shape[0] * x.shape[1]
        whole = rows * sum([math.prod(w.shape) for w in matrices])
        of_x = rows * sum([math.prod(w.shape) for w in matrices[::each]])
        needs = self.needs_input_grad
        if True not in needs:
            return whole, 0
        return whole, (whole if any(needs[1:]) else 0) + whole - (0 if needs[0] else of_x)


def check_lengths(name: str, lengths: Any, steps: int, n: int) -> Any:
    """`lengths` as integers in host memory; a ValueError names what is wrong with them.

    An array whose values are not known yet (`Backend.values_known`) is returned itself.
    """
    if isinstance(lengths, Tensor):
        lengths = lengths.data
    known = True
    if not isinstance(lengths, np.ndarray | list | tuple):
        home = backend_of(lengths)
        known = home.values_known
        lengths = home.to_numpy(lengths) if known else lengths
    counts = np.asarray(lengths) if known else lengths
    if counts.shape != (n,) or counts.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: lengths must be {n} integers, one per sequence of the batch; "
            f"lengths has shape {counts.shape} and dtype {counts.dtype}"
        )
    if not known:
        return counts
    wrong = (counts < 1) | (counts > steps)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"{name}: every length must be between 1 and the {steps} time steps of x; "
            f"lengths[{at}] is {int(counts[at])}; lengths {counts.tolist()}"
        )
    return counts.astype(np.int64)


def device_lengths(backend: Backend, lengths: Any, x: Array) -> Array | None:
    """The lengths beside x, or None where every sequence is as long as the batch."""
    if not backend.values_known:
        return lengths
    if lengths is None or int(lengths.min()) == x.shape[0]:
        return None
    return backend.xp.asarray(backend.from_numpy(lengths), device=x.device)


def check_layer(
    name: str,
    gates: int,
    x: Tensor,
    weights: Sequence[Weights],
    states: dict[str, Tensor | None],
    lengths: Any,
) -> np.ndarray | None:
    """Raise unless x, weights and initial states, all tensors, fit one another; the lengths.

    `gates` is how many pre-activations a hidden unit has: 1, 4 (LSTM) or 3 (GRU).
    """
    shapes = f"x has shape {x.shape}" + "".join(
        f", {key} {state.shape}" for key, state in states.items() if state is not None
    )
    first = weights[0]
    assert first[0] is not None and first[1] is not None
    rows, features = first[0].shape
    out = first[1].shape[1]
    if x.ndim != 3 or x.shape[2] != features:
        raise ValueError(
            f"{name}: x must be (T, N, D) with D = {features}, the columns of weight_ih; "
            f"{shapes}, weight_ih {first[0].shape}"
        )
    hidden = rows // gates
    if x.shape[0] < 1:
        raise ValueError(f"{name}: there must be at least one time step; {shapes}")
    for s, own in enumerate(weights):
        expected = [(rows, features), (rows, out), (rows,), (rows,), (out, hidden)]
        for key, value, shape in zip(
            ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"),
            own,
            expected,
            strict=False,
        ):
            if (value is not None and value.shape != shape) or rows != gates * hidden:
                raise ValueError(
                    f"{name}: for {features} features and {hidden} hidden units the weights of a "
                    f"direction are {expected[: len(own)]}; direction {s} has "
                    f"{[None if w is None else w.shape for w in own]} ({key} differs)"
                )
        if (own[2] is None) != (own[3] is None):
            raise ValueError(
                f"{name}: bias_ih and bias_hh stand together, or neither; direction {s}"
            )
        if any((a is None) != (b is None) for a, b in zip(own, first, strict=True)):
            raise ValueError(f"{name}: either all directions have a bias, or none; direction {s}")
    for key, state in states.items():
        want = (len(weights), x.shape[1], hidden if key == "c0" else out)
        if state is not None and state.shape != want:
            raise ValueError(f"{name}: {key} must be {want} (directions, batch, hidden); {shapes}")
    for s, own in enumerate(weights):
        named = dict(
            zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"), own, strict=False)
        )
        require_one_dtype(name if s == 0 else f"{name}: direction {s}", x=x, **named, **states)
    return None if lengths is None else check_lengths(name, lengths, x.shape[0], x.shape[1])


def layer_operands(
    name: str, x: Any, weights: Sequence[Sequence[Any]], *states: Any
) -> tuple[Tensor, list[Weights], tuple[Tensor | None, ...]]:
    """x, the weights of each direction and the states as tensors; None stays None."""
    x = as_tensor(name, x)

    def beside(a: Any) -> Tensor | None:
        return None if a is None else as_tensor(name, a, x)

    return x, [tuple([beside(w) for w in own]) for own in weights], tuple(map(beside, states))


def by_direction(flat: Sequence[Any], size: int) -> list[tuple[Any, ...]]:
    """[a, b, c, d, ...] -> [(a, b), (c, d), ...] for size 2."""
    return [tuple(flat[k : k + size]) for k in range(0, len(flat), size)]


def time_major(xp: Any, x: Array, batch_first: bool) -> Array:
    """(N, T, ...) -> (T, N, ...), and back, where the layer is asked to put the batch first."""
    return xp.permute_dims(x, (1, 0, 2)) if batch_first else x
