"""PyTorch, the answer key, where it is installed."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any


@cache
def torch() -> Any:
    """The module, or None where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    torch.set_num_threads(1)
    return torch


def functional() -> Any:
    """torch.nn.functional"""
    return torch().nn.functional
