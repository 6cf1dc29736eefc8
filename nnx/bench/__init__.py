"""How fast nnx is: timing, and the steps from a definition to its kernels."""

from . import conv, lenet, timing

__all__ = ["conv", "lenet", "timing"]
