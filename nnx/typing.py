"""The one name for arrays in type hints."""

from __future__ import annotations

from typing import Any

__all__ = ["Array"]

Array = Any
"""An array of any library that follows the array API standard: NumPy, CuPy, torch, ..."""
