"""nnx: neural networks to read and to run."""

__version__ = "0.1.0"
