"""Gradients in a few long vectors, each sent as soon as the walk back has completed it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue

import numpy as np

from ..autograd import Node
from ..backends import backend_of, dtype_name
from ..backends.cpu.memory import empty
from ..nn import Parameter
from .communicator import Array, Communicator
from .tree import Nodes, Span


class Bucket:
    """Some parameters of one dtype, one after the other in a vector; of float16 in float32, in
    which the sums over a batch stay in range.

    The vector lies in host memory, or beside the parameters where the communicator takes it there.

    Behind their gradients stands a number for each: in how many parts it had one.  A parameter
    that had none in any part gets none, and its optimizer leaves it alone.
    """

    def __init__(self, parameters: Sequence[Node], beside: bool = False) -> None:
        self.parameters, self.beside = parameters, beside
        own = np.dtype(dtype_name(parameters[0].data.dtype))
        self.dtype = np.promote_types(own, np.float32)
        self.places: dict[Node, Span] = {}
        end = 0
        for p in parameters:
            size = int(np.prod(p.data.shape, dtype=np.int64))
            self.places[p] = (end, end + size)
            end += size
        self.flags = {p: end + k for k, p in enumerate(parameters)}
        self.length = end + len(parameters)

    @property
    def nbytes(self) -> int:
        return self.length * self.dtype.itemsize

    def vector(self, gradients: dict[Node, Array]) -> Array:
        """The gradients of a part that are there, and zeros."""
        if self.beside:
            v = np.empty_like(self.parameters[0].data, self.dtype, shape=(self.length,))
        else:
            v = empty((self.length,), self.dtype)
        for p, (first, end) in self.places.items():
            g = gradients.pop(p, None)
            v[self.flags[p]] = g is not None
            if g is None:
                v[first:end] = 0
            else:
                g = g if self.beside else backend_of(g).to_numpy(g)
                v[first:end].reshape(g.shape)[...] = g
        return v

    def assign(self, total: Array, divisor: float) -> None:
        """Give the parameters their gradients: the total, divided."""
        end = self.length - len(self.parameters)
        counts = total[end:].tolist()
        if divisor != 1:
            total[:end] /= self.dtype.type(divisor)
        for (p, (first, end)), count in zip(self.places.items(), counts, strict=True):
            data = p.data
            if not count:
                p.grad = None
                continue
            g = (
                total[first:end]
                .reshape(tuple(data.shape))
                .astype(dtype_name(data.dtype), copy=False)
            )
            home = backend_of(data)
            if not (self.beside or home.xp is np):
                g = home.xp.asarray(home.from_numpy(g), device=data.device)
            p.grad = g


def pack(parameters: Iterable[Node], nbytes: int, takes: Callable[[Array], bool]) -> list[Bucket]:
    """Buckets of about `nbytes`, in the order in which the walk back completes the parameters of a
    usual network: the last layer first.  `takes` is the communicator's."""
    groups: list[list[Node]] = []
    open_: dict[str, tuple[list[Node], int]] = {}
    for p in reversed(list(parameters)):
        dtype = dtype_name(p.data.dtype)
        group, size = open_.get(dtype, (None, 0))
        if group is None:
            groups.append(group := [])
        group.append(p)
        size += int(np.prod(p.data.shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        open_[dtype] = (group, size)
        if size >= nbytes:
            del open_[dtype]
    return [
        Bucket(group, type(group[0].data) is not np.ndarray and takes(group[0].data))
        for group in groups
    ]


class Sender:
    """A thread that sums buckets with the other ranks while this one goes on computing."""

    def __init__(self, communicator: Communicator) -> None:
        self.communicator = communicator
        self.jobs: SimpleQueue[tuple[Sum, Sequence[Array]] | None] = SimpleQueue()
        threading.Thread(target=self._work, name="nnx-sender", daemon=True).start()

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            job[0].compute(self.communicator, job[1])
            del job

    def stop(self) -> None:
        self.jobs.put(None)


class Sum:
    """One bucket's sum over all parts: asked for, and some time later there."""

    def __init__(self, parts: int, exact: bool) -> None:
        self.parts, self.exact = parts, exact
        self.done = threading.Lock()
        self.done.acquire()
        self.error: BaseException | None = None

    def compute(self, communicator: Communicator, nodes: Sequence[Array]) -> None:
        try:
            if self.exact:
                self.total = communicator.tree_sum(self.parts, nodes)
            else:
                self.total = communicator.fast_sum(nodes[0])
        except BaseException as error:
            self.error = error
        finally:
            self.done.release()

    def result(self) -> Array:
        """The total; waits for it."""
        self.done.acquire()
        if self.error is not None:
            raise self.error
        return self.total


class Gradients:
    """The gradients of one step: part after part goes in, the sum over all ranks comes out.

    Args:
        buckets: where they are put.
        parts: of the whole batch.
        mine: this rank's parts, first and end.
        busy: how many of them have examples: the first ones.  While the last of these is walked
            back, every bucket is sent as it is completed, in the buckets' order, whatever the
            order of their completion, since the other ranks wait for them in that order.
    """

    def __init__(
        self,
        buckets: Sequence[Bucket],
        communicator: Communicator,
        sender: Sender | None,
        parts: int,
        exact: bool,
        mine: Span,
        busy: int,
    ) -> None:
        self.buckets, self.communicator, self.sender = buckets, communicator, sender
        self.parts, self.exact = parts, exact
        self.first, self.end = mine
        self.idle = mine[0] + busy  # the first part without examples
        self.nodes = [Nodes() for _ in buckets]
        self.home = {p: k for k, bucket in enumerate(buckets) for p in bucket.parameters}
        self.complete: set[int] = set()
        self.sums: list[Sum] = []  # those that were asked for
        if busy == 0:
            for k in range(len(buckets)):
                self._finish(k)

    def part(self, number: int, uses: dict[Node, int]) -> Part:
        """What takes the gradients of one part; `uses` is `leaf_uses` of its loss."""
        return Part(self, number, uses)

    def add(self, k: int, part: int, gradients: dict[Node, Array]) -> None:
        """Bucket k of a part is complete."""
        self.nodes[k].add((part, part + 1), self.buckets[k].vector(gradients))
        if part == self.idle - 1:
            self._finish(k)

    def _finish(self, k: int) -> None:
        """Bucket k of the last part that computes is complete: those without examples follow."""
        for part in range(self.idle, self.end):
            self.nodes[k].add((part, part + 1), self.buckets[k].vector({}))
        self.complete.add(k)
        while len(self.sums) in self.complete:
            self._send(len(self.sums))

    def _send(self, k: int) -> None:
        job = Sum(self.parts, self.exact)
        self.sums.append(job)
        nodes = self.nodes[k].take()
        if self.sender is None:
            job.compute(self.communicator, nodes)
        else:
            self.sender.jobs.put((job, nodes))

    def totals(self) -> list[Array]:
        """The sum of each bucket over all parts of all ranks."""
        return [job.result() for job in self.sums]


class Part:
    """The gradients of one part, as the walk back brings them: see `nnx.autograd.backward`."""

    def __init__(self, step: Gradients, number: int, uses: dict[Node, int]) -> None:
        self.step, self.number = step, number
        self.gradients: dict[Node, Array] = {}
        self.left = {p: n for p, n in uses.items() if p in step.home}
        self.pending = [0] * len(step.buckets)
        for p in self.left:
            self.pending[step.home[p]] += 1
        for k, count in enumerate(self.pending):
            if count == 0:
                step.add(k, number, {})

    def __call__(self, leaf: Node, gradient: Array) -> None:
        if leaf not in self.left:
            if isinstance(leaf, Parameter):
                raise RuntimeError(
                    f"DataParallel: a parameter of shape {leaf.shape} is trained but is not in the "
                    "model, so each rank would train one of its own; make it part of the model"
                )
            leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient
            return
        before = self.gradients.get(leaf)
        self.gradients[leaf] = gradient if before is None else before + gradient
        self.left[leaf] -= 1
        if self.left[leaf] == 0:
            k = self.step.home[leaf]
            self.pending[k] -= 1
            if self.pending[k] == 0:
                self.step.add(k, self.number, self.gradients)
