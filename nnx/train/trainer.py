"""`Trainer`: the loop over epochs and batches, and what people need around it."""

from __future__ import annotations

import copy
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..backends import Array, Backend, active_backend, backend_of, use_backend
from ..data import Shard
from ..data.loader import cast
from ..io import save_state
from ..metrics import BinaryAccuracy, Mean, Metric
from ..metrics import get as get_metric
from ..nn import BCELoss, Module
from ..nn.scopes import temporary_modes
from ..optim import Optimizer
from ..parallel import DataParallel
from ..parallel.threads import fixed_threads
from ..random import default_generator
from ..tensor import Tensor
from . import parallel
from .batches import Batch, batches_of, slices_of
from .callbacks import Callback
from .capture import Captured, capture
from .checkpoint import restore, signed, state_of
from .history import History, Row
from .interrupt import Interrupted, Interrupts
from .nonfinite import NonFinite, find, first_spoiled
from .penalty import Penalty
from .progress import Progress
from .termination import Terminations

Batches = Any  # an iterable of batches that can be walked again, or a data set


class Trainer:
    """Trains a model, and evaluates it, and predicts with it.

        trainer = nnx.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()),
                              metrics=["accuracy"])
        trainer.fit(loader, validation, epochs=10)
        trainer.evaluate(test)                      # {"loss": 0.08, "accuracy": 0.978}

    A batch is a tuple of tensors or arrays whose last is the target: `model(*inputs)` gives the
    output and `loss(output, target)` the loss, a mean over the batch.  Where a task is different,
    override `compute`.

    Numbers are read from the device sparingly: losses and metrics are kept there and read
    together, when they are shown or the epoch ends.

    Args:
        model, loss, optimizer: what is trained, by what, and how.
        metrics: metrics or their names (`nnx.metrics.get`); "accuracy" counts what suits the loss,
            also for a single logit with targets of 0 and 1 or ±1, and for the probabilities of
            `nn.BCELoss`.
        penalty: an L1 or L2 penalty on weights (`nnx.train.Penalty`): its gradient is added to the
            loss's in every step, and its value at the end of each epoch stands beside the loss.
        callbacks: see `nnx.train.callbacks`; they run in the given order, a Checkpoint last.
        progress: whether the progress is shown: a bar in a terminal, a line per epoch in a pipe.
        graph: record forward and backward as a CUDA graph and replay it (`nnx.capture`, which says
            what can be recorded); the optimizer's step and a smaller last batch run as they are.
            Not yet run on a device.
        dtype: cast the floating-point arrays of every batch, and what `predict` is given, to this,
            as `DataLoader` does.  Nothing is cast without it: a layer in float32 refuses data in
            float64.

    Attributes:
        epoch: how many epochs are complete.
        batch: how many batches of the current epoch are done.
        step: how many steps were made since the first.
        history: what they gave.
        check_every: after how many steps the losses are read and looked at, where they lie on a
            device; 1 stops before the faulty step is made, and finds its layer, but waits for the
            device at each step.  In host memory every loss is looked at.
        parallel: the model, where it is a `DataParallel`: steps and evaluations are then shared
            by its ranks, which must all call the same methods; only rank 0 prints and writes.
        interrupted: whether Ctrl-C ended the last `fit`.
        stopped: why the last `fit` ended early, or None.
    """

    check_every = 64

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Optimizer,
        *,
        metrics: Sequence[str | Metric] = (),
        callbacks: Sequence[Callback] = (),
        penalty: Penalty | None = None,
        progress: bool = True,
        graph: bool = False,
        dtype: Any = None,
    ) -> None:
        self.dtype = dtype
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.metrics = [_metric_for(metric, loss) for metric in metrics]
        self.penalty = penalty
        if penalty is not None:
            penalty.on(model)  # an error now, not after the first step
        self.callbacks = sorted(callbacks, key=lambda callback: callback.last)
        self.parallel = model if isinstance(model, DataParallel) else None
        self.progress = Progress() if progress and self.writes else None
        self.history = History()
        self.epoch = self.batch = self.step = 0
        self.batches: int | None = None  # in an epoch, where it is known
        self.epochs = 0  # that will be complete when the running `fit` ends
        self.interrupted = False
        self.stopped: str | None = None
        self.running_loss = Mean()
        if graph and self.parallel is not None:
            raise ValueError("Trainer: a DataParallel model's steps cannot be recorded as a graph")
        self._captured = self._capture() if graph else None
        self._all_stop = False  # some rank was asked to
        self._interrupts = Interrupts(tell=self.writes)
        self._terminations = Terminations()
        self._train: Batches = None
        self._resumed: dict[str, Any] | None = None  # to be restored before the next batch
        self._draws: Any = None  # the random generator before the current step

    # ---- what a task may define otherwise ----

    def compute(self, batch: Batch) -> tuple[Tensor, Any, Any]:
        """The loss of a batch (shape ()), the model's output, and the target it is held against."""
        *inputs, target = batch
        output = self.model(*inputs)
        return self.loss(output, target), output, target

    # ---- training ----

    def fit(self, train: Batches, validation: Batches | None = None, epochs: int = 1) -> History:
        """Train for some epochs more.

        After `load`, training goes on exactly as if it had never stopped; where the checkpoint
        was taken in the middle of an epoch, the rest of it is the first of the epochs.

        Ctrl-C ends after the running step: a Checkpoint is written, `interrupted` is set, and
        the history so far is returned.  SIGTERM and SIGHUP do the same, and then end the process
        by SystemExit.

        Args:
            train: a DataLoader, or another iterable of batches that can be walked again.
            validation: the same, or arrays (x, target): evaluated after each epoch.
            epochs: how many.

        Raises:
            NonFinite: the loss or a parameter became NaN or infinite; in which step, and where.
        """
        # Of a copy of the context nothing is left, however it ends: backend, modes, np.errstate.
        return copy_context().run(self._fit, train, validation, epochs)

    def _fit(self, train: Batches, validation: Batches | None, epochs: int) -> History:
        self.epochs = self.epoch + epochs
        self._train = train
        self.batches = len(train) if hasattr(train, "__len__") else None
        self.interrupted, self.stopped = False, None
        if self._resumed is None:
            self.batch = 0  # an epoch that ended in an error begins again
        listeners = [*([self.progress] if self.progress else []), *self.callbacks]
        on_gradients = _heard(listeners, "on_gradients")
        on_step_end = _heard(listeners, "on_step_end")
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")  # NonFinite says more
        self._all_stop = False
        with (
            self._interrupts.heard(),
            self._terminations,
            quiet,
            use_backend(self._backend()),
            self._threads(),
        ):
            try:
                for listener in listeners:
                    listener.on_fit_start(self)
                while self.epoch < self.epochs and self.stopped is None:
                    self._epoch(on_gradients, on_step_end)
                    self._end_epoch(validation)
                    for listener in listeners:
                        listener.on_epoch_end(self)
                    self._check_interrupts()
            except Interrupted:
                self.interrupted = True
                self._resumed = self.position()
                for listener in listeners:
                    listener.on_interrupt(self)
            finally:
                for listener in reversed(listeners):
                    listener.on_fit_end(self)
        self._terminations.leave()
        return self.history

    def stop(self, reason: str) -> None:
        """End `fit` after this epoch."""
        self.stopped = reason

    def _epoch(
        self,
        on_gradients: list[Callable[[Trainer], None]],
        on_step_end: list[Callable[[Trainer], None]],
    ) -> None:
        """The batches of an epoch, or those that are left of it."""
        self._began = time.perf_counter()
        draws = default_generator()
        if self.batch == 0:
            self.running_loss.reset()
            for metric in self.metrics:
                metric.reset()
        self.model.train()
        for batch in self._batches():
            self._draws = draws.state()
            self._train_step(self.tensors(batch), on_gradients)
            self.batch += 1
            self.step += 1
            if self.parallel is None:
                self._terminations.check()  # before anything is shown in a terminal that is gone
            for heard in on_step_end:
                heard(self)
            self._check_interrupts()
            if self.step % self.check_every == 0:
                self._check_losses()

    def _batches(self) -> Iterator[Any]:
        """The batches of this epoch; after `load`, those that the checkpoint had not seen."""
        train = self._train
        resumed, self._resumed = self._resumed, None
        if resumed is None:
            return iter(train)
        remembers = hasattr(train, "load_state_dict")
        if remembers and resumed["loader"] is not None:
            train.load_state_dict(resumed["loader"])
        if self.batches is not None and self.batch > self.batches:
            raise self._too_few(self.batches)
        if self.batch and self.batch == self.batches:
            batches: Iterator[Any] = iter(())  # interrupted between the last batch and the row
        else:
            batches = iter(train)
            if not remembers:
                self._skip(batches)
        default_generator().set_state(resumed["random"])  # what skipping drew was drawn before
        return batches

    def _train_step(self, batch: Batch, on_gradients: list[Callable[[Trainer], None]]) -> None:
        if self.parallel is not None:
            self._parallel_step(self.parallel, batch, on_gradients)
            return
        if self._captured is not None and self._captured.fits(*batch):
            loss, output, target = self._captured(*batch)
        else:
            loss, output, target = self._forward_and_backward(*batch)
        if self.penalty is not None:
            self.penalty.add_gradients(self.model)
        for heard in on_gradients:
            heard(self)
        self.optimizer.step()
        self.running_loss.take(loss.data, len(batch[-1]))
        for metric in self.metrics:
            metric.update(output, target)

    def _parallel_step(
        self, model: DataParallel, batch: Batch, on_gradients: list[Callable[[Trainer], None]]
    ) -> None:
        loss, size, self._all_stop = parallel.step(self, model, batch)
        if self.penalty is not None:
            self.penalty.add_gradients(self.model)
        for heard in on_gradients:
            heard(self)
        self.optimizer.step()
        self.running_loss.take(loss, size)

    def _check_interrupts(self) -> None:
        """Raise Interrupted after Ctrl-C; on several ranks, after the same step on all."""
        if self.parallel is None:
            self._interrupts.check()
            self._terminations.check()
        elif self._all_stop:
            raise Interrupted

    @property
    def asked_to_stop(self) -> bool:
        """Whether Ctrl-C was pressed, or a signal asked the process to end."""
        return self._interrupts.pending or self._terminations.number is not None

    def _forward_and_backward(self, *batch: Tensor) -> tuple[Tensor, Any, Any]:
        loss, output, target = self.compute(batch)
        look = self.check_every == 1 or _costs_nothing_to_read(loss.data)
        if look and not math.isfinite(loss.data):
            raise self._non_finite(batch, float(loss.data))
        # Only now, so that the gradients of the step before are still there to be looked at.
        self.optimizer.zero_grad()
        loss.backward()
        return loss, output, target

    def _capture(self) -> Captured:
        owners = [self.model, *([self.loss] if isinstance(self.loss, Module) else [])]
        return capture(self._forward_and_backward, *owners)

    def _end_epoch(self, validation: Batches | None) -> None:
        """The epoch's row of the history."""
        if self.batch == 0:
            raise ValueError("fit: the training data gave no batch; an iterator can be walked once")
        losses = self._check_losses()
        self._check_parameters()
        self._check_optimizer()
        row: Row = {"epoch": self.epoch + 1, "loss": self.running_loss.compute()}
        if self.penalty is not None:
            row["penalty"] = self.penalty.value(self.model)
        row |= {metric.name: metric.compute() for metric in self.metrics}
        if validation is not None:
            values = self.evaluate(validation)
            row |= {f"val_{name}": value for name, value in values.items()}
        row["lr"] = self.optimizer.param_groups[0]["lr"]
        row["seconds"] = round(time.perf_counter() - self._began, 3)
        self.history.rows.append(row)
        self.history.step_losses += losses
        self.epoch += 1
        self.batch = 0

    def _skip(self, batches: Iterator[Any]) -> None:
        """Past the batches of a resumed epoch that were trained on before."""
        for k in range(self.batch):
            if next(batches, None) is None:
                raise self._too_few(k)

    def _too_few(self, there_are: int) -> ValueError:
        return ValueError(
            f"fit: the checkpoint was taken after {self.batch} batches of an epoch, but this "
            f"training data has only {there_are}"
        )

    # ---- what is not finite ----

    def _non_finite(self, batch: Batch, loss: float) -> NonFinite:
        """The error for this batch's loss, after computing it once more to see where it breaks."""
        default_generator().set_state(self._draws)  # the same dropout masks
        what, layer = find(self.model, batch, self.compute)
        return NonFinite(
            f"the loss became {loss} in step {self.step + 1} (epoch {self.epoch + 1}, batch "
            f"{self.batch + 1}): {what}. A smaller learning rate, gradient clipping or scaled "
            "inputs may help",
            self.step + 1,
            layer,
        )

    def _check_losses(self) -> list[float]:
        """The losses of this epoch, read from the device, if they are finite."""
        losses = self.running_loss.parts.values()
        bad = next((k for k, loss in enumerate(losses) if not math.isfinite(loss)), None)
        if bad is None:
            return losses
        step = self.step - len(losses) + bad + 1
        raise NonFinite(
            f"the loss became {losses[bad]} in step {step} (epoch {self.epoch + 1}, batch "
            f"{bad + 1}); it was noticed after step {self.step}. With check_every = 1, or on the "
            "numpy backend, the same run stops in that step and names the layer",
            step,
        )

    def _check_parameters(self) -> None:
        """After the last step of an epoch: no loss has shown yet what its update did."""
        spoiled = first_spoiled((name, p.data) for name, p in self.model.named_parameters())
        if spoiled:
            raise NonFinite(
                f"a parameter is not finite after step {self.step} (epoch {self.epoch + 1}): "
                f"{spoiled}",
                self.step,
            )

    def _check_optimizer(self) -> None:
        """Warn of parameters that the optimizer holds and nothing else knows."""
        owners = [m for m in (self.model, self.loss) if isinstance(m, Module)]
        known = {id(p) for owner in owners for p in owner.parameters()}
        held = [p for group in self.optimizer.param_groups for p in group["params"]]
        lost = [p for p in held if p.grad is None and id(p) not in known]
        if lost:
            name = getattr(lost[0], "name", None) or "one"
            warnings.warn(
                f"fit: the optimizer holds {len(lost)} parameters that are not the model's and got "
                f"no gradient ({name} of shape {lost[0].shape}): was a layer or a parameter "
                "replaced after the optimizer was made? The new one is not trained then; make the "
                "optimizer last",
                stacklevel=2,
            )

    # ---- evaluating and predicting ----

    def evaluate(self, data: Batches, batch_size: int = 256) -> dict[str, float]:
        """Loss and metrics over some data, in evaluation mode and off the tape.

        Args:
            data: a DataLoader or another iterable of batches, or arrays (x, target).
            batch_size: for arrays.
        """
        return copy_context().run(self._evaluate, data, batch_size)

    def _evaluate(self, data: Batches, batch_size: int) -> dict[str, float]:
        mean, metrics = Mean(), copy.deepcopy(self.metrics)
        for metric in metrics:
            metric.reset()
        with self._evaluating(), use_backend(self._backend()), self._threads():
            if self.parallel is not None:
                mean, metrics = parallel.evaluate(self, self.parallel, batches_of(data, batch_size))
                return {"loss": mean.compute(), **{m.name: m.compute() for m in metrics}}
            for batch in batches_of(data, batch_size):
                tensors = self.tensors(batch)
                loss, output, target = self.compute(tensors)
                mean.take(loss.data, len(tensors[-1]))
                for metric in metrics:
                    metric.update(output, target)
                self._interrupts.check()
        return {"loss": mean.compute(), **{metric.name: metric.compute() for metric in metrics}}

    def predict(self, inputs: Any, batch_size: int = 256) -> Tensor:
        """The model's outputs for an array of examples, or a tuple of them where it takes several.

        In evaluation mode, off the tape, `batch_size` examples at a time.
        """
        return copy_context().run(self._predict, inputs, batch_size)

    def _predict(self, inputs: Any, batch_size: int) -> Tensor:
        outputs: list[Array] = []
        with self._evaluating(), use_backend(self._backend()), self._threads():
            for batch in slices_of(inputs, batch_size):
                outputs.append(self.model(*self.tensors(batch, target=False)).data)
        xp = backend_of(outputs[0]).xp
        return Tensor(outputs[0] if len(outputs) == 1 else xp.concat(outputs, axis=0))

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation mode and no tape, for this thread and a `with` block."""
        with temporary_modes(self.model), no_grad():
            self.model.eval()
            yield

    def tensors(self, batch: Sequence[Any], target: bool = True) -> Batch:
        """A batch, with or without its target, on the active backend and in the Trainer's dtype."""
        tensors, dtype = tuple([self._tensor(x) for x in batch]), self.dtype
        if not target and isinstance(dtype, tuple | list):
            dtype = dtype[:-1]
        if dtype is not None:
            tensors = cast(tensors, dtype, "Trainer")
        return Shard(tensors, batch.first, batch.size) if isinstance(batch, Shard) else tensors

    def _threads(self) -> AbstractContextManager[None]:
        """The threads that the bits depend on, where a result is promised."""
        return nullcontext() if self.parallel is None else fixed_threads(self.parallel.threads)

    def _tensor(self, x: Any) -> Tensor:
        """A tensor as it is; an array as a tensor, moved to the active backend."""
        if isinstance(x, Tensor):
            return x
        home, here = backend_of(x), active_backend()
        return Tensor(x if home.xp is here.xp else here.from_numpy(home.to_numpy(x)))

    def _backend(self) -> Backend:
        """Where batches have to be: with the model, whatever backend is active."""
        active = active_backend()
        for parameter in self.model.parameters():
            home = backend_of(parameter.data)
            return active if active.xp is home.xp else home
        return active

    # ---- for callbacks ----

    @property
    def writes(self) -> bool:
        """Whether this process prints, and writes files: rank 0 of a `DataParallel` model."""
        return self.parallel is None or self.parallel.communicator.rank == 0

    def latest(self, name: str) -> float:
        """A column of the history's last row."""
        row = self.history.rows[-1]
        if name not in row:
            raise KeyError(f"there is no {name!r} to monitor; the history has {', '.join(row)}")
        return row[name]

    def higher_is_better(self, name: str) -> bool:
        """Whether a larger value of this column is the better one."""
        bare = name.removeprefix("val_")
        return any(m.higher_is_better for m in self.metrics if m.name == bare)

    def show(self, name: str, value: float) -> str:
        """A value of the history as people read it."""
        bare = name.removeprefix("val_")
        metric = next((m for m in self.metrics if m.name == bare), None)
        return metric.show(value) if metric else f"{value:.4f}"

    # ---- state ----

    def state_dict(self) -> dict[str, Any]:
        """Everything the next steps depend on, but the model's own state."""
        return state_of(self)

    def position(self) -> dict[str, Any]:
        """Where the training data and the shared generator are, or will be set before a step."""
        if self._resumed is not None:
            return self._resumed
        loader = self._train.state_dict() if hasattr(self._train, "state_dict") else None
        return {"loader": loader, "random": default_generator().state()}

    def save(self, path: str | os.PathLike[str], config: dict[str, Any] | None = None) -> None:
        """Write a checkpoint: the model's weights under their own names, and the state beside.

        On several ranks one writes, and all go on when the file is there.
        """
        if self.writes:
            weights = self.model.state_dict()
            state = signed(self.state_dict(), weights)
            save_state(path, state, weights, {"config": config or {}})
        if self.parallel is not None:
            self.parallel.communicator.barrier()

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint: the next `fit` continues exactly where it was taken.

        Model, optimizer, metrics and callbacks must be made as they were for the first run.

        Raises:
            CorruptFile: the file is damaged or no checkpoint.
            ValueError: it belongs to another model, optimizer or set of callbacks.
        """
        self._resumed = restore(self, path)


def _heard(listeners: Iterable[Callback], name: str) -> list[Callable[[Trainer], None]]:
    """The methods of this name that do something, so that a step calls no empty ones."""
    methods = [getattr(listener, name) for listener in listeners]
    return [m for m in methods if getattr(m, "__func__", None) is not getattr(Callback, name)]


def _costs_nothing_to_read(array: Array) -> bool:
    """Whether an array lies in host memory, so that reading it waits for no device."""
    return isinstance(array, np.ndarray) or array.__dlpack_device__()[0] == 1


def _metric_for(metric: str | Metric, loss: Any) -> Metric:
    """A metric by its name; of probabilities the border between two classes is at one half."""
    if metric in ("accuracy", "binary_accuracy") and isinstance(loss, BCELoss):
        return BinaryAccuracy(threshold=0.5)
    return get_metric(metric)
