"""Gradients between GPUs by NCCL; everything else by another communicator.

NCCL sends and receives between two devices as MPI does between two processes, so the tree's
exchange is the same code (`Communicator`).  Not yet run on devices: the tests put a stand-in with
NCCL's calls over NumPy memory in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from .communicator import CONTROL, DATA, Array, Communicator

UINT8 = (
    1  # ncclDataType_t of bytes: what is sent is not added on the way, so its dtype is no matter
)
SUM = 0  # ncclRedOp_t
DTYPES = {"float32": 7, "float64": 8}  # ncclDataType_t, for NCCL's own sum


class Device(Protocol):
    """What a GPU's library gives: `nnx.backends.cupy.NcclDevice`, or a test's stand-in."""

    nccl: Any  # cupy.cuda.nccl

    def owns(self, array: Array) -> bool:
        """Whether the array lies on a device."""

    def pointer(self, array: Array) -> int:
        """The address of a contiguous array's first byte."""

    def begin(self) -> int:
        """The handle of a stream that runs after all that was computed so far."""

    def finish(self) -> None:
        """Wait until that stream has done everything."""


class NcclRank(Communicator):
    """A rank whose arrays lie on a device of its own.

    Args:
        control: the same ranks, for values, texts and arrays in host memory.
        device: how NCCL is called.
    """

    name = "NCCL"

    def __init__(self, control: Communicator, device: Device) -> None:
        self.control, self.device = control, device
        self.rank, self.size = control.rank, control.size
        identity = device.nccl.get_unique_id() if self.rank == 0 else None
        identity = control.broadcast_value(None if identity is None else list(identity))
        self.comm = device.nccl.NcclCommunicator(self.size, tuple(identity), self.rank)

    def takes(self, array: Array) -> bool:
        return self.device.owns(array) or self.control.takes(array)

    def exchange(
        self,
        sends: Sequence[tuple[int, Array]],
        receives: Sequence[tuple[int, Array]],
        channel: int = CONTROL,
    ) -> None:
        device = self.device
        if not all(device.owns(array) for _, array in (*sends, *receives)):
            self.control.exchange(sends, receives, channel)
            return
        stream = device.begin()
        device.nccl.groupStart()  # or a send would wait for a receive that comes after it
        for to, array in sends:
            self.comm.send(device.pointer(array), array.nbytes, UINT8, to, stream)
        for source, array in receives:
            self.comm.recv(device.pointer(array), array.nbytes, UINT8, source, stream)
        device.nccl.groupEnd()
        device.finish()

    def fast_sum(self, vector: Array, channel: int = DATA) -> Array:
        """NCCL's own all-reduce, which adds in an order of its own."""
        kind = DTYPES.get(str(vector.dtype))
        if not self.device.owns(vector) or kind is None:
            return super().fast_sum(vector, channel)
        pointer, stream = self.device.pointer(vector), self.device.begin()
        self.comm.allReduce(pointer, pointer, vector.size, kind, SUM, stream)
        self.device.finish()
        return vector

    def send_bytes(self, to: int, message: bytes) -> None:
        self.control.send_bytes(to, message)

    def receive_bytes(self, source: int) -> bytes:
        return self.control.receive_bytes(source)

    def abort(self, cause: str) -> None:
        self.control.abort(cause)
