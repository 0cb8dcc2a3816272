cimport numpy as cnp
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastnn._runtime.call cimport MAX_INPUTS

cdef class Version:
    cdef readonly int64_t value
    cdef int64_t history

cdef class TensorBase:
    cdef readonly cnp.ndarray array
    cdef bint _requires_grad
    cdef bint _retains_grad
    cdef TensorBase _grad
    cdef Node _node
    cdef int _output
    cdef Version _version
    cdef readonly TensorBase _base
    cdef int64_t _history
    cdef int64_t _changes
    cdef object _hooks
    cdef object _post_hooks
    cdef object __weakref__

    cdef Version version(self)
    cdef int touch(self) except -1
    cdef follow(self)
    cdef _move_to(self, Node node, int output)
    cdef accumulate(self, cnp.ndarray gradient, bint owned)

cdef class Node:
    cdef uint64_t sequence
    cdef tuple edges
    cdef int[MAX_INPUTS] edge_outputs
    cdef int n_outputs
    cdef bint released
    cdef dict hooks
    cdef dict retained

    cdef list apply(self, list gradients, uint32_t asked)
    cdef void release(self)
    cdef tuple output_layout(self, int output)
    cdef save_apart(self, cnp.ndarray array)

cdef inline int catch_up(TensorBase tensor) except -1:
    """Let a view learn of what was recorded on the memory that it shares."""
    if tensor._base is not None and tensor._history != tensor._version.history:
        tensor.follow()
    return 0

cdef class CallNode(Node):
    cdef str function_name
    cdef object function
    cdef tuple layouts

cdef class OverwriteNode(Node):
    cdef Window window
    cdef tuple shape
    cdef object dtype

cdef class Window:
    cdef tuple shape
    cdef tuple strides
    cdef Py_ssize_t offset
    cdef tuple own_shape
    cdef tuple own_strides
    cdef Py_ssize_t own_offset
    cdef Py_ssize_t nbytes
    cdef object dtype

    cdef tuple open(self)

cdef class FunctionNode(Node):
    cdef str function_name
    cdef object function
    cdef tuple shape
    cdef object dtype

cdef cnp.ndarray as_array(object value)
cdef bint grad_enabled() noexcept nogil
cdef bint observed() noexcept nogil
cdef tuple observing()
cdef cnp.ndarray dense_like(cnp.ndarray array)
cdef TensorBase wrap(cnp.ndarray array)
cdef cnp.ndarray add_arrays(cnp.ndarray x, cnp.ndarray y, cnp.ndarray out)
