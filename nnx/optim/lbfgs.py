"""L-BFGS: a quasi-Newton method for few parameters, or for losses over all samples at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..autograd import enable_grad
from ..backends import Array, backend_of, copy_beside, dtype_name
from ..tensor import Tensor
from .line_search import Point, strong_wolfe, two_loops
from .optimizer import Group, Optimizer, State


class LBFGS(Optimizer):
    """L-BFGS (Liu and Nocedal 1989; Nocedal and Wright 2006, section 7.2), as PyTorch defines it.

        d = -H g                H: the inverse Hessian that the last `history_size` steps suggest
        p = p + t d             t: lr, or what the line search finds from there

    Where Newton's method needs the Hessian, two vectors for each of the last steps do
    (`two_loops`).  One call of `step` makes up to `max_iter` steps and evaluates the loss again and
    again, so it takes a closure:

        def closure():
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            return loss

        loss = opt.step(closure)

    All parameters are in one group.  The loss must be the same function at every call: no dropout,
    no minibatches that change within a step.

    Args:
        params: tensors to learn, of one library and dtype.
        lr: t, or the line search's first t.  The first step of all is shorter,
            lr · min(1, 1 / Σ|g|).
        max_iter: steps for each call of `step`.
        max_eval: evaluations of the loss for each call of `step`; max_iter · 5/4 where left out.
        tolerance_grad: stop where no component of the gradient is larger.
        tolerance_change: stop where no weight, or the loss, changes by more.
        history_size: how many steps are remembered.
        line_search_fn: "strong_wolfe", or None for steps of lr.

    Raises:
        ValueError: an option makes no sense, there is more than one group, or a parameter is in
            16 bits.
    """

    takes_closure = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Take the one group that there is, when the optimizer is made.

        Args:
            group: the parameters, of one library and dtype, and their options.

        Raises:
            ValueError: there is one already, an option makes no sense, or parameters are in 16
                bits.
        """
        if self.param_groups:
            raise ValueError("LBFGS: all parameters must be in one group")
        super().add_param_group(group)
        self._refuse_16_bits()

    def _refuse_16_bits(self) -> None:
        """Its sums run over all parameters, and its stops compare with 1e-9: no float16 does."""
        low = [p for p in self._parameters() if dtype_name(p.dtype) in ("float16", "bfloat16")]
        if low:
            raise ValueError(
                "LBFGS: parameters must be in float32 or float64, one of shape "
                f"{tuple(low[0].shape)} is in {dtype_name(low[0].dtype)}; to compute in 16 bits, "
                "keep them in float32 and compute the loss inside of nnx.autocast"
            )

    def check(self, group: Group) -> None:
        for option in ("lr", "tolerance_grad", "tolerance_change"):
            self.require(group, option)
        for option in ("max_iter", "max_eval", "history_size"):
            self.require(group, option, low=1)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(
                'LBFGS: line_search_fn must be "strong_wolfe" or None, '
                f"got {group['line_search_fn']!r}"
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to `max_iter` steps; the loss before the first of them, as the closure gave it.

        Args:
            closure: forgets the gradients, computes the loss, calls its `backward`, returns it.

        Raises:
            TypeError: there is no closure.
            ValueError: the parameters were cast to 16 bits since.
        """
        if closure is None:
            raise TypeError(
                "LBFGS.step needs a closure that computes the loss again: "
                "zero_grad(), loss.backward(), return loss"
            )
        self._refuse_16_bits()
        group = self.param_groups[0]
        state = self._state()
        loss = self._evaluate(closure, state)
        f, g = float(loss), self._gradient()
        evaluations = 1
        xp = backend_of(g).xp

        def largest(x: Array) -> float:
            return float(xp.max(xp.abs(x)))

        def dot(a: Array, b: Array) -> float:
            return float(xp.sum(a * b))

        if largest(g) <= group["tolerance_grad"]:
            return loss
        d, t = state["d"], state["t"]
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            if state["n_iter"] > 1:
                self._remember(state, t * d, g - state["prev_flat_grad"], dot)
            pairs = list(zip(state["old_stps"], state["old_dirs"], state["ro"], strict=True))
            d = two_loops(g, pairs, state["H_diag"], dot)
            t = group["lr"]
            if state["n_iter"] == 1:
                t *= min(1.0, 1 / float(xp.sum(xp.abs(g))))
            state.update(d=d, t=t, prev_flat_grad=g, prev_loss=f)
            slope = dot(g, d)
            if slope > -group["tolerance_change"]:
                break
            before = [p.data for p in self._parameters()]
            used = 0
            if group["line_search_fn"] is not None:

                def at(t: float, before: list[Array] = before, d: Array = d) -> Point:
                    self._move(before, t, d)
                    value = float(self._evaluate(closure, state))
                    gradient = self._gradient()
                    return Point(t, value, gradient, dot(gradient, d))

                found, used = strong_wolfe(
                    at,
                    at(t),
                    Point(0.0, f, g, slope),
                    largest(d),
                    most=group["max_eval"] - evaluations,
                )
                t = state["t"] = found.t
                f, g = found.f, found.g
                self._move(before, t, d)
            else:
                self._move(before, t, d)
                if iteration < group["max_iter"]:
                    f, g = float(self._evaluate(closure, state)), self._gradient()
                    used = 1
            evaluations += used
            if (
                iteration == group["max_iter"]
                or evaluations >= group["max_eval"]
                or largest(g) <= group["tolerance_grad"]
                or largest(t * d) <= group["tolerance_change"]
                or abs(f - state["prev_loss"]) < group["tolerance_change"]
            ):
                break
        return loss

    def _state(self) -> State:
        """What is remembered of all parameters together, kept with the first of them."""
        first = self.param_groups[0]["params"][0]
        state = self.state.setdefault(first, {})
        if not state:
            state.update(
                func_evals=0, n_iter=0, d=None, t=0.0, old_dirs=[], old_stps=[], ro=[], H_diag=1.0,
                prev_flat_grad=None, prev_loss=None,
            )  # fmt: skip
        d = state["d"]
        if d is not None and (type(d) is not type(first.data) or d.dtype != first.data.dtype):
            self.state[first] = state = _moved(state, first)  # the model was moved
        return state

    def _remember(
        self, state: State, s: Array, y: Array, dot: Callable[[Array, Array], float]
    ) -> None:
        """A pair for the inverse Hessian, where the loss curves upwards along the step."""
        curvature = dot(y, s)
        if curvature <= 1e-10:
            return
        full = len(state["ro"]) == self.param_groups[0]["history_size"]
        for name, value in (("old_stps", s), ("old_dirs", y), ("ro", 1 / curvature)):
            state[name] = [*state[name][full:], value]  # the oldest makes room
        state["H_diag"] = curvature / dot(y, y)

    def _evaluate(self, closure: Callable[[], Any], state: State) -> Any:
        state["func_evals"] += 1
        with enable_grad():
            return closure()

    def _gradient(self) -> Array:
        """The gradients of all parameters as one flat array; zeros where there is none."""
        parts = []
        for p in self._parameters():
            xp = backend_of(p.data).xp
            parts.append(xp.reshape(xp.zeros_like(p.data) if p.grad is None else p.grad, (-1,)))
        return xp.concat(parts)

    def _move(self, before: list[Array], t: float, d: Array) -> None:
        """p = before + t d."""
        xp = backend_of(d).xp
        at = 0
        for p, start in zip(self._parameters(), before, strict=True):
            part = d[at : at + p.size]
            p.data = xp.asarray(start + t * xp.reshape(part, p.shape))
            at += p.size

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict()` was taken; arrays are copied to the parameters' side.

        Args:
            state: what `state_dict()` returned, here, in a file or in PyTorch.

        Raises:
            ValueError: it is of other parameters.
        """
        flat = {n: dict(kept) for n, kept in state["state"].items()}
        super().load_state_dict({**state, "state": {}})
        first = self.param_groups[0]["params"][0]
        size = sum(p.size for p in self._parameters())
        for kept in flat.values():
            d = kept.get("d")
            if d is not None and tuple(d.shape) != (size,):
                raise ValueError(
                    f"LBFGS.load_state_dict: d has the shape {tuple(d.shape)}, the parameters have "
                    f"{size} elements"
                )
            self.state[first] = _moved(kept, first)


def _moved(state: State, like: Tensor) -> State:
    """The state with its arrays, also those in lists, copied beside a parameter."""

    def beside(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [beside(v) for v in value]
        if not hasattr(value, "shape"):
            return value
        if tuple(value.shape) == ():
            return value.item()
        return copy_beside(like.data, value)

    return {key: beside(value) for key, value in state.items() if key != "al"}
