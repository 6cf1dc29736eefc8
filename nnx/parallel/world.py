"""`world()`: the ranks this process belongs to."""

from __future__ import annotations

import os
from importlib.util import find_spec

from .communicator import Communicator
from .local import this_rank

# What starters of MPI processes put into the environment: Open MPI, MPICH and Intel, Slurm's PMIx.
SIGNS = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK")

_world: Communicator | None = None
_alone = Communicator()


def launched() -> bool:
    """Whether an MPI starter (mpiexec, srun) started this process."""
    return any(sign in os.environ for sign in SIGNS)


def local_rank() -> int:
    """This process's number among those on its machine: which of its GPUs to take."""
    for name in ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def world() -> Communicator:
    """All ranks that were started together: of the LocalWorld this thread belongs to, else of the
    MPI job, else this process alone.

    Raises:
        RuntimeError: mpiexec started this process, but mpi4py is not installed.
    """
    global _world
    mine = this_rank()
    if mine is not None:
        return mine
    if _world is None:
        if not launched():
            return _alone
        if find_spec("mpi4py") is None:
            raise RuntimeError(
                "an MPI starter (mpiexec, srun) started this process, but mpi4py is not installed, "
                "so it cannot talk to the others: pip install mpi4py"
            )
        from .mpi import MPIRank

        _world = MPIRank()
    return _world
