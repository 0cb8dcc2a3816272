"""Operations on arrays and Tensors."""

from fastnn.errors import ShapeError
from fastnn.ops.matmul import matmul

__all__ = ["ShapeError", "matmul"]
