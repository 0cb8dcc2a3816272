# distutils: language = c++
"""Tensors, what is recorded about them, and the dispatch of ops.

(a) A `Primitive` is the compiled side of an op's declaration. A call collects its arrays, looks up the recipe for
    their signature (dtypes, shapes, strides, attributes), runs it, and records a node if a gradient may be asked.
(b) The tape is define-by-run. A node knows, for each input, where its gradient goes: another node's output, or a
    leaf tensor. `tape.pyx` walks it.
(c) Views share a version, which every write through a tensor raises; backward compares it with the one it saved.
"""

cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp

from fastnn._runtime.memory cimport new_array
from fastnn._runtime.recipe cimport Recipe

from collections import OrderedDict

import numpy as np

from fastnn.errors import DTypeError, GraphError, ShapeError

cnp.import_array()

cdef extern from "numpy/ndarrayobject.h":
    bint PyArray_ISBEHAVED_RO(cnp.ndarray array)
    bint PyArray_CheckExact(object o)

cdef extern from *:
    """
    static thread_local bool fastnn_grad_enabled = true;
    static bool fastnn_get_grad_enabled() { return fastnn_grad_enabled; }
    static void fastnn_set_grad_enabled(bool on) { fastnn_grad_enabled = on; }
    static PyObject* fastnn_new(PyObject* type, PyObject* args) {
        return ((PyTypeObject*)type)->tp_new((PyTypeObject*)type, args, NULL);
    }
    """
    object fastnn_new(object cls, object args)
    bint fastnn_get_grad_enabled() noexcept nogil
    void fastnn_set_grad_enabled(bint on) noexcept nogil

cdef enum:
    MAX_KEY = 512           # int64 words of a signature
    MAX_RECIPES = 1024      # recipes an op keeps
    MAX_CELLS = 16

# types of attributes whose check may be remembered; bool is left out, since True equals 1
cdef tuple NO_ARGUMENTS = ()
cdef cnp.ndarray NO_ELEMENTS = np.empty(0, np.float32)
cdef frozenset PLAIN = frozenset([int, float, str, type(None)])
cdef uint64_t next_sequence = 0
cdef int backend = 0                      # part of every signature
cdef object tensor_type = None            # the Python class that results are made of
cdef dict registry = {}
cdef Primitive op_add = None, op_subtract = None, op_multiply = None, op_divide = None, op_negative = None
cdef Primitive op_matmul = None
cdef Primitive op_equal = None, op_not_equal = None, op_less = None
cdef Primitive op_less_equal = None, op_greater = None, op_greater_equal = None


def register(Primitive op):
    """Enter an op in the table through which tensors' operators find it."""
    global op_add, op_subtract, op_multiply, op_divide, op_negative, op_matmul
    global op_equal, op_not_equal, op_less, op_less_equal, op_greater, op_greater_equal
    registry[op.name] = op
    op_add = registry.get("add")
    op_subtract = registry.get("subtract")
    op_multiply = registry.get("multiply")
    op_divide = registry.get("divide")
    op_negative = registry.get("negative")
    op_matmul = registry.get("matmul")
    op_equal = registry.get("equal")
    op_not_equal = registry.get("not_equal")
    op_less = registry.get("less")
    op_less_equal = registry.get("less_equal")
    op_greater = registry.get("greater")
    op_greater_equal = registry.get("greater_equal")


def registered():
    """All ops, by name."""
    return dict(registry)


def set_tensor_type(type cls):
    """Name the class that ops' results are made of."""
    global tensor_type
    tensor_type = cls


def is_grad_enabled():
    """Whether ops record what backward needs, in this thread."""
    return fastnn_get_grad_enabled()


def dense_zeros(cnp.ndarray array):
    """Zeros in pooled memory with the shape, dtype and order of axes of `array`."""
    cdef cnp.ndarray result = dense_like(array)
    result.fill(0)
    return result


def dense_copy(cnp.ndarray array):
    """A copy in pooled memory with the shape, dtype and order of axes of `array`."""
    cdef cnp.ndarray result = dense_like(array)
    np.copyto(result, array)
    return result


def set_grad_enabled_now(bint on):
    """Switch recording on or off in this thread; returns the former state."""
    cdef bint before = fastnn_get_grad_enabled()
    fastnn_set_grad_enabled(on)
    return before


def get_backend():
    """0: kernels, 1: NumPy references."""
    return backend


def set_backend_now(int number):
    """Choose the backend for all threads; returns the former one."""
    global backend
    before = backend
    backend = number
    return before


cdef class Version:
    """Counts the writes to a piece of memory; shared by all tensors that view it."""


# ------------------------------------------------------------------------------------------------ ops


cdef inline bint behaved(cnp.ndarray array):
    """Whether kernels can read the array: aligned, native byte order, strides that are whole elements."""
    cdef int i
    cdef cnp.npy_intp itemsize = cnp.PyArray_ITEMSIZE(array)
    if itemsize == 0 or not PyArray_ISBEHAVED_RO(array):
        return False
    for i in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_STRIDE(array, i) % itemsize:
            return False
    return True


cdef cnp.ndarray as_array(object value):
    """A plain array of `value`, in native byte order and aligned."""
    cdef cnp.ndarray array
    if PyArray_CheckExact(value):
        array = value
    elif isinstance(value, TensorBase):
        array = (<TensorBase>value).array
    else:
        array = np.asarray(value)
    if array.dtype.itemsize == 0 or behaved(array):
        return array
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True)


cdef TensorBase wrap(cnp.ndarray array):
    """A tensor of an array; the class's `__init__` does not run."""
    cdef TensorBase tensor = <TensorBase>fastnn_new(tensor_type, NO_ARGUMENTS)
    tensor.array = array
    return tensor


cdef class Primitive:
    """The compiled side of an op: its dispatch.

    A subclass provides what happens once a signature: `_lower`, `_lower_backward`, and what happens to arguments
    that are not ready as they come: `_promote`.

    Parameters
    ----------
    name : as errors and the table of ops call it.
    input_names : array arguments, in order.
    optional : names of those that may be None.
    promoted : names of those that share one dtype.
    attributes, cells : default values by name.
    returned : number of outputs that the caller sees; more may be saved for backward.
    saved_inputs, saved_outputs : indices of what backward needs.
    differentiable : whether calls are recorded.
    elementwise : whether `out` may be one of the inputs.
    users : for each saved input, the inputs whose gradients need it (default: all).
    """

    def __init__(self, name, input_names, optional, promoted, attributes, cells, returned, saved_inputs,
                 saved_outputs, differentiable, elementwise, users=None):
        self.name = name
        self.input_names = tuple(input_names)
        self.n_inputs = len(self.input_names)
        self.optional = [n in optional for n in self.input_names]
        self.promoted = [n in promoted for n in self.input_names]
        self.attribute_names = tuple(attributes)
        self.attribute_defaults = tuple(attributes.values())
        self.cell_names = tuple(cells)
        self.cell_defaults = tuple(cells.values())
        if len(self.cell_names) > MAX_CELLS:
            raise ValueError(f"{name}: at most {MAX_CELLS} cells, got {len(self.cell_names)}")
        self.n_returned = returned
        self.saved_inputs = list(saved_inputs)
        self.saved_outputs = list(saved_outputs)
        every = tuple(range(self.n_inputs))
        self.users = [every] * len(self.saved_inputs) if users is None else [tuple(u) for u in users]
        self.differentiable = differentiable
        self.elementwise = elementwise
        self.recipes = {}
        self.attribute_ids = {}
        self.checked = {}
        self.recent = None

    def __call__(self, *args, out=None, **kwargs):
        cdef Py_ssize_t i, n = len(args)
        cdef list given = [None] * self.n_inputs
        if n > self.n_inputs or kwargs:
            return self._call_bound(args, out, kwargs)
        for i in range(n):
            given[i] = args[i]
        return self.call(given, self.attribute_defaults, list(self.cell_defaults), out)

    def _call_bound(self, tuple args, out, dict kwargs):
        """The general case: attributes and cells given, by place or by name."""
        cdef list given = [None] * self.n_inputs
        cdef tuple names = self.input_names + self.attribute_names + self.cell_names
        cdef int i, n_attributes = len(self.attribute_names)
        if len(args) > len(names):
            raise TypeError(f"{self.name}: takes at most {len(names)} arguments, got {len(args)}")
        values = list((None,) * self.n_inputs + self.attribute_defaults + self.cell_defaults)
        for i in range(len(args)):
            values[i] = args[i]
        for key, value in kwargs.items():
            if key not in names:
                raise TypeError(f"{self.name}: got an unexpected argument {key!r}; it takes {', '.join(names)}")
            i = names.index(key)
            if i < len(args):
                raise TypeError(f"{self.name}: got {key!r} twice")
            values[i] = value
        for i in range(self.n_inputs):
            given[i] = values[i]
        attributes = tuple(values[self.n_inputs:self.n_inputs + n_attributes])
        try:
            checked = self.checked.get(attributes)
        except TypeError:
            checked = None      # not hashable: the check says what was expected
        if checked is None:
            checked = self._check_attributes(attributes)
            if len(self.checked) < MAX_RECIPES and all([type(value) in PLAIN for value in attributes]):
                self.checked[attributes] = checked
        return self.call(given, <tuple>checked, values[self.n_inputs + n_attributes:], out)

    def _check_attributes(self, tuple attributes):
        return attributes

    cdef object call(self, list given, tuple attributes, list cell_values, object out):
        """Dispatch one call; `given` holds the array arguments as they came and becomes the arrays."""
        cdef double number
        cdef int i, first_type = -1
        cdef bint tensors = False, wants = False, ready = True, weak = False
        cdef object value
        cdef TensorBase tensor, result
        cdef cnp.ndarray array
        cdef list arrays = [None] * self.n_inputs
        cdef list outputs
        cdef Recipe recipe = None
        cdef OpNode node
        for i in range(self.n_inputs):
            value = given[i]
            if isinstance(value, TensorBase):
                tensors = True
                tensor = <TensorBase>value
                array = tensor.array
                if tensor._requires_grad:
                    wants = True
            elif PyArray_CheckExact(value):
                array = <cnp.ndarray>value
            elif value is None:
                if not self.optional[i]:
                    raise TypeError(f"{self.name}: {self.input_names[i]} is missing")
                continue
            elif self.promoted[i] and (type(value) is float or type(value) is int or type(value) is bool):
                weak = True
                continue
            else:
                array = np.asarray(value)
            if not behaved(array):
                array = as_array(array)
            arrays[i] = array
            if self.promoted[i]:
                if first_type < 0:
                    first_type = cnp.PyArray_TYPE(array)
                elif cnp.PyArray_TYPE(array) != first_type:
                    ready = False
        if first_type != cnp.NPY_FLOAT32 and first_type != cnp.NPY_FLOAT64:
            ready = False
        if ready and weak:
            # a Python number takes the type of the arrays beside it
            for i in range(self.n_inputs):
                value = given[i]
                if arrays[i] is None and value is not None:
                    try:
                        number = float(value)
                    except OverflowError:
                        raise ValueError(f"{self.name}: {self.input_names[i]} is too large for a float") from None
                    array = new_array(0, NULL, NULL, first_type, 8)
                    if first_type == cnp.NPY_FLOAT32:
                        (<float*>cnp.PyArray_DATA(array))[0] = <float>number
                    else:
                        (<double*>cnp.PyArray_DATA(array))[0] = number
                    arrays[i] = array
        elif not ready:
            arrays = self._promote(given, arrays, tensors)
        if out is not None and fastnn_get_grad_enabled():
            if (wants and self.differentiable) or (isinstance(out, TensorBase) and (<TensorBase>out)._requires_grad):
                raise GraphError(
                    f"{self.name}: out cannot be given where gradients are recorded; do it under no_grad()"
                )
        recipe = self.find(arrays, attributes, tensors)
        outputs = self.run_recipe(recipe, arrays, cell_values, out)
        if isinstance(out, TensorBase):
            return out
        if not tensors:
            return outputs[0] if self.n_returned == 1 else tuple(outputs[:self.n_returned])
        if wants and self.differentiable and fastnn_get_grad_enabled():
            node = self._record(given, arrays, outputs, recipe, cell_values)
        else:
            node = None
        if self.n_returned == 1:
            result = wrap(<cnp.ndarray>outputs[0])
            if node is not None:
                result._node = node
                result._requires_grad = True
                for i in range(len(self.saved_outputs)):
                    if self.saved_outputs[i] == 0:
                        node.watch(len(self.saved_inputs) + i, result)
            return result
        results = []
        for i in range(self.n_returned):
            result = wrap(<cnp.ndarray>outputs[i])
            if node is not None and result.array.dtype.kind == "f":
                result._node = node
                result._output = i
                result._requires_grad = True
            results.append(result)
        return tuple(results)

    def _record(self, list given, list arrays, list outputs, Recipe recipe, list cell_values):
        """Make the node of a call that was just run."""
        global next_sequence
        cdef OpNode node = OpNode.__new__(OpNode)
        cdef TensorBase tensor
        cdef int i, place
        cdef list needs = []
        next_sequence += 1
        node.sequence = next_sequence
        node.op = self
        node.recipe = recipe
        node.cells = cell_values
        node.edges = []
        node.n_outputs = self.n_returned
        for i in range(self.n_inputs):
            if isinstance(given[i], TensorBase) and (<TensorBase>given[i])._requires_grad:
                tensor = <TensorBase>given[i]
                node.edges.append(tensor if tensor._node is None else tensor._node)
                node.edge_outputs.push_back(tensor._output)
                needs.append(True)
            else:
                node.edges.append(None)
                node.edge_outputs.push_back(0)
                needs.append(False)
        node.needs = tuple(needs)
        node.saved = []
        node.versions = []
        for i in self.saved_inputs:
            node.saved.append(arrays[i])
        for i in self.saved_outputs:
            node.saved.append(outputs[i])
        node.versions = [None] * len(node.saved)
        node.version_values.resize(len(node.saved))
        for place in range(len(self.saved_inputs)):
            i = self.saved_inputs[place]
            if not isinstance(given[i], TensorBase) or arrays[i] is not (<TensorBase>given[i]).array:
                continue
            for user in self.users[place]:
                # what only the gradients of others need may change
                if needs[user]:
                    node.watch(place, <TensorBase>given[i])
                    break
        return node

    cdef list run_recipe(self, Recipe recipe, list arrays, list cell_values, object out):
        """Run on arrays that are ready."""
        cdef double[MAX_CELLS] cells
        cdef cnp.ndarray target = None
        cdef list outputs
        cdef int i
        for i in range(len(cell_values)):
            cells[i] = cell_values[i]
        if out is None:
            return recipe.run(arrays, cells, cell_values, None)
        if isinstance(out, TensorBase):
            target = (<TensorBase>out).array
        elif isinstance(out, np.ndarray):
            target = <cnp.ndarray>out
        else:
            raise TypeError(f"{self.name}: out must be an array, got {type(out).__name__}")
        if not target.flags.writeable:
            raise ValueError(f"{self.name}: out is read-only")
        if self.fits(recipe, target) and not self.overlaps(target, arrays):
            outputs = recipe.run(arrays, cells, cell_values, target)
        else:
            outputs = recipe.run(arrays, cells, cell_values, None)
            if outputs[0].shape != (<object>target).shape:
                raise ShapeError(f"{self.name}: out must have shape {outputs[0].shape}, got {(<object>target).shape}")
            if not np.can_cast(outputs[0].dtype, target.dtype, "same_kind"):
                raise DTypeError(f"{self.name}: out must have a dtype that {outputs[0].dtype} fits, got {target.dtype}")
            np.copyto(target, outputs[0], casting="same_kind")
            outputs[0] = target
        if isinstance(out, TensorBase):
            (<TensorBase>out).touch()
        return outputs

    cdef bint fits(self, Recipe recipe, cnp.ndarray target):
        """Whether the recipe can write its first output straight into `target`."""
        cdef size_t i
        if recipe.reference is not None or recipe.specs.size() == 0 or recipe.specs[0].storage < recipe.n_inputs:
            return False
        if not behaved(target) or cnp.PyArray_TYPE(target) != recipe.specs[0].typenum:
            return False
        if <size_t>cnp.PyArray_NDIM(target) != recipe.specs[0].shape.size():
            return False
        for i in range(recipe.specs[0].shape.size()):
            if cnp.PyArray_DIM(target, <int>i) != recipe.specs[0].shape[i]:
                return False
            if cnp.PyArray_STRIDE(target, <int>i) != recipe.specs[0].strides[i] and recipe.specs[0].shape[i] != 1:
                return False
        return True

    cdef bint overlaps(self, cnp.ndarray target, list arrays):
        """Whether writing `target` could change an input before it is read."""
        cdef cnp.ndarray array
        for value in arrays:
            if value is None:
                continue
            array = <cnp.ndarray>value
            if self.elementwise and cnp.PyArray_DATA(array) == cnp.PyArray_DATA(target):
                if same_shape(array, target) and same_strides(array, target):
                    continue
            if extents_meet(array, target) and np.may_share_memory(array, target):
                return True
        return False

    @cython.boundscheck(False)
    @cython.wraparound(False)
    cdef Recipe find(self, list arrays, tuple attributes, bint tensors):
        """The recipe for a signature, made if this is its first call."""
        cdef int64_t[MAX_KEY] key
        cdef Py_ssize_t n = 1, i
        cdef int axis, ndim
        cdef cnp.ndarray array
        cdef object number
        cdef bytes packed
        cdef Recipe recipe = self.recent
        key[0] = backend * 2 + tensors
        if attributes is not self.attribute_defaults:
            number = self.attribute_ids.get(attributes)
            if number is None:
                if len(self.attribute_ids) >= MAX_RECIPES:
                    self.attribute_ids.clear()
                    self.forget()
                    recipe = None
                number = len(self.attribute_ids) + 1
                self.attribute_ids[attributes] = number
            key[0] |= <int64_t>number << 8
        for i in range(self.n_inputs):
            if arrays[i] is None:
                key[n] = -1
                n += 1
                continue
            array = <cnp.ndarray>arrays[i]
            ndim = cnp.PyArray_NDIM(array)
            if n + 2 * ndim + 1 > MAX_KEY - 2:
                raise ShapeError(f"{self.name}: too many axes")
            key[n] = cnp.PyArray_TYPE(array) * 256 + ndim
            n += 1
            for axis in range(ndim):
                key[n] = cnp.PyArray_DIM(array, axis)
                key[n + 1] = cnp.PyArray_STRIDE(array, axis)
                n += 2
        if recipe is not None and len(recipe.key) == n * 8 and memcmp(<char*>recipe.key, key, n * 8) == 0:
            return recipe
        packed = PyBytes_FromStringAndSize(<char*>key, n * 8)
        recipe = self.recipes.get(packed)
        if recipe is None:
            recipe = self._lower(arrays, attributes, tensors)
            recipe.key = packed
            recipe.attrs = attributes
            if len(self.recipes) >= MAX_RECIPES:
                # the oldest goes; attribute values are numbered anew with their recipes
                del self.recipes[next(iter(self.recipes))]
            self.recipes[packed] = recipe
        self.recent = recipe
        return recipe

    @cython.boundscheck(False)
    @cython.wraparound(False)
    cdef list backward(self, Recipe recipe, tuple needs, list gradients, list saved, list cell_values):
        """Gradients of the inputs of a call of `recipe`, None where `needs` is false."""
        cdef int64_t[MAX_KEY] key
        cdef double[MAX_CELLS] cells
        cdef Py_ssize_t n = 0
        cdef int i, axis
        cdef cnp.ndarray array
        cdef Recipe found = None, candidate
        for i in range(len(needs)):
            key[n] = 1 if needs[i] else 0
            n += 1
        for value in gradients:
            if value is None:
                key[n] = -1
                n += 1
                continue
            array = <cnp.ndarray>value
            for axis in range(cnp.PyArray_NDIM(array)):
                key[n] = cnp.PyArray_STRIDE(array, axis)
                n += 1
        for candidate in recipe.backward:
            if len(candidate.key) == n * 8 and memcmp(<char*>candidate.key, key, n * 8) == 0:
                found = candidate
                break
        if found is None:
            found = self._lower_backward(recipe, needs, gradients, saved)
            found.key = PyBytes_FromStringAndSize(<char*>key, n * 8)
            recipe.backward.append(found)
        for i in range(len(cell_values)):
            cells[i] = cell_values[i]
        return found.run(gradients + saved, cells, cell_values, None)

    def _promote(self, list given, list arrays, bint tensors):
        raise NotImplementedError

    def _lower(self, list arrays, tuple attributes, bint tensors):
        raise NotImplementedError

    def _lower_backward(self, Recipe recipe, tuple needs, list gradients, list saved):
        raise NotImplementedError

    def forget(self):
        """Drop all recipes: their kernels are looked up anew."""
        self.recipes.clear()
        self.recent = None


# ------------------------------------------------------------------------------------------------ tape


@cython.trashcan(True)
cdef class Node:
    """A recorded call: where its inputs' gradients go, and how to compute them."""

    def __init__(self):
        raise TypeError("nodes are made by the ops that are recorded")

    cdef list apply(self, list gradients):
        raise NotImplementedError

    cdef void release(self):
        self.released = True

    cdef tuple output_layout(self, int output):
        """Shape and dtype of an output."""
        raise NotImplementedError

    @property
    def next_functions(self):
        """The nodes (or leaf tensors) that the gradients go to, with the number of their output."""
        return tuple(
            (edge, self.edge_outputs[i]) for i, edge in enumerate(self.edges)
        )

    def name(self):
        """What was called."""
        return type(self).__name__

    def __repr__(self):
        return f"<{self.name()}>"


@cython.trashcan(True)
cdef class OpNode(Node):
    """A call of an op."""

    cdef void watch(self, size_t place, TensorBase tensor):
        """Note the version of the tensor whose array is saved at `place`."""
        cdef Version version = tensor.version()
        self.versions[place] = version
        self.version_values[place] = version.value

    cdef str what(self, size_t place):
        """Words for what is saved at `place`."""
        if place < <size_t>len(self.op.saved_inputs):
            return f"input {self.op.input_names[self.op.saved_inputs[place]]}"
        return "result"

    cdef list apply(self, list gradients):
        cdef size_t i
        if self.released:
            raise GraphError(
                f"backward through {self.op.name} a second time: what it had saved was freed by the first backward. "
                "Pass retain_graph=True there to keep it"
            )
        for i in range(self.version_values.size()):
            if self.versions[i] is not None and (<Version>self.versions[i]).value != self.version_values[i]:
                raise GraphError(
                    f"backward through {self.op.name}: its {self.what(i)} was changed in place after the forward pass "
                    f"(version {(<Version>self.versions[i]).value}, saved at {self.version_values[i]}); clone it "
                    "before changing it"
                )
        return self.op.backward(self.recipe, self.needs, gradients, self.saved, self.cells)

    cdef void release(self):
        self.released = True
        self.saved = None
        self.versions = None
        self.version_values.clear()

    cdef tuple output_layout(self, int output):
        return self.recipe.shapes["->"][output]

    def name(self):
        """The op's name, as `repr` of a tensor shows it."""
        return self.op.name


@cython.trashcan(True)
cdef class FunctionNode(Node):
    """A view or a conversion: `function` turns the gradient of the output into that of the only input."""

    cdef list apply(self, list gradients):
        return [as_array(self.function(gradients[0]))]

    cdef tuple output_layout(self, int output):
        return self.shape, self.dtype

    def name(self):
        """What made the view."""
        return self.function_name


cdef TensorBase derive(TensorBase source, cnp.ndarray array, str name, object function, bint view):
    """A tensor of `array`, which came from `source`; `function` maps its gradient back."""
    global next_sequence
    cdef TensorBase result = wrap(array)
    cdef FunctionNode node
    if view:
        result._version = source.version()
        result._version.shared = True
    if source._requires_grad and fastnn_get_grad_enabled() and array.dtype.kind == "f":
        node = FunctionNode.__new__(FunctionNode)
        next_sequence += 1
        node.sequence = next_sequence
        node.function_name = name
        node.function = function
        node.shape = (<object>array).shape
        node.dtype = array.dtype
        node.n_outputs = 1
        node.edges = [source if source._node is None else source._node]
        node.edge_outputs.push_back(source._output)
        result._node = node
        result._requires_grad = True
    return result


def derived(TensorBase source, cnp.ndarray array, str name, function, bint view=True):
    """A tensor of `array`, a view (or copy) of `source`'s data; `function` maps its gradient array back."""
    return derive(source, array, name, function, view)


cdef cnp.ndarray add_arrays(cnp.ndarray x, cnp.ndarray y, cnp.ndarray out):
    cdef list arrays = [as_array(x), as_array(y)]
    return <cnp.ndarray>op_add.run_recipe(op_add.find(arrays, op_add.attribute_defaults, False), arrays, [], out)[0]


# ------------------------------------------------------------------------------------------------ tensors


cdef class _HookHandle:
    """Removes a hook again, as torch's `RemovableHandle`."""

    cdef object hooks
    cdef object key

    def remove(self):
        """Take the hook off; doing so twice is harmless."""
        self.hooks.pop(self.key, None)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


cdef _HookHandle add_hook(object hooks, object function):
    if not callable(function):
        raise TypeError(f"a hook must be callable, got {type(function).__name__}")
    cdef _HookHandle handle = _HookHandle.__new__(_HookHandle)
    handle.hooks = hooks
    handle.key = object()
    hooks[handle.key] = function
    return handle


def _by_stride(strides):
    return lambda axis: (abs(strides[axis]), -axis)


cdef cnp.ndarray dense_like(cnp.ndarray array):
    """Uninitialised pooled memory in the layout of `array` (its axes' order in memory; C where that is unclear)."""
    cdef cnp.npy_intp shape[64]
    cdef cnp.npy_intp strides[64]
    cdef int i, ndim = cnp.PyArray_NDIM(array)
    cdef size_t step = cnp.PyArray_ITEMSIZE(array)
    # among equal strides (axes of length 1 or repeated ones) the last axis is the innermost
    for i in sorted(range(ndim), key=_by_stride((<object>array).strides)):
        shape[i] = cnp.PyArray_DIM(array, i)
        strides[i] = step
        step *= max(1, shape[i])
    return new_array(ndim, shape, strides, cnp.PyArray_TYPE(array), step if cnp.PyArray_SIZE(array) else 0)


cdef class TensorBase:
    """A NumPy array with a gradient and a place on the tape. See `fastnn.Tensor`."""

    __array_priority__ = 1000

    def __cinit__(self, *args, **kwargs):
        self.array = NO_ELEMENTS

    cdef Version version(self):
        if self._version is None:
            self._version = Version.__new__(Version)
        return self._version

    cdef void touch(self):
        cdef Version version = self.version()
        version.value += 1

    cdef accumulate(self, cnp.ndarray gradient, bint owned):
        """Add to `grad`; a gradient that is `owned` becomes it if there is none."""
        cdef cnp.ndarray target
        if self._grad is not None:
            target = self._grad.array
            add_arrays(target, gradient, target)
            self._grad.touch()
            return
        if not (owned and (same_strides(gradient, self.array))):
            target = dense_like(self.array)
            np.copyto(target, gradient)
            gradient = target
        self._grad = wrap(gradient)

    # -- the array

    @property
    def shape(self):
        """Extents, a tuple of ints."""
        return (<object>self.array).shape

    @property
    def dtype(self):
        """NumPy's dtype."""
        return self.array.dtype

    @property
    def ndim(self):
        """Number of axes."""
        return cnp.PyArray_NDIM(self.array)

    def _set_array(self, cnp.ndarray array):
        """Replace the array (`Tensor.data = ...`); the version is raised."""
        self.array = array
        self.touch()

    def _touch(self):
        """Say that the array was written through this tensor."""
        self.touch()

    @property
    def _version_value(self):
        return self.version().value

    def _become(self, TensorBase result):
        """Take over what an op computed from this tensor: its values and its place on the tape (recorded in-place).

        What the op itself saved of the old values is copied first, so its gradient is right; what others saved is
        noticed through the version. A view elsewhere would not learn of the new place on the tape, hence the error.
        """
        cdef OpNode node
        if self._version is not None and self._version.shared:
            raise GraphError(
                "an in-place change that is recorded needs a tensor without views; write it out of place, or do it "
                "under no_grad()"
            )
        if not same_shape(self.array, result.array) or result.array.dtype != self.array.dtype:
            raise ShapeError(
                f"an in-place change must keep shape {self.shape} and dtype {self.array.dtype}, got {result.shape} "
                f"and {result.array.dtype}"
            )
        if isinstance(result._node, OpNode):
            node = <OpNode>result._node
            for i in range(len(node.saved)):
                if node.saved[i] is self.array:
                    kept = dense_copy(self.array)
                    if not same_strides(kept, self.array):
                        raise GraphError(
                            f"an in-place {node.op.name} that is recorded needs a tensor that fills its memory; "
                            "write it out of place"
                        )
                    node.saved[i] = kept
                    node.versions[i] = None
        np.copyto(self.array, result.array)
        self.touch()
        if self._retains_grad and self._node is not None:
            self._node.retained.pop(self._output, None)
        self._node = result._node
        self._output = result._output
        self._requires_grad = result._requires_grad
        if self._retains_grad:
            self.retain_grad()

    # -- the tape

    @property
    def requires_grad(self):
        """Whether gradients flow to this tensor."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, bint value):
        if self._node is not None and not value:
            raise GraphError("requires_grad can be switched off only on leaves; use detach() on a computed tensor")
        if value and self.array.dtype.kind != "f":
            raise DTypeError(f"only floating-point tensors can require gradients, got {self.array.dtype}")
        self._requires_grad = value

    @property
    def is_leaf(self):
        """Whether no recorded op made this tensor."""
        return self._node is None

    @property
    def grad_fn(self):
        """The node that made this tensor, or None for a leaf."""
        return self._node

    @property
    def grad(self):
        """The gradient that backward has accumulated, or None."""
        return self._grad

    @grad.setter
    def grad(self, TensorBase value):
        if value is not None:
            if value.shape != self.shape:
                raise ShapeError(f"grad must have shape {self.shape}, got {value.shape}")
            if value.array.dtype != self.array.dtype:
                raise DTypeError(f"grad must have dtype {self.array.dtype}, got {value.array.dtype}")
        self._grad = value

    @property
    def output_nr(self):
        """Which output of `grad_fn` this tensor is."""
        return self._output

    def detach(self):
        """The same memory as a leaf that requires no gradient."""
        cdef TensorBase result = wrap(self.array)
        result._version = self.version()
        return result

    def register_hook(self, function):
        """Call `function(grad)` when this tensor's gradient is known; what it returns replaces the gradient."""
        if not self._requires_grad:
            raise GraphError("cannot register a hook on a tensor that does not require grad")
        if self._node is None:
            if self._hooks is None:
                self._hooks = OrderedDict()
            return add_hook(self._hooks, function)
        if self._node.hooks is None:
            self._node.hooks = {}
        return add_hook(self._node.hooks.setdefault(self._output, OrderedDict()), function)

    def register_post_accumulate_grad_hook(self, function):
        """Call `function(tensor)` after a leaf's `grad` was updated."""
        if self._node is not None or not self._requires_grad:
            raise GraphError("post-accumulate hooks are for leaves that require grad")
        if self._post_hooks is None:
            self._post_hooks = OrderedDict()
        return add_hook(self._post_hooks, function)

    def retain_grad(self):
        """Keep the gradient of a computed tensor in `grad`, as for a leaf."""
        import weakref

        if not self._requires_grad:
            raise GraphError("cannot retain_grad on a tensor that does not require grad")
        if self._node is not None:
            self._retains_grad = True
            if self._node.retained is None:
                self._node.retained = {}
            self._node.retained[self._output] = weakref.ref(self)

    @property
    def retains_grad(self):
        """Whether `retain_grad` was called on this computed tensor."""
        return self._retains_grad

    # -- operators (operands as torch takes them; see fastnn.Tensor for the named methods)

    def __add__(self, other):
        return op_add.call([self, other], op_add.attribute_defaults, [], None) if operand(other) else NotImplemented

    def __radd__(self, other):
        return op_add.call([other, self], op_add.attribute_defaults, [], None) if operand(other) else NotImplemented

    def __sub__(self, other):
        if not operand(other):
            return NotImplemented
        return op_subtract.call([self, other], op_subtract.attribute_defaults, [], None)

    def __rsub__(self, other):
        if not operand(other):
            return NotImplemented
        return op_subtract.call([other, self], op_subtract.attribute_defaults, [], None)

    def __mul__(self, other):
        if not operand(other):
            return NotImplemented
        return op_multiply.call([self, other], op_multiply.attribute_defaults, [], None)

    def __rmul__(self, other):
        if not operand(other):
            return NotImplemented
        return op_multiply.call([other, self], op_multiply.attribute_defaults, [], None)

    def __truediv__(self, other):
        if not operand(other):
            return NotImplemented
        return op_divide.call([self, other], op_divide.attribute_defaults, [], None)

    def __rtruediv__(self, other):
        if not operand(other):
            return NotImplemented
        return op_divide.call([other, self], op_divide.attribute_defaults, [], None)

    def __neg__(self):
        return op_negative.call([self], op_negative.attribute_defaults, [], None)

    def __matmul__(self, other):
        if not operand(other):
            return NotImplemented
        return op_matmul.call([self, other], op_matmul.attribute_defaults, [], None)

    def __rmatmul__(self, other):
        if not operand(other):
            return NotImplemented
        return op_matmul.call([other, self], op_matmul.attribute_defaults, [], None)

    def __richcmp__(self, other, int which):
        cdef Primitive op
        if not operand(other):
            return NotImplemented
        if which == 0:
            op = op_less
        elif which == 1:
            op = op_less_equal
        elif which == 2:
            op = op_equal
        elif which == 3:
            op = op_not_equal
        elif which == 4:
            op = op_greater
        else:
            op = op_greater_equal
        return op.call([self, other], op.attribute_defaults, [], None)

    def __hash__(self):
        return <Py_ssize_t><void*>self >> 4


cdef inline bint operand(object value):
    return (
        isinstance(value, (TensorBase, float, int, cnp.ndarray)) or isinstance(value, (np.generic, list, tuple))
    )


cdef void extent(cnp.ndarray array, char** low, char** high):
    """The first byte that the array's elements take, and the one past the last."""
    cdef int i
    cdef cnp.npy_intp reach
    low[0] = high[0] = <char*>cnp.PyArray_DATA(array)
    if cnp.PyArray_SIZE(array) == 0:
        return
    for i in range(cnp.PyArray_NDIM(array)):
        reach = (cnp.PyArray_DIM(array, i) - 1) * cnp.PyArray_STRIDE(array, i)
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach
    high[0] += cnp.PyArray_ITEMSIZE(array)


cdef bint extents_meet(cnp.ndarray x, cnp.ndarray y):
    """Whether the stretches of memory that two arrays lie in overlap."""
    cdef char* x_low
    cdef char* x_high
    cdef char* y_low
    cdef char* y_high
    extent(x, &x_low, &x_high)
    extent(y, &y_low, &y_high)
    return x_low < y_high and y_low < x_high


cdef bint same_shape(cnp.ndarray x, cnp.ndarray y):
    """Whether two arrays have the same extents."""
    cdef int i
    if cnp.PyArray_NDIM(x) != cnp.PyArray_NDIM(y):
        return False
    for i in range(cnp.PyArray_NDIM(x)):
        if cnp.PyArray_DIM(x, i) != cnp.PyArray_DIM(y, i):
            return False
    return True


cdef bint same_strides(cnp.ndarray x, cnp.ndarray y):
    """Whether two arrays of one shape and dtype lie alike (axes of length 1 do not count)."""
    cdef int i
    if cnp.PyArray_TYPE(x) != cnp.PyArray_TYPE(y) or cnp.PyArray_NDIM(x) != cnp.PyArray_NDIM(y):
        return False
    for i in range(cnp.PyArray_NDIM(x)):
        if cnp.PyArray_DIM(x, i) != 1 and cnp.PyArray_STRIDE(x, i) != cnp.PyArray_STRIDE(y, i):
            return False
    return True
