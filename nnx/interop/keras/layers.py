"""One layer's parameters as Keras has them, and back; which layers of a model have some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import nn
from ...nn import Module
from ..blocks import own, reordered
from ..refusal import CannotExpress

GRU_ORDER = (1, 0, 2)  # r, z, n of z, r, h, and the other way


@dataclass(frozen=True)
class Part:
    """A layer of Keras's: one of nnx, or one of the several layers of a recurrent module.

    Args:
        name: the module's dotted name.
        module: itself.
        kind: the layer of `nnx.nn` that it is, or derives from.
        layer: which of its layers, 0 where there is one.
        channels: how many an image had that was flattened into the input of this Linear; else 0.
    """

    name: str
    module: Any
    kind: str
    layer: int = 0
    channels: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """What Keras calls it, as files do."""
        m = self.module
        if isinstance(m, nn.RNN | nn.LSTM | nn.GRU):
            if m.bidirectional:
                return ("bidirectional",)
            return (
                ("lstm",)
                if isinstance(m, nn.LSTM)
                else (("gru",) if isinstance(m, nn.GRU) else ("simple_rnn",))
            )
        names = _CLASSES[self.kind]
        depthwise = self.kind.startswith("Conv") and m.groups > 1
        return (*names, f"depthwise_{names[0]}") if depthwise else names

    @property
    def places(self) -> tuple[str, ...]:
        """Where in its group of a file its arrays are."""
        m = self.module
        if isinstance(m, nn.RNN | nn.LSTM | nn.GRU):
            ends = ("forward_layer/", "backward_layer/") if m.bidirectional else ("",)
            return tuple(f"{end}cell/vars" for end in ends)
        return ("vars",)


_CLASSES = {
    "Linear": ("dense",),
    "Conv1d": ("conv1d",),
    "Conv2d": ("conv2d",),
    "Conv3d": ("conv3d",),
    "ConvTranspose1d": ("conv1d_transpose",),
    "ConvTranspose2d": ("conv2d_transpose",),
    "BatchNorm1d": ("batch_normalization",),
    "BatchNorm2d": ("batch_normalization",),
    "BatchNorm3d": ("batch_normalization",),
    "LayerNorm": ("layer_normalization",),
    "GroupNorm": ("group_normalization",),
    "Embedding": ("embedding",),
    "PReLU": ("p_re_lu",),
}
_KNOWN = (*_CLASSES, "RNN", "LSTM", "GRU")


def parts_of(model: Module, flattened: Mapping[str, int] | None) -> list[Part]:
    """The layers of a model that Keras has weights for, in their order.

    Raises:
        CannotExpress: a layer with parameters that Keras has no weights for; a Linear of which
            nobody can see whether a flattened image goes in.
    """
    found: list[Part] = []
    chain = all(type(m).__module__.startswith("nnx.") for m in model.modules())
    guess = flattened is None and chain
    channels, flat = 0, False
    for name, module in model.named_modules():
        kind = next((k.__name__ for k in type(module).__mro__ if _is_known(k)), None)
        if kind is None:
            if next(module.parameters(recurse=False), None) is not None:
                what = type(module).__name__
                raise CannotExpress(f"{what} ({name}): Keras's weights of it are not known")
            flat = flat or (isinstance(module, nn.Flatten) and channels > 0)
            continue
        layer: Any = module
        if kind.startswith("Conv"):
            channels, flat = layer.out_channels, False
        own_channels = 0
        if kind == "Linear":
            own_channels = (channels if flat else 0) if guess else (flattened or {}).get(name, 0)
            if flattened is None and not chain and channels:
                raise CannotExpress(
                    f"Linear ({name}): whether a flattened image goes in cannot be seen, and Keras "
                    "has the channels of one last: say flattened={name of a Linear: channels of "
                    "the image}, or flattened={}"
                )
            channels, flat = 0, False
        layers = layer.num_layers if kind in ("RNN", "LSTM", "GRU") else 1
        found += [Part(name, module, kind, k, own_channels) for k in range(layers)]
    for name in flattened or {}:
        if not any(p.name == name and isinstance(p.module, nn.Linear) for p in found):
            raise CannotExpress(f"flattened: there is no Linear {name!r} in the model")
    return found


def _is_known(kind: type) -> bool:
    return kind.__name__ in _KNOWN and getattr(nn, kind.__name__, None) is kind


# ---- ours to theirs ----


def to_keras(part: Part) -> list[list[np.ndarray]]:
    """The arrays of a layer as Keras has them: for each of its `places`.

    Raises:
        CannotExpress: Keras has no such layer.
    """
    m, state = part.module, own(part.module)
    if isinstance(m, nn.RNN | nn.LSTM | nn.GRU):
        _require_plain(part)
        return [_recurrent_to_keras(part, state, end) for end in _ends(part)]
    made: list[np.ndarray] = []
    if isinstance(m, nn.Linear):
        made.append(_with_channels_last(state["weight"], part.channels).T)
    elif part.kind.startswith("Conv"):
        made.append(_moved_behind(state["weight"]))
    elif isinstance(m, nn.Embedding):
        made.append(state["weight"])
    else:  # gamma, beta and what a batch norm has seen
        names = ("weight", "bias", "running_mean", "running_var")
        return [[state[n] for n in names if n in state]]
    return [made + [state[n] for n in ("bias",) if n in state]]


def _ends(part: Part) -> Iterator[str]:
    k = part.layer
    yield from (f"_l{k}{end}" for end in ("", "_reverse")[: len(part.places)])


def _require_plain(part: Part) -> None:
    m = part.module
    if getattr(m, "proj_size", 0):
        raise CannotExpress(f"LSTM ({part.name}): proj_size means nothing to Keras")


def _recurrent_to_keras(part: Part, state: dict[str, np.ndarray], end: str) -> list[np.ndarray]:
    m = part.module
    gru = isinstance(m, nn.GRU)
    order = GRU_ORDER if gru else (0,)
    parts = {
        name: reordered(state[name + end], order)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        if name + end in state
    }
    made = [parts["weight_ih"].T, parts["weight_hh"].T]
    if "bias_ih" in parts:
        two = np.stack([parts["bias_ih"], parts["bias_hh"]])
        made.append(two if gru and m.reset_after else two.sum(axis=0, dtype=two.dtype))
    return made


def _moved_behind(weight: np.ndarray) -> np.ndarray:
    """(a, b, *kernel) -> (*kernel, b, a)."""
    return np.moveaxis(weight, (0, 1), (-1, -2))


def _with_channels_last(weight: np.ndarray, channels: int) -> np.ndarray:
    """A weight (out, channels · pixels) with the columns of each pixel side by side."""
    if not channels:
        return weight
    return weight.reshape(len(weight), channels, -1).swapaxes(1, 2).reshape(weight.shape)


# ---- theirs to ours ----


def from_keras(part: Part, arrays: list[list[np.ndarray]]) -> dict[str, np.ndarray]:
    """The entries of the model's state that a layer's arrays of Keras are.

    Raises:
        CannotExpress: they are others than this layer has, or mean another function.
    """
    wanted = to_keras(part)
    m = part.module
    dot = part.name + "." if part.name else ""
    state: dict[str, np.ndarray] = {}
    if isinstance(m, nn.RNN | nn.LSTM | nn.GRU):
        for end, want, given in zip(_ends(part), wanted, arrays, strict=True):
            _check(part, want, given)
            state |= _recurrent_from_keras(part, given, end)
        return {dot + name: values for name, values in state.items()}
    (given,) = arrays
    if _is_depthwise(part, wanted[0], given):
        # (*kernel, in, multiplier), where a convolution in groups has (*kernel, 1, in · multiplier)
        given = [given[0].reshape(wanted[0][0].shape), *given[1:]]
    _check(part, wanted[0], given)
    if isinstance(m, nn.Linear):
        pixels = given[0].shape[0] // part.channels if part.channels else 0
        state["weight"] = _with_channels_last(given[0].T, pixels)  # undoes itself so
    elif part.kind.startswith("Conv"):
        state["weight"] = np.moveaxis(given[0], (-1, -2), (0, 1))
    elif isinstance(m, nn.Embedding):
        state["weight"] = given[0]
    else:
        names = ("weight", "bias", "running_mean", "running_var")
        state |= zip([n for n in names if n in own(m)], given, strict=True)
        if isinstance(m, nn.PReLU):
            state["weight"] = state["weight"].reshape(-1)
    if len(given) == 2 and "bias" not in state:
        state["bias"] = given[1]
    return {dot + name: values for name, values in state.items()}


def _is_depthwise(part: Part, want: list[np.ndarray], given: list[np.ndarray]) -> bool:
    if not (part.kind.startswith("Conv") and part.module.groups > 1 and given):
        return False
    return given[0].shape != want[0].shape and given[0].size == want[0].size


def _check(part: Part, want: list[np.ndarray], given: list[np.ndarray]) -> None:
    shapes, found = [a.shape for a in want], [a.shape for a in given]
    if isinstance(part.module, nn.PReLU):  # Keras has it for each place of the input: (1, 1, C)
        found = [(int(np.prod(s)),) for s in found]
    if shapes == found:
        return
    what = f"{type(part.module).__name__} ({part.name})"
    if isinstance(part.module, nn.GRU) and len(want) == len(given) == 3:
        theirs = given[2].ndim == 2
        if theirs != part.module.reset_after:
            raise CannotExpress(
                f"{what}: Keras's GRU has reset_after={theirs}, this one "
                f"reset_after={part.module.reset_after}: with the same weights it is another "
                "function; make it like Keras's"
            )
    raise CannotExpress(f"{what}: takes arrays of shapes {shapes}, and there are {found}")


def _recurrent_from_keras(part: Part, given: list[np.ndarray], end: str) -> dict[str, np.ndarray]:
    order = GRU_ORDER if isinstance(part.module, nn.GRU) else (0,)
    state = {
        f"weight_ih{end}": reordered(given[0].T, order),
        f"weight_hh{end}": reordered(given[1].T, order),
    }
    if len(given) == 3:
        b = given[2]
        two = b if b.ndim == 2 else (b, np.zeros_like(b))
        state |= {
            f"bias_ih{end}": reordered(two[0], order),
            f"bias_hh{end}": reordered(two[1], order),
        }
    return state
