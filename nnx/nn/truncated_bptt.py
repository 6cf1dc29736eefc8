"""Long sequences in pieces: truncated back-propagation through time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..ops._operands import as_tensor
from ..tensor import Tensor
from .recurrent import _Recurrent


def truncated(
    module: _Recurrent, x: Tensor, steps: int, hx: Any = None
) -> Iterator[tuple[Tensor, Any]]:
    """Truncated back-propagation through time (Williams and Peng 1990).

    Cuts x into pieces of `steps` time steps and yields (y, state) of each.  The state of one
    piece starts the next, but off the tape: gradients reach back no further than the beginning
    of a piece, and its memory is free once it was differentiated.

        for y, _ in nn.truncated(rnn, x, steps=35):
            loss(y).backward()
            optimizer.step()
            optimizer.zero_grad()

    Args:
        module: an RNN, LSTM or GRU.
        x: (T, N, D), (N, T, D) where the module has batch_first, or (T, D) for one sequence.
        steps: how long a piece is; the last one may be shorter.
        hx: the state that the first piece starts from, as the module takes it; None: zeros.

    Raises:
        ValueError: steps is not positive, or what the module itself refuses.
    """
    if steps < 1:
        raise ValueError(f"truncated: steps must be positive, got {steps}")
    x = as_tensor("truncated", x)
    axis = 1 if module.batch_first and x.ndim == 3 else 0
    for start in range(0, x.shape[axis], steps):
        piece = slice(start, min(start + steps, x.shape[axis]))
        y, hx = module(x[:, piece] if axis else x[piece], hx)
        yield y, hx
        hx = tuple(h.detach() for h in hx) if isinstance(hx, tuple) else hx.detach()
