"""`GradScaler`: a factor on the loss that keeps float16's gradients away from 0 and infinity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import Array, Backend, backend_of, dtype_name
from ..optim import Optimizer
from ..tensor import Tensor


class GradScaler:
    """Loss scaling that finds its own factor (Micikevicius et al. 2018), by PyTorch's rules.

        scaler = nnx.amp.GradScaler()
        with nnx.autocast("float16"):
            loss = loss_of(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)              # no step where a gradient is infinite or NaN
        scaler.update()

    float16 has nothing below 6e-8, where many gradients lie; so the loss, and with it every
    gradient, is multiplied by a factor s, and the gradients are divided by it before they are used.
    Where one overflowed, the step is left out and s becomes `backoff_factor` s; after
    `growth_interval` steps in a row without an overflow it becomes `growth_factor` s.

    On a device nothing is read back: whether there was an overflow stays there, and SGD's, Adam's
    and AdamW's kernels write nothing if there was, nor do they count the step.  (SGD with
    dampening, whose first step is not like the others, and the other optimizers count on the host;
    for them it is read.)  In host memory it is looked at.

    Args:
        init_scale: s before the first step.
        growth_factor: above 1.
        backoff_factor: between 0 and 1.
        growth_interval: steps in a row, at least 1.
        enabled: False: s is 1, and `step` only calls the optimizer.

    Raises:
        ValueError: a factor or the interval is not as said.
    """

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self.init_scale, self.enabled = float(init_scale), enabled
        self.growth_factor, self.backoff_factor = float(growth_factor), float(backoff_factor)
        self.growth_interval = growth_interval
        self._check()
        self._tracked = 0  # as long as there are no arrays
        self._scale: Array | None = None  # (), float32
        self._growth: Array | None = None  # (), int32: steps without an overflow
        self._found: dict[int, Array] = {}  # by optimizer: (), int32, not 0 after an overflow
        self._stepped: set[int] = set()

    def _check(self) -> None:
        if not (self.init_scale > 0 and math.isfinite(self.init_scale)):
            raise ValueError(f"GradScaler: init_scale must be positive, got {self.init_scale}")
        if not self.growth_factor > 1:
            raise ValueError(f"GradScaler: growth_factor must be above 1, got {self.growth_factor}")
        if not 0 < self.backoff_factor < 1:
            raise ValueError(
                f"GradScaler: backoff_factor must be between 0 and 1, got {self.backoff_factor}"
            )
        if not self.growth_interval >= 1:
            raise ValueError(
                f"GradScaler: growth_interval must be at least 1, got {self.growth_interval}"
            )

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times s, to call `backward` on.

        Args:
            loss: in float32 or float64; of any shape, as is the result.
        """
        if not self.enabled:
            return loss
        return loss * Tensor(self.seed(loss))

    def seed(self, loss: Tensor) -> Array:
        """s as the gradient that `loss.backward(...)` begins with: `scale` without a product.

        Args:
            loss: a tensor of shape (), beside which it is made, in its dtype, and of its shape.

        Raises:
            TypeError: the loss is in 16 bits, in which s itself may be infinite.
        """
        if dtype_name(loss.dtype) not in ("float32", "float64"):
            raise TypeError(
                f"GradScaler: the loss must be in float32, not {dtype_name(loss.dtype)}: compute "
                "it by one of nnx's losses inside of autocast, or cast it"
            )
        home = backend_of(loss.data)
        scale, _ = self._arrays(home, loss.data)
        return scale if loss.data.dtype == scale.dtype else home.xp.astype(scale, loss.data.dtype)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters by s, to look at them or to clip them.

        `step` does it where it was not done.  Gradients become new arrays, or are written.

        Args:
            optimizer: whose parameters.

        Raises:
            RuntimeError: it was done since the last `update`.
            ValueError: gradients in 16 bits: parameters are to stay in float32.
        """
        if not self.enabled:
            return
        if id(optimizer) in self._found:
            raise RuntimeError(
                "GradScaler.unscale_: the gradients of this optimizer were unscaled already since "
                "the last update()"
            )
        with_gradient = [
            p for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        runs: dict[Any, list[Tensor]] = {}
        for p in with_gradient:
            if dtype_name(p.grad.dtype) not in ("float32", "float64"):
                raise ValueError(
                    f"GradScaler.unscale_: a gradient is in {dtype_name(p.grad.dtype)}; parameters "
                    "are to be in float32, and autocast casts them where they are used"
                )
            runs.setdefault((type(p.grad), p.grad.dtype), []).append(p)
        found = None
        for params in runs.values():
            home = backend_of(params[0].grad)
            scale, _ = self._arrays(home, params[0].grad)
            if found is None:
                found = home.xp.zeros((), dtype=home.xp.int32, device=scale.device)
            with np.errstate(all="ignore"):
                gradients, found = home.unscale_([p.grad for p in params], scale, found)
            for p, g in zip(params, gradients, strict=True):
                p.grad = g
        if found is not None:
            self._found[id(optimizer)] = found

    def step(self, optimizer: Optimizer) -> Any:
        """The optimizer's step, unless a gradient is infinite or NaN; unscales first if need be.

        Args:
            optimizer: which is to step; none that takes a closure.

        Returns:
            What `optimizer.step()` returns; None where no step was made.

        Raises:
            RuntimeError: it was called since the last `update`, or the optimizer takes a closure.
        """
        if not self.enabled:
            return optimizer.step()
        if optimizer.takes_closure:
            raise RuntimeError(
                f"GradScaler.step: {type(optimizer).__name__} computes the loss again and again"
            )
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.step: already called since the last update()")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        found = self._found.get(id(optimizer))
        if found is None:  # no parameter has a gradient
            return None
        if optimizer.skips_on_device and not _at_hand(found):
            return optimizer.step_unless(found)
        return None if int(found) else optimizer.step()

    def update(self, new_scale: float | None = None) -> None:
        """Let s grow or fall, by what was found since the last call; once at the end of a step.

        Args:
            new_scale: what s is to be instead.

        Raises:
            RuntimeError: no gradients were unscaled since.
            ValueError: new_scale is not positive.
        """
        if not self.enabled:
            return
        if new_scale is not None:
            if not (new_scale > 0 and math.isfinite(new_scale)):
                raise ValueError(f"GradScaler.update: s must be positive, got {new_scale}")
            self.init_scale, self._tracked = float(new_scale), int(self._steps())
            self._scale = self._growth = None
        elif not self._found:
            raise RuntimeError("GradScaler.update: call step(optimizer) first")
        else:
            first, *others = self._found.values()
            home = backend_of(first)
            for other in others:
                first = home.xp.maximum(first, other)
            assert self._scale is not None
            self._scale, self._growth = home.update_scale_(
                self._scale,
                first,
                self._growth,
                self.growth_factor,
                self.backoff_factor,
                self.growth_interval,
            )
        self._found.clear()
        self._stepped.clear()

    def get_scale(self) -> float:
        """s; on a device it is waited for."""
        if not self.enabled:
            return 1.0
        return self.init_scale if self._scale is None else float(self._scale)

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self.enabled

    def _steps(self) -> int:
        return self._tracked if self._growth is None else int(self._growth)

    def _arrays(self, home: Backend, like: Array) -> tuple[Array, Array]:
        """s and the number of steps without an overflow, beside an array."""
        scale = self._scale
        if scale is None or type(scale) is not type(like) or scale.device != like.device:
            xp, values = home.xp, (self.get_scale(), self._steps())
            made = [
                xp.asarray(home.from_numpy(np.asarray(v, dtype)), device=like.device)
                for v, dtype in zip(values, ("float32", "int32"), strict=True)
            ]
            self._scale, self._growth = made
        assert self._scale is not None
        return self._scale, self._growth

    def state_dict(self) -> dict[str, Any]:
        """What the next steps depend on, in plain numbers, called as in PyTorch; {} if disabled."""
        if not self.enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": self._steps(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict()` was taken, here or in PyTorch.

        Args:
            state: what it returned.

        Raises:
            ValueError: it is no state of an enabled GradScaler, or its numbers make no sense.
        """
        if not self.enabled:
            return
        names = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
        if not isinstance(state, Mapping) or not set(names) <= state.keys():
            raise ValueError(
                f"GradScaler.load_state_dict: a state has {', '.join(names)}; this is none, or "
                "that of one which was disabled"
            )
        scale, growth, backoff, interval, tracked = (state[name] for name in names)
        checked = GradScaler(scale, growth, backoff, interval)
        if not 0 <= int(tracked) < 2**31:
            raise ValueError(f"GradScaler.load_state_dict: _growth_tracker cannot be {tracked!r}")
        checked._tracked = int(tracked)
        self.__dict__.update(checked.__dict__)


def _at_hand(array: Array) -> bool:
    """Whether an array lies in host memory, where looking at it waits for nobody."""
    return isinstance(array, np.ndarray | np.generic) or array.__dlpack_device__()[0] == 1
