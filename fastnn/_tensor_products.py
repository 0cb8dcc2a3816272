"""Tensor's methods for products of vectors, matrices and batches, as torch has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastnn import ops
from fastnn._runtime.tensor import TensorBase, is_grad_enabled
from fastnn.errors import GraphError

if TYPE_CHECKING:
    from fastnn.tensor import Tensor


def _in_place(function: Callable[..., Any], self: Any, one: Any, two: Any, beta: Any, alpha: Any) -> Tensor:
    """Let `self` be ``function(self, one, two)``."""
    operands = [x for x in (self, one, two) if isinstance(x, TensorBase)]
    if not (is_grad_enabled() and any(x.requires_grad for x in operands)):
        function(self, one, two, beta=beta, alpha=alpha, out=self)
    elif self.is_leaf and self.requires_grad:
        raise GraphError("a leaf Tensor that requires grad cannot be changed in place; do it under no_grad()")
    else:
        self._become(function(self, one, two, beta=beta, alpha=alpha))
    return self


class ProductMethods:
    """What `Tensor` inherits. Shapes and errors are those of the functions of the same names in `fastnn`."""

    __slots__ = ()

    def matmul(self, tensor2: Any) -> Tensor:
        """``self @ tensor2``, with the rules for vectors and batches."""
        return ops.matmul(self, tensor2)

    def mm(self, mat2: Any) -> Tensor:
        """Product of two matrices."""
        return ops.mm(self, mat2)

    def bmm(self, batch2: Any) -> Tensor:
        """Products of two batches of matrices, (B, N, K), (B, K, M) -> (B, N, M)."""
        return ops.bmm(self, batch2)

    def mv(self, vec: Any) -> Tensor:
        """Product of a matrix and a vector."""
        return ops.mv(self, vec)

    def dot(self, tensor2: Any) -> Tensor:
        """Sum of the products of two vectors' elements."""
        from fastnn.functions import products

        return products.dot(self, tensor2)

    def vdot(self, other: Any) -> Tensor:
        """As `dot`; complex `self` is conjugated."""
        from fastnn.functions import products

        return products.vdot(self, other)

    def inner(self, other: Any) -> Tensor:
        """Sum of products over the last axes."""
        return ops.inner(self, other)

    def outer(self, vec2: Any) -> Tensor:
        """Matrix of the products of two vectors' elements."""
        from fastnn.functions import products

        return products.outer(self, vec2)

    ger = outer

    def addmm(self, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """``beta * self + alpha * (mat1 @ mat2)``."""
        return ops.addmm(self, mat1, mat2, beta=beta, alpha=alpha)

    def addmm_(self, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """`addmm` in place."""
        return _in_place(ops.addmm, self, mat1, mat2, beta, alpha)

    def addmv(self, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """``beta * self + alpha * (mat @ vec)``."""
        return ops.addmv(self, mat, vec, beta=beta, alpha=alpha)

    def addmv_(self, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """`addmv` in place."""
        return _in_place(ops.addmv, self, mat, vec, beta, alpha)

    def addr(self, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """``beta * self + alpha * outer(vec1, vec2)``."""
        return ops.addr(self, vec1, vec2, beta=beta, alpha=alpha)

    def addr_(self, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """`addr` in place."""
        return _in_place(ops.addr, self, vec1, vec2, beta, alpha)

    def addbmm(self, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """``beta * self + alpha * (sum over the batch of batch1 @ batch2)``."""
        return ops.addbmm(self, batch1, batch2, beta=beta, alpha=alpha)

    def addbmm_(self, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """`addbmm` in place."""
        return _in_place(ops.addbmm, self, batch1, batch2, beta, alpha)

    def baddbmm(self, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """``beta * self + alpha * (batch1 @ batch2)``."""
        return ops.baddbmm(self, batch1, batch2, beta=beta, alpha=alpha)

    def baddbmm_(self, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """`baddbmm` in place."""
        return _in_place(ops.baddbmm, self, batch1, batch2, beta, alpha)
