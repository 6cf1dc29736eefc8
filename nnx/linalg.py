"""Linear algebra of matrices in stacks (..., M, N), with gradients: the array API's `linalg`.

They are written, with their derivations, in `nnx/ops/linalg`.
"""

from __future__ import annotations

from .ops.linalg import *  # noqa: F403
from .ops.linalg import __all__ as __all__
