"""Kernels tuned for NumPy: one family a file, mirroring `portable/`."""
