# distutils: language = c++
"""Updates over a table of segments: what an optimizer does to all parameters of a group in one phase.

A segment is one parameter with its gradient and state, all of one layout. The kernel gets the address of a table
with a row a segment (an address for each column, then the number of elements) and of a table with a row a chunk
(segment, first element, last element); chunks are fixed by the lengths alone.
"""

cimport cython
cimport numpy as cnp
from libc.stdint cimport int64_t
from libcpp.vector cimport vector

from fastnn._runtime._fastnn_team cimport Kernel, Phase, run as run_phases

from fastnn.errors import DTypeError, ShapeError

cnp.import_array()

cdef extern from "numpy/ndarrayobject.h":
    bint PyArray_ISBEHAVED(cnp.ndarray array)


class LayoutError(ValueError):
    """Arrays of a segment that do not lie alike in memory."""


cdef enum:
    MAX_CELLS = 32
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

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def __call__(self, list arrays, tuple flags, tuple cells):
        """Run the kernel once over all segments, with integer `flags` and float `cells`.

        `arrays` holds the columns of the first segment, then of the second, and so on; every array of a segment has
        the parameter's shape, dtype and strides, and fills its block of memory. Nothing is written where one does not.
        """
        cdef int64_t[MAX_CELLS + 2] args
        cdef double[MAX_CELLS] values
        cdef Phase phase
        cdef Py_ssize_t n_columns = len(self.columns), n_cells = len(cells), n_flags = len(flags)
        cdef Py_ssize_t n_segments = len(arrays) // n_columns
        cdef Py_ssize_t s, c
        cdef cnp.ndarray parameter, array
        cdef int64_t total = 0, size
        if n_cells + n_flags > MAX_CELLS:
            raise ValueError(f"{self.name}: at most {MAX_CELLS} flags and cells, got {n_flags} and {n_cells}")
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
                        f"{self.name}: a parameter must fill a writable, aligned block of memory, got shape "
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
        if total > CHUNK:
            with nogil:
                run_phases(&phase, 1)
        else:
            run_phases(&phase, 1)

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
