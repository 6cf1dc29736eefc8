"""`explain`: which explainer a layer has, and what stands around what it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import nn, ops
from ..nn.module import Module
from .layers import (
    arithmetic,
    elementwise,
    entropy,
    gated,
    linear,
    loss,
    norm,
    other,
    recurrent,
    sequence,
    simple,
    softmax,
    stacked,
    windows,
)
from .measured import Measured, WithLoss, stages
from .page import Explanation
from .sentences import SENTENCES
from .steps import Equality, Sentence, Verdict
from .writer import Writer

Explainer = Callable[[Writer], None]

Suits = Callable[[Any, list[Any]], bool]

LAYERS: dict[type, Explainer] = {
    nn.Linear: linear.linear,
    **dict.fromkeys(elementwise.LAYERS, elementwise.of_layer),
    nn.Softmax: softmax.softmax,
    nn.LogSoftmax: softmax.log_softmax,
    **dict.fromkeys(windows.CONVOLUTIONS, windows.convolution),
    **dict.fromkeys(windows.MAXIMA, windows.max_pool),
    **dict.fromkeys(windows.MEANS, windows.avg_pool),
    **dict.fromkeys(norm.LAYERS, norm.normalisation),
    nn.Flatten: simple.flatten,
    nn.Unflatten: simple.flatten,
    nn.Embedding: simple.embedding,
    **dict.fromkeys(simple.DROPOUTS, simple.dropout),
    nn.RNN: recurrent.rnn,
    nn.LSTM: gated.lstm,
    nn.GRU: gated.gru,
    **dict.fromkeys(loss.PAIRS, loss.of_pairs),
    nn.CrossEntropyLoss: entropy.cross_entropy,
    nn.NLLLoss: entropy.negative_log_likelihood,
}
# What a layer and its inputs have to be for the derivation to be of them.
SUITS: dict[Any, Suits] = {
    **dict.fromkeys(windows.CONVOLUTIONS, windows.pads_with_zeros),
    **dict.fromkeys(norm.LAYERS, norm.no_statistics),
    **dict.fromkeys((nn.RNN, nn.LSTM, nn.GRU), recurrent.one_layer),
    **dict.fromkeys(loss.PAIRS, loss.unweighted),
    nn.CrossEntropyLoss: entropy.explains_entropy,
    nn.NLLLoss: entropy.explains_classes,
    nn.Embedding: simple.without_limit,
    **dict.fromkeys(arithmetic.PAIRS, arithmetic.are_numbers),
    ops.matmul: arithmetic.are_matrices,
}
OPERATIONS: dict[Any, Explainer] = {
    **dict.fromkeys(elementwise.OPERATIONS, elementwise.of_operation),
    ops.softmax: softmax.softmax,
    ops.log_softmax: softmax.log_softmax,
    **dict.fromkeys(arithmetic.PAIRS, arithmetic.arithmetic),
    ops.matmul: arithmetic.matmul,
}


def explain(
    layer: Callable[..., Any],
    *inputs: Any,
    gradient: Any = None,
    at: Any = None,
    loss: Module | None = None,
    target: Any = None,
    language: str = "en",
    digits: int = 4,
) -> Explanation:
    """Derive forward and backward of a layer with one input's numbers.

        print(nnx.explain(nn.Linear(3, 2), [[1.0, 2.0, -1.0]]))
        print(nnx.explain(nn.CrossEntropyLoss(), [[2.0, 0.0, 1.0]], [0], language="zh"))
        print(nnx.explain(model, x, loss=nn.MSELoss(), target=t))

    For y and for the gradient of each input and parameter: the formula with its shapes and its
    source, one element of it with names, with numbers and worked out, and how many others were
    evaluated in the same way; at the end, the gradients beside finite differences.  Each number is
    evaluated twice: from the terms that are printed, and by the layer's own forward and backward.
    Where the two differ by more than rounding, the line says so, and `explain(...).holds` is False.

    Derived are dense layers, convolutions, pooling, normalisations, activations, dropout,
    embeddings, recurrent layers (also several, and in both directions), common losses,
    `Sequential`, operations of one number, `+ - * /` and the product of two matrices; of anything
    else there are values, gradients and their check.

    The layer is not touched: a copy of it computes, without its hooks, and draws random numbers as
    the layer would next.

    Args:
        layer: a module, in the mode it is in; or an operation, `nnx.tanh`.
        inputs: what it is called with: tensors, arrays, lists; of a loss also the target.
        gradient: dL/dy, the upstream gradient, of y's shape; None: 1 for one number, else numbers
            that are easy to calculate with.
        at: which element of y is spelled out, (0, 1); or a dict, {"y": (0, 1), "dW": (1, 0)}.
            What is not asked for is the first element that is not 0.
        loss: of a model, the loss of what it computes; L is then this, and y the loss's value.
        target: what the loss compares with.
        language: "en" or "zh".
        digits: that numbers are rounded to; more are shown where the lines would not add up.

    Returns:
        An `Explanation`: it prints as text, and shows in notebooks.

    Raises:
        ValueError: another language; at names no array that is explained; digits below 2; a target
            without a loss; an input that is empty or not finite; a gradient of another shape; and
            what the layer raises.
        IndexError: at is no element.
        TypeError: the layer is not callable, or with a loss is no module; its output is no
            floating-point tensor.
    """
    if language not in SENTENCES:
        raise ValueError(f"explain: language must be one of {', '.join(SENTENCES)}; {language!r}")
    if not callable(layer):
        raise TypeError(f"explain: a module or an operation, not {type(layer).__name__}")
    if digits < 2:
        raise ValueError(f"explain: digits must be at least 2, got {digits}")
    if loss is not None:
        if not isinstance(layer, Module) or not isinstance(loss, Module):
            raise TypeError("explain: with a loss, the model and the loss must both be modules")
        layer, inputs = WithLoss(layer, loss), (*inputs, target)
    elif target is not None:
        raise ValueError("explain: a target belongs to a loss; give loss=, or explain the loss")
    measured = Measured(layer, inputs, gradient)
    page = Explanation(title_of(layer), language)
    wanted = dict(at) if isinstance(at, Mapping) else {} if at is None else {"y": at}
    writer = Writer(measured, page, wanted, digits)
    writer.title(page.title)
    write(writer)
    if unused := wanted.keys() - writer.derived:
        raise ValueError(
            f"explain: at names {', '.join(sorted(unused))}; what is spelled out is "
            f"{', '.join(writer.derived) or 'nothing'}"
        )
    lines = [step for step in page.steps if isinstance(step, Equality | Verdict)]
    wrong = sum(not line.holds for line in lines)
    key = "verdict_bad" if wrong else "verdict_good"
    page.steps.append(Verdict(writer.words(key, count=len(lines), wrong=wrong), not wrong))
    page.steps.append(Sentence(writer.words("legend")))
    return page


def write(w: Writer) -> None:
    """Write what there is to say of the writer's layer."""
    layer: Any = w.measured.original
    inputs, kind = w.measured.inputs, type(layer)
    if stages(layer) and len(inputs) == 1 + (kind is WithLoss):
        return sequence.sequential(w, write, title_of)
    if kind in (nn.RNN, nn.LSTM, nn.GRU) and stacked.takes_apart(layer, inputs):
        return stacked.stacked(w, write)
    explainer = LAYERS.get(kind) if isinstance(layer, Module) else OPERATIONS.get(layer)
    suits = SUITS.get(kind if isinstance(layer, Module) else layer)
    if explainer is None or (suits is not None and not suits(layer, inputs)):
        return other.other(w)
    return explainer(w)


def title_of(layer: Any) -> str:
    """What is explained: a layer with its arguments, or an operation's name."""
    if isinstance(layer, WithLoss):
        return f"{title_of(layer.model)} + {title_of(layer.loss)}"
    if isinstance(layer, Module):
        return repr(layer).partition("\n")[0].rstrip("(")
    name = getattr(layer, "__name__", type(layer).__name__)
    return f"nnx.{name}" if getattr(ops, name, None) is layer else str(name)
