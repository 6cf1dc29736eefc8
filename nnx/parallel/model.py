"""`DataParallel`: a model whose batches are computed in parts, by however many ranks there are."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..autograd import backward, leaf_uses
from ..backends import backend_of, dtype_name
from ..metrics.metric import exact_sum
from ..nn import Module, SyncBatchNorm
from ..random import default_generator, use_generator
from ..scoped import Scoped
from ..tensor import Tensor
from .buckets import Gradients, Sender, pack
from .communicator import Array, Communicator
from .lockstep import Lockstep
from .nccl import NcclRank
from .parts import Batch, PartDone, StepDone, rows_between, size_of
from .threads import fixed_threads
from .tree import Nodes, rows_of_part, share
from .world import world

Compute = Callable[[Batch], tuple[Tensor, Any, Any]]

# In a part that computes on a copy of the model: whose model, and the copy.
_replica: Scoped[tuple[Any, Module]] = Scoped("replica")
BUCKET = 1 << 20  # bytes: below, the messages' latency counts for more than their length


Forward = Callable[[int, int, int], tuple[PartDone, Tensor]]
Seed = Callable[[Tensor, float], Array]  # what the walk back of a part's loss begins with


class DataParallel(Module):
    """A model whose gradients are the same bits on any number of ranks.

        model = parallel.DataParallel(model, parallel.world(), parts=8)
        trainer = nnx.Trainer(model, loss, optim.Adam(model.parameters()))    # as ever

    A batch is cut into `parts`.  Each rank computes the parts that are its own, one after the
    other; their gradients, each weighted by its number of examples, are summed along a fixed
    binary tree (`parallel.tree`), which the ranks continue among themselves.  What is drawn while
    a part is computed (dropout masks, augmentation) is keyed by the seed, the step and the part;
    what a part does to the model's buffers (running statistics) is averaged over the parts.  So
    nothing depends on how many ranks there are, from 1 to `parts`.

    Outside of `backward` it computes as the model does, and its parameters and its state have the
    model's names: files do not tell whether a model was trained by several ranks.

    Args:
        module: the model.  Its values are taken from rank 0.
        communicator: the ranks; `parallel.world()` if not given.
        parts: a power of two, at least the number of ranks.
        exact: False: each rank computes its share of a batch as one part, and the library's own
            all-reduce adds up; the result then depends on the number of ranks.
        threads: with which each part is computed; BLAS adds in another order with another number.
        bucket_bytes: gradients travel in vectors of about this length.

    Raises:
        ValueError: parts is no power of two, or there are more ranks than parts.
    """

    def __init__(
        self,
        module: Module,
        communicator: Communicator | None = None,
        parts: int = 8,
        *,
        exact: bool = True,
        threads: int = 1,
        bucket_bytes: int = BUCKET,
    ) -> None:
        self.module = module
        self.communicator = c = on_devices(communicator or world(), module)
        if exact and (parts < 1 or parts & (parts - 1)):
            raise ValueError(f"DataParallel: parts must be a power of two, got {parts}")
        if exact and c.size > parts:
            raise ValueError(
                f"DataParallel: there are {c.size} ranks but only {parts} parts; a rank without a "
                "part has nothing to do: give more parts, or start fewer ranks"
            )
        if threads < 1:
            raise ValueError(f"DataParallel: threads must be at least 1, got {threads}")
        self.parts = parts if exact else c.size
        self.exact, self.threads, self.bucket_bytes = exact, threads, bucket_bytes
        self.steps = 0
        self._sender: Sender | None = None
        shapes = [f"{n} {tuple(a.shape)}" for n, a in module.state_dict().items()]
        c.agree("the model", [self.config(), *shapes])
        self._broadcast()

    def config(self) -> dict[str, Any]:
        """What the bits depend on: the number of ranks is not among it, unless not `exact`."""
        return {"parts": self.parts, "threads": self.threads, "exact": self.exact}

    def _broadcast(self) -> None:
        """Take parameters and buffers from rank 0."""
        if self.communicator.size == 1:
            return
        for owner, name, array in [
            *[(p, "data", p.data) for p in self.module.parameters()],
            *[(m, n, a) for m, n, a in self._buffers_of(self.module) if a is not None],
        ]:
            home = backend_of(array)
            host = np.array(home.to_numpy(array)).reshape(-1)
            self.communicator.broadcast(host)
            new = home.from_numpy(host.reshape(tuple(array.shape)))
            setattr(owner, name, home.xp.asarray(new, device=array.device))

    # ---- a module like the one inside ----

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        whose, module = _replica.get() or (None, self.module)
        return (module if whose is self else self.module)(*args, **kwargs)

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """The wrapper, and the modules of the model, under the model's names.

        Args:
            prefix: what the model is called; the names of those inside are `prefix.name`.
            remove_duplicate: False: a shared module comes once under each of its names.
        """
        yield prefix, self
        yield from self.module.named_modules(prefix, remove_duplicate)

    def get_submodule(self, target: str) -> Module:
        """The model's module at the dotted path `target`.

        Raises:
            AttributeError: there is none.
        """
        return self.module.get_submodule(target)

    def get_parameter(self, target: str) -> Any:
        """The model's parameter at the dotted path `target`.

        Raises:
            AttributeError: there is none.
        """
        return self.module.get_parameter(target)

    def __deepcopy__(self, memo: dict[int, Any]) -> DataParallel:
        """A copy of the model that computes with the same ranks."""
        new = copy.copy(self)
        memo[id(self)] = new
        new.module = copy.deepcopy(self.module, memo)
        new._sender = None
        return new

    def extra_repr(self) -> str:
        c = self.communicator
        return f"parts={self.parts}, exact={self.exact}, threads={self.threads}, ranks={c.size}"

    # ---- a step ----

    def own_parts(self) -> tuple[int, int]:
        """Which parts this rank computes: the first, and the one behind the last."""
        return share(self.parts, self.communicator.size, self.communicator.rank)

    def rank_of(self, part: int) -> int:
        """Which rank computes a part."""
        size = self.communicator.size
        return next(r for r in range(size) if part < share(self.parts, size, r)[1])

    @contextmanager
    def part_again(self, batch: Batch, part: int, step: int) -> Iterator[Batch]:
        """The rows of one of this rank's parts; inside the `with` block what is drawn is what was
        drawn for it in that step.

        Args:
            batch: the whole batch, or this rank's `Shard` of it.
            part: which part.
            step: which step.

        Raises:
            ValueError: the arrays of the batch differ in length.
        """
        size, first = size_of(batch)
        low, high = rows_of_part(size, self.parts, part)
        with use_generator(default_generator().fork("step", step, "part", part)):
            yield tuple([rows_between(x, low - first, high - first) for x in batch])

    def backward(
        self,
        compute: Compute,
        batch: Batch,
        step: int | None = None,
        weigh: Callable[[Batch], float] | None = None,
        divide: bool = True,
        note: Any = None,
        look: Callable[[list[PartDone]], Any] | None = None,
        scale: float | None = None,
    ) -> StepDone:
        """Compute the gradients of a batch, over all ranks; every parameter's `.grad` has them.

            done = model.backward(lambda b: (loss(model(b[0]), b[1]), None, None), (x, target))
            optimizer.step()

        Args:
            compute: gives for a batch (loss, output, target), the loss a mean over its examples.
            batch: the whole batch on every rank, or a `Shard` (`ShardedSampler`).
            step: the number of the step, which keys what is drawn; counted here if not given.
            weigh: how much the loss of some rows counts; by default their number.
            divide: False where `compute` gives a sum in place of a mean.
            note, look: a value to be told to the other ranks, or a function that makes it of
                this rank's parts, between backward and the sum's use.
            scale: the factor of a `GradScaler`, which all gradients are left multiplied by; the
                losses are not.  They, and so its skipped steps, are the same on all ranks.

        Raises:
            ValueError: arrays of a batch that differ in length, batches that differ between ranks.
        """
        step = self.steps if step is None else step
        self.steps = step + 1
        size, _ = size_of(batch)
        first, end = self.own_parts()
        rows = [rows_of_part(size, self.parts, part) for part in range(first, end)]
        busy = [(first + k, low, high) for k, (low, high) in enumerate(rows) if high > low]
        if self._sender is None and self.communicator.size > 1:
            self._sender = Sender(self.communicator)
            weakref.finalize(self, self._sender.stop)  # or its thread would wait for ever
        self._buckets = pack(self.module.parameters(), self.bucket_bytes, self.communicator.takes)
        gradients = Gradients(
            self._buckets,
            self.communicator,
            self._sender,
            self.parts,
            self.exact,
            (first, end),
            len(busy),
        )

        def forward(part: int, low: int, high: int) -> tuple[PartDone, Tensor]:
            with self.part_again(batch, part, step) as piece:
                loss, output, target = compute(piece)
            weight = 1.0 if not divide else weigh(piece) if weigh else float(high - low)
            return PartDone(part, high - low, weight, float(loss.item()), output, target), loss

        # What is walked with a scale is what the whole batch's mean would be, as in 16 bits the
        # gradients of a sum over the batch would leave the range that the scale was found for.
        mean_of = 1.0 if scale is None or not divide else float(max(size, 1))

        def seed(loss: Tensor, weight: float) -> Array:
            by = weight if scale is None else weight * scale / mean_of
            return backend_of(loss.data).xp.full_like(loss.data, by)

        with fixed_threads(self.threads):
            if any(isinstance(m, SyncBatchNorm) for m in self.module.modules()):
                mine = self._together(forward, seed, gradients, busy, size)
            else:
                mine = self._in_turn(forward, seed, gradients, busy)
        note = look(mine) if look else note
        return self._end(gradients, mine, size, step, divide, mean_of, note)

    def _in_turn(
        self, forward: Forward, seed: Seed, gradients: Gradients, busy: list[tuple[int, int, int]]
    ) -> list[PartDone]:
        """The parts one after the other, each from the buffers as they were before the step."""
        places = list(self._buffers_of(self.module))
        mine = []
        for place in busy:
            done, loss = forward(*place)
            done.buffers = [getattr(m, n) for m, n, _ in places]
            for m, n, before in places:
                setattr(m, n, before)
            if done.weight:
                take = gradients.part(done.number, leaf_uses(loss))
                backward(loss, seed(loss, done.weight), take=take)
            else:
                gradients.part(done.number, {})
            mine.append(done)
        return mine

    def _together(
        self,
        forward: Forward,
        seed: Seed,
        gradients: Gradients,
        busy: list[tuple[int, int, int]],
        size: int,
    ) -> list[PartDone]:
        """The parts side by side, each on a copy of the model that shares its parameters: where a
        layer sums over the batch, every part has to come there before any can go on."""
        kept: list[Any] = list(self.module.parameters())
        kept += [a for _, _, a in self._buffers_of(self.module) if a is not None]
        memo = {id(x): x for x in kept}
        replicas = [copy.deepcopy(self.module, dict(memo)) for _ in busy]

        def whole(k: int) -> tuple[PartDone, dict[Any, int], list[tuple[Any, Array]]]:
            with _replica((self, replicas[k])):
                done, loss = forward(*busy[k])
            done.buffers = [a for _, _, a in self._buffers_of(replicas[k])]
            uses = leaf_uses(loss)
            got: list[tuple[Any, Array]] = []
            backward(loss, seed(loss, done.weight), take=lambda leaf, g: got.append((leaf, g)))
            return done, uses, got

        lockstep = Lockstep(self.communicator, self.parts, self.own_parts(), told=size < self.parts)
        mine = []
        for done, uses, got in lockstep.run(whole, len(busy)):
            take = gradients.part(done.number, uses)
            for leaf, g in got:
                take(leaf, g)
            mine.append(done)
        return mine

    def _end(
        self,
        gradients: Gradients,
        mine: list[PartDone],
        size: int,
        step: int,
        divide: bool,
        mean_of: float,
        note: Any,
    ) -> StepDone:
        """After this rank's parts: wait for the sums, and give them to the parameters."""
        places = list(self._buffers_of(self.module))
        changed = [
            k for k, (_, _, a) in enumerate(places) if any(d.buffers[k] is not a for d in mine)
        ]
        told = self.communicator.gather(
            {
                "batch": [size, step],
                "parts": [[d.number, d.weight, d.loss] for d in mine],
                "changed": changed,
                "note": note,
            }
        )
        batches = [t["batch"] for t in told]
        if any(b != batches[0] for b in batches):
            raise ValueError(
                "DataParallel: the ranks have different batches; (examples, step) by rank: "
                + ", ".join(str(tuple(b)) for b in batches)
            )
        everyone = [tuple(p) for t in told for p in t["parts"]]
        weight = math.fsum(w for _, w, _ in everyone)
        loss = exact_sum([w * x for _, w, x in everyone if w])
        if divide:
            loss = loss / weight if weight else math.nan
        totals = gradients.totals()
        if math.isfinite(loss):
            for bucket, total in zip(self._buckets, totals, strict=True):
                bucket.assign(total, weight / mean_of if divide else 1.0)
        self._merge(places, sorted({k for t in told for k in t["changed"]}), mine, size)
        like = next(iter(self.module.parameters())).data
        home = backend_of(like)
        value = np.asarray(loss, dtype=np.dtype(dtype_name(like.dtype)))
        return StepDone(
            loss=home.xp.asarray(home.from_numpy(value), device=like.device),
            rows=size,
            losses=[(part, x) for part, _, x in everyone],
            notes=[t["note"] for t in told],
            mine=mine,
        )

    # ---- buffers ----

    @staticmethod
    def _buffers_of(module: Module) -> Iterator[tuple[Module, str, Array]]:
        """(owner, name, array) of every buffer."""
        for owner in module.modules():
            for name in owner._buffers:
                yield owner, name, getattr(owner, name)

    def _merge(
        self,
        places: list[tuple[Module, str, Array]],
        changed: list[int],
        mine: list[PartDone],
        size: int,
    ) -> None:
        """Give the model what its parts made of its buffers: their mean, weighted by their
        examples; of a buffer of integers what the first part made of it, since rank 0 has it."""
        first, end = self.own_parts()
        for k in changed:
            owner, name, before = places[k]
            home = backend_of(before)
            host = np.asarray(home.to_numpy(before))
            if host.dtype.kind == "f":
                wide = np.promote_types(host.dtype, np.float32)
                nodes = Nodes()
                by_part = {d.number: d for d in mine}
                for part in range(first, end):
                    done = by_part.get(part)
                    if done is None:
                        leaf = np.zeros(host.size, wide)
                    else:
                        leaf = home.to_numpy(done.buffers[k]).reshape(-1) * wide.type(done.rows)
                    nodes.add((part, part + 1), leaf)
                total = self.communicator.tree_sum(self.parts, nodes.take(), channel=0)
                new = (total / wide.type(size)).astype(host.dtype, copy=False).reshape(host.shape)
            else:
                source = home.to_numpy(mine[0].buffers[k]) if mine else host
                new = np.array(source).reshape(-1)
                self.communicator.broadcast(new)
                new = new.reshape(host.shape)
            setattr(owner, name, home.xp.asarray(home.from_numpy(new), device=before.device))


def on_devices(ranks: Communicator, module: Module) -> Communicator:
    """The ranks; where the model lies on a GPU that each of them has for its own, by NCCL."""
    some = next(iter(module.parameters()), None)
    if some is None or ranks.size == 1 or isinstance(ranks, NcclRank):
        return ranks
    device = backend_of(some.data).nccl_device()
    return ranks if device is None else NcclRank(ranks, device)
