# distutils: language = c++
"""Updates over a table of segments: what an optimizer does to all parameters of a group in one phase.

A segment is one parameter with its gradient and state, all of one layout. The kernel gets the address of a table
with a row a segment (an address for each column, then the number of elements) and of a table with a row a chunk
(segment, first element, last element); chunks are fixed by the lengths alone.
"""

cimport cython
cimport numpy as cnp
from cpython.dict cimport PyDict_GetItem
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t
from libcpp.vector cimport vector

from fastnn._runtime._fastnn_team cimport Kernel, Phase, run as run_phases
from fastnn._runtime.capture cimport note_update, recorder
from fastnn._runtime.tensor cimport TensorBase

from fastnn.errors import DTypeError, ShapeError

cnp.import_array()

cdef extern from "numpy/ndarrayobject.h":
    bint PyArray_ISBEHAVED(cnp.ndarray array)


def same_items(list present, tuple former):
    """Whether a list holds the very objects that a tuple does."""
    cdef Py_ssize_t i
    if len(present) != len(former):
        return False
    for i in range(len(former)):
        if present[i] is not former[i]:
            return False
    return True


class LayoutError(ValueError):
    """Arrays of a segment that do not lie alike in memory."""


cdef enum:
    MAX_CELLS = 32
    MAX_SCALARS = 4
    CHUNK = 8192            # elements; about 5 us of Adam


cdef bint dense(cnp.ndarray array):
    """Whether the elements fill one block of memory, in whatever order of axes."""
    cdef cnp.npy_intp extent = cnp.PyArray_ITEMSIZE(array)
    cdef int i
    if cnp.PyArray_IS_C_CONTIGUOUS(array) or cnp.PyArray_IS_F_CONTIGUOUS(array):
        return True
    strides = sorted((array.strides[i], array.shape[i]) for i in range(array.ndim) if array.shape[i] != 1)
    for stride, count in strides:
        if stride != extent:
            return False
        extent *= count
    return True


cdef double read(cnp.ndarray scalar) except? -1:
    """The value of an array of one element."""
    if cnp.PyArray_SIZE(scalar) != 1 or not PyArray_ISBEHAVED(scalar):
        raise ShapeError(f"a scalar of an optimizer's state must be one element, got shape {(<object>scalar).shape}")
    if cnp.PyArray_TYPE(scalar) == cnp.NPY_FLOAT32:
        return (<float*>cnp.PyArray_DATA(scalar))[0]
    if cnp.PyArray_TYPE(scalar) == cnp.NPY_FLOAT64:
        return (<double*>cnp.PyArray_DATA(scalar))[0]
    return (<object>scalar).item()


cdef write(cnp.ndarray scalar, double value):
    """Set an array of one element."""
    if cnp.PyArray_TYPE(scalar) == cnp.NPY_FLOAT32:
        (<float*>cnp.PyArray_DATA(scalar))[0] = <float>value
    elif cnp.PyArray_TYPE(scalar) == cnp.NPY_FLOAT64:
        (<double*>cnp.PyArray_DATA(scalar))[0] = value
    else:
        (<object>scalar).fill(value)


@cython.final
cdef class Batch:
    """Parameters that one call of an update serves: of one dtype, and equal in their scalar state.

    Attributes
    ----------
    arrays : parameter, gradient and states of the first, then of the second, and so on.
    fresh : whether some of their state was missing, and was begun.
    params : the parameters.
    """

    cdef readonly list arrays
    cdef readonly bint fresh
    cdef readonly list params
    cdef list counters
    cdef int typenum
    cdef int n_scalars
    cdef double[MAX_SCALARS] values

    @property
    def dtype(self):
        """NumPy's dtype of all arrays."""
        return (<cnp.ndarray>self.arrays[0]).dtype

    @property
    def scalars(self):
        """The scalar state, as floats."""
        return tuple([self.values[i] for i in range(self.n_scalars)])

    def reread(self, state, tuple scalars, tuple states):
        """The scalar state as it is now; None where arrays or state are no longer those of the batch.

        `state`, `scalars` and `states` are as for `gather`.
        """
        cdef Py_ssize_t i, k, n_states = len(states), n_scalars = len(scalars)
        cdef Py_ssize_t width = 2 + n_states
        cdef TensorBase parameter, kept
        cdef dict own
        cdef PyObject* held
        cdef double value
        if not isinstance(state, dict):
            return None
        for i in range(len(self.params)):
            parameter = <TensorBase>self.params[i]
            if parameter.array is not self.arrays[i * width]:
                return None
            if not (n_states or n_scalars):
                continue
            held = PyDict_GetItem(state, parameter)
            if held is NULL:
                return None
            own = <dict?><object>held
            for k in range(n_states):
                held = PyDict_GetItem(own, states[k])
                if held is NULL or not isinstance(<object>held, TensorBase):
                    return None
                if (<TensorBase><object>held).array is not self.arrays[i * width + 2 + k]:
                    return None
            for k in range(n_scalars):
                held = PyDict_GetItem(own, scalars[k])
                if held is NULL or not isinstance(<object>held, TensorBase):
                    return None
                kept = <TensorBase><object>held
                if kept.array is not self.counters[i * n_scalars + k]:
                    return None
                value = read(kept.array)
                if i and value != self.values[k]:
                    return None     # they are no longer equal, so they no longer belong together
                self.values[k] = value
        return self.scalars

    def finish(self, *values):
        """Say that the parameters were written; `values` are their new scalar state."""
        cdef Py_ssize_t i
        if len(values) != self.n_scalars:
            raise ValueError(f"expected {self.n_scalars} scalars, got {len(values)}")
        for i in range(len(self.counters)):
            write(<cnp.ndarray>self.counters[i], values[i % self.n_scalars])
        for parameter in self.params:
            (<TensorBase>parameter).touch()


cdef bint fits(Batch batch, int typenum, bint fresh, double* values, int n_scalars):
    cdef int i
    if batch.typenum != typenum or batch.fresh != fresh:
        return False
    for i in range(n_scalars):
        if batch.values[i] != values[i]:
            return False
    return True


@cython.boundscheck(False)
@cython.wraparound(False)
def gather(list params, state, tuple scalars, tuple states, begin):
    """Sort the parameters that have a gradient into batches.

    Parameters
    ----------
    state : what an optimizer keeps, by parameter.
    scalars : names of tensors of one element in a parameter's state, such as its count of steps.
    states : names of tensors like the parameter.
    begin : ``begin(parameter)`` completes the state of a parameter that lacks some of it.
    """
    cdef list batches = []
    cdef Batch batch = None
    cdef TensorBase parameter
    cdef cnp.ndarray array
    cdef double[MAX_SCALARS] values
    cdef Py_ssize_t i, k, n_scalars = len(scalars), n_states = len(states)
    cdef bint fresh
    cdef int typenum
    cdef dict own
    cdef list found
    cdef PyObject* held
    if not isinstance(state, dict):
        raise TypeError(f"state must be a dict, got {type(state).__name__}")
    if n_scalars > MAX_SCALARS:
        raise ValueError(f"at most {MAX_SCALARS} scalars, got {n_scalars}")
    for i in range(len(params)):
        parameter = <TensorBase?>params[i]
        if recorder() != NULL:
            (<object>recorder()).grad_read(parameter)
        if parameter._grad is None:
            continue
        array = parameter.array
        typenum = cnp.PyArray_TYPE(array)
        fresh = False
        own = None
        if n_scalars or n_states:
            held = PyDict_GetItem(state, parameter)
            own = None if held is NULL else <dict?><object>held
            fresh = own is None
            if not fresh:
                for k in range(n_scalars):
                    fresh |= not isinstance(own.get(scalars[k]), TensorBase)
                for k in range(n_states):
                    fresh |= own.get(states[k]) is None
            if fresh:
                begin(parameter)
                own = <dict?>state[parameter]
        for k in range(n_scalars):
            values[k] = read((<TensorBase?>own[scalars[k]]).array)
        if batch is None or not fits(batch, typenum, fresh, values, n_scalars):
            batch = None
            for other in batches:
                if fits(<Batch>other, typenum, fresh, values, n_scalars):
                    batch = <Batch>other
                    break
            if batch is None:
                batch = Batch.__new__(Batch)
                batch.arrays, batch.params, batch.counters = [], [], []
                batch.typenum, batch.fresh, batch.n_scalars = typenum, fresh, n_scalars
                for k in range(n_scalars):
                    batch.values[k] = values[k]
                batches.append(batch)
        found = batch.arrays
        found.append(array)
        found.append(parameter._grad.array)
        for k in range(n_states):
            found.append((<TensorBase?>own[states[k]]).array)
        for k in range(n_scalars):
            batch.counters.append((<TensorBase>own[scalars[k]]).array)
        batch.params.append(parameter)
    return batches


cdef class SegmentedUpdate:
    """Applies one kernel to segments.

    Parameters
    ----------
    name : of the optimizer, for errors.
    columns : names of the arrays of a segment; the first is the parameter. Those after the gradient are state.
    address : of the kernel, whose arguments are the segment table, the chunk table, flags, and the cells' addresses.
    nanoseconds : estimated work an element on one thread.
    """

    cdef str name
    cdef tuple columns
    cdef int64_t address
    cdef double nanoseconds
    cdef vector[int64_t] lengths
    cdef vector[int64_t] table
    cdef vector[int64_t] chunks
    cdef bint stale          # whether the chunks belong to other lengths; stays so until they are made anew

    def __init__(self, name, columns, address, nanoseconds):
        self.name = name
        self.columns = tuple(columns)
        self.address = address
        self.nanoseconds = nanoseconds
        self.stale = True

    def __call__(self, list arrays, tuple flags, tuple cells):
        """Run the kernel once over all segments, with integer `flags` and float `cells`.

        `arrays` holds the columns of the first segment, then of the second, and so on; every array of a segment has
        the parameter's shape, dtype and strides, and fills its block of memory. Nothing is written where one does not.
        """
        cdef int64_t[MAX_CELLS + 2] args
        cdef double[MAX_CELLS] values
        cdef Phase phase
        cdef Py_ssize_t n_cells = len(cells), n_flags = len(flags), c
        if n_cells + n_flags > MAX_CELLS:
            raise ValueError(f"{self.name}: at most {MAX_CELLS} flags and cells, got {n_flags} and {n_cells}")
        cdef int64_t total = self._enter(arrays)
        if self.chunks.size() == 0:
            return
        args[0] = <int64_t>self.table.data()
        args[1] = <int64_t>self.chunks.data()
        for c in range(n_flags):
            args[2 + c] = flags[c]
        for c in range(n_cells):
            values[c] = cells[c]
            args[2 + n_flags + c] = <int64_t>&values[c]
        phase.kernel = <Kernel><size_t>self.address
        phase.args = args
        phase.chunks = self.chunks.size() // 3
        phase.work = <int64_t>(total * self.nanoseconds)
        phase.tag = 0
        note_update()
        if total > CHUNK:
            with nogil:
                run_phases(&phase, 1)
        else:
            run_phases(&phase, 1)
        if recorder() != NULL:
            (<object>recorder()).updated(arrays, self.described(), [self.address], flags, cells, phase.work)

    cdef tuple described(self):
        """The tables of the last call, and how many columns a segment has there."""
        cdef size_t i
        table = [self.table[i] for i in range(self.table.size())]
        return table, [self.chunks[i] for i in range(self.chunks.size())], len(self.columns)

    @cython.boundscheck(False)
    @cython.wraparound(False)
    cdef int64_t _enter(self, list arrays) except -1:
        """Check the arrays and put them in the tables; returns the number of elements."""
        cdef Py_ssize_t n_columns = len(self.columns), n_segments = len(arrays) // n_columns
        cdef Py_ssize_t s, c
        cdef cnp.ndarray parameter, array
        cdef int64_t total = 0, size
        self.table.resize(n_segments * (n_columns + 1))
        if self.lengths.size() != <size_t>n_segments:
            self.stale = True
            self.lengths.resize(n_segments)
        for s in range(n_segments):
            parameter = <cnp.ndarray?>arrays[s * n_columns]
            for c in range(n_columns):
                array = <cnp.ndarray?>arrays[s * n_columns + c]
                if array is not parameter:
                    self._check(parameter, array, c)
                elif not dense(array) or not PyArray_ISBEHAVED(array):
                    raise LayoutError(
                        f"{self.name}: a {self.columns[0]} must fill a writable, aligned block of memory, got shape "
                        f"{(<object>array).shape} with strides {(<object>array).strides}"
                    )
                self.table[s * (n_columns + 1) + c] = <int64_t>cnp.PyArray_DATA(array)
            size = cnp.PyArray_SIZE(parameter)
            self.table[s * (n_columns + 1) + n_columns] = size
            if self.lengths[s] != size:
                self.stale = True
                self.lengths[s] = size
            total += size
        if self.stale:
            self._divide(total)
            self.stale = False
        return total

    cdef _divide(self, int64_t total):
        """Fix the chunks: blocks of a length that keeps their number within what a phase may have."""
        cdef int64_t block = max(<int64_t>CHUNK, total // 32768 + 1)
        cdef int64_t first
        cdef size_t s
        self.chunks.clear()
        for s in range(self.lengths.size()):
            first = 0
            while first < self.lengths[s]:
                self.chunks.push_back(s)
                self.chunks.push_back(first)
                self.chunks.push_back(min(first + block, self.lengths[s]))
                first += block

    cdef _check(self, cnp.ndarray parameter, cnp.ndarray array, Py_ssize_t column):
        cdef int i, ndim = cnp.PyArray_NDIM(parameter)
        cdef bint same = cnp.PyArray_NDIM(array) == ndim
        if cnp.PyArray_TYPE(array) != cnp.PyArray_TYPE(parameter):
            raise DTypeError(
                f"{self.name}: {self.columns[column]} must have the parameter's dtype {parameter.dtype}, "
                f"got {array.dtype}"
            )
        if same:
            for i in range(ndim):
                if cnp.PyArray_DIM(array, i) != cnp.PyArray_DIM(parameter, i):
                    same = False
        if not same:
            raise ShapeError(
                f"{self.name}: {self.columns[column]} must have the parameter's shape {(<object>parameter).shape}, "
                f"got {(<object>array).shape}"
            )
        for i in range(ndim):
            if cnp.PyArray_DIM(array, i) > 1 and cnp.PyArray_STRIDE(array, i) != cnp.PyArray_STRIDE(parameter, i):
                raise LayoutError(
                    f"{self.name}: {self.columns[column]} must have the parameter's strides "
                    f"{(<object>parameter).strides}, got {(<object>array).strides}"
                )
        if not PyArray_ISBEHAVED(array):
            raise LayoutError(f"{self.name}: {self.columns[column]} must be writable and aligned")


@cython.final
cdef class SegmentedNorm(SegmentedUpdate):
    """The norm of all segments' only column as one vector; at the same time it may be brought down to a limit.

    Parameters
    ----------
    measure, total, scale : addresses of the kernels of `fastnn._kernels.gradient`.
    nanoseconds : estimated work of `measure` an element on one thread.
    """

    cdef int64_t total_address
    cdef int64_t scale_address
    cdef vector[double] parts

    def __init__(self, measure, total, scale, nanoseconds):
        SegmentedUpdate.__init__(self, "norm", ("gradient",), measure, nanoseconds)
        self.total_address = total
        self.scale_address = scale

    def __call__(self, list arrays, double order, double limit, bint scale):
        """The norm of the order (for the norms that have one); `scale` brings it down to `limit`."""
        cdef int64_t[4] measure_args
        cdef int64_t[5] total_args
        cdef int64_t[3] scale_args
        cdef double[2] result
        cdef Phase[3] phases
        cdef int64_t total = self._enter(arrays)
        cdef int64_t chunks = self.chunks.size() // 3
        cdef int i
        self.parts.resize(chunks)
        measure_args[:] = [
            <int64_t>self.table.data(), <int64_t>self.chunks.data(), <int64_t>self.parts.data(), <int64_t>&order
        ]
        total_args[:] = [
            <int64_t>self.parts.data(), chunks, <int64_t>&result[0], <int64_t>&order, <int64_t>&limit
        ]
        scale_args[:] = [<int64_t>self.table.data(), <int64_t>self.chunks.data(), <int64_t>&result[1]]
        phases[0].kernel, phases[0].args = <Kernel><size_t>self.address, measure_args
        phases[1].kernel, phases[1].args = <Kernel><size_t>self.total_address, total_args
        phases[2].kernel, phases[2].args = <Kernel><size_t>self.scale_address, scale_args
        for i in range(3):
            phases[i].chunks = 1 if i == 1 else chunks
            phases[i].work = 0 if i == 1 else <int64_t>(total * self.nanoseconds)
            phases[i].tag = 0
        with nogil:
            if chunks:
                run_phases(&phases[0], 1)
            run_phases(&phases[1], 2 if scale and chunks else 1)
        if recorder() != NULL:
            addresses = [self.address, self.total_address, self.scale_address]
            (<object>recorder()).measured(
                arrays, self.described(), addresses, order, limit, scale, <int64_t>(total * self.nanoseconds)
            )
        return result[0]
