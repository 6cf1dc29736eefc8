"""Training with more than one process: the same bits on any number of ranks.

    model = parallel.DataParallel(model, parallel.world(), parts=8)
    nnx launch -n 4 train mnist-cnn

`docs/parallel.md` says how to start it and what is promised.
"""

from .communicator import Communicator, RankFailed
from .local import Link, LocalWorld
from .model import DataParallel
from .sampler import ShardedSampler
from .world import launched, local_rank, world

__all__ = [
    "Communicator",
    "DataParallel",
    "Link",
    "LocalWorld",
    "RankFailed",
    "ShardedSampler",
    "launched",
    "local_rank",
    "world",
]
