"""`Optimizer`: parameter groups, the state of each parameter, one kernel call per group and step.

**Weight decay is L2 regularisation**, except where an optimizer says otherwise: the penalty
(λ/2) |p|² is added to the loss (Xu 3.3-3.4), and so λ p to the gradient (Xu 3.5), before anything
else is made of it.  `SGD(..., weight_decay=1e-4)` is the textbook's λ = 0.0001.  In an adaptive
method that term is then divided by √s like the rest of the gradient, and weights with large
gradients are hardly regularised; *decoupled* decay (AdamW; Loshchilov and Hutter 2019) shrinks the
parameter by lr λ p beside the step instead.  For plain SGD the two are the same.  (Xu prints 3.5
without the factor W.)  Liu's ridge regression, Saito's and the lecture notes' decay have the same
λ/2 |p|²; Wang's λ |p|² is weight_decay = 2 λ.  The loss that is shown has no penalty in it, where
Xu's has; `nnx.train.Penalty` shows it beside the loss.

The textbook penalises weights, not biases; give the biases a group of their own for that:

    optim.SGD([{"params": weights, "weight_decay": 1e-4}, {"params": biases}], lr=0.1)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from ..autograd import enable_grad, wrote
from ..backends import Array, Backend, backend_of, copy_beside, dtype_name, mixed
from ..tensor import Tensor

HOW_PYTORCH_RUNS = {"foreach", "fused", "capturable", "differentiable"}
Arrays = list[Array]
Group = dict[str, Any]
State = dict[str, Any]
_Run = tuple[list[Tensor], list[State], Arrays, Arrays]  # and their arrays and gradients


class Optimizer:
    """Base of all optimizers.

    A subclass names in `slots` the arrays it remembers per parameter, makes them in `start`, and
    computes one step for some parameters in `update`, by a kernel.

    Args:
        params: tensors to learn, (name, tensor) pairs as `named_parameters()` gives them, or
            parameter groups: dictionaries `{"params": tensors, "lr": 0.1, ...}`.
        defaults: the options, for groups that do not give their own.

    Attributes:
        param_groups: the groups; a schedule changes `group["lr"]` in them.
        state: per parameter that was updated, what is remembered.
        takes_closure: whether `step` computes the loss itself, again and again, by a function.
        counts_on_device: whether the numbers of steps are kept beside the parameters, where what is
            recorded on a device can count them; see `count_on_device`.
        skips_on_device: whether `step_unless` can be called: it leaves a step out without waiting.

    Raises:
        TypeError: one of them is no leaf tensor.
        ValueError: there are none, one is given twice, or an option is unknown or makes no sense.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    takes_closure: ClassVar[bool] = False
    counts_on_device = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        for name in kwargs.keys() & HOW_PYTORCH_RUNS:
            raise TypeError(
                f"{cls.__name__}: {name} says how PyTorch runs a step; here one kernel updates all "
                f"parameters on any backend: leave it out"
            )
        return super().__new__(cls)

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, State] = {}
        if hasattr(params, "parameters"):
            raise TypeError(
                f"{type(self).__name__}: give it the model's parameters, model.parameters(), not "
                f"the model, {type(params).__name__}"
            )
        entries: list[Any] = [params] if isinstance(params, Tensor) else list(params)
        if not entries:
            raise ValueError(f"{type(self).__name__}: there are no parameters to learn")
        if isinstance(entries[0], Mapping):
            for group in entries:
                self.add_param_group(group)
        else:
            self.add_param_group({"params": entries})

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Learn more parameters, with options of their own.

        Args:
            group: `{"params": tensors, "lr": 0.01}`; options that are left out are the defaults.

        Raises:
            TypeError: something in it is no leaf tensor.
            ValueError: a parameter that is here already, or an option that is unknown or wrong.
        """
        name = type(self).__name__
        options = {key: value for key, value in group.items() if key != "params"}
        unknown = sorted(options.keys() - self.defaults.keys() - {"initial_lr"})
        if unknown:
            raise ValueError(f"{name}: there are no options {unknown}, only {list(self.defaults)}")
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        params = [p[1] if isinstance(p, tuple) else p for p in params]
        seen = {id(p) for p in self._parameters()}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: a parameter must be a Tensor, got {type(p).__name__}")
            if p.creator is not None:
                raise TypeError(f"{name}: a parameter must be a leaf; one was computed: {p!r}")
            if id(p) in seen:
                raise ValueError(f"{name}: a parameter of shape {p.shape} was given twice")
            seen.add(id(p))
        full = {"params": params, **self.defaults, **options}
        self.check(full)
        self.param_groups.append(full)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: each becomes None, and its parameter is passed over by `step`.

        Args:
            set_to_none: False: they become zeros, and `step` goes on, by momentum and decay.
        """
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None if set_to_none or p.grad is None else zeros_like(p)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the gradients first and returns the loss, which `step` returns.

        Raises:
            TypeError: a gradient set by hand is no array of its parameter's library and dtype.
            ValueError: it has another shape.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step(group, group)
        return loss

    @property
    def skips_on_device(self) -> bool:
        return False

    def step_unless(self, skip: Array) -> None:
        """`step`, unless an array on the device is not 0: then nothing changes, and nobody waits.

        Args:
            skip: (), int32.

        Raises:
            RuntimeError: this optimizer cannot (`skips_on_device`).
            TypeError: as `step`.
            ValueError: as `step`.
        """
        if not self.skips_on_device:
            raise RuntimeError(f"{type(self).__name__} cannot leave a step out on a device")
        self.count_on_device()
        for group in self.param_groups:
            self._step(group, {**group, "skip": skip})

    def count_on_device(self) -> None:
        """Keep the numbers of steps beside the parameters from now on, where that is possible:
        `capture` and `step_unless` ask for it."""

    def _step(self, group: Group, options: Group) -> None:
        """One step of a group, with its options, and what else there is for the rule."""
        for params, states, arrays, grads in self._runs(group):
            self.advance(options, states)
            kept: list[Any] = [
                [state[slot] for state in states] if slot in states[0] else None
                for slot in self.slots
            ]
            backend, kind = backend_of(arrays[0]), type(arrays[0])
            new, *moved = self.update(backend, options, states[0], arrays, grads, *kept)
            in_place = []
            for p, array in zip(params, new, strict=True):
                if p.data is array:
                    in_place.append(p)
                else:
                    p.data = array if type(array) is kind else backend.xp.asarray(array)
            wrote(in_place)
            for slot, new in zip(self.slots, moved, strict=True):
                if new is not None:
                    for state, array in zip(states, new, strict=True):
                        if type(array) is not kind:  # NumPy's arithmetic on 0-d arrays
                            array = backend.xp.asarray(array)
                        state[slot] = array

    def _runs(self, group: Group) -> Iterable[_Run]:
        """The parameters that have a gradient, in runs a kernel can update in one call: of one
        library and dtype, and equally many steps on their way."""
        runs: dict[Any, _Run] = {}
        run = latest = None
        for p in group["params"]:
            data, g = p.data, p.grad
            if g is not None:
                state = self.state.get(p)
                if state is None:
                    state = self.state[p] = self.start(p, group)
                if type(g) is not type(data) or g.shape != data.shape or g.dtype != data.dtype:
                    p.grad = g = self._checked_gradient(p)
                kept = state.get(self.slots[0])
                if kept is not None and (
                    type(kept) is not type(data) or kept.dtype != data.dtype
                ):  # the model was moved: the state follows
                    for slot in self.slots:
                        if slot in state:
                            state[slot] = copy_beside(data, state[slot])
                    if hasattr(state.get("step"), "dtype"):
                        state["step"] = int(state["step"])
                key = (type(data), data.dtype, len(state), self.progress(state))
                if run is None or key != latest:  # most often it is as the one before
                    run, latest = runs.setdefault(key, ([], [], [], [])), key
                run[0].append(p)
                run[1].append(state)
                run[2].append(data)
                run[3].append(g)
        return runs.values()

    def _checked_gradient(self, p: Tensor) -> Array:
        """What somebody put into `p.grad` by hand, as kernels take it: an array like p's.

        Raises:
            TypeError: it is no array of p's library and dtype.
            ValueError: it has another shape.
        """
        g: Any = p.grad.data if isinstance(p.grad, Tensor) else p.grad
        what = f"{type(self).__name__}.step: the gradient of a parameter of shape {p.shape}"
        home = backend_of(p.data)
        if not (hasattr(g, "shape") and hasattr(g, "dtype")):
            raise TypeError(f"{what} must be an array like it, not {type(g).__name__}")
        if backend_of(g) is not home:
            raise mixed(home, backend_of(g))
        if tuple(g.shape) != p.shape:
            raise ValueError(f"{what} has shape {tuple(g.shape)}")
        if g.dtype != p.dtype:
            raise TypeError(
                f"{what} is of {dtype_name(g.dtype)}, the parameter of {dtype_name(p.dtype)}"
            )
        return home.xp.asarray(g)

    # ---- what a subclass says ----

    def check(self, group: Group) -> None:
        """Refuse options that make no sense.

        Args:
            group: the options of a group, with the defaults filled in.

        Raises:
            ValueError: one of them is outside of where the update is defined.
        """

    def start(self, p: Tensor, group: Group) -> State:
        """The state of a parameter before its first step: numbers, and arrays of its shape.

        Args:
            p: the parameter.
            group: the options of its group.
        """
        return {}

    def progress(self, state: State) -> Any:
        """The numbers in a `state`: parameters that agree in them are updated in one call."""
        step = state.get("step")
        plain = step is None or type(step) is int or not hasattr(step, "dtype")
        return step if plain else id(step)

    def advance(self, group: Group, states: list[State]) -> None:
        """Count a step, before it is made.

        Args:
            group: the options.
            states: of the parameters that are about to take it; their numbers are changed.
        """
        for state in states:
            state["step"] += 1

    def update(
        self, backend: Backend, group: Group, at: State, params: Arrays, grads: Arrays, *state: Any
    ) -> tuple[Any, ...]:
        """The new parameters and the new state, by one kernel call.

        Args:
            backend: what computes.
            group: the options.
            at: the numbers of these parameters' state: at["step"] counts from 1.
            params: arrays of any shapes, which the kernel may write into or replace.
            grads: their gradients, of the same shapes.
            state: for each of `slots` a list with one array per parameter, or None where the
                parameters have no such state; what is returned has the same after the parameters.
        """
        raise NotImplementedError(f"{type(self).__name__}.update")

    def require(self, group: Group, option: str, low: float = 0.0, below: float = 0.0) -> None:
        """Check one option of a group: low <= group[option], and < below where that is not 0.

        Raises:
            ValueError: it is not so.
        """
        value = group[option]
        if not (low <= value and (not below or value < below)):
            rule = f"at least {low:g}" + (f" and less than {below:g}" if below else "")
            raise ValueError(f"{type(self).__name__}: {option} must be {rule}, got {value}")

    # ---- state ----

    def state_dict(self) -> dict[str, Any]:
        """Everything the next steps depend on: plain numbers and arrays, arranged as in PyTorch.

            {"state": {0: {"step": 3, "exp_avg": array, ...}, ...},
             "param_groups": [{"lr": 0.001, ..., "params": [0, 1]}]}

        Parameters are numbered in the order of the groups.  The arrays are the ones in use: copy
        them to keep a moment.
        """
        number = {id(p): k for k, p in enumerate(self._parameters())}
        states = {number[id(p)]: dict(state) for p, state in self.state.items() if state}
        return {
            "state": dict(sorted(states.items())),
            "param_groups": [
                {**group, "params": [number[id(p)] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict()` was taken; arrays are copied to their parameter's side.

        Nothing is changed unless everything fits.  PyTorch's state of the same optimizer fits too.

        Args:
            state: what `state_dict()` returned, here or in a file.

        Raises:
            ValueError: the groups, the options or what is remembered of a parameter are not those
                of this optimizer.
        """
        where = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state, Mapping) or not {"state", "param_groups"} <= state.keys():
            raise ValueError(f"{where}: this is no state of an optimizer")
        groups = state["param_groups"]
        here, there = ([len(g["params"]) for g in gs] for gs in (self.param_groups, groups))
        if here != there:
            raise ValueError(f"{where}: groups of {here} parameters here, of {there} in the state")
        by_number = {int(number): values for number, values in state["state"].items()}
        numbers = [number for group in groups for number in group["params"]]
        loaded = {
            p: {
                key: _beside(p, v, f"{where}: {key} of parameter {n}", key in self.slots)
                for key, v in kept.items()
            }
            for p, n in zip(self._parameters(), numbers, strict=True)
            if (kept := by_number.get(int(n)))
        }
        options = [
            self._options(own, new, where)
            for own, new in zip(self.param_groups, groups, strict=True)
        ]
        for group, own in zip(options, self.param_groups, strict=True):
            for p in own["params"]:
                if p in loaded:
                    self._hold_state(p, loaded[p], {**own, **group}, where)
        for own, group in zip(self.param_groups, options, strict=True):
            own.update(group)
        self.state = loaded

    def _options(self, own: Group, new: Mapping[str, Any], where: str) -> Group:
        """The options of a group of the state, if they are of this optimizer."""
        known = self.defaults.keys() | {"initial_lr"}
        unknown = sorted(new.keys() - known - {"params"} - _OF_PYTORCH)
        if unknown:
            raise ValueError(
                f"{where}: the state has the options {', '.join(unknown)}, this optimizer only "
                f"{', '.join(self.defaults)}: it is another optimizer's"
            )
        group = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in new.items()
            if key in known
        }
        for key, value in group.items():
            if not _is_like(value, own.get(key, self.defaults.get(key, 0.0))):
                raise ValueError(f"{where}: the option {key} cannot be {value!r:.80}")
        self.check({**own, **group})
        return group

    def _hold_state(self, p: Tensor, kept: State, group: Group, where: str) -> None:
        """Raise ValueError unless a parameter's state is what this optimizer remembers."""
        there, needed = kept.keys(), self.start(p, group).keys()
        extra = sorted(there - needed - set(self.slots))
        if not needed <= there or extra:
            raise ValueError(
                f"{where}: of a parameter {', '.join(sorted(needed)) or 'nothing'} is remembered, "
                f"the state has {', '.join(sorted(there))}: it is another optimizer's"
            )
        for key, value in kept.items():
            if hasattr(value, "shape") == (key in self.slots):
                continue
            raise ValueError(f"{where}: {key} of a parameter cannot be {value!r:.80}")

    def _parameters(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]

    def _repr_html_(self) -> str:
        """A row for each group: how many numbers it updates, and its options."""
        from .. import notebook

        rows = [
            [k, len(g["params"]), sum(p.size for p in g["params"]), *[g[o] for o in self.defaults]]
            for k, g in enumerate(self.param_groups)
        ]
        columns = ("group", "parameters", "numbers", *self.defaults)
        return notebook.table(columns, rows, type(self).__name__)

    def __repr__(self) -> str:
        lines = []
        for k, group in enumerate(self.param_groups):
            options = ", ".join(f"{key}={group[key]}" for key in self.defaults)
            lines.append(f"  group {k}: {len(group['params'])} parameters, {options}\n")
        return f"{type(self).__name__}(\n{''.join(lines)})"


_OF_PYTORCH = frozenset(
    "foreach capturable differentiable fused decoupled_weight_decay".split()
)  # options that say how PyTorch computes, and not what


def _is_like(value: Any, own: Any) -> bool:
    """Whether a value can stand where `own` does: of the same kind, and finite."""
    if isinstance(own, bool) or isinstance(value, bool):
        return isinstance(own, bool) and isinstance(value, bool)
    if isinstance(own, tuple):
        alike = isinstance(value, tuple) and len(value) == len(own)
        return alike and all(_is_like(v, o) for v, o in zip(value, own, strict=True))
    if own is None or value is None or isinstance(own, str):
        return value is None or isinstance(value, int | float | type(own))
    return isinstance(value, int | float) and math.isfinite(value)


def _beside(p: Tensor, value: Any, what: str, is_array: bool) -> Any:
    """An array of the state in the library, device and dtype of p; a number as it is."""
    if isinstance(value, Tensor):
        value = value.data
    if not hasattr(value, "shape"):
        return value
    if not is_array and tuple(value.shape) == ():
        return value.item()  # a step that was kept as an array
    if tuple(value.shape) != p.shape:
        raise ValueError(f"{what} has shape {tuple(value.shape)}, the parameter {p.shape}")
    return copy_beside(p.data, value)


def in_float32(value: float) -> float:
    """A number of the state, rounded as PyTorch keeps it: in its default dtype, float32, whatever
    the parameters' is.  What it then becomes agrees in float64 too."""
    return float(np.float32(value))


def zeros_like(p: Tensor) -> Array:
    """State that starts from zero."""
    return backend_of(p.data).xp.zeros_like(p.data)
