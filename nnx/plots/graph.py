"""Computation graphs: what a result was computed from, drawn as SVG without further programs."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import Function, Node, backward, enable_grad
from ..backends import Array, backend_of, dtype_name
from ..tensor import Tensor
from .layered import Placed, place

SMALL = 6  # values up to so many are written out
LETTER = 7.2  # the width of a letter of 12 px in a monospaced font
LINE = 16.0
PADDING = 8.0
LEAF, OPERATION, RESULT = "#fff2cc", "#e8eef7", "#d5e8d4"  # told apart by their edges too


def draw_graph(result: Any, *inputs: Any, **names: Any) -> Graph:
    """The graph that a tensor was computed by: its operations, shapes, values and gradients.

        w = nnx.tensor(5.0, requires_grad=True)
        u = w * 1.0
        c = (u + 1.0 - 2.0) ** 2
        nnx.draw_graph(c)                          # shown as a picture in Jupyter
        nnx.draw_graph(c).save("graph.svg")        # or graph.dot, for Graphviz
        nnx.draw_graph(lambda w: (w * 1.0 - 1.0) ** 2, w)

    An arrow leads from what a value was computed from to what was computed from it (Liu 4.2).  The
    gradients are those of the result (of its sum, where it has several elements) by every value
    behind it, found by one walk of `backward`, which leaves every `.grad` and the tape as they are.

    Values and gradients of up to 6 elements are written out.  The tape keeps no values of its own:
    of a tensor on the way that nobody holds any more only the shape is known.  Where a function is
    given, it is called here and all its values are kept.  What is off the tape (numbers, data that
    requires no gradient) is not in the picture.

    Args:
        result: a tensor on the tape; or a function that makes one of the inputs.
        inputs: tensors for the function.
        names: tensors by the names they shall have in the picture,
            `draw_graph(loss, **dict(model.named_parameters()))`.  The caller's variables give the
            others theirs.

    Raises:
        TypeError: the result is no tensor.
        RuntimeError: it was computed from nothing that requires a gradient, or its tape was freed
            by `backward()`: draw before, or use `backward(retain_graph=True)`.
    """
    kept: list[Tensor] = []
    if callable(result) and not isinstance(result, Node):
        result = _recorded(result, inputs, kept)
    if not isinstance(result, Node):
        raise TypeError(f"draw_graph needs a tensor, got {type(result).__name__}")
    maker = result.creator
    if maker is None:
        raise RuntimeError(
            "draw_graph: the tensor was computed from nothing that requires a gradient (or inside "
            "no_grad): there is no graph behind it"
        )
    if maker.order < 0:
        raise RuntimeError(
            "draw_graph: the tape behind this tensor was freed by backward(); draw the graph "
            "before, or call backward(retain_graph=True)"
        )
    functions, leaves = _behind(maker)
    tensors = _held([*functions, *leaves], kept)
    frame = sys._getframe(1)
    local = {k: v for k, v in frame.f_locals.items() if isinstance(v, Node) and k[0] != "_"}
    called = {id(t): name for name, t in {**local, **names}.items() if isinstance(t, Node)}
    gradients = _gradients(result, functions)

    graph = Graph()
    key: dict[int, int] = {}
    for leaf in leaves:
        here = key[id(leaf)] = graph.add("leaf")
        name, shape = called.get(id(leaf), "leaf"), tuple(leaf.data.shape)
        graph.show(here, shape, leaf.data, gradients.get((id(leaf), 0)), name)
    for function in functions:
        kind = "result" if function is maker else "op"
        here = key[id(function)] = graph.add(kind, type(function).__name__)
        for slot, (shape, _) in enumerate(function.outputs):
            tensor = tensors.get((id(function), slot))
            if function is maker and slot == result.slot:
                tensor = result
            name = called.get(id(tensor), "") if tensor is not None else ""
            data = None if tensor is None else tensor.data
            graph.show(here, tuple(shape), data, gradients.get((id(function), slot)), name)
        for source in function.sources:
            if source is not None:
                graph.edges.append((key[id(source)], here))
    return graph


@dataclass
class Graph:
    """A drawing: boxes with lines of text, and arrows between them.

    Attributes:
        boxes: for each (kind, lines); the kind is "leaf", "op" or "result".
        edges: pairs of numbers of boxes, from and to.
    """

    boxes: list[tuple[str, list[str]]] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)

    def add(self, kind: str, *lines: str) -> int:
        """A new box; its number."""
        self.boxes.append((kind, list(lines)))
        return len(self.boxes) - 1

    def show(
        self, box: int, shape: tuple[int, ...], data: Any, gradient: Any, name: str = ""
    ) -> None:
        """Add an output's name, shape, value and gradient to a box."""
        lines = self.boxes[box][1]
        if not shape and data is not None:
            lines.append(f"{name} = {_written(data)}" if name else f"= {_written(data)}")
        else:
            lines.append(f"{name} {shape}".strip())
            if data is not None and _size(shape) <= SMALL:
                lines.append(f"= {_written(data)}")
        if gradient is not None and _size(shape) <= SMALL:
            lines.append(f"grad {_written(gradient)}")

    @property
    def dot(self) -> str:
        """The graph in Graphviz's language."""
        shapes = {"leaf": "ellipse", "op": "box", "result": "box, peripheries=2"}
        fills = {"leaf": LEAF, "op": OPERATION, "result": RESULT}
        lines = ["digraph {", "  rankdir=LR; node [fontname=monospace, style=filled];"]
        for k, (kind, texts) in enumerate(self.boxes):
            label = "\\n".join(text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
            style = f'shape={shapes[kind]}, fillcolor="{fills[kind]}"'
            lines.append(f'  n{k} [label="{label}", {style}];')
        lines += [f"  n{a} -> n{b};" for a, b in self.edges]
        return "\n".join([*lines, "}"]) + "\n"

    @property
    def svg(self) -> str:
        """The graph as an SVG picture, from left to right."""
        sizes = [
            (2 * PADDING + LETTER * max(map(len, texts)), 2 * PADDING + LINE * len(texts))
            for _, texts in self.boxes
        ]
        where, routes, width, height = place(sizes, self.edges)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="12">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
        ]
        parts += [_arrow(route) for route in routes]
        parts += [_box(*box, at) for box, at in zip(self.boxes, where, strict=True)]
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture, as SVG or, where the name ends in .dot or .gv, for Graphviz.

        Raises:
            ValueError: the name has another ending.
        """
        path = Path(path)
        if path.suffix not in (".svg", ".dot", ".gv"):
            raise ValueError(f"save: the file must end in .svg, .dot or .gv, got {path.name}")
        beside = path.with_name(path.name + ".part")
        beside.write_text(self.svg if path.suffix == ".svg" else self.dot, encoding="utf-8")
        beside.replace(path)
        return path

    def __repr__(self) -> str:
        return f"<Graph of {len(self.boxes)} boxes and {len(self.edges)} arrows>"


def _arrow(route: list[Placed]) -> str:
    """A curve from the right side of a box, through lanes, to the left side of another."""
    path = ""
    for a, b in pairwise(route):
        x, y, u, v = a.x + a.width, a.y + a.height / 2, b.x, b.y + b.height / 2
        bend = (u - x) / 2
        path += "" if path else f"M{x:.1f} {y:.1f}"
        path += f"C{x + bend:.1f} {y:.1f} {u - bend:.1f} {v:.1f} {u:.1f} {v:.1f}"
    return f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#tip)"/>'


def _box(kind: str, texts: list[str], at: Placed) -> str:
    """A box: round for a leaf, with a thick edge for the result."""
    fill = {"leaf": LEAF, "op": OPERATION, "result": RESULT}[kind]
    edge = f'rx="{12 if kind == "leaf" else 2}" stroke-width="{2 if kind == "result" else 1}"'
    lines = [
        f'<rect x="{at.x:.1f}" y="{at.y:.1f}" width="{at.width:.1f}" height="{at.height:.1f}" '
        f'fill="{fill}" stroke="#333" {edge}/>'
    ]
    for k, text in enumerate(texts):
        y = at.y + PADDING + LINE * (k + 0.75)
        bold = ' font-weight="bold"' if k == 0 else ""
        lines.append(
            f'<text x="{at.x + at.width / 2:.1f}" y="{y:.1f}" text-anchor="middle"{bold}>'
            f"{escape(text)}</text>"
        )
    return "\n".join(lines)


def _behind(maker: Function) -> tuple[list[Function], list[Node]]:
    """The functions behind a result, the earliest call first, and the leaves, as they are met."""
    seen: dict[int, Any] = {id(maker): maker}
    todo = [maker]
    while todo:
        for source in todo.pop().sources:
            if source is None or id(source) in seen:
                continue
            if source.order < 0:
                raise RuntimeError(
                    f"draw_graph: a part of the tape ({type(source).__name__}) was freed by an "
                    "earlier backward(); call backward(retain_graph=True) there"
                )
            seen[id(source)] = source
            if source.order > 0:
                todo.append(source)
    functions = sorted((s for s in seen.values() if s.order > 0), key=lambda f: f.order)
    found = {id(s): s for f in functions for s in f.sources if s is not None and s.order == 0}
    return functions, list(found.values())


def _held(makers: Iterable[Any], kept: list[Tensor]) -> dict[tuple[int, int], Node]:
    """The tensors that somebody still holds, by their maker and which of its outputs they are."""
    functions = [m for m in makers if isinstance(m, Function)]
    known = {id(f) for f in functions}
    found = [t for t in gc.get_referrers(*functions) if isinstance(t, Node)]
    return {(id(t.creator), t.slot): t for t in [*found, *kept] if id(t.creator) in known}


def _gradients(result: Node, functions: list[Function]) -> dict[tuple[int, int], Array]:
    """The gradient of the result's sum by every output of every function and by every leaf."""
    xp = backend_of(result.data).xp
    watchers = {function: [Node(None) for _ in function.outputs] for function in functions}
    before = {function: function.retained for function in functions}
    got: dict[tuple[int, int], Array] = {}

    def take(leaf: Any, g: Array) -> None:
        key = (id(leaf), 0)
        got[key] = got[key] + g if key in got else g

    try:
        for function, nodes in watchers.items():
            for slot, node in enumerate(nodes):
                node.slot = slot
            function.retained = tuple(weakref.ref(node) for node in nodes)
        backward(result, xp.ones_like(result.data), retain_graph=True, take=take)
    finally:
        for function, retained in before.items():
            function.retained = retained
    for function, nodes in watchers.items():
        for slot, node in enumerate(nodes):
            if node.grad is not None:
                got[id(function), slot] = node.grad
    return got


def _recorded(function: Callable[..., Any], inputs: tuple[Any, ...], kept: list[Tensor]) -> Any:
    """The function's result; every tensor made on the tape on the way is put into `kept`."""
    place_of: Any = Node.__dict__["creator"]  # where a tensor has its maker

    def remember(tensor: Tensor, maker: Function | None) -> None:
        place_of.__set__(tensor, maker)
        if maker is not None:
            kept.append(tensor)

    creator = property(place_of.__get__, remember)
    before = Function.tensor_type
    Function.tensor_type = type("Tensor", (Tensor,), {"__slots__": (), "creator": creator})
    try:
        with enable_grad():
            return function(*inputs)
    finally:
        Function.tensor_type = before


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def _written(data: Any) -> str:
    """A few values, short."""
    values = np.asarray(backend_of(data).to_numpy(data))
    if values.shape == ():
        return f"{values.item():.4g}" if dtype_name(data.dtype) != "bool" else str(values.item())
    text = np.array2string(values, separator=" ", formatter={"float_kind": lambda v: f"{v:.4g}"})
    return " ".join(text.split())
