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
language: an `@intrinsic` is a Python function that emits code where it is called.  It does so for
every (rows, vectors) up to (ROWS, VECTORS), whose sums, with `vectors` registers for B and one for
A, just fit into the processor's registers; `tile` chooses among them.

    processor    registers   LANES (float32)   ROWS x VECTORS   sums
    AVX-512      32 of 64 B       16             12 x 2          24
    AVX, AVX2    16 of 32 B        8              6 x 2          12
    NEON         32 of 16 B        4              6 x 4          24
    other        16 of 16 B        4              6 x 2          12
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
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


def lanes(itemsize: int) -> int:
    """How many numbers of this size a vector holds."""
    return REGISTER_BYTES // itemsize


@intrinsic
def _kernels(typing, one, rows, vectors, a, a_row, a0, a1, a2, b, b0, b1, b2, n0, n1, n2, c, c_row,
             onto, tiles, a_tile, c_tile):  # fmt: skip
    """The kernel for `rows` x `vectors`: all are emitted, and one is jumped to."""
    signature = types.void(one, *[types.int64] * ARGUMENTS)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, chosen_rows, chosen_vectors, *rest = arguments
        for r in range(1, ROWS + 1):
            for v in range(1, VECTORS + 1):
                fits = builder.and_(
                    builder.icmp_signed("==", chosen_rows, ir.Constant(ir.IntType(64), r)),
                    builder.icmp_signed("==", chosen_vectors, ir.Constant(ir.IntType(64), v)),
                )
                with builder.if_then(fits):
                    _emit(context, builder, signature.args[0], rest, r, v)
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
    signature = types.void(types.int64, arguments)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word = ir.IntType(64)
        words = [
            context.cast(builder, value, kind, types.int64)
            for value, kind in zip(
                cgutils.unpack_tuple(builder, values[1]), signature.args[1], strict=True
            )
        ]
        function = ir.FunctionType(ir.VoidType(), [word] * len(words))
        builder.call(builder.inttoptr(values[0], function.as_pointer()), words)
        return context.get_dummy_value()

    return signature, emit


def tile(rows, vectors, a, a_row, a0, a1, a2, b, b0, b1, b2, n0, n1, n2, c, c_row, onto, tiles,
           a_tile, c_tile):  # fmt: skip
    """Products of one size of tile, float32.  Addresses and strides count bytes.

    rows, vectors: the tile, at most ROWS and VECTORS
    a, a_row, a0, a1, a2: A's address, and the strides of r and of the three loops over k
    b, b0, b1, b2: B's address and strides; its vectors lie side by side
    n0, n1, n2: how often the three loops run
    c, c_row, onto: C's address and stride; whether to add to what stands there
    tiles, a_tile, c_tile: how many tiles, and how far A and C move from one to the next
    """
    _kernels(np.float32(1), rows, vectors, a, a_row, a0, a1, a2, b, b0, b1, b2, n0, n1, n2, c,
             c_row, onto, tiles, a_tile, c_tile)  # fmt: skip


def tile_double(rows, vectors, a, a_row, a0, a1, a2, b, b0, b1, b2, n0, n1, n2, c, c_row, onto,
                tiles, a_tile, c_tile):  # fmt: skip
    """`tile` for float64."""
    _kernels(np.float64(1), rows, vectors, a, a_row, a0, a1, a2, b, b0, b1, b2, n0, n1, n2, c,
             c_row, onto, tiles, a_tile, c_tile)  # fmt: skip


@cache
def kernel_address(itemsize: int) -> int:
    """Where the kernels for numbers of this size are, compiled or loaded at the first call."""
    entry = {4: tile, 8: tile_double}[itemsize]
    made = callable_from_c(entry, types.void(*[types.int64] * ARGUMENTS))
    return int(made.address)
