"""What fastnn raises.

Where PyTorch raises RuntimeError and NumPy raises ValueError or TypeError for the same mistake, the error here is
both, so that code written for either catches it.
"""


class ShapeError(ValueError, RuntimeError):
    """Shapes that do not go together."""


class DTypeError(TypeError, RuntimeError):
    """An element type that the op does not take, or types that do not go together."""


class DomainError(ValueError, RuntimeError):
    """Numbers outside of what the op takes."""


class GraphError(RuntimeError, ValueError):
    """A backward pass that the recorded graph cannot give."""


class ArgumentError(ValueError, RuntimeError):
    """A value that an argument cannot have."""


class CompileError(RuntimeError):
    """A call that cannot be recorded, so that a replay would not do the same."""


class FormatError(ValueError, RuntimeError):
    """A file that is not what its format demands: cut off, damaged, or made to do harm."""
