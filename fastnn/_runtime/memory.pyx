# distutils: language = c++
"""Pooled, 64-byte-aligned memory for arrays.

An array made here owns its memory through a `Block`, its base object. The block returns to the pool when the last
array or view that refers to it is gone, never earlier.
"""

cimport cython
cimport numpy as cnp
from cpython.ref cimport Py_INCREF, Py_REFCNT, PyObject

from fastnn._runtime.capture cimport recorder

cnp.import_array()

cdef extern from "pool.h" namespace "fastnn" nogil:
    cdef cppclass Pool:
        @staticmethod
        int class_of(size_t nbytes)
        @staticmethod
        size_t size_of(int size_class)
        void* take(int size_class)
        void give(void* address, int size_class)
        void trim()
        size_t held()
        size_t in_use()
        unsigned long long system_allocations()
    Pool& pool()


cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(
        type subtype, cnp.dtype descr, int nd, const cnp.npy_intp* dims, const cnp.npy_intp* strides, void* data,
        int flags, PyObject* obj
    )
    int PyArray_SetBaseObject(cnp.ndarray arr, object obj) except -1
    PyObject* PyArray_BASE(cnp.ndarray arr)

cdef extern from "ownership.h" namespace "fastnn":
    bint take_over(cnp.ndarray array, Piece& piece) except False


def _most_bytes():
    """More than this no request can mean: four times the machine's memory, where that is known."""
    import os

    try:
        return 4 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 46


cdef size_t most_bytes = _most_bytes()


@cython.final
@cython.freelist(64)
cdef class Block:
    """A piece of pooled memory; gives it back when it dies."""


cdef Block allocate(size_t nbytes):
    """Take a block of at least `nbytes` from the pool. Raises MemoryError where there is none."""
    cdef Block block = Block.__new__(Block)
    # systems that promise more memory than they have would kill the process later
    block.piece.size_class = Pool.class_of(nbytes) if nbytes <= most_bytes else -1
    if block.piece.size_class >= 0:
        block.piece.address = pool().take(block.piece.size_class)
    if block.piece.address == NULL:
        raise MemoryError(f"cannot allocate {nbytes} bytes for an array")
    return block


cdef cnp.ndarray new_array(int ndim, cnp.npy_intp* shape, cnp.npy_intp* strides, int typenum, size_t nbytes):
    """Make an uninitialised array of `nbytes` in pooled memory; `strides` are in bytes."""
    cdef Block block = allocate(nbytes)
    cdef cnp.dtype descr = cnp.PyArray_DescrFromType(typenum)
    Py_INCREF(descr)    # the next call takes a reference of its own away
    cdef cnp.ndarray array = PyArray_NewFromDescr(
        cnp.ndarray, descr, ndim, shape, strides, block.piece.address, cnp.NPY_ARRAY_WRITEABLE, NULL
    )
    Py_INCREF(block)    # likewise
    PyArray_SetBaseObject(array, block)
    if recorder() != NULL:
        (<object>recorder()).made(<size_t>block.piece.address, nbytes, block)
    return array


cdef int own(cnp.ndarray array) except -1:
    """Let an array that alone holds its block own its memory, as NumPy's own results do; leave others as they are."""
    cdef PyObject* base = PyArray_BASE(array)
    if recorder() != NULL:
        return 0    # what a call has made must keep its memory until the recording ends
    if base == NULL or type(<object>base) is not Block or Py_REFCNT(<object>base) != 1:
        return 0
    if (<Block>base).piece.address == cnp.PyArray_DATA(array):
        take_over(array, (<Block>base).piece)
    return 0


def empty(shape, dtype="float32"):
    """Make an uninitialised C-contiguous array in pooled memory."""
    cdef cnp.dtype descr = cnp.dtype(dtype)
    cdef cnp.npy_intp dims[64]
    cdef cnp.npy_intp strides[64]
    cdef tuple extents = tuple(shape)
    cdef int i, ndim = len(extents)
    cdef object nbytes = descr.itemsize
    if descr.kind not in "biufc":
        raise TypeError(f"empty: dtype must be a number or bool, got {descr}")
    if ndim > 64:
        raise ValueError(f"empty: at most 64 axes, got {ndim}")
    if any(extent >= 1 << 62 for extent in extents):
        raise MemoryError(f"cannot allocate an array of shape {extents}")
    for i in range(ndim - 1, -1, -1):
        dims[i] = extents[i]
        strides[i] = nbytes if nbytes < (1 << 62) else 0
        nbytes = nbytes * max(1, extents[i])
        if dims[i] < 0:
            raise ValueError(f"empty: extents must not be negative, got {extents}")
    if 0 in extents:
        nbytes = 0
    if nbytes >= 1 << 62:
        raise MemoryError(f"cannot allocate {nbytes} bytes for an array")
    return new_array(ndim, dims, strides, descr.num, nbytes)


def stats():
    """Bytes in use and held for reuse, and how often the system was asked for memory so far."""
    return {
        "in_use": pool().in_use(),
        "held": pool().held(),
        "system_allocations": pool().system_allocations(),
    }


def trim():
    """Give all memory that waits for reuse back to the system."""
    pool().trim()
