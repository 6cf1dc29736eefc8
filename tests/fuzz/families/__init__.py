"""The families of cases: name -> the function that draws one."""

from __future__ import annotations

from collections.abc import Callable

from ..case import Case
from ..draw import Draw
from .conv import convolution
from .doors import door
from .elementwise import elementwise
from .indexing import indexing
from .losses import loss
from .norms import norm
from .pooling import pooling
from .products import product
from .programs import program
from .recurrent import recurrent
from .reductions import reduction
from .shapes import shaping
from .stacks import stack
from .training import training

FAMILIES: dict[str, Callable[[Draw], Case]] = {
    "conv": convolution,
    "door": door,
    "elementwise": elementwise,
    "indexing": indexing,
    "loss": loss,
    "norm": norm,
    "pooling": pooling,
    "product": product,
    "program": program,
    "recurrent": recurrent,
    "reduction": reduction,
    "shape": shaping,
    "stack": stack,
    "training": training,
}
