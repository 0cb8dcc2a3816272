"""What of an array's layout decides how an op treats it: see layout.h."""

cimport numpy as cnp

cdef extern from "layout.h" namespace "fastnn" nogil:
    cdef struct Extent:
        char* low
        char* high

    bint behaved(cnp.ndarray array)
    Extent extent(cnp.ndarray array)
    bint same_shape(cnp.ndarray x, cnp.ndarray y)
    bint same_strides(cnp.ndarray x, cnp.ndarray y)
