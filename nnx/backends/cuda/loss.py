"""Softmax with cross-entropy in CUDA (`kernels/loss.cu`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...typing import Array
from ..portable.loss import LossKernels
from .launcher import REALS, Kernel, Modules, Plan, ceil_div, launch, per_element, register

ARGUMENTS = "logits:in targets:in:i64 losses:out gradient:out rows:i32 classes:i32 ignore:i64"
WIDE = 1024  # classes from which a row gets a block of its own instead of a warp

NARROW_ROWS = register(
    Kernel(
        "loss.cu",
        "softmax_cross_entropy",
        ARGUMENTS,
        lambda rows: Plan((ceil_div(rows, 8),), (256,)),
    )
)
WIDE_ROWS = register(
    Kernel(
        "loss.cu",
        "softmax_cross_entropy_wide",
        ARGUMENTS,
        lambda rows: Plan((rows,), (256,)),
    )
)


MEAN_FEW = register(
    Kernel(
        "loss.cu",
        "cross_entropy_mean_few",
        "logits:in targets:in:i64 mean:out gradient:out rows:i32 classes:i32 ignore:i64",
        lambda: Plan((1,), (1024,)),
    )
)
MEAN_OF_LOSSES = register(
    Kernel(
        "loss.cu",
        "mean_of_losses",
        "losses:in targets:in:i64 mean:out scale:out rows:i32 classes:i32 ignore:i64",
        lambda: Plan((1,), (1024,)),
    )
)
SCALED = register(
    Kernel("loss.cu", "scaled", "x:in g:in scale:in? y:out n:i64", lambda n: per_element(n))
)
FEW_ROWS, FEW_CLASSES = 4096, 32  # what one block does in one launch
NONE = -1  # a target that no class has, and that counts for nothing anyhow


class CudaLoss(LossKernels):
    xp: Any
    modules: Modules
    one: Callable[[Array], Array]  # of `Backend`

    def softmax_cross_entropy(self, logits: Array, targets: Array) -> tuple[Array, Array]:
        if logits.dtype not in REALS or logits.shape[1] == 0:
            return super().softmax_cross_entropy(logits, targets)
        return self._by_rows(logits, self._targets(targets), NONE)

    def cross_entropy_mean(
        self, logits: Array, targets: Array, ignore_index: int | None
    ) -> tuple[Array, Array, Array | None]:
        rows, classes = logits.shape
        if logits.dtype not in REALS or rows == 0 or classes == 0:
            return super().cross_entropy_mean(logits, targets, ignore_index)
        targets = self._targets(targets)
        mean = self.xp.empty((), dtype=logits.dtype)
        values = {
            "targets": targets,
            "mean": mean,
            "rows": rows,
            "classes": classes,
            "ignore": NONE if ignore_index is None else ignore_index,
        }
        if rows <= FEW_ROWS and classes <= FEW_CLASSES:
            gradient = self.xp.empty(logits.shape, dtype=logits.dtype)
            launch(MEAN_FEW, self.modules, logits=logits, gradient=gradient, **values)
            return mean, gradient, None
        losses, gradient = self._by_rows(logits, targets, values["ignore"])
        scale = self.xp.empty((), dtype=logits.dtype)
        launch(MEAN_OF_LOSSES, self.modules, losses=losses, scale=scale, **values)
        return mean, gradient, scale

    def scaled(self, x: Array, g: Array, scale: Array | None) -> Array:
        if scale is None and g is self.one(g):
            return x
        if x.dtype not in REALS:
            return super().scaled(x, g, scale)
        y = self.xp.empty(x.shape, dtype=x.dtype)
        launch(SCALED, self.modules, x=x, g=g, scale=scale, y=y, n=x.size)
        return y

    def _targets(self, targets: Array) -> Array:
        return self.xp.astype(targets, self.xp.int64, copy=False)

    def _by_rows(self, logits: Array, targets: Array, ignore: int) -> tuple[Array, Array]:
        rows, classes = logits.shape
        losses = self.xp.empty((rows,), dtype=logits.dtype)
        gradient = self.xp.empty(logits.shape, dtype=logits.dtype)
        launch(
            WIDE_ROWS if classes >= WIDE else NARROW_ROWS,
            self.modules,
            logits=logits,
            targets=targets,
            losses=losses,
            gradient=gradient,
            rows=rows,
            classes=classes,
            ignore=ignore,
        )
        return losses, gradient
