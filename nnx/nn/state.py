"""What a module's state is made of, and whether another fits it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from ..backends import Array, Backend, active_backend, backend_of, copy_beside, dtype_name
from ..scoped import Block, Scoped
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns.

    Args:
        data: an array; wrapped, not copied.  Optimizers update it in place where they can.
        requires_grad: False: it is part of the model's state, but frozen.

    Attributes:
        name: what the module that had it first calls it ("Linear.weight"), for messages.
    """

    __slots__ = ("name",)

    def __init__(self, data: Array, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)
        self.name: str | None = None


class ComputedParameter(Tensor):
    """What stands where a layer's parameter was that is computed now, as by `weight_norm`.

    It is made anew at each reading, so that a change would be lost; it is refused.  (Operators
    such as `layer.weight *= 2` set the attribute too, which refuses it itself.)
    """

    __slots__ = ()

    def lost(self, operation: str) -> RuntimeError:
        """The error for an operation that would change it."""
        return RuntimeError(
            f"{operation}: this tensor of shape {self.shape} is computed anew at each reading, and "
            "what is changed would be lost; change what it is computed from "
            "(layer.parametrizations.weight.original), or the layer before spectral_norm or "
            "weight_norm; a copy of it is its detach()"
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        raise self.lost("assignment")

    def copy_(self, values: Any) -> Self:
        raise self.lost("copy_")

    @property
    def requires_grad(self) -> bool:
        return self.needs_grad

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        raise self.lost("requires_grad")


_left: Scoped[list[int]] = Scoped("numbers that parameters may still have")


def at_most(numbers: int) -> Block[list[int]]:
    """A `with` block in which new parameters may have so many numbers in all: those of a model that
    a file describes are in the file."""
    return _left([numbers])


def new_parameter(
    shape: tuple[int, ...], dtype: Any = None, device: Any = None, value: float = 0.0
) -> Parameter:
    """A parameter full of one value on the active backend, float32 by default.

    `device` moves nothing: it has to be where this backend makes arrays anyway.
    """
    backend = active_backend()
    if device is not None:
        require_device(backend, device)
    left = _left.get()
    if left is not None:
        left[0] -= math.prod(shape)
        if left[0] < 0:
            raise ValueError("it has more numbers than are allowed")
    kind = np.dtype("float32" if dtype is None else dtype_name(dtype))
    return Parameter(backend.from_numpy(np.full(shape, value, kind)))


def require_device(backend: Backend, device: Any) -> None:
    """Raise ValueError unless a backend makes its arrays on this device ("cpu", "cuda:0", ...)."""
    here = "cuda" if backend.name.startswith("cupy") else str(backend.device or "cpu")
    if str(device).partition(":")[0] != here.partition(":")[0]:
        raise ValueError(
            f"device={str(device)!r}: a layer is made where the active backend makes its arrays, "
            f"{backend.name} on {here}; nnx.use_backend(name) chooses another, module.to(name) "
            "moves the layer"
        )


class LoadResult(NamedTuple):
    """What `load_state_dict(strict=False)` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Stateful:
    """What of a `Module` is saved and loaded, by name."""

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        raise NotImplementedError

    def _state_places(self) -> Iterator[tuple[str, Any, str]]:
        """(key, owner, attribute) of everything a state holds: per module, parameters first."""
        for prefix, module in self.named_modules(remove_duplicate=False):
            dot = prefix + "." if prefix else ""
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield dot + name, module, name
            for name, persistent in module._buffers.items():
                if persistent and getattr(module, name) is not None:
                    yield dot + name, module, name

    def state_dict(self) -> dict[str, Array]:
        """Parameters and persistent buffers by dotted name: the arrays themselves, in their shapes.

        Training goes on in these arrays: copy them to keep a moment.  A shared parameter stands
        under each of its names.
        """
        return {key: array_of(getattr(m, name)) for key, m, name in self._state_places()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values by name into parameters and buffers, keeping each one's backend and dtype.

        Nothing is changed unless everything fits.

        Args:
            state: arrays of any library, or tensors, by name; weight norm's and spectral norm's
                also by PyTorch's older names, `weight_g`, `weight_v`, `weight_orig`, `weight_u`.
            strict: whether missing and unexpected names are errors; a wrong shape always is.

        Returns:
            (missing_keys, unexpected_keys).

        Raises:
            TypeError: the state is no dict of arrays by name.
            ValueError: names or shapes do not fit; the message lists the first that do not.
        """
        places = list(self._state_places())
        mine = {key: array_of(getattr(module, name)) for key, module, name in places}
        state = self._by_newer_names(state)
        missing, unexpected, shared = fitting(type(self).__name__, mine, state, strict)
        loaded = {key: copy_beside(mine[key], value) for key, value in shared.items()}
        for key, module, name in places:
            if key in loaded:
                here = getattr(module, name)
                if isinstance(here, Parameter):
                    here.data = loaded[key]
                else:
                    setattr(module, name, loaded[key])
        return LoadResult(missing, unexpected)

    def check_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise what `load_state_dict(state)` would raise, and change nothing.

        Args:
            state: arrays by name, as there.

        Raises:
            TypeError: the state is no dict of arrays by name.
            ValueError: names or shapes do not fit.
        """
        mine = {key: array_of(getattr(module, name)) for key, module, name in self._state_places()}
        fitting(type(self).__name__, mine, self._by_newer_names(state), strict=True)

    def _by_newer_names(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """A state without `older_names` (`nn.utils.parametrizations`)."""
        newer: dict[str, str] = {}
        for path, module in self.named_modules(remove_duplicate=False):
            layer, _, name = path.rpartition("parametrizations.")
            for end, part in getattr(module, "older_names", {}).items():
                newer[f"{layer}{name}{end}"] = f"{path}.{part}"
        if not isinstance(state, Mapping) or not newer.keys() & state.keys():
            return state
        return {newer.get(key, key): value for key, value in state.items()}


def fitting(
    kind: str, mine: dict[str, Array], state: Mapping[str, Any], strict: bool
) -> tuple[list[str], list[str], dict[str, Array]]:
    """Names that are missing and unexpected, and the arrays to load, if all of them fit a module of
    this kind, which has `mine`; see `Module.load_state_dict`."""
    if not isinstance(state, Mapping):
        raise TypeError(
            f"load_state_dict: needs a dict of arrays by name, got {type(state).__name__}; "
            "nnx.load(path) reads one from a file, nnx.io.load(path) also its metadata"
        )
    missing = [key for key in mine if key not in state]
    unexpected = [key for key in state if key not in mine]
    shared = {key: array_of(state[key]) for key in mine if key in state}
    misshaped = [
        f"{key} has shape {tuple(mine[key].shape)} here, {tuple(value.shape)} in the state"
        for key, value in shared.items()
        if tuple(value.shape) != tuple(mine[key].shape)
    ]
    wrong = [f"  shape: {line:.200}" for line in misshaped]
    if strict:
        wrong += [f"  missing: {key:.200}" for key in missing]
        wrong += [f"  unexpected: {key!s:.200}" for key in unexpected]
    if wrong:
        more = [f"  and {len(wrong) - 20} more"] if len(wrong) > 20 else []
        if strict and any(str(key).startswith("state/") for key in unexpected):
            more.append(
                "  this is a training checkpoint: trainer.load(path) goes on from it, "
                "nnx.load(path) gives the weights alone"
            )
        more += _hints(mine, state) if strict else []
        raise ValueError(
            f"load_state_dict: the state does not fit this {kind}:\n"
            + "\n".join([*wrong[:20], *more])
        )
    return missing, unexpected, shared


def _hints(mine: Mapping[str, Any], state: Mapping[str, Any]) -> list[str]:
    """What is probably wrong with a state none of whose names are right."""
    nested = [key for key, value in state.items() if isinstance(value, Mapping)]
    if nested:
        return [f"  state[{nested[0]!r:.80}] is a dict itself: perhaps that is the model's state"]
    if mine.keys() & state.keys() or not mine or not state:
        return []
    for long, short, change in (
        (state, mine, "{{name.removeprefix({0!r}): value for name, value in state.items()}}"),
        (mine, state, "{{{0!r} + name: value for name, value in state.items()}}"),
    ):
        first = next(iter(short))
        prefixes = [key[: -len(first)] for key in long if str(key).endswith(f".{first}")]
        for prefix in prefixes:
            if all(prefix + key in long for key in short):
                whose = "the state's" if long is state else "the model's"
                return [f"  {whose} names begin with {prefix!r}: {change.format(prefix)}"]
    return []


def array_of(value: Any) -> Array:
    return value.data if isinstance(value, Tensor) else value


def converted(array: Array, target: Backend | None, dtype: Any) -> Array:
    home = backend_of(array)
    if target is not None and target is not home:
        array = target.from_numpy(home.to_numpy(array))
        home = target
    if dtype is not None and dtype_name(array.dtype).startswith("float"):
        array = home.xp.astype(array, home.dtype(dtype))
    return array
