"""The matrix product in registers that every compiled convolution and scan is made of.

    tile:   C[r, v] += Σ_k A[r, k] · B[k, v]        r < rows,  v < vectors · LANES

A is read one number at a time and spread over a vector; B and C are read in whole vectors; the
`rows` x `vectors` sums stay in registers for the whole loop over k.  This is the inner kernel of
every fast BLAS (Goto and van de Geijn 2008), with one freedom that BLAS does not give: k runs over
*three* nested loops with strides of their own, and strides may overlap.  So A may be a padded
image as it lies in memory,

    k = (i, j, c):   A[r, k] = image[y s + i d, (x + r) s + j d, c]

and convolution, its input gradient and its weight gradient are products without im2col: each
number is loaded into a register and multiplied, never copied.  A fourth loop, over `tiles`, moves
A and C along (the next row of pixels, say) while B stays in the cache.

numba cannot promise that an array of sums stays in registers, so `_emit` writes the loops in LLVM's
language: an `@intrinsic` is a Python function that emits code where it is called.  There can be a
kernel for every (rows, vectors) up to (ROWS, VECTORS), whose sums, with `vectors` registers for B
and one for A, just fit into the processor's registers.

Each takes LLVM some time, and a network needs few of them: those that `need` was asked for are
compiled, and `call_tile` finds them in a table.  Where none was asked for stands the kernel for
(1, 1), which computes any tile, number for number, with the same sums in the same order: a tile
that was forgotten is slow, and never wrong.

    processor    registers   LANES (float32)   ROWS x VECTORS   sums
    AVX-512      32 of 64 B       16             12 x 2          24
    AVX, AVX2    16 of 32 B        8              6 x 2          12
    NEON         32 of 16 B        4              6 x 4          24
    other        16 of 16 B        4              6 x 2          12
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import product
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from .compiling import callable_from_c


def _shape() -> tuple[int, int, int]:
    """(bytes of a register, ROWS, VECTORS) of the processor that numba compiles for."""
    name = str(config.CPU_FEATURES) if config.CPU_FEATURES is not None else None
    if name is None:
        features = llvm.get_host_cpu_features()
        have = {feature for feature, present in features.items() if present}
    else:
        have = {feature[1:] for feature in name.split(",") if feature.startswith("+")}
    if "avx512f" in have:
        return 64, 12, 2
    if "avx" in have:
        return 32, 6, 2
    if llvm.get_default_triple().startswith(("aarch64", "arm64")):
        return 16, 6, 4
    return 16, 6, 2


REGISTER_BYTES, ROWS, VECTORS = _shape()
ARGUMENTS = 20  # of a kernel
A, B, C = 2, 7, 14  # where these addresses stand among them


def lanes(itemsize: int) -> int:
    """How many numbers of this size a vector holds."""
    return REGISTER_BYTES // itemsize


@intrinsic
def _kernel(typing, rows, vectors, a, a_row, a0, a1, a2, b, b0, b1, b2, n0, n1, n2, c, c_row,
            onto, tiles, a_tile, c_tile):  # fmt: skip
    """The kernel whose tile is what c points to: so many rows of so many vectors."""
    tile_rows = c.dtype
    height, width = tile_rows.count, tile_rows.dtype.count
    signature = types.void(*[types.int64] * C, c, *[types.int64] * (ARGUMENTS - C - 1))

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, word = list(arguments), ir.IntType(64)
        words[C] = builder.ptrtoint(words[C], word)
        dtype = tile_rows.dtype.dtype
        if (height, width) != (1, 1):
            _emit(context, builder, dtype, words[2:], height, width)
            return context.get_dummy_value()
        a, a_row, b, c, c_row = (words[k] for k in (A, A + 1, B, C, C + 1))
        with cgutils.for_range(builder, words[0], intp=word) as row:
            words[A] = builder.add(a, builder.mul(row.index, a_row))
            c_at = builder.add(c, builder.mul(row.index, c_row))
            with cgutils.for_range(builder, words[1], intp=word) as column:
                along = builder.mul(column.index, ir.Constant(word, REGISTER_BYTES))
                words[B], words[C] = builder.add(b, along), builder.add(c_at, along)
                _emit(context, builder, dtype, words[2:], 1, 1)
        return context.get_dummy_value()

    return signature, emit


def _emit(context: Any, builder: Any, dtype: Any, arguments: Any, rows: int, vectors: int) -> None:
    """Write the loops.  `mul` and `add` here build instructions; nothing is computed yet."""
    (a, a_row, a0, a1, a2, b, b0, b1, b2, n0, n1, n2, c, c_row, accumulate,
     tiles, a_tile, c_tile) = arguments  # fmt: skip
    itemsize = dtype.bitwidth // 8
    count = lanes(itemsize)
    number = context.get_value_type(dtype)
    vector = ir.VectorType(number, count)
    word = ir.IntType(64)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    nothing = ir.Constant(vector, ir.Undefined)
    # a * b + c in one instruction where the processor has it
    fused = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector] * 3),
        f"llvm.fmuladd.v{count}f{dtype.bitwidth}",
    )

    def at(address: Any, kind: Any) -> Any:
        return builder.inttoptr(address, kind.as_pointer())

    def moved(address: Any, stride: Any, by: Any) -> Any:
        step = ir.Constant(word, by) if isinstance(by, int) else by
        return builder.add(address, builder.mul(stride, step))

    def load(address: Any, kind: Any) -> Any:
        return builder.load(at(address, kind), align=itemsize)

    def spread(value: Any) -> Any:
        first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, nothing, zeros)

    width = ir.Constant(word, count * itemsize)
    # LLVM keeps these in registers: they are only ever loaded and stored whole.
    sums = [[cgutils.alloca_once(builder, vector) for _ in range(vectors)] for _ in range(rows)]
    places = [(r, v) for r in range(rows) for v in range(vectors)]

    with cgutils.for_range(builder, tiles, intp=word) as t:
        a_here, c_here = moved(a, a_tile, t.index), moved(c, c_tile, t.index)

        def c_at(r: int, v: int, start: Any = c_here) -> Any:
            return moved(moved(start, c_row, r), width, v)

        onto = builder.icmp_unsigned("!=", accumulate, ir.Constant(word, 0))
        with builder.if_else(onto) as (then, otherwise):
            with then:
                for r, v in places:
                    builder.store(load(c_at(r, v), vector), sums[r][v])
            with otherwise:
                for r, v in places:
                    builder.store(ir.Constant(vector, [0.0] * count), sums[r][v])
        with cgutils.for_range(builder, n0, intp=word) as i0:
            a_0, b_0 = moved(a_here, a0, i0.index), moved(b, b0, i0.index)
            with cgutils.for_range(builder, n1, intp=word) as i1:
                a_1, b_1 = moved(a_0, a1, i1.index), moved(b_0, b1, i1.index)
                with _do_times(builder, n2, (a_1, a2), (b_1, b2)) as (a_2, b_2):
                    line = [load(moved(b_2, width, v), vector) for v in range(vectors)]
                    for r in range(rows):
                        # Three rows from one address, at 0, 1 and 2 strides: what an instruction
                        # can add by itself.
                        trio = moved(a_2, a_row, r - r % 3)
                        factor = spread(load(moved(trio, a_row, r % 3), number))
                        for v in range(vectors):
                            total = builder.load(sums[r][v])
                            builder.store(builder.call(fused, [factor, line[v], total]), sums[r][v])
        for r, v in places:
            builder.store(builder.load(sums[r][v]), at(c_at(r, v), vector), align=itemsize)


@contextmanager
def _do_times(builder: Any, times: Any, *pointers: tuple[Any, Any]) -> Iterator[list[Any]]:
    """A loop that runs `times` >= 1 times, while each of (address, stride) moves along.

    LLVM is told not to unroll it: the body is long enough, and more of it would need more
    addresses than there are registers for.
    """
    word = ir.IntType(64)
    before = builder.basic_block
    body = builder.append_basic_block("product")
    after = builder.append_basic_block("product.done")
    builder.branch(body)
    builder.position_at_end(body)
    left = builder.phi(word)
    left.add_incoming(times, before)
    here = []
    for address, _ in pointers:
        phi = builder.phi(word)
        phi.add_incoming(address, before)
        here.append(phi)
    yield here
    end = builder.basic_block
    for phi, (_, stride) in zip(here, pointers, strict=True):
        phi.add_incoming(builder.add(phi, stride), end)
    fewer = builder.sub(left, ir.Constant(word, 1))
    left.add_incoming(fewer, end)
    again = builder.cbranch(builder.icmp_unsigned("!=", fewer, ir.Constant(word, 0)), body, after)
    again.set_metadata("llvm.loop", _not_unrolled(builder.module))
    builder.position_at_end(after)


def _not_unrolled(module: Any) -> Any:
    """Metadata of a loop; its first operand is itself, which is how LLVM tells loops apart."""
    order = module.add_metadata(["llvm.loop.unroll.disable"])
    node = module.add_metadata([order, ir.Constant(ir.IntType(64), len(module.metadata))])
    node.operands = (node, order)
    return node


@intrinsic
def call(typing, address, *arguments):
    """Call the function at an address; its arguments are int64.

    A function that numba sees is compiled again into every caller, which takes seconds.
    """
    arguments = arguments[0] if len(arguments) == 1 else types.Tuple(arguments)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _call(builder, values[0], _words(context, builder, signature, values))
        return context.get_dummy_value()

    return types.void(types.int64, arguments), emit


@intrinsic
def call_tile(typing, table, *arguments):
    """Call the kernel for the tile that the first two arguments say: see `tile`.

    table: the address of a `table`.
    """
    arguments = arguments[0] if len(arguments) == 1 else types.Tuple(arguments)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        words = _words(context, builder, signature, values)
        word, one = words[0].type, ir.Constant(words[0].type, 1)
        line = builder.mul(builder.sub(words[0], one), ir.Constant(word, VECTORS))
        place = builder.add(line, builder.sub(words[1], one))
        kernels = builder.inttoptr(values[0], word.as_pointer())
        _call(builder, builder.load(builder.gep(kernels, [place])), words)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), emit


def _words(context: Any, builder: Any, signature: Any, values: Any) -> list[Any]:
    """What stands in a call, as int64."""
    return [
        context.cast(builder, value, kind, types.int64)
        for value, kind in zip(
            cgutils.unpack_tuple(builder, values[1]), signature.args[1], strict=True
        )
    ]


def _call(builder: Any, address: Any, words: list[Any]) -> None:
    function = ir.FunctionType(ir.VoidType(), [words[0].type] * len(words))
    builder.call(builder.inttoptr(address, function.as_pointer()), words)


def tile(rows, vectors, a, a_row, a0, a1, a2, b, b0, b1, b2, n0, n1, n2, c, c_row, onto, tiles,
         a_tile, c_tile):  # fmt: skip
    """Products of one size of tile, which c's type says.  Addresses and strides count bytes.

    rows, vectors: the tile, at most ROWS and VECTORS
    a, a_row, a0, a1, a2: A's address, and the strides of r and of the three loops over k
    b, b0, b1, b2: B's address and strides; its vectors lie side by side
    n0, n1, n2: how often the three loops run
    c, c_row, onto: C's address and stride; whether to add to what stands there
    tiles, a_tile, c_tile: how many tiles, and how far A and C move from one to the next
    """
    _kernel(rows, vectors, a, a_row, a0, a1, a2, b, b0, b1, b2, n0, n1, n2, c, c_row, onto, tiles,
            a_tile, c_tile)  # fmt: skip


class _Table:
    """The kernels for numbers of one size: where each is, by (rows, vectors)."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.made: dict[tuple[int, int], Any] = {}
        self.addresses = np.zeros((ROWS, VECTORS), np.int64)
        self.addresses[:] = self.compile(1, 1)

    def compile(self, rows: int, vectors: int) -> int:
        """Where a kernel is, compiled or loaded from the disk."""
        c = types.CPointer(types.UniTuple(types.UniTuple(self.dtype, vectors), rows))
        words = [types.int64] * (ARGUMENTS - C - 1)
        made = callable_from_c(tile, types.void(*[types.int64] * C, c, *words))
        self.made[rows, vectors] = made  # which keeps the code
        return int(made.address)


@cache
def _table(itemsize: int) -> _Table:
    return _Table({4: types.float32, 8: types.float64}[itemsize])


def table(itemsize: int) -> int:
    """The address of the table of kernels for numbers of this size, for `call_tile`."""
    return int(_table(itemsize).addresses.ctypes.data)


def need(itemsize: int, heights: Iterable[int], vectors: Iterable[int]) -> None:
    """Have the kernels for these sizes of tiles, compiled or loaded at the first call."""
    kernels = _table(itemsize)
    for rows, columns in product(heights, vectors):
        if (rows, columns) not in kernels.made:
            kernels.addresses[rows - 1, columns - 1] = kernels.compile(rows, columns)


def heights(extent: int) -> set[int]:
    """Of what height the pieces are into which so many rows are cut: nearly one, at most ROWS."""
    pieces = -(-extent // ROWS)
    return {-(-extent // pieces), extent // pieces} if extent > 0 else set()
