"""What the recurrent CUDA kernels share: plans, and the matrix products between their launches.

Three ways through a sequence, for layers of the shapes that `portable/recurrent.py` lists:

- few hidden units (at most `MOST_UNITS`): the whole scan in one launch, one block for each
  sequence and direction, the recurrent weights in registers, or as many as fit;
- more, as long as all blocks fit on the device at once: again one launch, a block for each slice of
  the units, which holds its weights and waits for the others after every step (`kernels/wide.cuh`);
- else: per step one product for all sequences and directions, and one launch of the cell.

Either way the products over all time steps, the input's and those of the weight gradients, are
few and large.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...typing import Array
from ..portable.recurrent import only, running
from .launcher import REALS, STORED, Kernel, Modules, Plan, ceil_div, launch, register
from .linear import COLUMN_SUMS

UNITS = (32, 64, 128)  # the sizes that the scan kernels are compiled for
MOST_UNITS = UNITS[-1]

SCAN = "steps:i32 n:i32 directions:i32 hidden:i32"
STEP = f"k:i32 {SCAN}"


def one_block_each(threads: int) -> Any:
    """A plan with one block for each sequence and direction."""
    return lambda n, directions: Plan((n, directions), (threads,))


SLICES = (2, 4, 8, 16)  # units that a block of the wide kernels may have
MOST_SHARED = 227 * 1024  # bytes that a block may have where it may have most, on Hopper
WIDE = f"arrived:inout:u32 {SCAN} UNITS:const"


def wide(name: str, gates: int, arguments: str) -> Kernel:
    """A kernel of all steps of a wide layer, whose cell has `gates` gates.

    One block for each slice of units and direction; in its shared memory the weights of its units,
    a tile of what is read, and the sums of 64 sequences.
    """

    def plan(directions: int, hidden: int, UNITS: int, itemsize: int) -> Plan:
        outputs = gates * UNITS
        shared = (outputs * hidden + 256 * 9 + 64 * (outputs + 1)) * itemsize
        return Plan((ceil_div(hidden, UNITS), directions), (256,), shared)

    source = f"{name.partition('_')[0]}_wide.cu"
    given = f"{arguments} {WIDE}"
    return register(Kernel(source, name, given, plan, {"UNITS": SLICES}, together=True))


def slice_that_fits(
    modules: Modules, kernels: tuple[Kernel, ...], dtype: Any, hidden: int, directions: int
) -> int:
    """How many units a block is to have; 0: the layer is not for the wide kernels.

    Of the slices with which a block has room for its weights and the device for all blocks, that
    with the fewest units on the busiest multiprocessor; of equal ones the largest, for then fewer
    blocks read the state of all units.
    """
    if hidden <= MOST_UNITS or modules.processors is None:
        return 0
    real, processors = np.dtype(dtype), modules.processors()
    if real not in REALS:
        return 0

    def blocks(units: int) -> int:
        return ceil_div(hidden, units) * directions

    def load(units: int) -> tuple[int, int]:
        return ceil_div(blocks(units), processors) * units, -units

    for units in sorted(SLICES, key=load):
        plan = kernels[0].plan(directions, hidden, units, real.itemsize)
        if plan.shared > MOST_SHARED:
            continue
        if all(modules.fit(kernel, real, (units,), plan) >= blocks(units) for kernel in kernels):
            return units
    return 0


def one_thread_each(n: int, directions: int, hidden: int) -> Plan:
    """One thread for each unit of each sequence and direction."""
    return Plan((ceil_div(n * directions * hidden, 256),), (256,))


def room(hidden: int) -> int:
    """The smallest compiled size that holds `hidden` units."""
    return next(units for units in UNITS if units >= hidden)


def one_real_dtype(*arrays: Array | None) -> bool:
    """Whether the kernels can take these: one dtype that they are compiled for, and not empty."""
    given = [a for a in arrays if a is not None]
    dtype = given[0].dtype
    return dtype in STORED and all(a.dtype == dtype and a.size for a in given)


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


HELD_WHOLE = 64  # units up to which the scans keep all weights in registers


def split(weight: Array) -> list[Array]:
    """(S, ...) as one array for each direction; nothing is copied."""
    return [weight[s, ...] for s in range(weight.shape[0])]


def stack(xp: Any, weights: list[Array]) -> Array:
    """The other way round; one direction's is a view."""
    return xp.expand_dims(weights[0], axis=0) if len(weights) == 1 else xp.stack(weights, axis=0)


def as_read(xp: Any, weights: list[Array]) -> dict[str, Any]:
    """The recurrent weights as a scan reads them: as they lie where it keeps them in registers;
    transposed, and so copied, where it reads some again at each step."""
    across = weights[0].shape[1] > HELD_WHOLE
    return {
        "weight": [xp.matrix_transpose(w) for w in weights] if across else weights,
        "across": int(across),
    }


def column(weights: list[Any], k: int) -> list[Array]:
    """Entry k of every direction's weights."""
    return [own[k] for own in weights]


def in_pairs(gb: list[Array], directions: int) -> list[tuple[Array | None, Array | None]]:
    """gb_ih and gb_hh of each direction; None where the layer has no bias."""
    given: list[Array | None] = [*gb] or [None] * (2 * directions)
    return list(zip(given[::2], given[1::2], strict=True))


def biases(weights: list[Any]) -> list[Array | None] | None:
    """b_ih and b_hh of each direction, as the scans take them."""
    return None if weights[0][2] is None else [b for own in weights for b in own[2:4]]


class CudaLayers:
    """What surrounds a scan: the products over all time steps, without a copy of any operand.

    The views of one direction's gates, (T N, G) with rows S G apart, are read and written by
    cuBLAS as they lie.
    """

    xp: Any
    modules: Modules
    product: Callable[..., Array]  # of `CudaBackend`

    def scanned_whole(
        self, kernels: tuple[Kernel, ...], x: Array, weights: list[Any], *states: Array | None
    ) -> bool:
        """Whether a layer's whole scan is one launch; `kernels`: those for wide layers."""
        if not one_real_dtype(x, *states, *(w for own in weights for w in own)):
            return False
        hidden = weights[0][1].shape[1]
        return self.one_launch(kernels, x.dtype, hidden, len(weights))

    def one_launch(
        self, kernels: tuple[Kernel, ...], dtype: Any, hidden: int, directions: int
    ) -> bool:
        return hidden <= MOST_UNITS or self.units_each(kernels, dtype, hidden, directions) > 0

    def units_each(
        self, kernels: tuple[Kernel, ...], dtype: Any, hidden: int, directions: int
    ) -> int:
        return slice_that_fits(self.modules, kernels, dtype, hidden, directions)

    def arrived(self, directions: int) -> Array:
        """How often the blocks of each direction have met: not yet."""
        return self.xp.zeros((directions,), dtype=self.xp.uint32)

    def begin(
        self, x: Array, weights: list[Any], lengths: Array | None
    ) -> tuple[Array, Array | None, Array | None]:
        """The input's share z of all pre-activations, the mask of unequal lengths, and these."""
        lengths = on_device(self.xp, lengths)
        mask = running(self.xp, lengths, x.shape[0])
        return self.input_product(only(self.xp, mask, x), column(weights, 0)), mask, lengths

    def end(
        self, gz: Array, x: Array, weights: list[Any], mask: Array | None, needs_x: bool
    ) -> tuple[Array | None, list[Array]]:
        """The gradients of x and of W_ih."""
        x = only(self.xp, mask, x)
        return self.input_product_backward(gz, x, column(weights, 0), needs_x)

    def joined(self, states: Array) -> Array:
        """(T, N, S, H) -> (T, N, S H)."""
        return self.xp.reshape(states, (*states.shape[:2], -1))

    def apart(self, gy: Array, directions: int) -> Array:
        """(T, N, S H) -> (T, N, S, H)."""
        return self.xp.reshape(gy, (*gy.shape[:2], directions, -1))

    def zeros_for(
        self, gradients: tuple[Array | None, ...], x: Array, weights: list[Any]
    ) -> list[Array]:
        """Zeros, which the other ways through a sequence want, for last states nobody used.

        (S, N, H) each; of an LSTM with a projection the first is (S, N, P).
        """
        out, hidden = weights[0][1].shape[1], weights[0][1].shape[1]
        if len(gradients) == 2 and weights[0][4] is not None:
            hidden = weights[0][4].shape[1]
        return [
            self.xp.zeros((len(weights), x.shape[1], size), dtype=x.dtype) if g is None else g
            for g, size in zip(gradients, (out, hidden), strict=False)
        ]

    def input_product(self, x: Array, weights: list[Array]) -> Array:
        """x (T, N, D), W_ih (G, D) for each direction -> z (T, N, S, G), without the bias."""
        steps, n, features = x.shape
        gates = weights[0].shape[0]
        z = self.xp.empty((steps, n, len(weights), gates), dtype=x.dtype)
        flat, rows = self.xp.reshape(x, (steps * n, features)), self._flat_rows(z)
        for s, w in enumerate(weights):
            out = rows[:, s * gates : (s + 1) * gates]
            self.product(flat, self.xp.matrix_transpose(w), out=out)
        return z

    def input_product_backward(
        self, gz: Array, x: Array, weights: list[Array], needs_x: bool
    ) -> tuple[Array | None, list[Array]]:
        """From gz (T, N, S, G): gx (T, N, D), both directions' shares added; gW_ih for each."""
        xp = self.xp
        flat = xp.reshape(x, (-1, x.shape[2]))
        gx = xp.empty(flat.shape, dtype=x.dtype) if needs_x else None
        gw = []
        for s, w in enumerate(weights):
            rows = self._direction(gz, s)
            gw.append(self.product(xp.matrix_transpose(rows), flat))
            if gx is not None:
                self.product(rows, w, out=gx, add=s > 0)
        return None if gx is None else xp.reshape(gx, x.shape), gw

    def recurrent_gradients(self, gu: Array, states: Array, h0: Array | None) -> list[Array]:
        """gW_hh (G, H) for each direction: the sum over t and n of gu[t, n]^T h[t-1, n].

        gu (T, N, S, G), states (T, N, S, H).  h[t-1] are the states themselves, a step further;
        before the first step stands h0 (S, N, H), or zeros.
        """
        xp, found = self.xp, []
        for s in range(gu.shape[2]):
            after, before = (gu[1:], states[:-1]) if s == 0 else (gu[:-1], states[1:])
            g = self.product(
                xp.matrix_transpose(self._direction(after, s)), self._direction(before, s)
            )
            if h0 is not None:
                first = gu[0, :, s, :] if s == 0 else gu[-1, :, s, :]
                self.product(xp.matrix_transpose(first), h0[s, ...], out=g, add=True)
            found.append(g)
        return found

    def bias_arrays(self, like: Array, biased: bool) -> list[Array]:
        """Where gb_ih and gb_hh of each direction are to be written, (G,); like (T, N, S, G)."""
        count = 2 * like.shape[2] if biased else 0
        return [self.xp.empty(like.shape[3:], dtype=like.dtype) for _ in range(count)]

    def bias_gradients(self, totals: Array, sums: list[Array]) -> None:
        """gb_ih and gb_hh of each direction, from the sums over time, in one launch.

        totals (N, S, G), the same for both biases, or (N, S, 2 G), one after the other.
        """
        if not sums:
            return
        n, directions, width = totals.shape
        gates = sums[0].shape[0]
        launch(
            COLUMN_SUMS,
            self.modules,
            x=totals,
            sums=sums,
            starts=[s * width + second for s in range(directions) for second in (0, width - gates)],
            count=len(sums),
            width=gates,
            rows=n,
            columns=directions * width,
        )

    def _flat_rows(self, z: Array) -> Array:
        return self.xp.reshape(z, (z.shape[0] * z.shape[1], z.shape[2] * z.shape[3]))

    def _direction(self, z: Array, s: int) -> Array:
        """(T, N, S, G) -> (T N, G): a view with rows S G apart."""
        steps, n, directions, gates = z.shape
        return self.xp.reshape(z, (steps * n, directions * gates))[:, s * gates : (s + 1) * gates]


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
