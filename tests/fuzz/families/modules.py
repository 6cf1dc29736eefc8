"""Giving modules the parameters of a case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def fill(module: Any, names: Iterable[str], parameters: Sequence[Any]) -> None:
    """Put these parameters into the module under these (dotted) names."""
    for name, parameter in zip(names, parameters, strict=True):
        path, _, last = name.rpartition(".")
        setattr(module.get_submodule(path), last, parameter)
