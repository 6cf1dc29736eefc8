"""What else a training step can be compared with: PyTorch compiled, and JAX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.steps import Step, TrainingStep
from nnx import nn, optim

Part = Callable[[Any, Any], Any]  # of a value, and of the parameters that are left


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
    """The whole step of a network of layers in a row, or of a recurrent one, as one function.

    Raises:
        NotImplementedError: a layer or an optimizer for which nothing is written here.
    """
    import jax
    import jax.numpy as jnp

    parameters = [jnp.asarray(np.array(p.data)) for p in step.model.parameters()]
    forward = _parts(jax, jnp, step.model)
    loss = _loss(jax, jnp, step.loss_function)
    x, y = jnp.asarray(np.array(step.x.data)), jnp.asarray(np.array(step.y.data))

    def loss_of(parameters: list[Any]) -> Any:
        left, z = iter(parameters), x
        for part in forward:
            z = part(z, left)
        return loss(z, y)

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


def _parts(jax: Any, jnp: Any, model: Any) -> list[Part]:
    """The network, part by part; each takes its parameters in turn."""
    if isinstance(model, nn.Sequential):
        return [_layer(jax, jnp, layer) for layer in model]
    if hasattr(model, "recurrent"):  # `recurrent.last_step`
        scan, output = _recurrent(jax, jnp, model.recurrent), _layer(jax, jnp, model.output)
        return [scan, lambda z, left: z[:, -1], output]
    return [_layer(jax, jnp, model)]


def _loss(jax: Any, jnp: Any, loss: Any) -> Callable[[Any, Any], Any]:
    if isinstance(loss, nn.MSELoss):
        return lambda z, y: ((z - y) ** 2).mean()
    if isinstance(loss, nn.CrossEntropyLoss):

        def cross_entropy(z: Any, y: Any) -> Any:
            log_p = jax.nn.log_softmax(z, axis=1)
            return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()

        return cross_entropy
    raise NotImplementedError(f"{type(loss).__name__} not written")


def _recurrent(jax: Any, jnp: Any, layer: Any) -> Part:
    """Layers of one direction over (N, T, D), zero at the start; all steps' inputs at once."""
    kind = type(layer).__name__
    if layer.bidirectional or layer.dropout or kind not in ("RNN", "LSTM", "GRU"):
        raise NotImplementedError(f"such a {kind} not written")
    sigmoid, tanh = jax.nn.sigmoid, jnp.tanh

    def rnn(state: Any, x: Any, h: Any) -> Any:
        y = tanh(x + h)
        return (y,), y

    def lstm(state: Any, x: Any, h: Any) -> Any:
        i, f, g, o = jnp.split(x + h, 4, axis=1)
        c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
        y = sigmoid(o) * tanh(c)
        return (y, c), y

    def gru(state: Any, x: Any, h: Any) -> Any:
        (r, z, n), (hr, hz, hn) = jnp.split(x, 3, axis=1), jnp.split(h, 3, axis=1)
        z, n = sigmoid(z + hz), tanh(n + sigmoid(r + hr) * hn)
        y = (1 - z) * n + z * state[0]
        return (y,), y

    cell, states = {"RNN": (rnn, 1), "LSTM": (lstm, 2), "GRU": (gru, 1)}[kind]

    def scanned(z: Any, left: Any) -> Any:
        z = z.swapaxes(0, 1)
        for _ in range(layer.num_layers):
            w_ih, w_hh, b_ih, b_hh = (next(left) for _ in range(4))

            def step(state: Any, x: Any, w: Any = w_hh, b: Any = b_hh) -> Any:
                return cell(state, x, state[0] @ w.T + b)

            zero = jnp.zeros((z.shape[1], layer.hidden_size), z.dtype)
            _, z = jax.lax.scan(step, (zero,) * states, z @ w_ih.T + b_ih)
        return z.swapaxes(0, 1)

    return scanned


def _layer(jax: Any, jnp: Any, layer: Any) -> Part:
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
    if isinstance(layer, nn.BatchNorm2d):  # in training; running statistics are not kept

        def normalize(z: Any, left: Any) -> Any:
            mean, var = z.mean((0, 2, 3), keepdims=True), z.var((0, 2, 3), keepdims=True)
            w, b = (next(left)[:, None, None] for _ in range(2))
            return (z - mean) * (w * jax.lax.rsqrt(var + layer.eps)) + b

        return normalize
    if isinstance(layer, nn.Embedding):
        return lambda z, left: next(left)[z]
    if isinstance(layer, nn.MaxPool2d):
        window = (1, 1, layer.kernel_size, layer.kernel_size)
        return lambda z, left: jax.lax.reduce_window(
            z, -jnp.inf, jax.lax.max, window, window, "VALID"
        )
    raise NotImplementedError(f"{type(layer).__name__} not written")


def _optimizer(jnp: Any, optimizer: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    group = optimizer.param_groups[0]
    lr, decay = group["lr"], group["weight_decay"]
    zeros: Callable[[Any], Any] = lambda p: [jnp.zeros_like(a) for a in p]  # noqa: E731
    if type(optimizer) is optim.SGD:
        momentum = group["momentum"]

        def descend(p: Any, g: Any, state: Any) -> Any:
            g = [b + decay * a for a, b in zip(p, g, strict=True)]
            if momentum:
                g = state = [momentum * v + b for v, b in zip(state, g, strict=True)]
            return [a - lr * b for a, b in zip(p, g, strict=True)], state

        return lambda p: zeros(p) if momentum else (), descend
    if type(optimizer) is optim.Adagrad and not group["lr_decay"] and not decay:
        eps = group["eps"]

        def adagrad(p: Any, g: Any, state: Any) -> Any:
            state = [s + b * b for s, b in zip(state, g, strict=True)]
            moved = [a - lr * b / (jnp.sqrt(s) + eps) for a, b, s in zip(p, g, state, strict=True)]
            return moved, state

        return zeros, adagrad
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

        return lambda p: (0.0, zeros(p), zeros(p)), adam
    raise NotImplementedError(f"{type(optimizer).__name__} not written")
