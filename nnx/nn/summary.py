"""`summary`: what is in a model, layer by layer, with the shapes it makes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..autograd import no_grad
from ..backends import backend_of, dtype_name
from ..tensor import Tensor, tensor
from .module import Module, temporary_modes
from .scopes import watching

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One call of one layer."""

    name: str  # dotted, as in the state
    layer: str
    output: str  # shape, or shapes
    parameters: int  # counted where the layer is first called
    frozen: int  # how many of them are not learnt


@dataclass(frozen=True)
class Summary:
    """What `summary` returns; print it."""

    model: str
    rows: list[Row]
    parameters: int
    trainable: int
    buffers: int
    weight_bytes: int  # parameters and buffers
    output_bytes: int  # all layers' outputs for the input that was given

    def table(self) -> Table:
        """The rows as a table of `rich`."""
        from rich.table import Table

        table = Table(title=self.model, title_justify="left")
        for column in ("layer", "kind", "output"):
            table.add_column(column, no_wrap=True)
        table.add_column("parameters", justify="right", no_wrap=True)
        for row in self.rows:
            count = f"{row.parameters:,}" if row.parameters else ""
            if row.frozen:
                count += (
                    " (frozen)" if row.frozen == row.parameters else f" ({row.frozen:,} frozen)"
                )
            table.add_row(row.name, row.layer, row.output, count)
        return table

    def _repr_html_(self) -> str:
        from .. import notebook

        rows = [(r.name, r.layer, r.output, r.parameters) for r in self.rows]
        frozen = self.parameters - self.trainable
        caption = f"{self.model}: {self.parameters:,} parameters"
        if frozen:
            caption += f", {frozen:,} of them frozen"
        return notebook.table(("layer", "kind", "output", "parameters"), rows, caption)

    def __str__(self) -> str:
        from io import StringIO

        from rich.console import Console

        text = StringIO()
        Console(file=text, width=120, color_system=None).print(self.table())
        frozen = self.parameters - self.trainable
        lines = [
            f"parameters: {self.parameters:,}" + (f", {frozen:,} of them frozen" if frozen else ""),
            f"memory: {_bytes(self.weight_bytes)} weights, "
            f"{_bytes(self.output_bytes)} outputs of this batch",
        ]
        return text.getvalue().rstrip() + "\n" + "\n".join(lines)


def summary(model: Module, input_shape: Any, dtype: str = "float32") -> Summary:
    """The layers of a model in the order they are called, with output shapes and parameter counts.

        print(nnx.summary(model, (256, 1, 28, 28)))

    The model is called once, on zeros, in evaluation mode and off the tape; its state stays as it
    was.  Layers that hold others are not listed themselves, unless they have parameters of their
    own.

    Args:
        model: it is computed where its parameters are.
        input_shape: the input's shape, batch included; or the input itself, a tensor, or a tuple
            of tensors for a model that takes several.
        dtype: of the zeros; an embedding wants "int64".

    Raises:
        TypeError: input_shape is none of these.
    """
    inputs = _inputs(input_shape, dtype, model)
    names = {id(module): name for name, module in model.named_modules()}
    rows: list[Row] = []
    counted: set[int] = set()
    sizes: list[int] = []

    def record(module: Module, _: Any, output: Any) -> None:
        if id(module) not in listed:
            return
        fresh = [p for p in module.parameters(recurse=False) if id(p) not in counted]
        counted.update(id(p) for p in fresh)
        tensors = _tensors(output)
        sizes.extend(_size(t.data) for t in tensors)
        rows.append(
            Row(
                names[id(module)],
                type(module).__name__,
                " ".join(_shape(t.shape) for t in tensors),
                sum(p.size for p in fresh),
                sum(p.size for p in fresh if not p.requires_grad),
            )
        )

    listed = {
        id(module)
        for module in model.modules()
        if not any(True for _ in module.children())
        or any(True for _ in module.parameters(recurse=False))
    }
    with watching(record), temporary_modes(model), no_grad():
        model.eval()
        model(*inputs)

    parameters = list(model.parameters())
    buffers = list(model.buffers())
    return Summary(
        type(model).__name__,
        rows,
        sum(p.size for p in parameters),
        sum(p.size for p in parameters if p.requires_grad),
        sum(math.prod(b.shape) for b in buffers),
        sum(_size(p.data) for p in parameters) + sum(map(_size, buffers)),
        sum(sizes),
    )


def _inputs(given: Any, dtype: str, model: Module) -> tuple[Tensor, ...]:
    if isinstance(given, Tensor):
        return (given,)
    if given and all(isinstance(part, Tensor) for part in given):
        return tuple(given)
    if not all(isinstance(n, int) for n in given):
        raise TypeError(
            f"summary: give the input's shape, batch included, or the input itself; got {given!r}"
        )
    first = next(iter(model.parameters()), None)
    xp = backend_of((first if first is not None else tensor(0.0)).data).xp
    place = None if first is None else first.device
    return (Tensor(xp.zeros(tuple(given), dtype=getattr(xp, dtype), device=place)),)


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, tuple | list):
        return [t for part in output for t in _tensors(part)]
    return []


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _size(array: Any) -> int:
    """Bytes, by the width in the dtype's name."""
    name = dtype_name(array.dtype)
    bits = "".join(c for c in name if c.isdigit())
    return int(math.prod(array.shape)) * (int(bits) // 8 if bits else 1)


def _bytes(n: float) -> str:
    for unit in ("B", "kB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} MB"
