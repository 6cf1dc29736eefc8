"""The Transformer (Vaswani et al. 2017), its layers and stacks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...backends import active_backend
from ...ops._operands import as_tensor
from ...tensor import Tensor
from .. import init
from ..container import ModuleList
from ..dropout import Dropout
from ..linear import Linear
from ..module import Module
from ..norm.sample import LayerNorm
from .multihead import MultiheadAttention

Activation = str | Callable[[Tensor], Tensor]


def _activation(name: str, activation: Activation) -> Callable[[Tensor], Tensor]:
    if callable(activation):
        return activation
    known = {"relu": ops.relu, "gelu": ops.gelu}
    if activation not in known:
        raise ValueError(
            f"{name}: activation must be relu, gelu or a function, got {activation!r:.60}"
        )
    return known[activation]


class _Layer(Module):
    """What the two layers share: attentions, two dense layers behind them, a norm for each."""

    attentions: tuple[str, ...]  # their names, in the order of the parameters
    self_attn: MultiheadAttention

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: str = "float32",
    ) -> None:
        self.activation = _activation(type(self).__name__, activation)
        self.norm_first = norm_first
        for name in self.attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
            )
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        parts = range(1, len(self.attentions) + 2)
        for k in parts:
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            setattr(self, f"norm{k}", norm)
        for k in parts:
            setattr(self, f"dropout{k}", Dropout(dropout))

    def _run(self, x: Tensor, *parts: Callable[[Tensor], Tensor]) -> Tensor:
        """x through each part, the dense layers last, each with a dropout, a way round, a norm."""
        for k, part in enumerate([*parts, self._think], 1):
            norm, drop = getattr(self, f"norm{k}"), getattr(self, f"dropout{k}")
            x = x + drop(part(norm(x))) if self.norm_first else norm(x + drop(part(x)))
        return x

    def _think(self, x: Tensor) -> Tensor:
        """W_2 drop(f(W_1 x))."""
        y: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return y


class TransformerEncoderLayer(_Layer):
    """Self-attention, then two dense layers, each beside a way round it (Vaswani et al. 2017, 3.1).

        x = norm1(x + drop(attention(x)))          x = norm2(x + drop(W_2 drop(f(W_1 x))))

    or, with `norm_first`, x = x + drop(attention(norm1(x))), and likewise (Xiong et al. 2020): such
    layers learn without a warm-up of the rate.

    Args:
        d_model: E, the features of x.
        nhead: the heads; they divide d_model.
        dim_feedforward: the units between the dense layers.
        dropout: the probability to drop, at each `drop` and in the attention's weights, in
            training.
        activation: f: "relu", "gelu", or a function of a tensor.
        layer_norm_eps: added to the variance in the norms.
        batch_first: x is (N, L, E) instead of (L, N, E).
        norm_first: normalise before each part instead of after it.
        bias: whether linear layers and norms have biases.
        dtype: of the parameters; x must have the same.

    Call: `y = layer(src, src_mask=None, src_key_padding_mask=None, is_causal=False)`, y like src;
    the masks are `MultiheadAttention`'s attn_mask and key_padding_mask, True where *not* to look.

    Parameters, as PyTorch calls them: self_attn.*, linear1.*, linear2.*, norm1.*, norm2.*.

    Raises:
        ValueError: a size or a probability that makes no sense, an unknown activation; when called,
            shapes that do not fit.
        TypeError: x and the parameters are of different dtypes.
    """

    attentions = ("self_attn",)

    def forward(
        self,
        src: Tensor,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:
        def itself(x: Tensor) -> Tensor:
            y: Tensor = self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=bool(is_causal)
            )[0]
            return y

        return self._run(as_tensor("TransformerEncoderLayer", src), itself)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention on what an encoder made, then two dense layers (Vaswani et al.
    2017, 3.1).

        x = norm1(x + drop(attention(x)))     x = norm2(x + drop(attention of x on memory))
        x = norm3(x + drop(W_2 drop(f(W_1 x))))

    or with the norms first, as in `TransformerEncoderLayer`.

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, dtype: as in `TransformerEncoderLayer`.

    Call: `y = layer(tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None,
    memory_key_padding_mask=None, tgt_is_causal=False, memory_is_causal=False)`, y like tgt (L, N,
    E); memory (S, N, E).  The masks of tgt are for the self-attention, those of memory for the
    other, each as in `MultiheadAttention`.

    Parameters: self_attn.*, multihead_attn.*, linear1.*, linear2.*, norm1.*, norm2.*, norm3.*.

    Raises:
        ValueError: a size or a probability that makes no sense, an unknown activation; when called,
            shapes that do not fit.
        TypeError: the inputs and the parameters are of different dtypes.
    """

    attentions = ("self_attn", "multihead_attn")
    multihead_attn: MultiheadAttention

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        own = (tgt_key_padding_mask, False, tgt_mask)
        others = (memory_key_padding_mask, False, memory_mask)

        def itself(x: Tensor) -> Tensor:
            y: Tensor = self.self_attn(x, x, x, *own, is_causal=bool(tgt_is_causal))[0]
            return y

        def other(x: Tensor) -> Tensor:
            y: Tensor = self.multihead_attn(
                x, memory, memory, *others, is_causal=bool(memory_is_causal)
            )[0]
            return y

        return self._run(as_tensor("TransformerDecoderLayer", tgt), itself, other)


class TransformerEncoder(Module):
    """A stack of equal encoder layers, and perhaps a norm.

    Args:
        encoder_layer: a `TransformerEncoderLayer`, which is copied: all start from its values.
        num_layers: how many copies.
        norm: a layer after the last, such as a `LayerNorm`, which layers with `norm_first` want.
        enable_nested_tensor, mask_check: taken for PyTorch's sake; here they change nothing.

    Call: `y = encoder(src, mask=None, src_key_padding_mask=None, is_causal=None)`, y like src; the
    masks are those of each layer.

    Parameters: layers.0.*, layers.1.*, ..., norm.*.

    Raises:
        ValueError: num_layers is not positive; when called, shapes that do not fit.
    """

    norm: Module | None

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        self.layers = _copies("TransformerEncoder", encoder_layer, num_layers)
        self.num_layers = num_layers
        self.add_module("norm", norm)

    def forward(
        self,
        src: Tensor,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        x = src
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, is_causal=bool(is_causal))
        return x if self.norm is None else self.norm(x)


class TransformerDecoder(Module):
    """A stack of equal decoder layers, and perhaps a norm.

    Args:
        decoder_layer: a `TransformerDecoderLayer`, which is copied: all start from its values.
        num_layers: how many copies.
        norm: a layer after the last.

    Call: `y = decoder(tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None,
    memory_key_padding_mask=None, tgt_is_causal=None, memory_is_causal=False)`, y like tgt; the
    masks are those of each layer.

    Parameters: layers.0.*, layers.1.*, ..., norm.*.

    Raises:
        ValueError: num_layers is not positive; when called, shapes that do not fit.
    """

    norm: Module | None

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self.layers = _copies("TransformerDecoder", decoder_layer, num_layers)
        self.num_layers = num_layers
        self.add_module("norm", norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask,
                memory_mask,
                tgt_key_padding_mask,
                memory_key_padding_mask,
                bool(tgt_is_causal),
                memory_is_causal,
            )
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder of one sequence and a decoder of another that looks at it (Vaswani et al. 2017).

    Embeddings, positions (`PositionalEncoding`) and the layer that makes words of the result are
    not part of it.

    Args:
        d_model, nhead: as in `TransformerEncoderLayer`.
        num_encoder_layers, num_decoder_layers: how many layers.
        dim_feedforward, dropout, activation: as in `TransformerEncoderLayer`.
        custom_encoder, custom_decoder: modules in place of the stacks made here, called as they
            are.
        layer_norm_eps, batch_first, norm_first, bias, dtype: as in `TransformerEncoderLayer`.

    Call: `y = transformer(src, tgt, src_mask=None, tgt_mask=None, memory_mask=None,
    src_key_padding_mask=None, tgt_key_padding_mask=None, memory_key_padding_mask=None,
    src_is_causal=None, tgt_is_causal=None, memory_is_causal=False)`

        src   (S, N, E), (N, S, E) with batch_first, or (S, E) for one sequence
        tgt   (T, N, E), likewise; y like tgt
        masks as in the layers; `tgt_is_causal=True`, or a mask, keeps tgt from seeing what comes

    Parameters: encoder.layers.0.*, ..., encoder.norm.*, decoder.layers.0.*, ..., decoder.norm.*;
    those with two axes start from Glorot's uniform distribution.

    Raises:
        ValueError: a size or a probability that makes no sense, an unknown activation; when called,
            shapes that do not fit.
        TypeError: the inputs and the parameters are of different dtypes.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: str = "float32",
    ) -> None:
        options = (
            *(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps),
            *(batch_first, norm_first, bias, dtype),
        )

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*options), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*options), num_decoder_layers, norm()
        )
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new values for all parameters with two axes or more."""
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        y: Tensor = self.decoder(
            tgt,
            memory,
            tgt_mask,
            memory_mask,
            tgt_key_padding_mask,
            memory_key_padding_mask,
            tgt_is_causal,
            memory_is_causal,
        )
        return y

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: str = "float32") -> Tensor:
        """The causal mask (sz, sz): 0 where a position may look, at itself and before, else -∞.

        Args:
            sz: the length of the sequence.
            dtype: of the numbers.
        """
        mask = np.triu(np.full((sz, sz), -np.inf, np.dtype(dtype)), 1)
        return Tensor(active_backend().from_numpy(mask))


def _copies(name: str, layer: Module, count: int) -> ModuleList:
    if count < 1:
        raise ValueError(f"{name}: num_layers must be positive, got {count}")
    return ModuleList(copy.deepcopy(layer) for _ in range(count))
