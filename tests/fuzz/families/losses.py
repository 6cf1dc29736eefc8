"""Every loss with every option, and targets of every integer dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnx import ops

from ..case import Case, Input
from ..draw import INTEGERS, Draw
from ..pytorch import functional, torch

REGRESSION = ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"]


def loss(draw: Draw) -> Case:
    kinds = [_regression, _probabilities, _logits, _divergence, _margins, _multi_margin]
    return draw.choice([*kinds, _classes, _classes, _shares])(draw)


def _reduction(draw: Draw) -> str:
    return draw.choice(["mean", "sum", "none"])


def _case(
    draw: Draw, name: str, options: dict[str, Any], inputs: list[Input], given: list[str],
    relative: bool = False, **more: Any,
) -> Case:  # fmt: skip
    """A loss of (input, target), and of the further inputs named `given`."""

    def ours(x: Any, t: Any, *rest: Any) -> Any:
        return getattr(ops, name)(x, t, **dict(zip(given, rest, strict=True)), **options)

    def theirs(x: Any, t: Any, *rest: Any) -> Any:
        f = functional()
        if not t.is_floating_point():  # small integers count as what they say
            t = t.to(torch().int64) if name in BY_CLASS else t.to(x.dtype)
        return getattr(f, name)(x, t, **dict(zip(given, rest, strict=True)), **options)

    return Case(f"{name}({options}, {given})", inputs, ours, theirs, relative=relative, **more)


BY_CLASS = ("cross_entropy", "nll_loss", "multi_margin_loss")


def _regression(draw: Draw) -> Case:
    name = draw.choice(REGRESSION)
    dtype, shape = draw.dtype(), draw.shape()
    options: dict[str, Any] = {"reduction": _reduction(draw)}
    if name == "smooth_l1_loss" and draw.chance(0.6):
        options["beta"] = draw.choice([0.5, 2.0, 0.0])
    if name == "huber_loss" and draw.chance(0.6):
        options["delta"] = draw.choice([0.5, 2.0])
    kind = draw.choice(["normal", "lattice"])
    x = Input(draw.values(shape, dtype, kind), layout=draw.layout())
    if draw.chance(0.2):
        t = Input(draw.whole(shape, 0, 4, draw.choice(INTEGERS)), layout=draw.layout())
    else:
        t = Input(draw.values(shape, dtype, kind), draw.chance(0.5), draw.layout())
    return _case(draw, name, options, [x, t], [])


def _probabilities(draw: Draw) -> Case:
    dtype, shape = draw.dtype(), draw.shape()
    x = draw.values(shape, dtype, "unit")
    certain = draw.chance(0.2)
    if certain:  # PyTorch's constants for these are of float32
        dtype = "float32"
        x = np.where(draw.stream.random(shape) < 0.3, draw.stream.integers(0, 2, shape), x)
    t = draw.values(shape, dtype, "unit")
    inputs = [Input(x.astype(dtype), layout=draw.layout()), Input(t, layout=draw.layout())]
    if certain or draw.chance(0.5):
        inputs[1] = Input(np.round(t), False, draw.layout())
    given = []
    if draw.chance(0.4):
        inputs.append(Input(draw.values(draw.smaller(shape), dtype, "positive"), False))
        given = ["weight"]
    return _case(draw, "binary_cross_entropy", {"reduction": _reduction(draw)}, inputs, given)


def _logits(draw: Draw) -> Case:
    dtype, shape = draw.dtype(), draw.shape()
    x = draw.values(shape, dtype) * draw.choice([1, 10, 100])
    t = draw.values(shape, dtype, "unit")
    soft = draw.chance(0.4)
    inputs = [
        Input(x.astype(dtype), layout=draw.layout()),
        Input(t if soft else np.round(t), soft, draw.layout()),
    ]
    given = []
    for name in ("weight", "pos_weight"):
        if draw.chance(0.35):
            inputs.append(Input(draw.values(draw.smaller(shape), dtype, "positive"), False))
            given.append(name)
    reduction = _reduction(draw)

    def theirs(x: Any, t: Any, *rest: Any) -> Any:
        """The definition: PyTorch's own loses what is small beside x."""
        f, more = functional(), dict(zip(given, rest, strict=True))
        y = t * f.softplus(-x, threshold=600) * more.get("pos_weight", 1)
        y = (y + (1 - t) * f.softplus(x, threshold=600)) * more.get("weight", 1)
        return {"mean": y.mean, "sum": y.sum, "none": lambda: y}[reduction]()

    name = "binary_cross_entropy_with_logits"
    case = _case(draw, name, {"reduction": reduction}, inputs, given, relative=not soft)
    case.theirs = theirs
    return case


def _divergence(draw: Draw) -> Case:
    dtype, shape = draw.dtype(), draw.shape(1, 4)
    log_target = draw.chance(0.4)
    x = np.log(draw.values(shape, dtype, "unit"))
    t = draw.values(shape, dtype, "unit")
    t = np.log(t) if log_target else t
    options = {
        "reduction": draw.choice(["mean", "sum", "none", "batchmean"]),
        "log_target": log_target,
    }
    inputs = [Input(x, layout=draw.layout()), Input(t, draw.chance(0.7), draw.layout())]
    return _case(draw, "kl_div", options, inputs, [])


def _margins(draw: Draw) -> Case:
    name = draw.choice(["soft_margin_loss", "hinge_embedding_loss"])
    dtype, shape = draw.dtype(), draw.shape()
    options: dict[str, Any] = {"reduction": _reduction(draw)}
    if name == "hinge_embedding_loss" and draw.chance(0.5):
        options["margin"] = draw.choice([0.5, 2.0])
    x = draw.values(shape, dtype, "normal") * draw.choice([1, 30])
    signs = 2 * draw.whole(shape, 0, 2) - 1
    t = signs.astype(draw.choice([dtype, "int8", "int64"]))
    inputs = [Input(x.astype(dtype), layout=draw.layout()), Input(t, False, draw.layout())]
    return _case(draw, name, options, inputs, [], relative=name == "soft_margin_loss")


def _targets(draw: Draw, shape: Any, classes: int, ignore: int | None) -> Input:
    dtype = draw.index_dtype(0 if ignore is None else min(0, ignore), max(classes, ignore or 0))
    t = draw.whole(shape, 0, classes + (1 if draw.chance(0.02) else 0), dtype)
    if ignore is not None:
        t = np.where(draw.stream.random(t.shape) < 0.3, np.asarray(ignore, dtype), t)
    return Input(t.astype(dtype), layout=draw.layout())


def _multi_margin(draw: Draw) -> Case:
    dtype, n, classes = draw.dtype(), draw.size(), max(1, draw.size(130))
    options: dict[str, Any] = {"reduction": _reduction(draw), "p": draw.choice([1, 2])}
    if draw.chance(0.5):
        options["margin"] = draw.choice([0.5, 2.0])
    inputs = [
        Input(draw.values((n, classes), dtype), layout=draw.layout()),
        _targets(draw, (n,), classes, None),
    ]
    given = []
    if draw.chance(0.4):
        inputs.append(Input(draw.values((classes,), dtype, "positive"), False))
        given = ["weight"]
    case = _case(draw, "multi_margin_loss", options, inputs, given)
    if n == 0:  # PyTorch's mean is memory that nobody wrote
        case.theirs = None
    return case


def _classes(draw: Draw) -> Case:
    """Class indices: (N, C), (C,), (N, C, d1, ...), some of them ignored."""
    name = draw.choice(["cross_entropy", "nll_loss"])
    dtype, classes = draw.dtype(), max(1, draw.choice([draw.size(), draw.size(), 10, 130, 300]))
    if draw.cap is not None:
        classes = min(classes, draw.cap)
    kind = draw.rng.random()
    n, deep = draw.size(), draw.shape(1, 2, 5)
    shape: tuple[int, ...] = (n, classes)
    if kind < 0.15:
        shape = (classes,)
    elif kind < 0.35:
        shape = (n, classes, *deep)
    options: dict[str, Any] = {"reduction": _reduction(draw)}
    ignore = None
    if draw.chance(0.4):
        ignore = draw.choice([-100, -1, 0, classes - 1, 255])
        options["ignore_index"] = ignore
    if name == "cross_entropy" and draw.chance(0.3):
        options["label_smoothing"] = draw.choice([0.1, 0.5, 1.0])
    x = draw.values(shape, dtype) * draw.choice([1, 1, 30])
    if name == "nll_loss":
        x = -np.abs(x)
    inputs = [
        Input(x.astype(dtype), layout=draw.layout()),
        _targets(draw, shape[:1] * (len(shape) > 1) + shape[2:], classes, ignore),
    ]
    given = []
    if draw.chance(0.4):
        w = draw.values((classes,), dtype, "positive")
        inputs.append(Input(w, False, draw.layout()))
        given = ["weight"]
    return _case(draw, name, options, inputs, given, cancels=True)


def _shares(draw: Draw) -> Case:
    """Cross-entropy with probabilities as the target."""
    dtype, classes = draw.dtype(), max(1, draw.size())
    shape: tuple[int, ...] = draw.choice([(classes,), (draw.size(), classes)])
    if draw.chance(0.3):
        shape = (draw.size(), classes, *draw.shape(1, 2, 5))
    options: dict[str, Any] = {"reduction": _reduction(draw)}
    if draw.chance(0.3):
        options["label_smoothing"] = draw.choice([0.1, 0.5])
    inputs = [
        Input(draw.values(shape, dtype), layout=draw.layout()),
        Input(draw.values(shape, dtype, "unit"), draw.chance(0.5), draw.layout()),
    ]
    given = []
    if draw.chance(0.3):
        inputs.append(Input(draw.values((classes,), dtype, "positive"), False))
        given = ["weight"]
    return _case(draw, "cross_entropy", options, inputs, given, cancels=True)
