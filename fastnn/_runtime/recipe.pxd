cimport numpy as cnp
from libc.stdint cimport int64_t
from libcpp.vector cimport vector

from fastnn._runtime._fastnn_team cimport Phase

cdef struct Relocation:
    size_t arg
    int storage
    int64_t offset

cdef struct CellUse:
    size_t arg
    int cell

cdef struct OutputSpec:
    int storage
    int typenum
    int64_t offset
    int64_t nbytes
    vector[cnp.npy_intp] shape
    vector[cnp.npy_intp] strides

cdef class Recipe:
    cdef readonly object lowering
    cdef readonly object reference
    cdef readonly tuple outputs
    cdef readonly dict shapes
    cdef readonly tuple attrs
    cdef readonly tuple checks
    cdef public list backward
    cdef int n_inputs
    cdef vector[Phase] phases
    cdef vector[int64_t] args
    cdef vector[size_t] starts
    cdef vector[Relocation] relocations
    cdef vector[CellUse] cell_uses
    cdef vector[OutputSpec] specs
    cdef vector[int64_t] temporaries
    cdef int64_t temporary_bytes
    cdef int64_t work
    cdef size_t n_check_phases
    cdef bytes key

    cdef list run(self, list inputs, const double* cells, list cell_values, cnp.ndarray out)
