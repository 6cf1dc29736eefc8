"""Layers and models."""

from .module import Module, Parameter

__all__ = ["Module", "Parameter"]
