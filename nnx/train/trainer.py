"""`Trainer`: the loop over epochs and batches, and what people need around it."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from typing import Any, Self

import numpy as np

from ..amp import Precision
from ..backends import Backend, active_backend, backend_of, use_backend
from ..io import save_state
from ..metrics import BinaryAccuracy, Mean, Metric
from ..metrics import get as get_metric
from ..names import refuse_theirs
from ..nn import BCELoss, Module
from ..optim import Optimizer
from ..parallel import DataParallel
from ..parallel.threads import fixed_threads
from ..random import default_generator
from . import checks, evaluation, nonfinite, shown, steps
from .batches import Batch, are_arrays, batches_of, to_tensors
from .callbacks import Callback, Progress
from .callbacks.listeners import ended, heard
from .checkpoint import batches_left, restore, signed, state_of
from .history import History, Row
from .interrupt import Interrupted, Interrupts
from .losses import Losses
from .penalty import Penalty
from .termination import Terminations
from .weighting import Weighted, weighted_loss

Batches = Any  # an iterable of batches that can be walked again, or a data set


class Trainer:
    """Trains a model, and evaluates it, and predicts with it.

        trainer = nnx.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()),
                              metrics=["accuracy"])
        trainer.fit(loader, validation, epochs=10)
        trainer.evaluate(test)                      # {"loss": 0.08, "accuracy": 0.978}

    A batch is a tuple of tensors or arrays whose last is the target: `model(*inputs)` gives the
    output and `loss(output, target)` the loss, a mean over the batch; or several, as a dict: their
    sum is trained, and each is told of by its name.  Where a task is different, override `compute`.

    Numbers are read from the device sparingly: losses and metrics are kept there and read
    together, when they are shown or the epoch ends.

    Args:
        model, loss, optimizer: what is trained, by what, and how.  A dict of losses by name is
            `train.Losses(...)` of it, which also takes a weight for each.
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
        accumulate: compute each batch in so many parts, one after another, and add up their
            gradients: the step is that of the whole batch, in the memory of a part.  Layers that
            look at a whole batch (batch normalisation) see a part; what is drawn (dropout) differs.
        dtype: cast the floating-point arrays of every batch, and what `predict` is given, to this,
            as `DataLoader` does.  Nothing is cast without it: a layer in float32 refuses data in
            float64.
        precision: "float16" or "bfloat16" to compute products in 16 bits (`nnx.autocast`), in
            training, evaluation and prediction; in float16 the loss is scaled
            (`nnx.amp.GradScaler`), and a step whose gradients overflow is left out.
        weighted: the last array of every batch, after the target, says how much each example
            counts (`nnx.train.weighting`): in training, in validation and in `evaluate`.  Metrics
            count every example alike.

    Attributes:
        epoch: how many epochs are complete.
        batch: how many batches of the current epoch are done.
        step: how many steps were made since the first.
        history: what they gave.
        precision: an `nnx.amp.Precision`.
        check_every: after how many steps the losses are read and looked at, where they lie on a
            device; 1 stops before the faulty step is made, and finds its layer, but waits for the
            device at each step.  In host memory every loss is looked at.
        parallel: the model, where it is a `DataParallel`: steps and evaluations are then shared
            by its ranks, which must all call the same methods; only rank 0 prints and writes.
        interrupted: whether Ctrl-C ended the last `fit`.
        stopped: why the last `fit` ended early, or None.

    Raises:
        ValueError: a metric of an unknown name, or of another's; a penalty without a parameter;
            accumulate below 1; options that do not go together; a callback that
            watches a column that the history will not have.
        TypeError: a callback is no Callback, or metrics are no list of metrics and names.
    """

    check_every = 64

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        refuse_theirs(cls, Trainer, kwargs, checks.THEIRS)
        return super().__new__(cls)

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Any] | Mapping[str, Callable[[Any, Any], Any]],
        optimizer: Optimizer,
        *,
        metrics: Sequence[str | Metric] = (),
        callbacks: Sequence[Callback] = (),
        penalty: Penalty | None = None,
        progress: bool = True,
        graph: bool = False,
        dtype: Any = None,
        accumulate: int = 1,
        weighted: bool = False,
        precision: str = "float32",
    ) -> None:
        self.accumulate = operator.index(accumulate)
        if self.accumulate < 1:
            raise ValueError(f"Trainer: accumulate must be at least 1, got {accumulate}")
        self.dtype, self.weighted = dtype, weighted
        loss = Losses(loss) if isinstance(loss, Mapping) else loss
        self.precision = Precision(precision)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.metrics = [_metric_for(metric, loss) for metric in checks.listed(metrics)]
        self.penalty = penalty
        if penalty is not None:
            penalty.on(model)  # an error now, not after the first step
        self.callbacks = checks.in_order(callbacks)
        self.parallel = model if isinstance(model, DataParallel) else None
        self.progress = Progress() if progress and self.writes else None
        self.history = History()
        self.epoch = self.batch = self.step = 0
        self.batches: int | None = None  # in an epoch, where it is known
        self.epochs = 0  # that will be complete when the running `fit` ends
        self.interrupted = False
        self.stopped: str | None = None
        self.running_loss = Mean()
        self.running_terms = {name: Mean(name) for name in getattr(loss, "names", ())}
        self.captured_terms: tuple[str, ...] = ()
        checks.options(self, graph)
        checks.plan(self)
        self.captured = steps.captured(self) if graph else None  # forward and backward
        self.all_stop = False  # some rank was asked to
        self._interrupts = Interrupts(tell=self.writes)
        self._terminations = Terminations()
        self._train: Batches = None
        self._weighing = weighted  # whether the batches that are trained on have weights
        self._resumed: dict[str, Any] | None = None  # to be restored before the next batch
        self._stopped_before: str | None = None  # why the run that is resumed ended early
        self.draws: Any = None  # the random generator before the current step

    # ---- what a task may define otherwise ----

    def compute(self, batch: Batch) -> tuple[Any, Any, Any]:
        """What a task computes of a batch; to be overridden where it is not model, then loss.

        Args:
            batch: the inputs and, last, the target.

        Returns:
            The loss, shape (), or a dict of several, whose sum is trained; the model's output; and
            the target it is held against: the metrics are given these two.

        Raises:
            TypeError: the batch is a dict, and nothing says which of it is the target.
            ValueError: it has too few arrays.
        """
        if isinstance(batch, Mapping):
            raise TypeError(
                f"fit: a batch is a dict ({', '.join(map(str, batch))}), and nothing says which "
                "of it is the target: override Trainer.compute, or let the loader's `collate` "
                "make tuples of the inputs and the target"
            )
        if isinstance(batch, Weighted) and len(batch) < 3:
            raise ValueError(
                "fit: a batch of a weighted Trainer is the inputs, the target and a weight for "
                f"each example, at least three arrays; this one has {len(batch)}"
            )
        if len(batch) < 2:
            raise ValueError(
                "fit: a batch is the inputs and the target, at least two arrays; this one has "
                f"{len(batch)}, of shape {', '.join(str(tuple(x.shape)) for x in batch)}; where "
                "a task has no target, override Trainer.compute"
            )
        if isinstance(batch, Weighted):
            *inputs, target, weights = batch
            output = self.model(*inputs)
            return weighted_loss(self.loss, output, target, weights), output, target
        *inputs, target = batch
        output = self.model(*inputs)
        return self.loss(output, target), output, target

    def computed(self, batch: Batch) -> tuple[Any, Any, Any]:
        """What `compute` gives, in this Trainer's precision: the loss, shape (), the output and the
        target.

        Args:
            batch: as there.
        """
        with self.precision.autocast():
            return self.compute(batch)

    @property
    def computes_otherwise(self) -> bool:
        """Whether a subclass says what a batch's loss is: its weights are then its own affair."""
        return type(self).compute is not Trainer.compute

    # ---- training ----

    def fit(
        self,
        train: Batches,
        validation: Batches | None = None,
        epochs: int = 1,
        batch_size: int = 32,
        *,
        sample_weight: Any = None,
    ) -> History:
        """Train for some epochs more.

        After `load`, training goes on exactly as if it had never stopped; where the checkpoint
        was taken in the middle of an epoch, the rest of it is the first of the epochs.  So a run
        that had stopped early stays stopped, and says so; `fit` called once more trains on.

        Ctrl-C ends after the running step: a Checkpoint is written, `interrupted` is set, and
        the history so far is returned.  SIGTERM and SIGHUP do the same, and then end the process
        by SystemExit.

        Args:
            train: a DataLoader, or another iterable of batches that can be walked again; or arrays
                (x, target), which are shuffled anew in each epoch.
            validation: the same, or arrays (x, target): evaluated after each epoch.
            epochs: how many.
            batch_size: for arrays to train on.
            sample_weight: for arrays to train on: how much each example counts, (N,); one that
                counts 2 is as if it were there twice.  Validation counts all alike.  For a
                DataLoader see `weighted` of the Trainer.

        Raises:
            NonFinite: the loss or a parameter became NaN or infinite; in which step, and where.
            ValueError: the data are used up after one epoch, or there are none; a callback watches
                a column of the history that there will not be.
        """
        self._weighing = self.weighted or sample_weight is not None
        if sample_weight is not None:
            train = checks.with_weights(self, train, sample_weight)
        # Of a copy of the context nothing is left, however it ends: backend, modes, np.errstate.
        return copy_context().run(self._fit, train, validation, epochs, batch_size)

    def _fit(
        self, train: Batches, validation: Batches | None, epochs: int, batch_size: int
    ) -> History:
        checks.precision(self)
        checks.data(self, train, validation, epochs)
        validation = None if validation is None else batches_of(validation, 256, "fit")
        self._train = batches_of(train, batch_size, "fit", shuffle=are_arrays(train))
        self.epochs = self.epoch + epochs
        self.batches = len(self._train) if hasattr(self._train, "__len__") else None
        self.interrupted, self.stopped = False, self._stopped_before
        self._stopped_before = None
        if self._resumed is None:
            self.batch = 0  # an epoch that ended in an error begins again
        listeners = [*([self.progress] if self.progress else []), *self.callbacks]
        on_gradients = heard(listeners, "on_gradients")
        on_step_end = heard(listeners, "on_step_end")
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")  # NonFinite says more
        self.all_stop = False
        with (
            self._interrupts.heard(),
            self._terminations,
            quiet,
            use_backend(self.home()),
            self.threads(),
            ended(listeners, self),
        ):
            try:
                for listener in listeners:
                    listener.on_fit_start(self)
                # Who stopped in the middle of an epoch meant its end.
                while self.epoch < self.epochs and (self.stopped is None or self.batch):
                    self._epoch(on_gradients, on_step_end)
                    self._end_epoch(validation)
                    for listener in listeners:
                        listener.on_epoch_end(self)
                    self.check_interrupts()
            except Interrupted:
                self.interrupted = True
                self._resumed, self._stopped_before = self.position(), self.stopped
                for listener in listeners:
                    listener.on_interrupt(self)
        self._terminations.leave()
        return self.history

    def stop(self, reason: str) -> None:
        """End `fit` after this epoch; `reason` is shown, and stands in `stopped`."""
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
            for metric in (self.running_loss, *self.running_terms.values(), *self.metrics):
                metric.reset()
        self.model.train()
        resumed, self._resumed = self._resumed, None
        begun = False
        for batch in batches_left(self, self._train, resumed):
            self.draws = draws.state()
            tensors = self.tensors(batch, weighted=self._weighing)
            with nullcontext() if begun else steps.helped(self, tensors):
                steps.step(self, tensors, on_gradients)
            begun = True
            self.batch += 1
            self.step += 1
            if self.parallel is None:
                self._terminations.check()  # before anything is shown in a terminal that is gone
            for hear in on_step_end:
                hear(self)
            self.check_interrupts()
            if self.step % self.check_every == 0:
                nonfinite.check_losses(self)

    def check_interrupts(self) -> None:
        """Raise Interrupted after Ctrl-C; on several ranks, after the same step on all."""
        if self.parallel is None:
            self._interrupts.check()
            self._terminations.check()
        elif self.all_stop:
            raise Interrupted

    @property
    def asked_to_stop(self) -> bool:
        """Whether Ctrl-C was pressed, or a signal asked the process to end."""
        return self._interrupts.pending or self._terminations.number is not None

    def _end_epoch(self, validation: Batches | None) -> None:
        """The epoch's row of the history."""
        if self.batch == 0:
            raise ValueError("fit: the training data gave no batch; an iterator can be walked once")
        losses = nonfinite.check_losses(self)
        nonfinite.check_parameters(self)
        checks.optimizer(self)
        row: Row = {"epoch": self.epoch + 1, "loss": self.running_loss.compute()}
        if self.penalty is not None:
            row["penalty"] = self.penalty.value(self.model)
        row |= {m.name: m.compute() for m in (*self.running_terms.values(), *self.metrics)}
        if validation is not None:
            values = self.evaluate(validation)
            row |= {f"val_{name}": value for name, value in values.items()}
        row["lr"] = self.optimizer.param_groups[0]["lr"]
        row["seconds"] = round(time.perf_counter() - self._began, 3)
        self.history.rows.append(row)
        self.history.step_losses += losses
        self.epoch += 1
        self.batch = 0

    # ---- evaluating and predicting ----

    def evaluate(self, data: Batches, batch_size: int = 256) -> dict[str, float]:
        """Loss and metrics over some data, in evaluation mode and off the tape.

        Args:
            data: a DataLoader or another iterable of batches, or arrays (x, target).
            batch_size: for arrays.
        """
        return copy_context().run(evaluation.evaluate, self, data, batch_size)

    def predict(self, inputs: Any, batch_size: int = 256) -> Any:
        """The model's outputs, in evaluation mode and off the tape, `batch_size` at a time.

        Args:
            inputs: an array of examples, or a tuple of them where the model takes several; or a
                DataLoader, a data set or a list of batches.  The last of several arrays of a
                batch is the target there, and is left out; a DataLoader that shuffles is read in
                the order of its data set.
            batch_size: for arrays and data sets.

        Returns:
            A tensor with one row per example; where the model returns a tuple, a list or a dict of
            tensors, the same with the rows of all batches joined.
        """
        return copy_context().run(evaluation.predict, self, inputs, batch_size)

    def tensors(self, batch: Any, target: bool = True, weighted: bool = False) -> Any:
        """A batch, with or without its target, on the active backend and in the Trainer's dtype.

        Args:
            batch: a tensor, an array, or a tuple or dict of them, of any shapes, which stay.
            target: False: the last of them is no target, so of several dtypes the last is not for
                them.
            weighted: whether the last says how much each example counts.

        Raises:
            TypeError: it holds something else, or no numbers.
            ValueError: dtypes, where several are given, of another number than the arrays.
        """
        tensors = to_tensors(batch, self.dtype, target)
        return Weighted(tensors) if weighted and isinstance(tensors, tuple) else tensors

    def threads(self) -> AbstractContextManager[None]:
        """The threads that the bits depend on, where a result is promised."""
        return nullcontext() if self.parallel is None else fixed_threads(self.parallel.threads)

    def home(self) -> Backend:
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
        """A value of the history's last row.

        Args:
            name: the column.

        Raises:
            KeyError: there is none of this name.
        """
        row = self.history.rows[-1]
        if name not in row:
            raise KeyError(f"there is no {name!r} to monitor; the history has {', '.join(row)}")
        return row[name]

    def higher_is_better(self, name: str) -> bool:
        """Whether a larger value of the history's column `name` is the better one."""
        bare = name.removeprefix("val_")
        return any(m.higher_is_better for m in self.metrics if m.name == bare)

    def show(self, name: str, value: float) -> str:
        """A value of the history's column `name` as people read it."""
        bare = name.removeprefix("val_")
        metric = next((m for m in self.metrics if m.name == bare), None)
        return metric.show(value) if metric else f"{value:.4f}"

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({type(self.model).__name__}, {shown.named(self.loss)}, "
            f"{type(self.optimizer).__name__}; {self.epoch} epochs, {self.step} steps)"
        )

    def _repr_html_(self) -> str:
        return shown.html(self)

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

        Args:
            path: the file, `.safetensors`; it is written beside and renamed.
            config: JSON to stand in its header, so that it tells what it belongs to.
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

        Args:
            path: a file that `save`, or a `Checkpoint`, wrote.

        Raises:
            CorruptFile: the file is damaged or no checkpoint.
            ValueError: it belongs to another model, optimizer or set of callbacks.
        """
        self._resumed = restore(self, path)
        self._stopped_before = self.stopped


def _metric_for(metric: str | Metric, loss: Any) -> Metric:
    """A metric by its name; of probabilities the border between two classes is at one half."""
    each = loss.each.values() if isinstance(loss, Losses) else (loss,)
    if metric in ("accuracy", "binary_accuracy") and any(isinstance(x, BCELoss) for x in each):
        return BinaryAccuracy(threshold=0.5)
    return get_metric(metric)
