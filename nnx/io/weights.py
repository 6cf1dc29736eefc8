"""`nnx.save`, `nnx.load`, `nnx.load_model`: a model's weights, and what shows that they are its."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..nn import Module
from ..version import __version__
from .architecture import build, conventions, describe
from .kinds import is_npz
from .nest import pack, unpack
from .npz import read_npz, write_npz
from .probe import example_of, probe_of, prove
from .tensors import as_read, on_host, read, write


def save_weights(
    weights: Any, path: str | os.PathLike[str], *, example: Any = None, dtype: str | None = None
) -> None:
    """Write the weights of a model: `nnx.save(model, "weights.safetensors")`.

    Beside a module's weights the file holds the version of nnx, the architecture (`nnx.load_model`
    makes the model of it), what the numbers mean where programs differ, and a probe: an input and
    the output for it in evaluation, by which `nnx.load(path, verify=True)` proves the loaded model.

    Args:
        weights: a module, or a dict of arrays by name, such as its `state_dict()`.
        path: the file; an older one is replaced in a single step, and stays if writing fails.  If
            its name ends in .npz, it is an archive that `np.load` reads, which holds the arrays
            alone.
        example: a small input of the module for the probe, or a tuple of its inputs; a module that
            begins with Linear, Embedding, RNN, LSTM or GRU and is made of layers of nnx needs none.
        dtype: "bfloat16", "float16", "float32" or "float64": round the floating-point weights to
            it; None: each keeps its own.

    Raises:
        TypeError: something else was given; the message says what writes it.
        ValueError: the module does not compute with the example; dtype is unknown, or a weight
            beyond its largest number.
        OSError: the file cannot be written.
    """
    if isinstance(weights, str | os.PathLike):
        raise TypeError("save: first what is to be written, then the path: nnx.save(model, path)")
    made = weights.state_dict() if hasattr(weights, "state_dict") else weights
    if not isinstance(made, Mapping):
        raise TypeError(
            f"save: needs a module or a dict of arrays by name, got {type(weights).__name__}"
        )
    for name, value in made.items():
        if not (hasattr(value, "shape") and hasattr(value, "dtype")):
            raise TypeError(
                f"save: {name!r:.80} is of type {type(value).__name__}, not an array; "
                "nnx.io.save_state writes nests of dicts, lists, numbers and arrays, "
                "trainer.save a whole training run"
            )
    is_module = isinstance(weights, Module)
    if example is not None and not is_module:
        raise TypeError("save: an example belongs to a module, and arrays by name were given")
    held = on_host(made, dtype)
    if Path(path).suffix.lower() == ".npz":
        if example is not None or dtype == "bfloat16":
            what = "probe" if example is not None else "bfloat16"
            raise ValueError(f"save: an .npz file holds no {what}; a safetensors file does")
        write_npz(path, {name: values for name, (_, values) in held.items()})
        return
    write(
        path,
        held,
        pack(_about(weights, as_read(held), example), "metadata", None) if is_module else {},
    )


def _about(model: Module, weights: dict[str, np.ndarray], example: Any) -> dict[str, Any]:
    """What stands beside a module's weights."""
    about = {
        "nnx": __version__,
        "architecture": describe(model),
        "conventions": conventions(model),
    }
    given = example is not None
    example = example if given else example_of(model)
    if example is not None:
        try:
            about["probe"] = probe_of(model, weights, example)
        except (ValueError, TypeError, IndexError) as error:
            if given:
                raise ValueError(f"save: the model does not take the example: {error}") from error
    return about


def load_weights(
    path: str | os.PathLike[str], model: Module | None = None, *, verify: bool = False
) -> dict[str, np.ndarray]:
    """The arrays of the file at `path`, by name, in their shapes; of a checkpoint the model's.

        model.load_state_dict(nnx.load("weights.safetensors"))
        nnx.load("weights.safetensors", model, verify=True)         the same, and proven

    Args:
        path: a safetensors file of any program, a checkpoint, or an .npz file.  bfloat16 comes as
            float32 of the same values.
        model: load them into this module, all or none; it must have these names and shapes.
        verify: hold the weights to what was saved with them: the meaning of their numbers, and the
            output for the probe's input, of `model`, or of the architecture in the file.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFile: it is damaged, or no file of weights.
        ValueError: they do not fit the model; with `verify`, the file holds no probe, or the model
            gives something else for it.  The model is then as it was.
        TypeError: an array's dtype is none of NumPy's.
        MemoryError: there is not enough for one of the arrays.
    """
    weights, about = _read(path)
    if verify:
        tried = build_of(path, about, weights) if model is None else copy.deepcopy(model)
        _verify(path, tried, weights, about)
    if model is not None:
        model.load_state_dict(weights)
    return weights


def load_model(path: str | os.PathLike[str], *, verify: bool = True) -> Module:
    """The model that `nnx.save(model, path)` wrote, in evaluation mode, on the active backend.

    Args:
        path: the file.
        verify: prove it by the probe, where there is one.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFile: it is damaged, or no file of weights.
        ValueError: it holds no architecture, or one with classes that are not nnx's: a file cannot
            choose what is run, so make that model yourself, and `nnx.load(path, model)`; or the
            model is not the one that was saved.
        TypeError: an array's dtype is none of NumPy's.
        MemoryError: there is not enough for one of the arrays.
    """
    weights, about = _read(path)
    model = build_of(path, about, weights)
    if verify and "probe" in about:
        _verify(path, model, weights, about)
    else:
        _fill(path, model, weights)
    return model.eval()


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The weights in a file, and what `_about` said of them."""
    if is_npz(path):
        return read_npz(path), {}
    tensors, metadata = read(path)
    used: set[str] = set()
    try:
        unpack(metadata.get("state"), tensors, used)
        about = unpack({k: v for k, v in metadata.items() if k != "state"}, {}, set())
    except (KeyError, TypeError, ValueError, RecursionError):
        return tensors, {}  # metadata of another program, which only happens to be called so
    return {name: array for name, array in tensors.items() if name not in used}, about


def build_of(
    path: str | os.PathLike[str], about: Mapping[str, Any], weights: Mapping[str, np.ndarray]
) -> Module:
    """The model of the architecture in a file, with weights of its own."""
    if not isinstance(about.get("architecture"), dict):
        raise ValueError(
            f"{path} holds no architecture: nnx.save(model, path) writes one, of a module; make "
            "the model yourself, and give it: nnx.load(path, model)"
        )
    try:
        return build(about["architecture"], weights)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _fill(path: str | os.PathLike[str], model: Module, weights: Mapping[str, np.ndarray]) -> None:
    """Load weights into a model that was made for them, in their dtypes."""
    try:
        model.load_state_dict(weights)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _verify(
    path: str | os.PathLike[str],
    model: Module,
    weights: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
) -> None:
    """Load weights into a model, and raise ValueError unless it is the one that was saved."""
    if "probe" not in about:
        raise ValueError(
            f"{path} holds no probe, so nothing can be proven; nnx.save(model, path, example=x), "
            "with a small input x, writes one"
        )
    mine, theirs = conventions(model), about.get("conventions")
    if mine != theirs:
        raise ValueError(f"{path}: its numbers mean {theirs!r:.500}, those of the model {mine!r}")
    _fill(path, model, weights)
    try:
        prove(model, about["probe"])
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path}: {error}") from error
