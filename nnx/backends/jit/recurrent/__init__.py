"""Recurrent layers compiled by numba: whole sequences, scanned in vector registers."""

from .recurrent import JitGRU, JitLSTM, JitRNN

__all__ = ["JitGRU", "JitLSTM", "JitRNN"]
