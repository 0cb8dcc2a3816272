"""Embedding: a table of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn._runtime.memory import empty
from fastnn.errors import ShapeError
from fastnn.nn import functional as F
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.tensor import Tensor, as_tensor


class Embedding(Module):
    """Rows of a table, (*) -> (*, embedding_dim).

    Parameters
    ----------
    num_embeddings, embedding_dim : shape of the table, drawn from N(0, 1).
    padding_idx : a row that starts as 0 and gets no gradient; negative ones count from the end.
    max_norm, norm_type : rows that are taken are first scaled down to at most this p-norm, in the table itself.
    scale_grad_by_freq : divide a row's gradient by how often it was taken.
    sparse : must be False.

    Raises
    ------
    IndexError : an index that is not from 0 to num_embeddings - 1.
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
        _weight: Any = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        if sparse:
            raise ValueError("Embedding: sparse must be False, there are no sparse gradients")
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"Embedding: padding_idx must lie from {-num_embeddings} to {num_embeddings - 1}, got {padding_idx}"
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        if _weight is None:
            self.weight = Parameter(empty((num_embeddings, embedding_dim), np.dtype(dtype or np.float32)), not _freeze)
            self.reset_parameters()
        else:
            weight = as_tensor(_weight)
            if weight.shape != (num_embeddings, embedding_dim):
                raise ShapeError(
                    f"Embedding: _weight must have shape {(num_embeddings, embedding_dim)}, got {weight.shape}"
                )
            self.weight = Parameter(weight, not _freeze)

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        from fastnn.random import default_generator

        self.weight.array[...] = default_generator().normal(size=self.weight.shape)
        if self.padding_idx is not None:
            self.weight.array[self.padding_idx] = 0
        self.weight._touch()

    def forward(self, input: Any) -> Tensor:
        """The rows of an array of indices."""
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self) -> str:
        """The table's shape and what is not default."""
        words = [f"{self.num_embeddings}, {self.embedding_dim}"]
        for name, default in (("padding_idx", None), ("max_norm", None), ("norm_type", 2.0)):
            if getattr(self, name) != default:
                words.append(f"{name}={getattr(self, name)}")
        if self.scale_grad_by_freq:
            words.append("scale_grad_by_freq=True")
        return ", ".join(words)

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
    ) -> Embedding:
        """An Embedding whose table is given, (N, D); with `freeze` it is not trained."""
        table = as_tensor(embeddings)
        if table.ndim != 2:
            raise ShapeError(f"from_pretrained: embeddings must have 2 axes, got shape {table.shape}")
        return cls(
            table.shape[0],
            table.shape[1],
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
            _weight=table,
            _freeze=freeze,
        )


__all__ = ["Embedding"]
