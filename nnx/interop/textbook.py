"""Xu's textbook: the dicts of parameters that its listings keep.

    nnx.interop.textbook.set_params(lstm, [{"Wx": ..., "Wh": ..., "b": ...}, ...])
    params = nnx.interop.textbook.get_params(lstm)

| here | the textbook |
| --- | --- |
| Linear weight (out, in) | W (in, out), b |
| Conv2d weight (out, in, kh, kw) | W the same, b |
| RNN | Wx (D, H), Wh (H, H), b (7.7) |
| LSTM i, f, g, o with two biases | i, f, o, g: Wx (D, 4H), Wh (H, 4H), b (8.6) |
| GRU r, z, n; h' = (1 - z) n + z h | r, z: Wzx, Wzh, bz; n: Wax, War, ba; z inverted (9.7) |
| BatchNorm running_var unbiased | var_accum biased, corrected when it predicts (6.7) |
| Dropout p of dropping | p of keeping (9.11) |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import nn
from ..nn import Module
from .blocks import host, load_all, own, reordered, z_inverted
from .refusal import CannotExpress

__all__ = ["CannotExpress", "get_params", "set_params"]

_LSTM = (0, 1, 3, 2)  # i, f, g, o of i, f, o, g, and the other way
Params = dict[str, np.ndarray]


def get_params(layer: Module, batch_size: int | None = None) -> Params | list[Any]:
    """A layer's parameters as the textbook keeps them.

    Our two biases are added, where it has one.

    Args:
        layer: Linear, Conv1d, Conv2d, BatchNorm1d, BatchNorm2d, Embedding, or RNN, LSTM or GRU; a
            GRU must have reset_after=False, the textbook's 9.4.
        batch_size: of a BatchNorm, m: how many numbers of a feature one batch had (N, or N H W).

    Returns:
        A dict of arrays: W (in, out) and b of a Linear; of a recurrent layer a list of dicts, one
        for each of its layers, or a pair (forward, backward) for each if it is bidirectional.

    Raises:
        CannotExpress: the textbook has no such layer, or none that computes the same.
        ValueError: a BatchNorm's batch_size is missing, or below 2.
    """
    state = own(layer)
    if isinstance(layer, nn.RNN | nn.LSTM | nn.GRU):
        _require_plain(layer)
        ends = ("", "_reverse")[: layer.directions]
        return [
            _joined([_to_xu(layer, state, f"_l{k}{end}") for end in ends])
            for k in range(layer.num_layers)
        ]
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        names = {"gamma": "weight", "beta": "bias", "mu_accum": "running_mean"}
        made = {xu: state[ours] for xu, ours in names.items() if ours in state}
        if "running_var" in state:
            made["var_accum"] = state["running_var"] / _correction(batch_size)
        return made
    _require_known(layer)
    weight = state["weight"]
    made = {"W": np.ascontiguousarray(weight.T) if isinstance(layer, nn.Linear) else weight}
    return made | ({"b": state["bias"]} if "bias" in state else {})


def set_params(
    layer: Module,
    params: Mapping[str, Any] | Sequence[Any],
    batch_size: int | None = None,
) -> None:
    """Load the textbook's parameters into a layer, all of them or none.

    Its one bias becomes b_ih = b, b_hh = 0.

    Args:
        layer: as in `get_params`.
        params: what `get_params` gives; other entries of the dicts (h, c, cache) are passed over.
        batch_size: as in `get_params`.

    Raises:
        CannotExpress: a parameter is missing, has another shape, or means another function.
        ValueError: a BatchNorm's batch_size is missing, or below 2.
    """
    what = type(layer).__name__
    try:
        state = _from_xu(layer, params, batch_size)
    except KeyError as error:
        raise CannotExpress(f"{what}: there is no parameter {error.args[0]!r}") from None
    load_all(layer, state, f"set_params({what}, ...)")


def _from_xu(layer: Any, params: Any, batch_size: int | None) -> Params:
    if isinstance(layer, nn.RNN | nn.LSTM | nn.GRU):
        _require_plain(layer)
        layers = [params] if isinstance(params, Mapping) else list(params)
        if len(layers) != layer.num_layers:
            raise CannotExpress(
                f"{type(layer).__name__} has {layer.num_layers} layers, and there are parameters "
                f"of {len(layers)}"
            )
        state: Params = {}
        for k, given in enumerate(layers):
            both = [given] if isinstance(given, Mapping) else list(given)
            if len(both) != layer.directions:
                raise CannotExpress(
                    f"{type(layer).__name__} has {layer.directions} directions, and layer {k} has "
                    f"parameters of {len(both)}"
                )
            for end, one in zip(("", "_reverse"), both, strict=False):
                state |= _recurrent_from_xu(layer, one, f"_l{k}{end}")
        return state
    if not isinstance(params, Mapping):
        raise CannotExpress(f"{type(layer).__name__}: its parameters are a dict of arrays")
    mine = own(layer)
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        names = {"gamma": "weight", "beta": "bias", "mu_accum": "running_mean"}
        state = {ours: host(params[xu]) for xu, ours in names.items() if ours in mine}
        if "running_var" in mine:
            state["running_var"] = host(params["var_accum"]) * _correction(batch_size)
        return state
    _require_known(layer)
    weight = host(params["W"])
    state = {"weight": weight.T if isinstance(layer, nn.Linear) else weight}
    return state | ({"bias": host(params["b"]).reshape(-1)} if "bias" in mine else {})


def _correction(batch_size: int | None) -> float:
    """m / (m - 1), by which the textbook corrects the variance when it predicts."""
    if batch_size is None or batch_size < 2:
        raise ValueError(
            "batch_size: the textbook's variance is biased and ours is not; say of how many "
            f"numbers each was taken, N or N H W, at least 2; got {batch_size}"
        )
    return batch_size / (batch_size - 1)


def _require_plain(layer: Any) -> None:
    if isinstance(layer, nn.GRU) and layer.reset_after:
        raise CannotExpress(
            "GRU: the textbook resets before the recurrent product (9.4), and this one after it: "
            "with the same weights it is another function; make it with reset_after=False"
        )
    if not layer.bias or layer.proj_size:
        raise CannotExpress(f"{type(layer).__name__}: the textbook's has a bias, and no proj_size")
    if isinstance(layer, nn.RNN) and layer.nonlinearity != "tanh":
        raise CannotExpress("RNN: the textbook's has tanh")


def _require_known(layer: Module) -> None:
    if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding):
        raise CannotExpress(f"{type(layer).__name__}: the textbook keeps no parameters of it")


def _joined(both: list[Params]) -> Any:
    return tuple(both) if len(both) == 2 else both[0]


def _to_xu(layer: Any, state: Params, end: str) -> Params:
    w, u = state[f"weight_ih{end}"], state[f"weight_hh{end}"]
    b = state[f"bias_ih{end}"] + state[f"bias_hh{end}"]
    if isinstance(layer, nn.GRU):
        w, u, b = z_inverted(w), z_inverted(u), z_inverted(b)
        two = 2 * layer.hidden_size
        return {
            "Wzx": w[:two].T.copy(),
            "Wzh": u[:two].T.copy(),
            "bz": b[:two],
            "Wax": w[two:].T.copy(),
            "War": u[two:].T.copy(),
            "ba": b[two:],
        }
    order = _LSTM if isinstance(layer, nn.LSTM) else (0,)
    w, u, b = (reordered(x, order) for x in (w, u, b))
    return {"Wx": w.T.copy(), "Wh": u.T.copy(), "b": b}


def _recurrent_from_xu(layer: Any, params: Mapping[str, Any], end: str) -> Params:
    if isinstance(layer, nn.GRU):
        given = {name: host(params[name]) for name in ("Wzx", "Wzh", "bz", "Wax", "War", "ba")}
        w = z_inverted(np.concatenate([given["Wzx"].T, given["Wax"].T]))
        u = z_inverted(np.concatenate([given["Wzh"].T, given["War"].T]))
        b = z_inverted(np.concatenate([given["bz"].reshape(-1), given["ba"].reshape(-1)]))
    else:
        order = _LSTM if isinstance(layer, nn.LSTM) else (0,)
        w, u = [reordered(host(params[name]).T, order) for name in ("Wx", "Wh")]
        b = reordered(host(params["b"]).reshape(-1), order)
    return {
        f"weight_ih{end}": w,
        f"weight_hh{end}": u,
        f"bias_ih{end}": b,
        f"bias_hh{end}": np.zeros_like(b),
    }
