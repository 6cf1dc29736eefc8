"""Embedding: a learnt vector for each of a vocabulary's words."""

from __future__ import annotations

from typing import Any, Self

from .. import ops
from ..backends import Array, active_backend, backend_of
from ..ops._operands import as_array
from ..tensor import Tensor
from . import init
from .module import Module
from .state import Parameter, new_parameter


class _Table(Module):
    """What the two share: the table, its padding row, and how long its rows may be."""

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        device: Any,
        dtype: Any,
    ) -> None:
        self._describe(num_embeddings, embedding_dim, padding_idx)
        self._limit(max_norm, norm_type, scale_grad_by_freq, sparse)
        self.weight = new_parameter((num_embeddings, embedding_dim), dtype, device)
        self.reset_parameters()

    def _describe(self, rows: int, columns: int, padding_idx: int | None) -> None:
        name = type(self).__name__
        if rows < 1 or columns < 1:
            raise ValueError(
                f"{name}: num_embeddings and embedding_dim must be positive; "
                f"got {rows} and {columns}"
            )
        if padding_idx is not None:
            if not -rows <= padding_idx < rows:
                raise ValueError(f"{name}: padding_idx {padding_idx} is not one of {rows} rows")
            padding_idx %= rows
        self.num_embeddings, self.embedding_dim = rows, columns
        self.padding_idx = padding_idx

    def _limit(
        self, max_norm: float | None, norm_type: float, scale_grad_by_freq: bool, sparse: bool
    ) -> None:
        name = type(self).__name__
        if sparse:
            raise ValueError(f"{name}: sparse=True: gradients are dense here, leave it False")
        if max_norm is not None and not (max_norm > 0 and norm_type > 0):
            raise ValueError(
                f"{name}: max_norm and norm_type must be positive; got {max_norm} and {norm_type}"
            )
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse

    def reset_parameters(self) -> None:
        """Draw new vectors; the padding row is zeros."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx, :] = 0

    def _shorten(self, indices: Any) -> None:
        """Scale the rows that are read to max_norm where they are longer; the others stay.

        Args:
            indices: integers, of any shape.
        """
        array = as_array(type(self).__name__, indices, self.weight)
        weight: Array = self.weight.data
        home = backend_of(weight)
        xp, rows = home.xp, weight.shape[0]
        if not home.is_integer(array.dtype):
            return  # the operation says what is wrong
        read = home.positions(xp.reshape(array, (-1,)))
        if not read.shape[0] or (
            home.checks_values and not 0 <= int(xp.min(read)) <= int(xp.max(read)) < rows
        ):
            return
        ones = xp.ones((read.shape[0], 1), dtype=weight.dtype, device=weight.device)
        touched = home.index_add(ones, read, rows) > 0
        lengths = ops.norm(Tensor(weight), self.norm_type, axis=1, keepdims=True).data
        scale = xp.where(
            touched & (lengths > self.max_norm),
            self.max_norm / (lengths + 1e-7),
            xp.ones_like(lengths),
        )
        self.weight.data = weight * scale

    @classmethod
    def _of(cls, embeddings: Any, freeze: bool, padding_idx: int | None, *limits: Any) -> Self:
        array = embeddings.data if isinstance(embeddings, Tensor) else embeddings
        if array.ndim != 2:
            raise ValueError(
                f"{cls.__name__}.from_pretrained: the vectors must be (V, E), "
                f"got {tuple(array.shape)}"
            )
        self = cls.__new__(cls)
        self._describe(array.shape[0], array.shape[1], padding_idx)
        self._limit(*limits)
        host = backend_of(array).to_numpy(array)
        self.weight = Parameter(active_backend().from_numpy(host.copy()), not freeze)
        return self

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        longest = "" if self.max_norm is None else f", max_norm={self.max_norm}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{longest}"


class Embedding(_Table):
    """Rows of a table: integers (...,) from 0 to num_embeddings - 1 -> (..., embedding_dim).

    (Bengio et al. 2003.)  `indices`, what the layer is called with, is a tensor, an array or a
    list.

    Args:
        num_embeddings, embedding_dim: the table's rows and columns.
        padding_idx: a row that starts as zeros and gets no gradient.
        max_norm: the longest that a row may be: rows that are read are scaled to it first, in the
            table itself, as in PyTorch.
        norm_type: the p of that norm.
        scale_grad_by_freq: whether a row's gradient is divided by how often it was read.
        sparse: False; gradients are dense.
        device: None, or where the active backend makes arrays.
        dtype: of the table.

    Parameter: weight (num_embeddings, embedding_dim), from N(0, 1).

    Raises:
        ValueError: a size or a norm is not positive, padding_idx is not a row, or sparse=True.
        TypeError: when called, the indices are no integers.
        IndexError: one of them is not a row (where looking costs no wait for a device).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            device,
            dtype,
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """A layer whose table holds given vectors, copied to the active backend in their dtype.

        Args:
            embeddings: (V, E), an array or a tensor; row i is the vector of index i.
            freeze: True: they stay as they are (`weight.requires_grad` is False); False: they are
                learnt.
            padding_idx: a row that gets no gradient; it keeps the values given.
            max_norm, norm_type, scale_grad_by_freq, sparse: as in the class.

        Raises:
            ValueError: the vectors are not (V, E), padding_idx is not one of the V rows, or as the
                class does.
        """
        return cls._of(
            embeddings, freeze, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        )

    def forward(self, indices: Any) -> Tensor:
        if self.max_norm is not None:
            self._shorten(indices)
        return ops.embedding(self.weight, indices, self.padding_idx, self.scale_grad_by_freq)


class EmbeddingBag(_Table):
    """Sums, means or largest values of bags of a table's rows, for texts as bags of words.

    Called with `indices`, integers (B, N), a bag in each row, or (M,) and `offsets` (B,), where
    each bag begins -> (B, embedding_dim); in the mode "sum" also with `per_sample_weights` of the
    integers' shape.  An empty bag gives zeros.

    Args:
        num_embeddings, embedding_dim: the table's rows and columns.
        max_norm, norm_type: the longest that a row may be, as in `Embedding`.
        scale_grad_by_freq: whether a row's gradient is divided by how often it was read.
        mode: "sum", "mean" or "max".
        sparse: False; gradients are dense.
        include_last_offset: whether offsets has one more entry, the end of the last bag.
        padding_idx: a row that starts as zeros, counts for nothing and gets no gradient.
        device: None, or where the active backend makes arrays.
        dtype: of the table.

    Parameter: weight (num_embeddings, embedding_dim), from N(0, 1).

    Raises:
        ValueError: a size or a norm is not positive, an unknown mode, padding_idx is not a row, or
            sparse=True; when called, shapes that do not fit.
        TypeError: when called, indices or offsets are no integers, or weights of another dtype.
        IndexError: an index is not a row (where looking costs no wait for a device).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        self._reduce(mode, include_last_offset)
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            device,
            dtype,
        )

    def _reduce(self, mode: str, include_last_offset: bool) -> None:
        if mode not in ("sum", "mean", "max"):
            raise ValueError(f"EmbeddingBag: mode {mode!r} is not one of sum, mean, max")
        self.mode, self.include_last_offset = mode, include_last_offset

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Self:
        """A layer whose table holds given vectors, copied to the active backend in their dtype.

        Args:
            embeddings: (V, E), an array or a tensor.
            freeze: True: they stay as they are; False: they are learnt.
            max_norm, norm_type, scale_grad_by_freq, mode, sparse, include_last_offset, padding_idx:
                as in the class.

        Raises:
            ValueError: the vectors are not (V, E), or as the class does.
        """
        self = cls._of(
            embeddings, freeze, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        )
        self._reduce(mode, include_last_offset)
        return self

    def forward(self, indices: Any, offsets: Any = None, per_sample_weights: Any = None) -> Tensor:
        if self.max_norm is not None:
            self._shorten(indices)
        return ops.embedding_bag(
            self.weight,
            indices,
            offsets,
            self.mode,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
            self.scale_grad_by_freq,
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, mode={self.mode!r}"
