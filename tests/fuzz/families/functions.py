"""Operations that PyTorch has under the same name."""

from __future__ import annotations

from typing import Any

from nnx import ops

from ..case import Case, Input
from ..pytorch import functional


def named(name: str, options: dict[str, Any], inputs: list[Input], **more: Any) -> Case:
    """`ops.NAME(*inputs, **options)`, held to that of torch.nn.functional."""
    return Case(
        f"{name}({options})",
        inputs,
        lambda *xs: getattr(ops, name)(*xs, **options),
        lambda *xs: getattr(functional(), name)(*xs, **options),
        **more,
    )
