# distutils: language = c++
"""What an op does for one signature, ready to be repeated.

(a) A `Recipe` is made once from a `Lowering`: kernels resolved to addresses, every argument either a constant, a
    place in a storage, or a cell.
(b) `Recipe.run` allocates the outputs; `execute` writes addresses into a copy of the arguments and hands the phases
    to the thread team. Nothing else happens in the steady state, and a `quick` recipe (one output of its own) needs no
    list of outputs either.
(c) A recipe that was lowered for the layout of the caller's `out`, and can write there, says so (`into`). Where arrays
    of its signature lie, relative to their addresses, is known then: whether `out` meets an input takes two
    comparisons an input.
(d) A recipe without phases holds a NumPy reference and calls that: other dtypes, and the NumPy backend.
"""

cimport numpy as cnp
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastnn._runtime._fastnn_team cimport Kernel, Phase, run as run_phases
from fastnn._runtime.call cimport MAX_STORAGES
from fastnn._runtime.capture cimport recorder
from fastnn._runtime.layout cimport Extent, extent, same_shape, same_strides
from fastnn._runtime.memory cimport Block, allocate, new_array

import numpy as np

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    int PyArray_SetBaseObject(cnp.ndarray arr, object obj) except -1
    bint PyArray_ISWRITEABLE(cnp.ndarray array)
    void PyArray_ENABLEFLAGS(cnp.ndarray array, int flags)
    object PyArray_NewFromDescr(
        type subtype, cnp.dtype descr, int nd, const cnp.npy_intp* dims, const cnp.npy_intp* strides, void* data,
        int flags, PyObject* obj
    )

cdef enum:
    # Work (in estimated nanoseconds) from which giving up the interpreter's lock pays.
    RELEASE_GIL_FROM = 5000
    # Arguments, phases and bytes of temporaries of a call lie on the stack up to these counts.
    STACK_ARGS = 512
    STACK_PHASES = 32
    STACK_BYTES = 1024
    # How far to look for an element that two arrays share before it is taken for granted.
    MAX_WORK = 1000


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
    returned : how many of the outputs every caller wants; the others are for a backward pass.
    into : whether the first output may be written where an `out` of the lowering's layout lies.
    """

    def __init__(self, int n_inputs, lowering=None, outputs=(), resolve=None, cell_names=(), reference=None,
                 shapes=None, attrs=(), int returned=0, bint into=False):
        self.n_inputs = n_inputs
        self.lowering = lowering
        self.reference = reference
        self.outputs = tuple(outputs)
        self.shapes = shapes if shapes is not None else {}
        self.attrs = attrs
        self.into = into
        self.backward = []
        self.checks = ()
        if lowering is not None:
            self._build(resolve, list(cell_names), returned)
            self.n_cells = len(cell_names)
            self.cell_names = tuple(cell_names)

    def _build(self, resolve, cell_names, int returned):
        cdef Relocation relocation
        cdef CellUse use
        cdef Phase phase
        cdef OutputSpec spec
        cdef Spare spare
        cdef int64_t step = 0
        phases = list(self.lowering.checks) + list(self.lowering.phases)
        self.n_check_phases = len(self.lowering.checks)
        self.checks = tuple(phase.check.error for phase in self.lowering.checks)
        for checking in self.lowering.checks:
            self.statuses.push_back(checking.check.status.storage)
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
                self.temporary_bytes += (max(1, storage.nbytes) + 63) // 64 * 64
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
                if spec.storage >= self.n_inputs:
                    self.temporaries[spec.storage] = -1
                for length, step in zip(array.shape, array.strides):
                    spec.shape.push_back(length)
                    spec.strides.push_back(step * dtype.itemsize)
            self.specs.push_back(spec)
        self.quick = (
            self.specs.size() > 0 and self.specs[0].storage >= self.n_inputs and returned == 1
            and self.temporaries.size() <= MAX_STORAGES
        )
        self.extra = self.specs.size() > 1
        self.writes_through = self.outputs and self.outputs[0] is not None and not self.outputs[0].overlaps_itself
        self.spare_bytes = self.temporary_bytes
        for spec in self.specs:
            if self.quick and spec.storage >= self.n_inputs and spec.storage != self.specs[0].storage:
                spare.storage = spec.storage
                spare.offset = self.spare_bytes
                self.spares.push_back(spare)
                self.spare_bytes += (max(<int64_t>1, spec.nbytes) + 63) // 64 * 64

    cdef list run(
        self, PyObject* const* inputs, const double* cells, tuple cell_values, cnp.ndarray out
    ):
        """Run on `inputs` (arrays of the signature's layout, NULL or None where left out) and return the outputs.

        `out`, if given, is the memory of the first output and has its layout.
        """
        cdef char* stack_bases[MAX_STORAGES]
        cdef vector[char*] heap_bases
        cdef char** bases = stack_bases
        cdef size_t i
        cdef cnp.ndarray array
        cdef list outputs
        if self.reference is not None:
            arrays = listed(inputs, self.n_inputs)
            outputs = list(self.reference(*arrays, *self.attrs, *cell_values))
            if recorder() != NULL:
                (<object>recorder()).referred(self, arrays, cell_values, outputs)
            return outputs
        if self.temporaries.size() > MAX_STORAGES:
            heap_bases.resize(self.temporaries.size())
            bases = heap_bases.data()
        for i in range(<size_t>self.n_inputs):
            if inputs[i] == NULL or inputs[i] == <PyObject*>None:
                bases[i] = NULL
            else:
                bases[i] = <char*>cnp.PyArray_DATA(<cnp.ndarray>inputs[i])
        outputs = []
        for i in range(self.specs.size()):
            if self.specs[i].storage < 0:
                outputs.append(None)
                continue
            if self.specs[i].storage < self.n_inputs:
                array = self.view(i, bases, <object>inputs[self.specs[i].storage])
            elif i == 0 and out is not None:
                array = out
                bases[self.specs[i].storage] = <char*>cnp.PyArray_DATA(array)
            else:
                array = self.make(i, bases)
            outputs.append(array)
        self.execute(bases, cells, inputs, False)
        return outputs

    cdef cnp.ndarray make(self, size_t output, char** bases):
        """A new array for an output, and its address among the bases."""
        cdef OutputSpec* spec = &self.specs[output]
        cdef cnp.ndarray array = new_array(
            <int>spec.shape.size(), spec.shape.data(), spec.strides.data(), spec.typenum, spec.nbytes
        )
        bases[spec.storage] = <char*>cnp.PyArray_DATA(array)
        return array

    cdef cnp.ndarray seen(self, char** bases, cnp.ndarray source):
        """The first output if it is a view of the first input, `source`; None if it is a copy."""
        cdef cnp.ndarray array
        if self.reference is not None:
            array = <cnp.ndarray>self.reference(source, *self.attrs)[0]
            if array is source:
                array = array[...]
            return array if np.may_share_memory(array, source) else None
        if self.specs[0].storage != 0:
            return None
        array = self.view(0, bases, source)
        # elements that share memory cannot be written one by one
        if self.writes_through and PyArray_ISWRITEABLE(source):
            PyArray_ENABLEFLAGS(array, cnp.NPY_ARRAY_WRITEABLE)
        return array

    cdef cnp.ndarray view(self, size_t output, char** bases, object source):
        """An output that is a view of an input."""
        cdef OutputSpec* spec = &self.specs[output]
        cdef cnp.dtype descr = cnp.PyArray_DescrFromType(spec.typenum)
        Py_INCREF(descr)
        cdef cnp.ndarray array = PyArray_NewFromDescr(
            cnp.ndarray, descr, <int>spec.shape.size(), spec.shape.data(), spec.strides.data(),
            bases[spec.storage] + spec.offset, 0, NULL
        )
        Py_INCREF(source)
        PyArray_SetBaseObject(array, source)
        return array

    cdef int execute(self, char** bases, const double* cells, PyObject* const* inputs, bint alone) except -1:
        """Run the phases on the storages at `bases`; those of temporaries are filled in.

        `inputs` are what a check that fails shows to its error. Where the first output is wanted `alone`, the others
        are temporaries too.
        """
        cdef int64_t[STACK_ARGS] stack_args
        cdef Phase[STACK_PHASES] stack_phases
        cdef vector[int64_t] heap_args
        cdef vector[Phase] heap_phases
        cdef int64_t* args = stack_args
        cdef Phase* phases = stack_phases
        cdef size_t i, n_phases = self.phases.size(), n_args = self.args.size()
        cdef size_t n_checks = self.n_check_phases
        cdef int64_t status
        cdef int64_t nbytes = self.spare_bytes if alone else self.temporary_bytes
        cdef Block block = None
        cdef char[STACK_BYTES + 64] stack_bytes
        cdef char* temporary
        cdef Relocation* relocation
        if n_phases == 0:
            return 0
        if n_args > STACK_ARGS:
            heap_args.resize(n_args)
            args = heap_args.data()
        if n_phases > STACK_PHASES:
            heap_phases.resize(n_phases)
            phases = heap_phases.data()
        if nbytes:
            if nbytes <= STACK_BYTES:
                temporary = stack_bytes + (-<int64_t>stack_bytes & 63)
            else:
                block = allocate(nbytes)
                temporary = <char*>block.piece.address
            for i in range(<size_t>self.n_inputs, self.temporaries.size()):
                if self.temporaries[i] >= 0:
                    bases[i] = temporary + self.temporaries[i]
            if alone:
                for i in range(self.spares.size()):
                    bases[self.spares[i].storage] = temporary + self.spares[i].offset
        memcpy(args, self.args.data(), n_args * sizeof(int64_t))
        for i in range(self.relocations.size()):
            relocation = &self.relocations[i]
            args[relocation.arg] = <int64_t>(bases[relocation.storage] + relocation.offset)
        for i in range(self.cell_uses.size()):
            args[self.cell_uses[i].arg] = <int64_t>&cells[self.cell_uses[i].cell]
        for i in range(n_phases):
            phases[i] = self.phases[i]
            phases[i].args = args + self.starts[i]
        if n_checks:
            # each check leaves a status behind; nothing that the caller sees is written before all are zero
            run_phases(phases, <int>n_checks)
            for i in range(n_checks):
                status = (<int64_t*>bases[self.statuses[i]])[0]
                if status != 0:
                    raise self.checks[i](status, listed(inputs, self.n_inputs))
        if self.work > RELEASE_GIL_FROM:
            with nogil:
                run_phases(phases + n_checks, <int>(n_phases - n_checks))
        else:
            run_phases(phases + n_checks, <int>(n_phases - n_checks))
        if recorder() != NULL:
            self.report(bases, cells, inputs, alone)
        return 0

    cdef report(self, char** bases, const double* cells, PyObject* const* inputs, bint alone):
        """Tell the recorder what has run, and where its storages lie; those of temporaries are the plan's to find."""
        cdef list given = [], places = []
        cdef set spared = set()
        cdef size_t i
        for i in range(self.spares.size() if alone else 0):
            spared.add(self.spares[i].storage)
        for i in range(<size_t>self.n_inputs):
            if inputs[i] != NULL:
                given.append(<object>inputs[i])
            elif bases[i] != NULL:
                given.append((<char*>bases[i])[:np.dtype(self.lowering.inputs[i].dtype).itemsize])
            else:
                given.append(None)
        for i in range(self.temporaries.size()):
            known = self.temporaries[i] < 0 and <int>i not in spared and bases[i] != NULL
            places.append(<size_t>bases[i] if known else None)
        (<object>recorder()).ran(self, given, places, [cells[i] for i in range(self.n_cells)])

    cdef note_extents(self, list arrays, cnp.ndarray out, bint elementwise):
        """Note where arrays of this signature lie, for `meets`; `elementwise` lets `out` lie exactly on an input."""
        cdef Hazard hazard
        cdef Extent bytes = extent(out)
        cdef char* start = <char*>cnp.PyArray_DATA(out)
        cdef cnp.ndarray array
        cdef int i
        self.hazards.clear()
        self.out_low = bytes.low - start
        self.out_high = bytes.high - start
        for i in range(self.n_inputs):
            if arrays[i] is None:
                continue
            array = <cnp.ndarray>arrays[i]
            bytes = extent(array)
            if bytes.low == bytes.high:
                continue
            hazard.input = i
            hazard.alike = elementwise and same_shape(array, out) and same_strides(array, out)
            hazard.low = bytes.low - <char*>cnp.PyArray_DATA(array)
            hazard.high = bytes.high - <char*>cnp.PyArray_DATA(array)
            self.hazards.push_back(hazard)

    cdef bint meets(self, PyObject* const* inputs, cnp.ndarray out) except -1:
        """Whether writing `out` could change an element of an input before it is read.

        The stretches of memory of two arrays may overlap and the elements still lie between each other, as those of two
        halves of a matrix do.
        """
        cdef Hazard* hazard
        cdef size_t i
        cdef cnp.ndarray array
        for i in range(self.hazards.size()):
            hazard = &self.hazards[i]
            if inputs[hazard.input] == NULL:
                continue
            array = <cnp.ndarray>inputs[hazard.input]
            if hazard.alike and cnp.PyArray_DATA(array) == cnp.PyArray_DATA(out):
                continue
            if np.may_share_memory(array, out, max_work=MAX_WORK):
                return True
        return False


cdef list listed(PyObject* const* inputs, int count):
    """The inputs as Python sees them, None where one was left out."""
    return [None if inputs[i] == NULL else <object>inputs[i] for i in range(count)]
