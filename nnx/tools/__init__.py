"""What a careful person wants beside training: comparisons, checks, a doctor."""

from . import doctor, parity

__all__ = ["doctor", "parity"]
