cdef int settings_now() noexcept
