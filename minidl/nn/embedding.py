"""Embedding: a learnt vector for each of many symbols."""

from typing import Any

from minidl.creation import tensor
from minidl.errors import ShapeError
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.module import Module, Parameter, empty_parameter, not_offered
from minidl.ops import _checks
from minidl.tape import TensorBase, touch
from minidl.tensor import Tensor

__all__ = ["Embedding"]


def _row(padding_idx: int | None, rows: int) -> int | None:
    """The row that padding_idx means, counted from the first."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(f"Embedding: padding_idx is {padding_idx}, there are {rows} rows")
    return padding_idx % rows


class Embedding(Module):
    """weight[x]: for each whole number a row of a table.

    num_embeddings, embedding_dim : rows and columns of the table
    padding_idx : a number whose row is zero at first and is not learnt

    weight : (num_embeddings, embedding_dim), normal with variance 1
    max_norm, scale_grad_by_freq and sparse are not offered (NotImplementedError).
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
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        not_offered(
            "Embedding", max_norm=max_norm, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse
        )
        num_embeddings, embedding_dim = _checks.counts(
            "Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim
        )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = _row(padding_idx, num_embeddings)
        self.weight = empty_parameter((num_embeddings, embedding_dim), dtype, device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0
            touch(self.weight.data)

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
    ) -> "Embedding":
        """Make an embedding of a table (rows, columns) that is there; `freeze`: not to be learnt.

        A tensor's memory is shared, as in PyTorch. Raises ShapeError unless it has two axes.
        """
        table = embeddings if isinstance(embeddings, TensorBase) else tensor(embeddings)
        if table.data.ndim != 2:
            raise ShapeError(f"Embedding: the table has shape {table.data.shape}, expected 2 axes")
        rows, columns = table.data.shape
        padding_idx = _row(padding_idx, rows)
        made = cls(0, columns, None, max_norm, norm_type, scale_grad_by_freq, sparse)
        made.num_embeddings, made.padding_idx = rows, padding_idx
        made.weight = Parameter(table, requires_grad=not freeze)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """x : whole numbers of any shape -> (*shape, embedding_dim)."""
        return F.embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """The sizes of the table."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
