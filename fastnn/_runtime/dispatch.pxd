cdef int backend_now() noexcept
