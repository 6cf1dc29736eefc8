"""`.weights.h5` files, as Keras 3 writes and reads them.

layers/dense/vars/0                       the arrays of a layer, by its class and its number
layers/lstm_1/cell/vars/0                 among the layers of its class
layers/bidirectional/forward_layer/cell/vars/0
layers/sequential/layers/dense/vars/0     a model in a model
hidden/vars/0                             of a class of one's own, by the attribute's name
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...io import CorruptFile, open_file, replacing
from ...nn import Module
from ..blocks import load_all
from ..refusal import CannotExpress
from .layers import Part, from_keras, parts_of, to_keras


def load_weights(
    path: str | os.PathLike[str], model: Module, flattened: Mapping[str, int] | None = None
) -> None:
    """Load a `.weights.h5` file of Keras 3 into a model of the same layers: all of it or nothing.

    Layers are found as Keras finds them: those of a Sequential or functional model by class and
    number, those of a class of one's own by the attribute's name, which must be the same.  A
    Sequential in a Sequential may be one in the file too, or stand there layer by layer.

    Args:
        path: the file.
        model: layers of nnx that Keras has; a recurrent module of several layers for as many
            of Keras's.
        flattened: by the name of each Linear that a flattened image goes into, the image's
            channels; {}: none does.  None: seen from the order of the layers, of models without
            classes of one's own.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFile: it is no HDF5 file, or a damaged one.
        CannotExpress: a layer is not in it, has other arrays, or means another function.
        ImportError: h5py is not installed.
    """
    import h5py

    parts = parts_of(model, flattened)
    open_file(path).close()  # its errors are clearer
    state: dict[str, np.ndarray] = {}
    try:
        with h5py.File(path, "r") as file:
            for part, place in _placed(model, parts, file):
                if place is None:
                    raise CannotExpress(
                        f"{path} has no layer for {type(part.module).__name__} ({part.name}): "
                        f"looked for {' or '.join(part.classes)}; it holds {_listed(file)}"
                    )
                state |= from_keras(part, _read(file[place], part, place))
    except (CannotExpress, MemoryError):
        raise
    except Exception as error:  # HDF5 raises whatever it comes upon
        raise CorruptFile(f"{path} is no whole .weights.h5 file: {error}") from error
    load_all(model, state, str(path))


def save_weights(
    model: Module,
    path: str | os.PathLike[str],
    flattened: Mapping[str, int] | None = None,
    nested: bool = True,
) -> None:
    """Write a model's weights as `keras_model.load_weights(path)` reads them.

    The two biases of a recurrent layer are added, where Keras has one.

    Args:
        model: layers of nnx that Keras has, in the same order.
        path: the file; Keras wants its name to end in `.weights.h5`.
        flattened: as in `load_weights`.
        nested: Keras's model is nested as this one, with classes of its own whose attributes have
            these names.  False: it is a Sequential or functional model of layers side by side.

    Raises:
        ValueError: the file's name ends in something else.
        CannotExpress: a layer that Keras has no weights for.
        ImportError: h5py is not installed.
        OSError: the file cannot be written.
    """
    import h5py

    if not str(path).endswith(".weights.h5"):
        raise ValueError(f"save_weights: {path} must end in .weights.h5, or Keras does not read it")
    parts = parts_of(model, flattened)
    with replacing(path) as beside, h5py.File(beside, "w") as file:
        counts: dict[str, int] = {}
        side_by_side = ((part, _numbered("", part.classes, counts, None)) for part in parts)
        for part, place in _placed(model, parts, None) if nested else side_by_side:
            group = file.require_group(str(place))
            for end, arrays in zip(part.places, to_keras(part), strict=True):
                for k, values in enumerate(arrays):
                    group.require_group(end)[str(k)] = values


def _placed(model: Module, parts: list[Part], file: Any) -> Iterator[tuple[Part, str | None]]:
    """Each part, and its group's path: one that is in the file, or None; without a file, the path
    that Keras looks at."""
    by_name: dict[str, list[Part]] = {}
    for part in parts:
        by_name.setdefault(part.name, []).append(part)
    yield from _walk(model, "", "", {}, by_name, file)


def _walk(
    module: Module,
    name: str,
    group: str,
    counts: dict[str, int],
    parts: dict[str, list[Part]],
    file: Any,
) -> Iterator[tuple[Part, str | None]]:
    """The parts inside a module, whose group of the file this is."""
    if name in parts:  # a layer alone is its own model
        yield from ((part, _numbered(group, part.classes, counts, file)) for part in parts[name])
        return
    own = not type(module).__module__.startswith("nnx.")
    for key, inner in module.named_children():
        place = f"{name}.{key}" if name else key
        named = f"{group}{key}"
        by_name = own if file is None else named in file and not key.isdecimal()
        if place in parts and by_name and len(parts[place]) == 1:
            kind = parts[place][0].classes[0]
            counts[kind] = counts.get(kind, 0) + 1  # Keras numbers all of a class
            yield parts[place][0], named
        elif place in parts:
            yield from _walk(inner, place, group, counts, parts, file)
        elif any(p.startswith(place + ".") for p in parts):
            if not by_name:
                kinds = ("sequential",) if file is None else ("sequential", "functional")
                found = _numbered(group, kinds, counts, file)
                if found is None:  # layer by layer
                    yield from _walk(inner, place, group, counts, parts, file)
                    continue
                named = found
            yield from _walk(inner, place, named + "/", {}, parts, file)


def _numbered(
    group: str, classes: tuple[str, ...], counts: dict[str, int], file: Any
) -> str | None:
    """The path of the next layer of one of these classes: `dense`, `dense_1`, ..."""
    for kind in classes:
        number = counts.get(kind, 0)
        key = f"{kind}_{number}" if number else kind
        for inside in (f"{group}layers/", group):
            if file is None or f"{inside}{key}" in file:
                counts[kind] = number + 1
                return f"{inside}{key}"
    return None


def _read(group: Any, part: Part, place: str) -> list[list[np.ndarray]]:
    """The arrays of a layer, unless they are larger than its own: a file can promise anything."""
    import h5py

    found = []
    name = f"{type(part.module).__name__} ({part.name})"
    for end, want in zip(part.places, to_keras(part), strict=True):
        inside = group[end]
        arrays = []
        for k in range(len(inside)):
            data = inside[str(k)]
            if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
                raise CorruptFile(f"{place}/{end}/{k} is no array of this file")
            if not isinstance(inside.get(str(k), getlink=True), h5py.HardLink):
                raise CorruptFile(f"{place}/{end}/{k} is a link")
            if data.dtype.kind != "f" or data.size > 2 * max((a.size for a in want), default=0):
                raise CannotExpress(
                    f"{name}: {place}/{end}/{k} is {data.dtype} of shape {data.shape}, and the "
                    f"layer's arrays have shapes {[a.shape for a in want]}"
                )
            arrays.append(np.asarray(data[()]))
        found.append(arrays)
    return found


def _listed(file: Any) -> str:
    """The layers of a file, for an error."""
    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        if name.endswith("/vars") and len(item):
            names.append(name.removesuffix("/vars"))

    file.visititems(visit)
    return ", ".join(names[:20]) or "none"
