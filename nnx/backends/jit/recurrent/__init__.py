"""Recurrent layers compiled by numba: whole sequences, scanned in vector registers.

`layer` makes arrays and weights ready; the loops over time are in `*_scan`, what they share in
`scan`.
"""

from .gru import JitGRU
from .lstm import JitLSTM
from .rnn import JitRNN

__all__ = ["JitGRU", "JitLSTM", "JitRNN"]
