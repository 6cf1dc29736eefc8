"""`Optimizer`: parameter groups, per-parameter state, and one kernel call per group and step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..backends import Array, Backend, backend_of, copy_beside
from ..nn.module import Parameter
from ..tensor import Tensor

Group = dict[str, Any]
State = dict[str, Any]


class Optimizer:
    """Base of all optimizers.

    A subclass names its options in `defaults`, and implements `start` (the state of a parameter
    before its first step) and `update` (one step for parameters that are equally far).

    Args:
        params: tensors to learn; or dictionaries `{"params": tensors, "lr": 0.1, ...}`, parameter
            groups with options of their own.
        defaults: the options of groups that do not give them.

    Attributes:
        param_groups: the groups, as dictionaries; a schedule changes `group["lr"]` in them.
        state: per parameter, the dictionary of what is remembered between steps.
    """

    # The state's arrays, in the order the kernel takes and returns them.
    slots: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, State] = {}
        entries = list(params.values() if isinstance(params, Mapping) else params)
        if not entries:
            raise ValueError(f"{type(self).__name__}: got no parameters")
        if isinstance(entries[0], Mapping):
            for group in entries:
                self.add_param_group(group)
        else:
            self.add_param_group({"params": entries})

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """More parameters, with options of their own: `{"params": tensors, "lr": 0.01}`.

        Raises:
            ValueError: a parameter that is in here already, or an unknown option.
            TypeError: something that is no leaf tensor of floats.
        """
        name = type(self).__name__
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        unknown = [key for key in group if key != "params" and key not in self.defaults]
        if unknown:
            raise ValueError(
                f"{name}: unknown options {unknown}; the options are {sorted(self.defaults)}"
            )
        seen = {id(p) for other in self.param_groups for p in other["params"]}
        for p in params:
            if not isinstance(p, Tensor) or p.creator is not None:
                raise TypeError(f"{name}: can only optimize leaf tensors, got {type(p).__name__}")
            if id(p) in seen:
                raise ValueError(f"{name}: a parameter of shape {p.shape} was given twice")
            seen.add(id(p))
        full = {"params": params, **self.defaults, **{k: v for k, v in group.items()}}
        full["params"] = params
        self.check(full)
        self.param_groups.append(full)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            runs: dict[Any, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state.get(p)
                    if state is None:
                        state = self.state[p] = self.start(p, group)
                    key = (type(p.data), p.data.dtype, self.progress(state))
                    run = runs.get(key)
                    if run is None:
                        runs[key] = [p]
                    else:
                        run.append(p)
            for run in runs.values():
                self.update(backend_of(run[0].data), group, run, [self.state[p] for p in run])

    # ---- what a subclass says ----

    def check(self, group: Group) -> None:
        """Raise ValueError where an option of a group makes no sense."""

    def start(self, p: Tensor, group: Group) -> State:
        """The state of a parameter before its first step."""
        return {}

    def progress(self, state: State) -> Any:
        """Parameters for which this is equal are updated together."""
        return state.get("step")

    def update(
        self, backend: Backend, group: Group, params: list[Tensor], states: list[State]
    ) -> None:
        """One step for some parameters of a group."""
        raise NotImplementedError(f"{type(self).__name__}.update")

    def require(self, group: Group, option: str, at_least: float, below: float = np.inf) -> None:
        """Raise ValueError unless at_least <= group[option] < below."""
        value = group[option]
        if not at_least <= value < below:
            rule = f"at least {at_least:g}" + (f" and below {below:g}" if below < np.inf else "")
            raise ValueError(f"{type(self).__name__}: {option} must be {rule}, got {value}")

    # ---- state ----

    def state_dict(self) -> dict[str, Any]:
        """Everything the next steps depend on, as in PyTorch: plain numbers and arrays.

            {"state": {0: {"step": 3, "exp_avg": array, ...}, ...},
             "param_groups": [{"lr": 0.001, ..., "params": [0, 1]}]}

        Parameters are numbered in the order of the groups.  The arrays are the ones in use.
        """
        number = {id(p): k for k, p in enumerate(self._all_params())}
        return {
            "state": {number[id(p)]: dict(state) for p, state in self.state.items() if state},
            "param_groups": [
                {**group, "params": [number[id(p)] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict()` was taken.  Arrays are copied, to each parameter's
        backend.

        Raises:
            ValueError: the groups, or the shapes in them, are not those of this optimizer.
        """
        name = type(self).__name__
        groups = state["param_groups"]
        sizes = [len(group["params"]) for group in groups]
        mine = [len(group["params"]) for group in self.param_groups]
        if sizes != mine:
            raise ValueError(
                f"{name}.load_state_dict: the state has groups of {sizes} parameters, "
                f"this optimizer {mine}"
            )
        numbers = [n for group in groups for n in group["params"]]
        by_number = {int(k): v for k, v in state["state"].items()}
        loaded: dict[Tensor, State] = {}
        for p, number in zip(self._all_params(), numbers, strict=True):
            if number in by_number:
                loaded[p] = {
                    key: _beside(p, value, f"{name}.load_state_dict: state {number}, {key}")
                    for key, value in by_number[number].items()
                }
        for group, new in zip(self.param_groups, groups, strict=True):
            for key, value in new.items():
                if key != "params":
                    group[key] = tuple(value) if isinstance(value, list) else value
        self.state = loaded

    def _all_params(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]

    def __repr__(self) -> str:
        lines = []
        for k, group in enumerate(self.param_groups):
            options = ", ".join(f"{key}={group[key]}" for key in sorted(self.defaults))
            lines.append(f"  group {k}: {len(group['params'])} parameters, {options}")
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"


def _beside(p: Tensor, value: Any, what: str) -> Any:
    """A copy of an array of the state, in the library and dtype of p; a number as it is."""
    if not hasattr(value, "shape"):
        return value
    if isinstance(value, Tensor):
        value = value.data
    if tuple(value.shape) == () and p.shape != ():
        return float(value)
    if tuple(value.shape) != p.shape:
        raise ValueError(f"{what}: shape {tuple(value.shape)}, but the parameter's is {p.shape}")
    return copy_beside(p.data, value)


def zeros_like(p: Tensor) -> Array:
    """State that starts at zero."""
    return backend_of(p.data).xp.zeros_like(p.data)


__all__ = ["Group", "Optimizer", "Parameter", "State", "zeros_like"]
