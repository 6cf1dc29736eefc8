"""`nnx.functional`, where PyTorch has it: `import nnx.nn.functional as F`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..functional import *  # noqa: F403
from ..functional import __all__ as __all__
from ..names import answers

if not TYPE_CHECKING:  # a type checker would take every name for one that is here
    __getattr__ = answers("nnx.functional")
