"""Random numbers: the same seed gives the same bits on every backend and machine.

    nnx.manual_seed(1)
    w = nnx.random.normal((3, 4), std=0.1)          # an array of the active backend
    g = nnx.random.Generator(2)                     # a stream of one's own
    order = g.fork("shuffle", 0).permutation(100)

The functions of this module draw from one generator that the whole process shares.  It starts
from seed 0, so a program that sets no seed repeats itself too.  Inside `with use_generator(g)`
another takes its place, for this thread alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from ..names import answers
from ..scoped import Block, Scoped
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
    "use_generator",
]

P = ParamSpec("P")
R = TypeVar("R")

_default = Generator(0)
_in_place: Scoped[Generator] = Scoped("generator")


def default_generator() -> Generator:
    """The generator that initialisers, dropout and data loaders draw from unless given another."""
    return _in_place.get() or _default


def use_generator(generator: Generator) -> Block[Generator]:
    """Draw from `generator` in place of the shared one inside a `with` block, in this thread."""
    return _in_place(generator)


def manual_seed(seed: int) -> Generator:
    """Start the shared generator again from `seed` (0 to 2^64 - 1), and return it."""
    generator = default_generator()
    generator.seed(seed)
    return generator


def _shared(method: Callable[Concatenate[Generator, P], R]) -> Callable[P, R]:
    """A method of Generator as a function that draws from the shared one."""

    @wraps(method)
    def draw(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(default_generator(), *args, **kwargs)

    signature = inspect.signature(method)
    _, *others = signature.parameters.values()
    draw.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
    return draw


random_bits = _shared(Generator.random_bits)
uniform = _shared(Generator.uniform)
bernoulli = _shared(Generator.bernoulli)
normal = _shared(Generator.normal)
truncated_normal = _shared(Generator.truncated_normal)
integers = _shared(Generator.integers)
permutation = _shared(Generator.permutation)
choice = _shared(Generator.choice)

if not TYPE_CHECKING:  # a type checker would take every name for one that is here
    __getattr__ = answers(__name__)
