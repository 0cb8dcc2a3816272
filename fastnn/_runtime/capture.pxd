from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

cdef PyObject* recorder() noexcept nogil
cdef int64_t structure() noexcept nogil
cdef void note_update() noexcept nogil
