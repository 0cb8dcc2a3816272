from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

cdef class Attributes:
    cdef tuple defaults
    cdef object check
    cdef dict known         # entries by attributes and their types
    cdef dict numbers
    cdef int64_t count
    cdef list lately        # entries, replaced and never changed, because other threads may be reading it

    cdef tuple find(self, PyObject* const* values)
    cdef tuple recall(self, PyObject* const* values)
    cdef tuple look_up(self, tuple given)

cdef tuple gathered(PyObject* const* values, tuple defaults)
