"""ONNX's operators by family; importing this package fills the table."""

from . import (
    activation,
    arithmetic,
    attention,
    creation,
    indexing,
    logic,
    loss,
    norm,
    products,
    recurrent,
    reduce,
    resize,
    shape,
    windows,
)

__all__ = [
    "activation",
    "arithmetic",
    "attention",
    "creation",
    "indexing",
    "logic",
    "loss",
    "norm",
    "products",
    "recurrent",
    "reduce",
    "resize",
    "shape",
    "windows",
]
