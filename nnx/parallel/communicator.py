"""`Communicator`: what a rank says to the others, and the sums they make together.

A library's side (`local`, `mpi`, `nccl`) moves arrays between two ranks and texts between two
ranks; everything else stands here, once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import tree
from .tree import Nodes, Span

Array = Any

CONTROL, DATA = 0, 1  # two channels, so that a thread can send gradients while another talks


class RankFailed(RuntimeError):
    """A rank failed, and with it all of them; the message says which one, and why.

    Args:
        rank: which.
        cause: why, as people read it.
    """

    def __init__(self, rank: int, cause: str) -> None:
        super().__init__(f"rank {rank} failed: {cause}")
        self.rank, self.cause = rank, cause


class Communicator:
    """One rank's side of a group of `size` ranks, numbered from 0.

    All ranks must call the same methods in the same order.  This class is the group of one rank;
    a subclass gives `exchange`, `send_bytes` and `receive_bytes`.

    Attributes:
        rank, size: this rank's number, and how many there are.
        name: of the library that carries the messages.
    """

    rank = 0
    size = 1
    name = "alone"

    # ---- what a library gives ----

    def takes(self, array: Array) -> bool:
        """Whether such an array is sent from where it lies; others go by host memory."""
        return isinstance(array, np.ndarray)

    def exchange(
        self,
        sends: Sequence[tuple[int, Array]],
        receives: Sequence[tuple[int, Array]],
        channel: int = CONTROL,
    ) -> None:
        """Send vectors to ranks and fill vectors from ranks, all at once; returns when all is done.

        Args:
            sends, receives: (rank, contiguous vector); at most one each way for a rank.
            channel: 0 for values, 1 for gradients: messages of two channels do not meet.
        """
        raise NotImplementedError(f"{type(self).__name__}.exchange")

    def send_bytes(self, to: int, message: bytes) -> None:
        """Send the rank `to` a message whose length it does not know."""
        raise NotImplementedError(f"{type(self).__name__}.send_bytes")

    def receive_bytes(self, source: int) -> bytes:
        """The next message that `send_bytes` sends from the rank `source` to this one."""
        raise NotImplementedError(f"{type(self).__name__}.receive_bytes")

    def abort(self, cause: str) -> None:
        """End all ranks, now; `cause` is told.

        Raises:
            RankFailed: always, where this rank is the only one.
        """
        raise RankFailed(self.rank, cause)

    # ---- values ----

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, by rank, on every rank.

        Args:
            value: numbers, texts, NumPy arrays, lists and dicts of them.
        """
        if self.size == 1:
            return [value]
        text = _packed(value)
        if self.rank == 0:
            texts = [text, *[self.receive_bytes(rank) for rank in range(1, self.size)]]
            together = b"[" + b",".join(texts) + b"]"
        else:
            self.send_bytes(0, text)
            together = b""
        everyone: list[Any] = _unpacked(self._broadcast_bytes(together))
        return everyone

    def broadcast_value(self, value: Any = None, root: int = 0) -> Any:
        """The root's value on every rank.

        Args:
            value: numbers, texts, NumPy arrays, lists and dicts of them; only the root's counts.
            root: whose it is.
        """
        if self.size == 1:
            return value
        text = _packed(value) if self.rank == root else b""
        return _unpacked(self._broadcast_bytes(text, root))

    def agree(self, what: str, value: Any) -> None:
        """See to it that all ranks have the same value.

        Args:
            what: what the value is of, for the message.
            value: this rank's, as in `gather`.

        Raises:
            ValueError: they do not; on every rank, and the message has all values.
        """
        values = self.gather(value)
        if any(v != values[0] for v in values):
            told = ", ".join(f"rank {rank}: {v}" for rank, v in enumerate(values))
            raise ValueError(f"the ranks do not agree on {what}: {told}")

    def barrier(self) -> None:
        """Wait until all ranks have come here."""
        self.gather(None)

    def _broadcast_bytes(self, message: bytes, root: int = 0) -> bytes:
        """From the root along a binomial tree: log2 n messages one after the other."""
        n = self.size
        place = (self.rank - root) % n
        reach = 1 << (n - 1).bit_length()
        if place:
            lowest = place & -place
            message = self.receive_bytes((place - lowest + root) % n)
            reach = lowest
        while reach := reach // 2:
            if place + reach < n:
                self.send_bytes((place + reach + root) % n, message)
        return message

    # ---- arrays ----

    def broadcast(self, vector: Array, root: int = 0, channel: int = CONTROL) -> None:
        """Fill a vector (n,) on every rank with the root's, along a binomial tree.

        Args:
            vector: contiguous, of one length and dtype on all ranks; the root's is only read.
            root: whose it is.
            channel: as in `exchange`.
        """
        n = self.size
        place = (self.rank - root) % n
        reach = 1 << (n - 1).bit_length()
        if place:
            lowest = place & -place
            self.exchange([], [((place - lowest + root) % n, vector)], channel)
            reach = lowest
        while reach := reach // 2:
            if place + reach < n:
                self.exchange([((place + reach + root) % n, vector)], [], channel)

    def tree_sum(self, parts: int, nodes: Sequence[Array], channel: int = DATA) -> Array:
        """The sum over all parts, along the tree: one and the same on every rank and any number.

        Args:
            parts: of the batch; a power of two, and not less than there are ranks.
            nodes: the sums over the largest whole subtrees of this rank's own parts (`tree.spans`),
                vectors (n,); they are written into, and one may be what is returned.
            channel: as in `exchange`.

        Returns:
            A vector (n,).

        A power of two of ranks halves the vector at each of its log2 n exchanges, and doubles it
        again: 2 log2 n messages and 2 (n-1)/n of the vector's bytes for a rank.  Any other number
        sends every rank its piece of all nodes: 2 (n-1) messages.
        """
        if self.size == 1:
            (total,) = nodes
            return total
        if self.size & (self.size - 1) == 0:
            return self._halving(nodes[0], channel)
        return self._pieces(parts, nodes, channel)

    def fast_sum(self, vector: Array, channel: int = DATA) -> Array:
        """The sum of every rank's vector (n,), in the order that suits the library.

        Args:
            vector: this rank's; it may be written into.
            channel: as in `exchange`.
        """
        return self.tree_sum(self.size, [vector], channel) if self.size > 1 else vector

    def _halving(self, vector: Array, channel: int) -> Array:
        """Recursive halving, then doubling.  Neighbours add first, as in the tree, and
        a + b = b + a."""
        low, high = 0, vector.shape[0]
        halves: list[tuple[int, Span, Span]] = []
        spare = _new(vector, (high + 1) // 2)
        bit = 1
        while bit < self.size:
            peer, middle = self.rank ^ bit, (low + high) // 2
            mine, theirs = (low, middle), (middle, high)
            if self.rank & bit:
                mine, theirs = theirs, mine
            got = spare[: mine[1] - mine[0]]
            self.exchange([(peer, vector[slice(*theirs)])], [(peer, got)], channel)
            tree.plus(vector[slice(*mine)], got)
            halves.append((peer, mine, theirs))
            low, high = mine
            bit *= 2
        for peer, mine, theirs in reversed(halves):
            self.exchange([(peer, vector[slice(*mine)])], [(peer, vector[slice(*theirs)])], channel)
        return vector

    def _pieces(self, parts: int, nodes: Sequence[Array], channel: int) -> Array:
        """Every rank sums one piece of the vector, of all ranks' nodes, and gives it to all."""
        n, me, length = self.size, self.rank, nodes[0].shape[0]
        held = [tree.spans(*tree.share(parts, n, rank)) for rank in range(n)]
        pieces = [tree.share(length, n, rank) for rank in range(n)]
        wide = pieces[me][1] - pieces[me][0]
        others = [rank for rank in range(n) if rank != me]
        like = nodes[0]
        sends, receives = [], []
        for rank in others:
            low, high = pieces[rank]
            packed = _new(like, len(nodes) * (high - low))
            for k, node in enumerate(nodes):
                packed[k * (high - low) : (k + 1) * (high - low)] = node[low:high]
            sends.append((rank, packed))
            receives.append((rank, _new(like, len(held[rank]) * wide)))
        self.exchange(sends, receives, channel)
        got = dict(receives)
        sums = Nodes()
        for rank in range(n):
            for k, span in enumerate(held[rank]):
                if rank == me:
                    sums.add(span, nodes[k][slice(*pieces[me])].copy())
                else:
                    sums.add(span, got[rank][k * wide : (k + 1) * wide])
        mine = sums.total()
        total = _new(like, length)
        total[slice(*pieces[me])] = mine
        self.exchange(
            [(rank, mine) for rank in others],
            [(rank, total[slice(*pieces[rank])]) for rank in others],
            channel,
        )
        return total


def _packed(value: Any) -> bytes:
    """A value as JSON; a NumPy array in it as its bytes."""
    return json.dumps(value, default=_array_packed).encode()


def _array_packed(array: Any) -> dict[str, Any]:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"ranks exchange numbers, texts, lists, dicts and NumPy arrays: {array!r}")
    text = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"$array": text, "dtype": array.dtype.str, "shape": array.shape}


def _unpacked(text: bytes) -> Any:
    return json.loads(text, object_hook=_array_unpacked)


def _array_unpacked(value: dict[str, Any]) -> Any:
    if "$array" not in value:
        return value
    flat = np.frombuffer(base64.b64decode(value["$array"]), value["dtype"])
    return flat.reshape(value["shape"])


def _new(like: Array, length: int) -> Array:
    """A vector of the library and dtype of another (CuPy answers `np.empty_like` itself)."""
    return np.empty_like(like, shape=(length,))
