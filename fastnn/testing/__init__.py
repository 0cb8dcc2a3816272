"""Tools to check networks, gradients and kernels."""

from fastnn.testing.gradcheck import GradcheckError, gradcheck

__all__ = ["GradcheckError", "gradcheck"]
