cimport numpy as cnp

cdef extern from "pool.h" namespace "fastnn" nogil:
    cdef cppclass Piece:
        void* address
        int size_class

cdef class Block:
    cdef Piece piece
    cdef object __weakref__

cdef Block allocate(size_t nbytes)
cdef cnp.ndarray new_array(int ndim, cnp.npy_intp* shape, cnp.npy_intp* strides, int typenum, size_t nbytes)
cdef int own(cnp.ndarray array) except -1
