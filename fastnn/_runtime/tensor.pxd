cimport numpy as cnp
from libc.stdint cimport int64_t, uint64_t
from libcpp.vector cimport vector

from fastnn._runtime.recipe cimport Recipe

cdef class Version:
    cdef readonly int64_t value
    cdef readonly bint shared

cdef class TensorBase:
    cdef readonly cnp.ndarray array
    cdef bint _requires_grad
    cdef bint _retains_grad
    cdef TensorBase _grad
    cdef Node _node
    cdef int _output
    cdef Version _version
    cdef object _hooks
    cdef object _post_hooks
    cdef object __weakref__

    cdef Version version(self)
    cdef void touch(self)
    cdef accumulate(self, cnp.ndarray gradient, bint owned)

cdef class Node:
    cdef uint64_t sequence
    cdef list edges
    cdef vector[int] edge_outputs
    cdef int n_outputs
    cdef bint released
    cdef dict hooks
    cdef dict retained

    cdef list apply(self, list gradients)
    cdef void release(self)
    cdef tuple output_layout(self, int output)

cdef class OpNode(Node):
    cdef Primitive op
    cdef Recipe recipe
    cdef list saved
    cdef list versions
    cdef vector[int64_t] version_values
    cdef list cells
    cdef tuple needs

    cdef void watch(self, size_t place, TensorBase tensor)
    cdef str what(self, size_t place)

cdef class FunctionNode(Node):
    cdef str function_name
    cdef object function
    cdef tuple shape
    cdef object dtype

cdef class Primitive:
    cdef readonly str name
    cdef readonly tuple input_names
    cdef readonly tuple attribute_names
    cdef readonly tuple attribute_defaults
    cdef readonly tuple cell_names
    cdef readonly tuple cell_defaults
    cdef readonly int n_returned
    cdef int n_inputs
    cdef bint differentiable
    cdef bint elementwise
    cdef list optional
    cdef list promoted
    cdef list saved_inputs
    cdef list saved_outputs
    cdef list users
    cdef dict recipes
    cdef dict attribute_ids
    cdef dict checked
    cdef Recipe recent

    cdef object call(self, list given, tuple attributes, list cell_values, object out)
    cdef list run_recipe(self, Recipe recipe, list arrays, list cell_values, object out)
    cdef bint fits(self, Recipe recipe, cnp.ndarray target)
    cdef bint overlaps(self, cnp.ndarray target, list arrays)
    cdef Recipe find(self, list arrays, tuple attributes, bint tensors)
    cdef list backward(self, Recipe recipe, tuple needs, list gradients, list saved, list cell_values)

cdef cnp.ndarray as_array(object value)
cdef TensorBase wrap(cnp.ndarray array)
cdef cnp.ndarray add_arrays(cnp.ndarray x, cnp.ndarray y, cnp.ndarray out)
