"""What can go wrong between a kernel's source and its address."""


class KernelError(RuntimeError):
    """A kernel could not be compiled or loaded: a fault in the kernel or in the compiler, named in the message."""


class KernelsUnavailable(KernelError):
    """No kernel can be had on this machine as it is set up; the NumPy backend can serve instead."""


class NoExecutableMemory(KernelsUnavailable):
    """The system does not let this process turn memory that it wrote into code."""
