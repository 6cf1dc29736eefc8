"""Random numbers: the same seed gives the same bits on every backend and machine.

    nnx.manual_seed(1)
    w = nnx.random.normal((3, 4), std=0.1)          # an array of the active backend
    g = nnx.random.Generator(2)                     # a stream of one's own
    order = g.fork("shuffle", 0).permutation(100)

The functions of this module draw from one generator that the whole process shares.  It starts
from seed 0, so a program that sets no seed repeats itself too.
"""

from __future__ import annotations

from .generator import Generator, Shape

__all__ = [
    "Generator",
    "Shape",
    "bernoulli",
    "choice",
    "default_generator",
    "integers",
    "manual_seed",
    "normal",
    "permutation",
    "random_bits",
    "truncated_normal",
    "uniform",
]

_default = Generator(0)


def default_generator() -> Generator:
    """The generator that initialisers, dropout and data loaders draw from unless given another."""
    return _default


def manual_seed(seed: int) -> Generator:
    """Start the shared generator again from `seed` (0 to 2^64 - 1), and return it."""
    _default.seed(seed)
    return _default


random_bits = _default.random_bits
uniform = _default.uniform
bernoulli = _default.bernoulli
normal = _default.normal
truncated_normal = _default.truncated_normal
integers = _default.integers
permutation = _default.permutation
choice = _default.choice
