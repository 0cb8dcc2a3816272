# distutils: language = c++
"""What an op does for one signature, ready to be repeated.

(a) A `Recipe` is made once from a `Lowering`: kernels resolved to addresses, every argument either a constant, a
    place in a storage, or a cell.
(b) `Recipe.run` allocates the outputs, writes addresses into a copy of the arguments and hands the phases to the
    thread team. Nothing else happens in the steady state.
(c) A recipe without phases holds a NumPy reference and calls that: other dtypes, and the NumPy backend.
"""

cimport cython
cimport numpy as cnp
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastnn._runtime._fastnn_team cimport Kernel, Phase, run as run_phases
from fastnn._runtime.memory cimport Block, allocate, new_array

import numpy as np

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    int PyArray_SetBaseObject(cnp.ndarray arr, object obj) except -1
    object PyArray_NewFromDescr(
        type subtype, cnp.dtype descr, int nd, const cnp.npy_intp* dims, const cnp.npy_intp* strides, void* data,
        int flags, PyObject* obj
    )

cdef enum:
    # Work (in estimated nanoseconds) from which giving up the interpreter's lock pays.
    RELEASE_GIL_FROM = 5000
    # Arguments, phases and storages of a call lie on the stack up to these counts.
    STACK_ARGS = 512
    STACK_PHASES = 32
    STACK_STORAGES = 64


cdef class Recipe:
    """The phases of an op for one signature, or the reference that serves it.

    Parameters
    ----------
    n_inputs : number of array arguments.
    lowering : the `Lowering` whose phases to repeat, or None.
    outputs : the symbolic arrays to return, in order (None for a gradient that is not wanted).
    resolve : function of a phase, or of a routine among its arguments, that gives its kernel's address.
    cell_names : names of the op's cells, in the order in which their values come.
    reference : without phases: a function of the input arrays, attributes and cells that gives a tuple of arrays.
    shapes : shapes of the inputs by name; outputs are added by the op.
    attrs : values of the op's attributes.
    """

    def __init__(self, int n_inputs, lowering=None, outputs=(), resolve=None, cell_names=(), reference=None,
                 shapes=None, attrs=()):
        self.n_inputs = n_inputs
        self.lowering = lowering
        self.reference = reference
        self.outputs = tuple(outputs)
        self.shapes = shapes if shapes is not None else {}
        self.attrs = attrs
        self.backward = []
        self.checks = ()
        if lowering is not None:
            self._build(resolve, list(cell_names))

    def _build(self, resolve, cell_names):
        cdef Relocation relocation
        cdef CellUse use
        cdef Phase phase
        cdef OutputSpec spec
        cdef int64_t step = 0
        phases = list(self.lowering.checks) + list(self.lowering.phases)
        self.n_check_phases = len(self.lowering.checks)
        self.checks = tuple((phase.check.status.storage, phase.check.error) for phase in self.lowering.checks)
        for declared in phases:
            phase.kernel = <Kernel><size_t>resolve(declared)
            phase.args = NULL
            phase.chunks = declared.chunks
            phase.work = declared.work
            phase.tag = 0
            self.starts.push_back(self.args.size())
            for arg in declared.args:
                if isinstance(arg, int):
                    self.args.push_back(arg)
                elif hasattr(arg, "array"):
                    relocation.arg = self.args.size()
                    relocation.storage = arg.array.storage
                    relocation.offset = arg.array.offset
                    self.relocations.push_back(relocation)
                    self.args.push_back(0)
                elif hasattr(arg, "kernel"):
                    self.args.push_back(<int64_t>resolve(arg))
                else:
                    use.arg = self.args.size()
                    use.cell = cell_names.index(arg.name)
                    self.cell_uses.push_back(use)
                    self.args.push_back(0)
            self.phases.push_back(phase)
            self.work += declared.work
        for storage in self.lowering.storages:
            if storage.kind == "temporary":
                self.temporaries.push_back(self.temporary_bytes)
                self.temporary_bytes += (storage.nbytes + 63) // 64 * 64
            else:
                self.temporaries.push_back(-1)
        for array in self.outputs:
            spec.shape.clear()
            spec.strides.clear()
            spec.storage = -1
            if array is not None:
                dtype = np.dtype(array.dtype)
                spec.storage = array.storage
                spec.typenum = dtype.num
                spec.offset = array.offset
                spec.nbytes = self.lowering.storages[array.storage].nbytes
                for extent, step in zip(array.shape, array.strides):
                    spec.shape.push_back(extent)
                    spec.strides.push_back(step * dtype.itemsize)
            self.specs.push_back(spec)

    @cython.boundscheck(False)
    @cython.wraparound(False)
    cdef list run(self, list inputs, const double* cells, list cell_values, cnp.ndarray out):
        """Run on `inputs` (arrays of the signature's layout) and return the outputs, one entry each.

        `out`, if given, is the memory of the first output and has its layout.
        """
        cdef int64_t[STACK_ARGS] stack_args
        cdef Phase[STACK_PHASES] stack_phases
        cdef char* stack_bases[STACK_STORAGES]
        cdef vector[int64_t] heap_args
        cdef vector[Phase] heap_phases
        cdef vector[char*] heap_bases
        cdef int64_t* args = stack_args
        cdef Phase* phases = stack_phases
        cdef char** bases = stack_bases
        cdef size_t i, n_phases = self.phases.size(), n_args = self.args.size()
        cdef size_t n_storages = self.temporaries.size(), n_checks = self.n_check_phases
        cdef Block temporary = None
        cdef cnp.ndarray array
        cdef OutputSpec* spec
        cdef cnp.dtype descr
        cdef list outputs
        if self.reference is not None:
            return list(self.reference(*inputs, *self.attrs, *cell_values))
        if n_args > STACK_ARGS:
            heap_args.resize(n_args)
            args = heap_args.data()
        if n_phases > STACK_PHASES:
            heap_phases.resize(n_phases)
            phases = heap_phases.data()
        if n_storages > STACK_STORAGES:
            heap_bases.resize(n_storages)
            bases = heap_bases.data()
        for i in range(<size_t>self.n_inputs):
            if inputs[i] is None:
                bases[i] = NULL
            else:
                bases[i] = <char*>cnp.PyArray_DATA(<cnp.ndarray>inputs[i])
        if self.temporary_bytes:
            temporary = allocate(self.temporary_bytes)
            for i in range(<size_t>self.n_inputs, n_storages):
                if self.temporaries[i] >= 0:
                    bases[i] = <char*>temporary.address + self.temporaries[i]
        outputs = []
        for i in range(self.specs.size()):
            spec = &self.specs[i]
            if spec.storage < 0:
                outputs.append(None)
                continue
            if spec.storage < self.n_inputs:
                # a view of an input
                descr = cnp.PyArray_DescrFromType(spec.typenum)
                Py_INCREF(descr)
                array = PyArray_NewFromDescr(
                    cnp.ndarray, descr, <int>spec.shape.size(), spec.shape.data(), spec.strides.data(),
                    bases[spec.storage] + spec.offset, 0, NULL
                )
                Py_INCREF(inputs[spec.storage])
                PyArray_SetBaseObject(array, inputs[spec.storage])
            elif i == 0 and out is not None:
                array = out
                bases[spec.storage] = <char*>cnp.PyArray_DATA(array)
            else:
                array = new_array(
                    <int>spec.shape.size(), spec.shape.data(), spec.strides.data(), spec.typenum, spec.nbytes
                )
                bases[spec.storage] = <char*>cnp.PyArray_DATA(array)
            outputs.append(array)
        if n_phases == 0:
            return outputs
        memcpy(args, self.args.data(), n_args * sizeof(int64_t))
        for i in range(self.relocations.size()):
            args[self.relocations[i].arg] = <int64_t>(
                bases[self.relocations[i].storage] + self.relocations[i].offset
            )
        for i in range(self.cell_uses.size()):
            args[self.cell_uses[i].arg] = <int64_t>&cells[self.cell_uses[i].cell]
        for i in range(n_phases):
            phases[i] = self.phases[i]
            phases[i].args = args + self.starts[i]
        if n_checks:
            # each check leaves a status behind; nothing that the caller sees is written before all are zero
            run_phases(phases, <int>n_checks)
            for storage, error in self.checks:
                if (<int64_t*>bases[<int>storage])[0] != 0:
                    raise error((<int64_t*>bases[<int>storage])[0], inputs)
        if self.work > RELEASE_GIL_FROM:
            with nogil:
                run_phases(phases + n_checks, <int>(n_phases - n_checks))
        else:
            run_phases(phases + n_checks, <int>(n_phases - n_checks))
        return outputs
