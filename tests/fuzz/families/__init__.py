"""The families of cases: name -> the function that draws one."""

from __future__ import annotations

from collections.abc import Callable

from ..case import Case
from ..draw import Draw
from .attention import attention
from .conv import convolution
from .doors import door
from .elementwise import elementwise
from .indexing import indexing
from .losses import loss
from .more_losses import more_losses
from .norms import norm
from .ordering import ordering
from .pooling import pooling
from .products import product
from .programs import program
from .recurrent import recurrent
from .reductions import reduction
from .resizing import resizing
from .shapes import shaping
from .stacks import stack
from .training import training

FAMILIES: dict[str, Callable[[Draw], Case]] = {
    "attention": attention,
    "conv": convolution,
    "door": door,
    "elementwise": elementwise,
    "indexing": indexing,
    "loss": loss,
    "more-losses": more_losses,
    "norm": norm,
    "ordering": ordering,
    "pooling": pooling,
    "product": product,
    "program": program,
    "recurrent": recurrent,
    "reduction": reduction,
    "resizing": resizing,
    "shape": shaping,
    "stack": stack,
    "training": training,
}
