"""`capture`: a training step recorded once as a CUDA graph, and replayed.

A small model's step is a hundred launches of a few microseconds each, and Python needs longer to
ask for one than a GPU to do it.  A graph asks for all of them at once.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import Any

from ..autograd import Function, wrote
from ..autograd.autocast import casts_apart
from ..backends import Array, Backend, backend_of, use_backend
from ..debug import HiddenTransfer, no_transfers
from ..nn import Module
from ..nn.state import array_of
from ..optim import Optimizer
from ..scoped import Scoped
from ..tensor import Tensor
from .captured_state import (
    Owner,
    Slot,
    backend_of_owners,
    counted,
    moved,
    options_of,
    parameters_of,
    restore,
    slots_of,
)


class CaptureError(RuntimeError):
    """A step that cannot be recorded and replayed; the message says why, and the remedy."""


def capture(step: Callable[..., Any], *owners: Owner, warmup: int = 2) -> Captured:
    """A step to be called like `step`, which records itself and is replayed from then on.

        step = nnx.capture(lambda x, y: train_on(x, y), model, optimizer)
        for x, y in batches:
            loss = step(x, y)               # forward, backward and the optimizer's step

    The first `warmup` calls run `step` as it is, the next one records it, and that one and all
    later ones replay the record: n calls are n steps, with the same results as without `capture`.

    A replay repeats what the device did and nothing that Python did.  So what is refused, when it
    is recorded, is a step that reads values (`loss.item()`, `if`), copies from host memory, draws
    random numbers (dropout would drop the same again), or counts something on the host.  The steps
    of SGD, Adam and AdamW may be part of it: Adam's count is kept on the device from then on; those
    of the others come after.  A learning rate that changed makes the step be recorded anew.

    Args:
        step: takes tensors or arrays, always of the same shapes and dtypes; returns a tensor, or
            several in a tuple or list, or None.
        owners: the modules and optimizers whose state the step changes.
        warmup: how many calls run as they are: one at least, for kernels are compiled then,
            and state that the first step makes is made.

    The gradients of the owners' parameters are forgotten before each call, as by `zero_grad()`,
    and are there after it.

    Raises:
        CaptureError: the owners are not on a device that records; on calls, see above.
        ValueError: warmup below 1, or no owner.

    Not yet run on a device: see `docs/gpu-runs.md`.
    """
    if warmup < 1:
        raise ValueError(f"capture: warmup must be at least 1, got {warmup}")
    if not any(True for owner in owners for _ in parameters_of(owner)):
        raise ValueError("capture: name the modules and optimizers whose state the step changes")
    return Captured(step, owners, warmup)


class Captured:
    """A step that is recorded after some calls; made by `capture`.

    Attributes:
        recorded: whether the next call only replays.
    """

    def __init__(self, step: Callable[..., Any], owners: tuple[Owner, ...], warmup: int) -> None:
        self.step, self.owners, self.warmup = step, owners, warmup
        self.backend = backend_of_owners(owners)
        self.recorder = self.backend.recorder()
        if self.recorder is None:
            raise CaptureError(
                f"capture needs a CUDA device, but the parameters are on {self.backend.name}: "
                'run the step as it is, or move the model with model.to("cupy")'
            )
        for owner in owners:
            if isinstance(owner, Optimizer):
                owner.count_on_device()
        self.calls = 0
        self.inputs: list[Array] = []  # what the graph reads
        self._play: Callable[[], None] | None = None
        self._results: Any = None
        self._gradients: list[Array | None] = []
        self._options: Any = None

    @property
    def recorded(self) -> bool:
        return self._play is not None

    def fits(self, *inputs: Any) -> bool:
        """Whether these have the shapes and dtypes of the calls so far."""
        given = [array_of(x) for x in inputs]
        return not self.inputs or [_kind(x) for x in given] == [_kind(x) for x in self.inputs]

    def __call__(self, *inputs: Any) -> Any:
        """One step; the results are new tensors, off the tape.

        Raises:
            ValueError: inputs of other shapes or dtypes than those of the first call.
            CaptureError: the step cannot be recorded.
        """
        self._take([array_of(x) for x in inputs])
        self.calls += 1
        if self.calls <= self.warmup:
            self._forget_gradients()
            with self.recorder.aside(), use_backend(self.backend), casts_apart():
                return self._copies(self.step(*self._tensors()))
        options = options_of(self.owners)
        if self._play is None or options != self._options:
            self._record()
            self._options = options
        assert self._play is not None
        self._play()
        wrote(p for o in self.owners if isinstance(o, Optimizer) for p in parameters_of(o))
        for parameter, gradient in zip(self._leaves(), self._gradients, strict=True):
            parameter.grad = gradient
        return self._copies(self._results)

    def _take(self, arrays: list[Array]) -> None:
        """Copy the inputs to where the graph reads them."""
        for x in arrays:
            if backend_of(x) is not self.backend:
                raise TypeError(
                    f"capture: an input is on {backend_of(x).name}, the parameters on "
                    f"{self.backend.name}"
                )
        if not self.inputs:
            xp = self.backend.xp
            self.inputs = [xp.empty(x.shape, dtype=x.dtype) for x in arrays]
        given, fixed = [_kind(x) for x in arrays], [_kind(x) for x in self.inputs]
        if given != fixed:
            raise ValueError(
                f"capture: the step was begun with inputs {fixed} and can take no others, got "
                f"{given}; run a smaller last batch uncaptured, or drop it (drop_last=True)"
            )
        for mine, x in zip(self.inputs, arrays, strict=True):
            mine[...] = x

    def _record(self) -> None:
        slots = list(slots_of(self.owners))
        before = [slot() for slot in slots]
        before_it = counted(self.owners)
        try:
            with _guarded(self.backend, self.owners):
                results, play = self.recorder.record(lambda: self._body(slots, before))
        except Exception as error:  # whatever the step or the device raises
            for slot, array in zip(slots, before, strict=True):
                slot.set(array)
            restore(before_it)
            self._forget_gradients()
            where = _place(error, self.owners)
            if isinstance(error, CaptureError):
                raise CaptureError(f"{error}{where}") from error.__cause__
            raise CaptureError(f"capture: the step cannot be recorded{where}: {error}") from error
        if (what := moved(before_it)) is not None:
            restore(before_it)
            raise CaptureError(f"capture: {what}")
        (self._results, self._gradients), self._play = results, play

    def _body(self, slots: list[Slot], before: list[Array]) -> tuple[Any, list[Array | None]]:
        """The step, on the graph's inputs, its state ending where it began.

        An array of the state that was replaced by another is copied back to where it was, so that
        the next replay begins with it.
        """
        self._forget_gradients()
        with use_backend(self.backend):
            results = self.step(*self._tensors())
        for slot, old in zip(slots, before, strict=True):
            new = slot()
            if new is not old:
                old[...] = new
                slot.set(old)
        return results, [p.grad for p in self._leaves()]

    def _tensors(self) -> list[Tensor]:
        return [Tensor(x) for x in self.inputs]

    def _leaves(self) -> Iterator[Tensor]:
        return (p for owner in self.owners for p in parameters_of(owner))

    def _forget_gradients(self) -> None:
        for parameter in self._leaves():
            parameter.grad = None

    def _copies(self, results: Any) -> Any:
        """The next call overwrites what the step returns: new tensors with the same values."""
        if results is None:
            return None
        if isinstance(results, tuple | list):
            return type(results)(self._copies(r) for r in results)
        return Tensor(self.backend.xp.asarray(array_of(results), copy=True))


_recording: Scoped[bool] = Scoped("nnx recording a step")
_one_at_a_time = RLock()


@contextmanager
def _guarded(backend: Backend, owners: tuple[Owner, ...]) -> Iterator[None]:
    """While a step is recorded: nothing is read or sent, and nobody else's state is changed.

    What other threads do meanwhile is their own affair.
    """
    send = backend.from_numpy

    def refuse(x: Any) -> Any:
        if not _recording.get():  # a loader's, sending the next batch
            return send(x)
        raise CaptureError(
            f"capture: the step sends an array of shape {tuple(x.shape)} from host memory to the "
            "device (lengths of sequences?), which a replay would read when it is gone: send it "
            "before, and pass it to the step"
        )

    known = {id(owner) for owner in owners}
    for owner in owners:
        if isinstance(owner, Module):
            known |= {id(module) for module in owner.modules()}
    with ExitStack() as stack:
        stack.enter_context(_one_at_a_time)
        stack.enter_context(_recording(True))
        stack.enter_context(casts_apart())  # a replay casts what the weights are then
        stack.enter_context(no_transfers(backend))
        stack.enter_context(_attribute(backend, "from_numpy", refuse))
        stack.enter_context(
            _checked(Module, "__call__", lambda m: id(m) in known or not _learns(m))
        )
        stack.enter_context(_checked(Optimizer, "step", lambda o: id(o) in known))
        try:
            yield
        except HiddenTransfer as error:
            raise CaptureError(
                f"capture: the step reads values, which a replay cannot: {error}"
            ) from error


def _place(error: BaseException, owners: tuple[Owner, ...]) -> str:
    """In which layer, or in whose forward or backward pass, a step was stopped: ", in ..."."""
    names = {
        id(module): f"layer {name!r} ({type(module).__name__})" if name else "the model"
        for owner in owners
        if isinstance(owner, Module)
        for name, module in owner.named_modules()
    }
    layer = operation = ""
    for at in (error.__cause__, error):
        for frame, _ in traceback.walk_tb(at.__traceback__ if at else None):
            who = frame.f_locals.get("self")
            if isinstance(who, Function) and frame.f_code.co_name in ("forward", "backward"):
                operation = f"the {frame.f_code.co_name} pass of {type(who).__name__}"
            layer = names.get(id(who), layer)
        if layer or operation:
            break
    return "".join(f", in {what}" for what in (layer, operation) if what)


def _learns(module: Module) -> bool:
    """Whether a step may change something in this module itself."""
    buffers = [getattr(module, name) for name in module._buffers]
    learnt = [v for v in vars(module).values() if isinstance(v, Tensor) and v.requires_grad]
    return bool(learnt) or any(array is not None for array in buffers)


@contextmanager
def _attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another attribute of an object or a class inside a `with` block."""
    inherited = name not in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _checked(kind: type, name: str, known: Callable[[Any], bool]) -> Any:
    """A method that works for known objects, and is refused to others, inside a `with` block."""
    method = getattr(kind, name)

    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _recording.get() and not known(self):
            raise CaptureError(
                f"capture: the step uses a {type(self).__name__} that capture(...) was not told "
                "of: name every module and optimizer whose state the step may change"
            )
        return method(self, *args, **kwargs)

    return _attribute(kind, name, checked)


def _kind(x: Array) -> tuple[tuple[int, ...], str]:
    return tuple(x.shape), str(x.dtype)
