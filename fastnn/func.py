"""Functions of modules."""

from fastnn.nn.utils.stateless import functional_call

__all__ = ["functional_call"]
