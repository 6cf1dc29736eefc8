"""Pictures changed a little each time they are trained on."""

from __future__ import annotations

import numpy as np

from ..autograd import no_grad
from ..backends import backend_of
from ..nn import Module
from ..ops import pad, take_along_axis
from ..random import default_generator
from ..tensor import Tensor


class RandomShift(Module):
    """Moves every picture of a training batch by up to `most` pixels along both axes.

    (N, C, H, W) -> (N, C, H, W); what is moved in is black (0).  In evaluation mode, and for
    `most` 0, the pictures are left as they are.  The moves come from the generator that
    `nnx.manual_seed` sets, so a resumed run moves them alike.
    """

    def __init__(self, most: int) -> None:
        if most < 0:
            raise ValueError(f"RandomShift: most must not be negative, got {most}")
        self.most = most

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.most == 0:
            return x
        (n, c, h, w), m = x.shape, self.most
        home = backend_of(x.data)
        moves = default_generator().integers(0, 2 * m + 1, (2, n))
        dy, dx = np.array(backend_of(moves).to_numpy(moves))
        rows = (dy[:, None] + np.arange(h))[:, None, :, None]  # (N, 1, H, 1)
        columns = (dx[:, None] + np.arange(w))[:, None, None, :]  # (N, 1, 1, W)
        with no_grad():
            y = pad(x, ((0, 0), (0, 0), (m, m), (m, m)))  # (N, C, H + 2m, W + 2m)
            for axis, places in ((2, rows), (3, columns)):
                shape = (n, c, h, w + 2 * m) if axis == 2 else (n, c, h, w)
                index = home.from_numpy(np.broadcast_to(places, shape))
                index = home.xp.asarray(index, device=x.device)
                y = take_along_axis(y, Tensor(index), axis=axis)
            return y

    def extra_repr(self) -> str:
        return f"most={self.most}"
