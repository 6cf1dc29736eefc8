"""What the recurrent CUDA kernels share: plans, and the matrix products between their launches.

Two ways through a sequence, for layers of the shapes that `portable/recurrent.py` lists:

- few hidden units (at most `MOST_UNITS`): the whole scan in one launch, one block for each
  sequence and direction, the recurrent weights in registers, or as many as fit;
- more: per step one product for all sequences and directions, and one launch of the cell.

Either way the products over all time steps, the input's and those of the weight gradients, are
few and large.
"""

from __future__ import annotations

from typing import Any

from ...typing import Array
from .launcher import REALS, Kernel, Modules, Plan, ceil_div, launch

UNITS = (32, 64, 128)  # the sizes that the scan kernels are compiled for
MOST_UNITS = UNITS[-1]

SCAN = "steps:i32 n:i32 directions:i32 hidden:i32"
STEP = f"k:i32 {SCAN}"


def one_block_each(threads: int) -> Any:
    """A plan with one block for each sequence and direction."""
    return lambda n, directions: Plan((n, directions), (threads,))


def one_thread_each(n: int, directions: int, hidden: int) -> Plan:
    """One thread for each unit of each sequence and direction."""
    return Plan((ceil_div(n * directions * hidden, 256),), (256,))


def room(hidden: int) -> int:
    """The smallest compiled size that holds `hidden` units."""
    return next(units for units in UNITS if units >= hidden)


def suits(*arrays: Array | None) -> bool:
    """Whether the kernels can take these: one dtype that they are compiled for, and not empty."""
    given = [a for a in arrays if a is not None]
    dtype = given[0].dtype
    return dtype in REALS and all(a.dtype == dtype and a.size for a in given)


def sizes(steps: int, n: int, directions: int, hidden: int) -> dict[str, int]:
    return {"steps": steps, "n": n, "directions": directions, "hidden": hidden}


def launch_alone(kernel: Kernel, modules: Modules, shape: tuple[int, ...], **values: Any) -> None:
    """Launch a cell on one step, `shape` being (N, H), without what only a scan has."""
    absent = dict.fromkeys(a.name for a in kernel.arguments if a.optional)
    launch(kernel, modules, **{**absent, **values, "k": 0, **sizes(1, shape[0], 1, shape[1])})


def on_device(xp: Any, lengths: Array | None) -> Array | None:
    """Lengths as the kernels read them."""
    return None if lengths is None else xp.astype(lengths, xp.int64, copy=False)


class Product:
    """a W for every direction: (S, N, K) x (S, K, M) -> (S, N, M), always into the same array."""

    def __init__(self, xp: Any, weight: Array, n: int) -> None:
        directions, _, columns = weight.shape
        self.xp, self.alone = xp, directions == 1
        self.result = xp.empty((directions, n, columns), dtype=weight.dtype)
        if self.alone:  # a product of two matrices takes a transposed view as it is, a batch not
            self.weight, self.out = weight[0, ...], self.result[0, ...]
        else:
            self.weight = xp.empty(weight.shape, dtype=weight.dtype)
            self.weight[...] = weight
            self.out = self.result

    def __call__(self, a: Array) -> Array:
        self.xp.matmul(a[0, ...] if self.alone else a, self.weight, out=self.out)
        return self.result


def weight_gradient(xp: Any, g: Array, before: Array) -> Array:
    """(S, G, H): per direction the sum over t and n of g[t, n]^T before[t, n]; one product each.

    g (T, N, S, G); before (T, N, S, H), what the recurrent weights were applied to.
    """
    steps, n, directions, gates = g.shape
    out = xp.empty((directions, gates, before.shape[3]), dtype=g.dtype)
    for s in range(directions):
        rows = xp.reshape(g[:, :, s, :], (steps * n, gates))
        columns = xp.reshape(before[:, :, s, :], (steps * n, before.shape[3]))
        xp.matmul(xp.matrix_transpose(rows), columns, out=out[s, ...])
    return out
