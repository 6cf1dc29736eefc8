"""Softmax with cross-entropy in CUDA (`kernels/loss.cu`)."""

from __future__ import annotations

from ...typing import Array
from ..portable.loss import LossKernels
from .launcher import REALS, Kernel, Modules, Plan, ceil_div, launch, register

ARGUMENTS = "logits:in targets:in:i64 losses:out gradient:out rows:i32 classes:i32"
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


class CudaLoss(LossKernels):
    modules: Modules

    def softmax_cross_entropy(self, logits: Array, targets: Array) -> tuple[Array, Array]:
        xp = self.xp
        if logits.dtype not in REALS or logits.shape[1] == 0:
            return super().softmax_cross_entropy(logits, targets)
        rows, classes = logits.shape
        losses = xp.empty((rows,), dtype=logits.dtype)
        gradient = xp.empty(logits.shape, dtype=logits.dtype)
        launch(
            WIDE_ROWS if classes >= WIDE else NARROW_ROWS,
            self.modules,
            logits=logits,
            targets=xp.astype(targets, xp.int64, copy=False),
            losses=losses,
            gradient=gradient,
            rows=rows,
            classes=classes,
        )
        return losses, gradient
