"""Linear algebra: the array API's extension `linalg`, of matrices in stacks (..., M, N).

`nnx.linalg` shows it.  `eig` and `eigvals` are not here: their results are complex.
"""

import sys

from ...names import say_ours
from ..array.shape import diagonal, matrix_transpose
from ..linear import matmul
from ..products import tensordot, trace, vecdot
from .determinant import det, slogdet
from .factor import cholesky, qr
from .norms import matrix_norm, vector_norm
from .solve import inv, matrix_power, solve
from .spectral import eigh, eigvalsh, matrix_rank, pinv, svd, svdvals
from .vectors import cross, outer

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]

say_ours(sys.modules[__name__], __all__)
