"""How the threads of a kernel that works plane by plane are laid out.

A plane is one channel of one image.  `threadIdx.x` runs along its elements, `threadIdx.y` along
planes, so that small planes share a block; a thread strides on where a plane has more elements
than the grid has threads for it.
"""

from __future__ import annotations

from .launcher import Plan, ceil_div

THREADS = 256


def threads_across(size: int) -> int:
    """Threads along `size` elements: the next power of two, at most a whole block."""
    return min(THREADS, 1 << max(size - 1, 0).bit_length())


def by_plane(planes: int, size: int) -> Plan:
    """One thread for each of the `size` elements of every plane."""
    across = threads_across(size)
    down = THREADS // across
    return Plan((ceil_div(planes, down), min(ceil_div(size, across), 65535)), (across, down))
