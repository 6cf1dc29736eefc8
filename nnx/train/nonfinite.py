"""NaN or infinity: in which step it appeared, and where."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd import no_grad
from ..backends import Array, backend_of, dtype_name
from ..nn import Module
from ..nn.scopes import watching
from ..random import default_generator
from ..tensor import Tensor, tensors_in
from .losses import by_name

if TYPE_CHECKING:
    from .trainer import Trainer


class NonFinite(ArithmeticError):
    """Training met NaN or infinity; the message says where.

    Args:
        message: what a person reads.
        step: the step, counted from 1 over all epochs.
        layer: the name of the layer whose output was the first that is not finite, or None where
            it was no layer's output.
    """

    def __init__(self, message: str, step: int, layer: str | None = None) -> None:
        super().__init__(message)
        self.step, self.layer = step, layer


def count(array: Array) -> tuple[int, int]:
    """How many elements are NaN, and how many are infinite."""
    if not dtype_name(array.dtype).startswith(("float", "bfloat", "complex")):
        return 0, 0
    xp = backend_of(array).xp
    return int(xp.count_nonzero(xp.isnan(array))), int(xp.count_nonzero(xp.isinf(array)))


def describe(array: Array) -> str | None:
    """ "3 NaN and 2 infinite values of 640", or None where all are finite."""
    nan, inf = count(array)
    if not nan and not inf:
        return None
    parts = ([f"{nan} NaN"] if nan else []) + ([f"{inf} infinite"] if inf else [])
    size = 1
    for length in array.shape:
        size *= length
    return f"{' and '.join(parts)} of {size} values"


def first_spoiled(named: Iterable[tuple[str, Array | None]]) -> str | None:
    """The first array that is not finite: "0.weight: 3 NaN of 40 values"."""
    for name, array in named:
        what = None if array is None else describe(array)
        if what:
            return f"{name}: {what}"
    return None


def find(
    model: Module, batch: tuple[Tensor, ...], compute: Callable[[tuple[Tensor, ...]], Any]
) -> tuple[str, str | None]:
    """Where the loss of this batch stops being finite: a sentence, and the layer's name.

    Looks, in the order of the computation, at the batch, at the parameters and at the gradients
    that the last step used; then computes the batch again, watching the output of every module.
    """
    parts = batch.items() if isinstance(batch, Mapping) else enumerate(batch)
    spoiled = first_spoiled((f"array {k}", x.data) for k, x in parts)
    if spoiled:
        return f"the batch itself is not finite ({spoiled})", None
    parameters = dict(model.named_parameters())
    spoiled = first_spoiled((name, p.data) for name, p in parameters.items())
    if spoiled:
        cause = first_spoiled((name, p.grad) for name, p in parameters.items())
        why = (
            f"the gradient of the step before was not finite ({cause})"
            if cause
            else "though the gradients of the step before were finite, its update overflowed"
        )
        return f"a parameter is not finite ({spoiled}); {why}", None
    spoiled = first_spoiled(model.named_buffers())
    if spoiled:
        return f"a buffer is not finite ({spoiled})", None
    layer, loss = _watched(model, batch, compute)
    if layer is not None:
        return layer
    own = by_name(loss) or {}
    spoiled = first_spoiled((repr(name), x.data) for name, x in own.items())
    which = f"the loss {spoiled.partition(':')[0]}" if spoiled else "the loss function"
    return f"every layer's output is finite, so it is {which} itself", None


class _Found(Exception):
    """Ends the forward pass: what comes later is only the consequence."""


def _watched(
    model: Module, batch: tuple[Tensor, ...], compute: Callable[[tuple[Tensor, ...]], Any]
) -> tuple[tuple[str, str] | None, Any]:
    """What the first spoiled layer is, or None, and then the loss."""
    found: list[tuple[str, str]] = []
    names = {id(module): name for name, module in model.named_modules()}

    def watch(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        name = names.get(id(module))
        if name is None:
            return
        for x in tensors_in(output):
            what = describe(x.data)
            if what:
                kind = type(module).__name__
                where = f"layer {name!r} ({kind})" if name else f"the model ({kind})"
                largest = max([_largest(t) for t in tensors_in(inputs)], default=0.0)
                found.append(
                    (
                        f"first in the output of {where}: {what}; its input, at most "
                        f"{largest:.3g}, and the parameters were finite",
                        name,
                    )
                )
                raise _Found

    try:
        with watching(watch), no_grad():
            return None, compute(batch)[0]
    except _Found:
        return found[0], None


def _largest(x: Tensor) -> float:
    if not x.size or not dtype_name(x.dtype).startswith("float"):
        return 0.0
    xp = backend_of(x.data).xp
    return float(xp.max(xp.abs(x.data)))


# ---- what a Trainer asks ----


def reads_at_once(array: Array) -> bool:
    """Whether an array lies in host memory, so that reading it waits for no device."""
    return isinstance(array, np.ndarray) or array.__dlpack_device__()[0] == 1


def loss_error(trainer: Trainer, batch: tuple[Tensor, ...], loss: float) -> NonFinite:
    """The error for this batch's loss, after computing it once more to see where it breaks."""
    default_generator().set_state(trainer.draws)  # the same dropout masks
    what, layer = find(trainer.model, batch, trainer.computed)
    return NonFinite(
        f"the loss became {loss} in step {trainer.step + 1} (epoch {trainer.epoch + 1}, batch "
        f"{trainer.batch + 1}): {what}. A smaller learning rate, gradient clipping or scaled "
        "inputs may help",
        trainer.step + 1,
        layer,
    )


def check_losses(trainer: Trainer) -> list[float]:
    """The losses of this epoch, read from the device, if they are finite."""
    losses = trainer.running_loss.parts.values()
    bad = next((k for k, loss in enumerate(losses) if not math.isfinite(loss)), None)
    if bad is None:
        return losses
    step = trainer.step - len(losses) + bad + 1
    raise NonFinite(
        f"the loss became {losses[bad]} in step {step} (epoch {trainer.epoch + 1}, batch "
        f"{bad + 1}); it was noticed after step {trainer.step}. With check_every = 1, or on the "
        "numpy backend, the same run stops in that step and names the layer",
        step,
    )


def check_parameters(trainer: Trainer) -> None:
    """After the last step of an epoch: no loss has shown yet what its update did."""
    spoiled = first_spoiled((name, p.data) for name, p in trainer.model.named_parameters())
    if spoiled:
        raise NonFinite(
            f"a parameter is not finite after step {trainer.step} (epoch {trainer.epoch + 1}): "
            f"{spoiled}",
            trainer.step,
        )
