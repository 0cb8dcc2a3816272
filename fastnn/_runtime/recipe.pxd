cimport numpy as cnp
from cpython.ref cimport PyObject
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

cdef struct Spare:
    # where among the temporaries an output goes that nobody wants
    int storage
    int64_t offset

cdef struct OutputSpec:
    int storage
    int typenum
    int64_t offset
    int64_t nbytes
    vector[cnp.npy_intp] shape
    vector[cnp.npy_intp] strides

cdef struct Hazard:
    # an input that `out` might meet: where its bytes lie, and whether op and layouts let `out` lie exactly there
    int input
    bint alike
    int64_t low
    int64_t high

cdef class Recipe:
    cdef readonly object lowering
    cdef readonly object reference
    cdef readonly tuple outputs
    cdef readonly dict shapes
    cdef readonly tuple attrs
    cdef readonly tuple checks
    cdef readonly bint into
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
    cdef vector[int] statuses
    cdef vector[Spare] spares
    cdef int64_t spare_bytes
    cdef bint extra
    cdef bint quick
    cdef bint writes_through
    cdef vector[Hazard] hazards
    cdef int64_t out_low
    cdef int64_t out_high
    cdef bytes key
    cdef int n_cells
    cdef readonly tuple cell_names

    cdef list run(
        self, PyObject* const* inputs, const double* cells, tuple cell_values, cnp.ndarray out
    )
    cdef cnp.ndarray make(self, size_t output, char** bases)
    cdef cnp.ndarray seen(self, char** bases, cnp.ndarray source)
    cdef cnp.ndarray view(self, size_t output, char** bases, object source)
    cdef int execute(self, char** bases, const double* cells, PyObject* const* inputs, bint alone) except -1
    cdef report(self, char** bases, const double* cells, PyObject* const* inputs, bint alone)
    cdef note_extents(self, list arrays, cnp.ndarray out, bint elementwise)
    cdef bint meets(self, PyObject* const* inputs, cnp.ndarray out) except -1


cdef list listed(PyObject* const* inputs, int count)


cdef inline bint lies_apart(Recipe recipe, char* const* bases, char* out) noexcept:
    """Whether `out` can be written directly, as far as the stretches of memory that arrays lie in can tell."""
    cdef char* base
    cdef Hazard* hazard
    cdef size_t i
    for i in range(recipe.hazards.size()):
        hazard = &recipe.hazards[i]
        base = bases[hazard.input]
        if base + hazard.low < out + recipe.out_high and out + recipe.out_low < base + hazard.high:
            if not (hazard.alike and base == out):
                return False
    return True
