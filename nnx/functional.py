"""The operations, as people import them: `import nnx.functional as F`.

Every differentiable operation is here under its own name.  Those whose names are the array API's
(`exp`, `matmul`, `permute_dims`, ...) and the others alike are also in `nnx` itself; they are
written, with their derivations, in `nnx/ops`, one family a file.

Where an operation wants a tensor it also takes an array, or lists of numbers; anything else is a
TypeError, and so are arrays of two libraries in one call.  The docstrings do not say that again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import ops
from .names import answers
from .ops import *  # noqa: F403

__all__ = list(ops.__all__)

if not TYPE_CHECKING:  # a type checker would take every name for one that is here
    __getattr__ = answers(__name__)
