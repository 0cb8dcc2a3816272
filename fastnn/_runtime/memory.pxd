cimport numpy as cnp

cdef class Block:
    cdef void* address
    cdef int size_class

cdef Block allocate(size_t nbytes)
cdef cnp.ndarray new_array(int ndim, cnp.npy_intp* shape, cnp.npy_intp* strides, int typenum, size_t nbytes)
