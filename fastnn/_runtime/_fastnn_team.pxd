"""The thread team, for other extension modules: ``from fastnn._runtime._fastnn_team cimport Phase, run``."""

from libc.stdint cimport int64_t

cdef extern from "phase.h" namespace "fastnn" nogil:
    ctypedef void (*Kernel)(const int64_t* args, int64_t first, int64_t last, void* scratch) noexcept nogil

    cdef struct Phase:
        Kernel kernel
        const int64_t* args
        int64_t chunks
        int64_t work
        int64_t tag

cdef void run(const Phase* phases, int n) noexcept nogil
