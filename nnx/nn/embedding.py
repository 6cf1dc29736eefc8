"""Embedding: a learnt vector for each of a vocabulary's words."""

from __future__ import annotations

from typing import Any, Self

from .. import ops
from ..backends import active_backend, backend_of
from ..tensor import Tensor
from . import init
from .module import Module
from .state import Parameter, new_parameter


class Embedding(Module):
    """Rows of a table: integers (...,) from 0 to num_embeddings - 1 -> (..., embedding_dim).

    (Bengio et al. 2003.)  `indices`, what the layer is called with, is a tensor, an array or a
    list.

    Args:
        num_embeddings, embedding_dim: the table's rows and columns.
        padding_idx: a row that starts as zeros and gets no gradient.
        dtype: of the table.

    Parameter: weight (num_embeddings, embedding_dim), from N(0, 1).

    Raises:
        ValueError: a size is not positive, or padding_idx is not a row.
        TypeError: when called, the indices are no integers.
        IndexError: one of them is not a row (where looking costs no wait for a device).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        dtype: str = "float32",
    ) -> None:
        self._describe(num_embeddings, embedding_dim, padding_idx)
        self.weight = new_parameter((num_embeddings, embedding_dim), dtype)
        self.reset_parameters()

    def _describe(self, rows: int, columns: int, padding_idx: int | None) -> None:
        if rows < 1 or columns < 1:
            raise ValueError(
                "Embedding: num_embeddings and embedding_dim must be positive; "
                f"got {rows} and {columns}"
            )
        if padding_idx is not None:
            if not -rows <= padding_idx < rows:
                raise ValueError(f"Embedding: padding_idx {padding_idx} is not one of {rows} rows")
            padding_idx %= rows
        self.num_embeddings, self.embedding_dim = rows, columns
        self.padding_idx = padding_idx

    def reset_parameters(self) -> None:
        """Draw new vectors; the padding row is zeros."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx, :] = 0

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None
    ) -> Self:
        """A layer whose table holds given vectors, copied to the active backend in their dtype.

        Args:
            embeddings: (V, E), an array or a tensor; row i is the vector of index i.
            freeze: True: they stay as they are (`weight.requires_grad` is False); False: they are
                learnt.
            padding_idx: a row that gets no gradient; it keeps the values given.

        Raises:
            ValueError: the vectors are not (V, E), or padding_idx is not one of the V rows.
        """
        array = embeddings.data if isinstance(embeddings, Tensor) else embeddings
        if array.ndim != 2:
            raise ValueError(
                f"Embedding.from_pretrained: the vectors must be (V, E), got {tuple(array.shape)}"
            )
        self = cls.__new__(cls)
        self._describe(array.shape[0], array.shape[1], padding_idx)
        host = backend_of(array).to_numpy(array)
        self.weight = Parameter(active_backend().from_numpy(host.copy()), not freeze)
        return self

    def forward(self, indices: Any) -> Tensor:
        return ops.embedding(self.weight, indices, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
