"""PyTorch's own lists of samples, imported without what importing them changes for everybody."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import pytest

FLAG = "__allow_nonbracketed_mutation_flag"  # of torch.backends; False: its settings are locked


def own_samples(module: str) -> Any:
    """The module of `torch.testing._internal` of this name; skips where it cannot be imported."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("expecttest")  # PyTorch's own tests need it
    settings = torch.backends.flags_frozen.__globals__
    before = settings[FLAG]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(f"torch.testing._internal.{module}")
    finally:
        settings[FLAG] = before
