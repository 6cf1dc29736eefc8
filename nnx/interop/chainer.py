"""Chainer: its .npz files, as `chainer.serializers.save_npz` writes them.

    nnx.interop.chainer.load_npz("theirs.npz", model)
    nnx.interop.chainer.save_npz("ours.npz", model)

| here | Chainer |
| --- | --- |
| weight, bias | W, b; of norms gamma, beta, avg_mean, avg_var, N |
| LSTM i, f, g, o with two biases | NStepLSTM the same; LSTM: a, i, f, o interleaved, one bias |
| GRU r, z, n | NStepGRU the same; StatelessGRU and StatefulGRU reset before and invert z |

(Chainer's manual names the parts of NStepLSTM i, f, o, a; what it computes is i, f, a, o.  Its
StatefulGRU leaves the biases of U out at a first step without a state, as no formula has it.)

What is no weight does not travel with weights: make BatchNorm with Chainer's `eps=2e-5`, a GRU for
StatelessGRU with `reset_after=False`, pools with `ceil_mode=True`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import nn
from ..io.npz import read_npz, write_npz
from ..nn import Module
from .blocks import gates, inverse, load_all, own, reordered, z_inverted
from .refusal import CannotExpress

__all__ = ["CannotExpress", "from_arrays", "load_npz", "save_npz", "to_arrays"]

Arrays = dict[str, np.ndarray]

_NORMS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "avg_mean",
    "running_var": "avg_var",
    "num_batches_tracked": "N",
}
_ONE_STEP_LSTM = (1, 2, 0, 3)  # i, f, g, o of a, i, f, o
_GATES = (("W_r", "U_r"), ("W_z", "U_z"), ("W", "U"))  # r, z, n


def load_npz(
    path: str | os.PathLike[str],
    model: Module,
    prefix: str = "",
    names: Mapping[str, str] | None = None,
) -> None:
    """Load a file that `chainer.serializers.save_npz` wrote, all of it or nothing.

    A layer is found by its name: `encoder.out` here is `encoder/out` there.  In a Sequential and a
    ModuleList those layers count that have parameters, as in Chainer, where others are functions.

    Args:
        path: the file.
        model: layers that Chainer has, under the same names.
        prefix: what stands before all names, as "updater/model:main/" in the snapshot of a trainer.
        names: for layers that are called otherwise there, by name here the path there.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFile: it is damaged, or holds more than arrays of numbers.
        CannotExpress: a layer is not in it, has other arrays, or means another function.
        TooLarge: it goes beyond one of `nnx.io.limits`.
        MemoryError: there is not enough for one of the arrays.
    """
    kept = read_npz(path)
    arrays = {k.removeprefix(prefix): v for k, v in kept.items() if k.startswith(prefix)}
    if prefix and not arrays:
        raise CannotExpress(f"{path} has no name that begins with {prefix!r}: {list(kept)[:10]}")
    load_all(model, from_arrays(arrays, model, names), str(path))


def save_npz(path: str | os.PathLike[str], model: Module) -> None:
    """Write a model's weights as `chainer.serializers.load_npz(path, chain)` reads them.

    LSTM, GRU and RNN are written as NStepLSTM, NStepGRU and NStepRNN, or where they have two
    directions NStepBi...; LSTMCell as StatelessLSTM; GRU and GRUCell that reset before as
    StatelessGRU.

    Args:
        path: the file.
        model: layers that Chainer has.

    Raises:
        CannotExpress: a layer that Chainer lacks.
        ValueError: a layer's name cannot stand in an archive.
        OSError: the file cannot be written.
    """
    write_npz(path, to_arrays(model))


def to_arrays(model: Module) -> Arrays:
    """A model's weights as Chainer has them, in its shapes, by the paths that its files have.

    Args:
        model: layers that Chainer has; see `save_npz`.

    Raises:
        CannotExpress: a layer that Chainer lacks.
    """
    return {
        path + key: np.array(values, order="C")
        for name, path, layer in _placed(model, {})
        for key, values in _to_chainer(layer, name).items()
    }


def from_arrays(
    arrays: Mapping[str, Any], model: Module, names: Mapping[str, str] | None = None
) -> Arrays:
    """The state, in its shapes, of a model whose weights Chainer has.

    Args:
        arrays: by path ("encoder/out/W"), as in Chainer's files.
        model: its layers say what is looked for; it is not changed.
        names: as in `load_npz`.

    Raises:
        CannotExpress: a layer is not there, has other arrays, or means another function.
    """
    state: Arrays = {}
    for name, path, layer in _placed(model, names or {}):
        inside = {k.removeprefix(path): v for k, v in arrays.items() if k.startswith(path)}
        what = f"{type(layer).__name__} ({name})"
        if not inside:
            raise CannotExpress(f"{what}: nothing is called {path}...; there are {[*arrays][:10]}")
        dot = name + "." if name else ""
        try:
            mine = _from_chainer(layer, inside)
        except KeyError as error:
            raise CannotExpress(f"{what}: there is no {path}{error.args[0]}") from None
        except ValueError as error:
            raise CannotExpress(f"{what}: {error}") from None
        expected = {k: v.shape for k, v in own(layer).items() if k in mine}
        found = {k: v.shape for k, v in mine.items()}
        if found != expected:
            raise CannotExpress(f"{what} has {expected}, and {path} gives {found}")
        state |= {dot + key: values for key, values in mine.items()}
    return state


def _placed(model: Module, names: Mapping[str, str]) -> Iterator[tuple[str, str, Module]]:
    """The layers with parameters: name here, path there, ending in a slash, and the layer."""

    def walk(module: Module, name: str, path: str) -> Iterator[tuple[str, str, Module]]:
        inside = [(n, m) for n, m in module.named_children() if m.state_dict()]
        if not inside:
            yield name, path, module
            return
        numbered = isinstance(module, nn.Sequential | nn.ModuleList)
        if next(module.parameters(recurse=False), None) is not None:
            raise CannotExpress(f"{type(module).__name__} ({name}): parameters of its own")
        for k, (key, inner) in enumerate(inside):
            place = f"{name}.{key}" if name else key
            there = names.get(place, f"{path}{k if numbered else key}")
            yield from walk(inner, place, there.rstrip("/") + "/")

    return walk(model, "", "")


def _to_chainer(layer: Any, name: str) -> Arrays:
    """The arrays of one layer as Chainer has them."""
    state = own(layer)
    what = f"{type(layer).__name__} ({name})"
    if isinstance(layer, nn.RNN | nn.LSTM | nn.GRU):
        if isinstance(layer, nn.GRU) and not layer.reset_after:
            if layer.num_layers > 1 or layer.bidirectional:
                raise CannotExpress(
                    f"{what}: Chainer resets before in one layer and direction only"
                )
            return _stateless_gru({k.removesuffix("_l0"): v for k, v in state.items()})
        if getattr(layer, "proj_size", 0) or not layer.bias:
            raise CannotExpress(f"{what}: Chainer's NStep links have biases, and no proj_size")
        made: Arrays = {}
        for k, end in enumerate(_ends(layer)):
            made |= {f"{k}/{key}": v for key, v in _n_step(layer, state, end).items()}
        return made
    if isinstance(layer, nn.LSTMCell):
        w, u = (_interleaved(state[key]) for key in ("weight_ih", "weight_hh"))
        made = {"upward/W": w, "lateral/W": u}
        if "bias_ih" in state:
            made["upward/b"] = _interleaved(state["bias_ih"] + state["bias_hh"])
        return made
    if isinstance(layer, nn.GRUCell):
        if layer.reset_after:
            raise CannotExpress(f"{what}: Chainer's StatelessGRU resets before the product")
        return _stateless_gru(state)
    if isinstance(layer, nn.RNNCell):
        raise CannotExpress(f"{what}: Chainer has no link of it")
    if _is_norm(layer):
        return {_NORMS[key]: values for key, values in state.items()}
    if isinstance(layer, nn.PReLU):
        w = state["weight"]
        return {"W": w.reshape(()) if w.size == 1 else w}
    if not _is_plain(layer):
        raise CannotExpress(f"{what}: Chainer has no link of it")
    return {{"weight": "W", "bias": "b"}[key]: values for key, values in state.items()}


def _from_chainer(layer: Any, arrays: Arrays) -> Arrays:
    """The state of one layer of which Chainer has these arrays.

    Raises:
        KeyError: one is missing.
        ValueError: they are of a link that computes something else.
    """
    names = [*own(layer)]
    if isinstance(layer, nn.RNN | nn.LSTM | nn.GRU):
        if "upward/W" in arrays or "W_r/W" in arrays:
            if layer.num_layers > 1 or layer.bidirectional:
                raise ValueError("this link of Chainer has one layer and one direction")
            return {f"{k}_l0": v for k, v in _one_step(layer, arrays).items()}
        if isinstance(layer, nn.GRU) and not layer.reset_after:
            raise ValueError(
                "NStepGRU resets after the recurrent product, and this GRU has reset_after=False: "
                "with the same weights it is another function"
            )
        state: Arrays = {}
        for k, end in enumerate(_ends(layer)):
            state |= _from_n_step(layer, arrays, f"{k}/", end)
        return state
    if isinstance(layer, nn.LSTMCell | nn.GRUCell):
        return _one_step(layer, arrays)
    if _is_norm(layer):
        return {name: np.asarray(arrays[_NORMS[name]]) for name in names}
    if isinstance(layer, nn.PReLU):
        return {"weight": np.asarray(arrays["W"]).reshape(-1)}
    if not _is_plain(layer):
        raise ValueError("Chainer has no link of it")
    if "b" in arrays and "bias" not in names:
        raise ValueError("Chainer's link has a bias, and this layer none")
    return {name: np.asarray(arrays[{"weight": "W", "bias": "b"}[name]]) for name in names}


def _is_norm(layer: Module) -> bool:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm, nn.LayerNorm, nn.GroupNorm)
    return isinstance(layer, kinds)


def _is_plain(layer: Module) -> bool:
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)
    return isinstance(layer, kinds)


# ---- recurrent links ----


def _ends(layer: Any) -> list[str]:
    """What our parameters' names end in, in Chainer's order: both directions of a layer, then the
    next layer."""
    directions = ("", "_reverse")[: layer.directions]
    return [f"_l{k}{end}" for k in range(layer.num_layers) for end in directions]


def _n_step(layer: Any, state: Arrays, end: str) -> Arrays:
    """w0, w1, ... and b0, b1, ...: the gates' matrices for x, then those for h."""
    made: Arrays = {}
    for letter, names in (("w", ("weight_ih", "weight_hh")), ("b", ("bias_ih", "bias_hh"))):
        blocks = [block for name in names for block in gates(state[name + end], layer.gates)]
        made |= {f"{letter}{k}": block for k, block in enumerate(blocks)}
    return made


def _from_n_step(layer: Any, arrays: Arrays, path: str, end: str) -> Arrays:
    state: Arrays = {}
    for letter, names in (("w", ("weight_ih", "weight_hh")), ("b", ("bias_ih", "bias_hh"))):
        for half, name in enumerate(names):
            numbers = range(half * layer.gates, (half + 1) * layer.gates)
            blocks = [np.asarray(arrays[f"{path}{letter}{k}"]) for k in numbers]
            state[name + end] = np.concatenate(blocks)
    return state


def _one_step(layer: Any, arrays: Arrays) -> Arrays:
    """LSTM and StatelessLSTM, StatefulGRU and StatelessGRU: of one layer, without its number."""
    biased = "bias_ih" in {k.removesuffix("_l0") for k in own(layer)}
    if isinstance(layer, nn.LSTM | nn.LSTMCell):
        state = {
            "weight_ih": _apart(np.asarray(arrays["upward/W"])),
            "weight_hh": _apart(np.asarray(arrays["lateral/W"])),
        }
        if biased:
            b = _apart(np.asarray(arrays["upward/b"]))
            state |= {"bias_ih": b, "bias_hh": np.zeros_like(b)}
        return state
    if layer.reset_after:
        raise ValueError(
            "Chainer's StatelessGRU and StatefulGRU reset before the recurrent product, and this "
            "layer has reset_after=True: with the same weights it is another function"
        )
    kinds = [("weight", "W"), ("bias", "b")] if biased else [("weight", "W")]
    state = {}
    for kind, letter in kinds:
        for half, end in enumerate(("_ih", "_hh")):
            blocks = [np.asarray(arrays[f"{pair[half]}/{letter}"]) for pair in _GATES]
            state[kind + end] = z_inverted(np.concatenate(blocks))
    return state


def _stateless_gru(state: Arrays) -> Arrays:
    made: Arrays = {}
    for name, values in state.items():
        if name.startswith("reset_before"):
            continue
        half = name.endswith("_hh")
        letter = "W" if name.startswith("weight") else "b"
        for pair, block in zip(_GATES, gates(z_inverted(values), 3), strict=True):
            made[f"{pair[half]}/{letter}"] = block
    return made


def _apart(rows: np.ndarray) -> np.ndarray:
    """Rows a, i, f, o of each unit in turn -> those of all units together, i, f, g, o."""
    units = rows.reshape(-1, 4, *rows.shape[1:])
    return reordered(np.swapaxes(units, 0, 1).reshape(rows.shape), _ONE_STEP_LSTM)


def _interleaved(rows: np.ndarray) -> np.ndarray:
    together = reordered(rows, inverse(_ONE_STEP_LSTM)).reshape(4, -1, *rows.shape[1:])
    return np.swapaxes(together, 0, 1).reshape(rows.shape)
