"""What else a training step can be compared with: PyTorch compiled, and JAX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.steps import Step, TrainingStep
from nnx import nn, optim


def peers(ours: Any, theirs: Any) -> dict[str, Step | str]:
    """Other libraries' steps of the same row, by name; a word where there is none."""
    found: dict[str, Step | str] = {}
    for name, make, step in (("torch.compile", compiled, theirs), ("JAX jit", in_jax, ours)):
        if not isinstance(step, TrainingStep):
            found[name] = "no such step"
            continue
        try:
            found[name] = made = make(step)
            made().item()
        except ImportError:
            found[name] = "not installed"
        except NotImplementedError as error:
            found[name] = str(error)
        except Exception as error:  # a compiler that is not there, or cannot do it
            found[name] = f"failed: {type(error).__name__}"
    return found


def compiled(step: TrainingStep) -> Step:
    """PyTorch's step with its network compiled."""
    import torch

    return replace(step, model=torch.compile(step.model))


def in_jax(step: TrainingStep) -> Step:
    """The whole step of a network of dense and convolutional layers as one function of JAX.

    Raises:
        NotImplementedError: a layer or an optimizer for which nothing is written here.
    """
    import jax
    import jax.numpy as jnp

    layers = list(step.model) if isinstance(step.model, nn.Sequential) else [step.model]
    parameters = [jnp.asarray(np.array(p.data)) for p in step.model.parameters()]
    forward = [_layer(jax, jnp, layer) for layer in layers]
    if not isinstance(step.loss_function, nn.CrossEntropyLoss):
        raise NotImplementedError("loss not written")
    x, y = jnp.asarray(step.x.data), jnp.asarray(step.y.data)

    def loss_of(parameters: list[Any]) -> Any:
        left, z = iter(parameters), x
        for layer in forward:
            z = layer(z, left)
        log_p = jax.nn.log_softmax(z)
        return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()

    begin, update = _optimizer(jnp, step.optimizer)

    @jax.jit
    def whole(parameters: list[Any], state: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters)
        moved, state = update(parameters, gradients, state)
        return loss, moved, state

    now = [parameters, begin(parameters)]

    def run() -> Any:
        loss, now[0], now[1] = whole(*now)
        return loss.block_until_ready()

    return run


def _layer(jax: Any, jnp: Any, layer: Any) -> Callable[[Any, Any], Any]:
    if isinstance(layer, nn.Linear):
        return lambda z, left: z @ next(left).T + next(left)
    if isinstance(layer, nn.ReLU):
        return lambda z, left: jax.nn.relu(z)
    if isinstance(layer, nn.Flatten):
        return lambda z, left: z.reshape(len(z), -1)
    if isinstance(layer, nn.Conv2d):
        pads = [(layer.padding, layer.padding)] * 2

        def convolve(z: Any, left: Any) -> Any:
            z = jax.lax.conv_general_dilated(z, next(left), (1, 1), pads)
            return z + next(left)[:, None, None]

        return convolve
    if isinstance(layer, nn.MaxPool2d):
        window = (1, 1, layer.kernel_size, layer.kernel_size)
        return lambda z, left: jax.lax.reduce_window(
            z, -jnp.inf, jax.lax.max, window, window, "VALID"
        )
    raise NotImplementedError(f"{type(layer).__name__} not written")


def _optimizer(jnp: Any, optimizer: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    group = optimizer.param_groups[0]
    lr, decay = group["lr"], group["weight_decay"]
    if type(optimizer) is optim.SGD and not group["momentum"]:

        def descend(p: Any, g: Any, state: Any) -> Any:
            return [a - lr * (b + decay * a) for a, b in zip(p, g, strict=True)], state

        return lambda p: (), descend
    if type(optimizer) is optim.Adam:
        (beta1, beta2), eps = group["betas"], group["eps"]

        def adam(p: Any, g: Any, state: Any) -> Any:
            t, first, second = state
            t = t + 1
            first = [beta1 * m + (1 - beta1) * b for m, b in zip(first, g, strict=True)]
            second = [beta2 * v + (1 - beta2) * b * b for v, b in zip(second, g, strict=True)]
            rate, root = lr / (1 - beta1**t), jnp.sqrt(1 - beta2**t)
            moved = [
                a - rate * m / (jnp.sqrt(v) / root + eps)
                for a, m, v in zip(p, first, second, strict=True)
            ]
            return moved, (t, first, second)

        zeros: Callable[[Any], Any] = lambda p: [jnp.zeros_like(a) for a in p]  # noqa: E731
        return lambda p: (0.0, zeros(p), zeros(p)), adam
    raise NotImplementedError(f"{type(optimizer).__name__} not written")
