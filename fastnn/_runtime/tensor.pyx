# distutils: language = c++
"""Tensors, and what is recorded about them.

(a) A tensor is a NumPy array with a gradient and a place on the tape. Its operators find their ops in a table.
(b) The tape is define-by-run. A node knows, for each input, where its gradient goes: another node's output, or a
    leaf tensor. Views and conversions make nodes here, ops make theirs in `dispatch.pyx`; `tape.pyx` walks them.
(c) Views share a version, which every write through a tensor raises; backward compares it with the one it saved.
(d) Observers, if there are any, are told of every call of an op, of every gradient of one, and of tensors that come
    from others without a call: counts and pictures of networks are made so.
(e) A view knows the tensor whose memory it shares, its base. A change in place that is recorded belongs to the base:
    there it makes a node that puts the change into the old values, and raises the version's `history`. A view that
    finds its own history behind takes its place on the tape anew, as a window into the base.
"""

cimport cython
cimport numpy as cnp
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from fastnn._runtime.capture cimport recorder
from fastnn._runtime.layout cimport behaved, same_shape, same_strides
from fastnn._runtime.memory cimport new_array

from collections import OrderedDict
from functools import partial

import numpy as np

from fastnn.errors import DTypeError, GraphError, ShapeError

cnp.import_array()

cdef extern from "numpy/ndarrayobject.h":
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
    object PyObject_Vectorcall(object callee, PyObject* const* args, size_t n, PyObject* names)

cdef enum:
    BLOCKWISE = 4096        # elements of a gradient from which it pays to call an op for a copy

cdef tuple NO_ARGUMENTS = ()
cdef tuple observers = NO_ARGUMENTS       # those of all threads
cdef Py_ssize_t n_observers = 0
cdef tuple OUT = ("out",)
cdef cnp.ndarray NO_ELEMENTS = np.empty(0, np.float32)
cdef uint64_t next_sequence = 0
cdef object tensor_type = None            # the Python class that results are made of
cdef dict registry = {}
cdef object op_add = None, op_subtract = None, op_multiply = None, op_divide = None, op_negative = None
cdef object op_matmul = None
cdef object op_equal = None, op_not_equal = None, op_less = None
cdef object op_less_equal = None, op_greater = None, op_greater_equal = None


def register(op):
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


def set_tensor_type(cls):
    """Name the class that ops' results are made of."""
    global tensor_type
    tensor_type = cls


def observe(observer):
    """Let an observer see what is called, in all threads, until `unobserve`.

    It has the methods ``forward(op, recipe, given, result)``, called after a call of an op; ``backward(op, node,
    recipe, found, needs)``, after the gradients of a recorded call, where `found` is their recipe; ``walk(begins)``,
    before and after a walk over the tape; and ``derived(name, sources, results)`` for Tensors that came from others
    (views, conversions, changes in place, functions of one's own).
    """
    global observers, n_observers
    observers = observers + (observer,)
    n_observers = len(observers)


def unobserve(observer):
    """End what `observe` began; doing so twice is harmless."""
    global observers, n_observers
    observers = tuple([other for other in observers if other is not observer])
    n_observers = len(observers)


cdef bint observed() noexcept nogil:
    return n_observers != 0


cdef tuple observing():
    return observers


cdef tell_derived(str name, tuple sources, tuple results):
    for observer in observers:
        observer.derived(name, sources, results)


def is_grad_enabled():
    """Whether ops record what backward needs, in this thread."""
    return fastnn_get_grad_enabled()


cdef bint grad_enabled() noexcept nogil:
    return fastnn_get_grad_enabled()


def calls_now():
    """How many calls were put on the tape so far, for `older`."""
    return next_sequence


def older(TensorBase tensor, uint64_t calls):
    """Whether a tensor was no call's result, or that of one of the first so many calls."""
    return tensor._node is None or tensor._node.sequence <= calls


def dense_zeros(cnp.ndarray array):
    """Zeros in pooled memory with the shape, dtype and order of axes of `array`."""
    cdef cnp.ndarray result = dense_like(array)
    result.fill(0)
    if recorder() != NULL:
        (<object>recorder()).constant(result, np.zeros((), result.dtype))
    return result


def dense_copy(cnp.ndarray array):
    """A copy in pooled memory with the shape, dtype and order of axes of `array`."""
    cdef cnp.ndarray result = dense_like(array)
    copy_array(result, array)
    return result


cpdef copy_array(cnp.ndarray target, cnp.ndarray source):
    """Put the elements of one array into another."""
    np.copyto(target, source, casting="unsafe")
    if recorder() != NULL:
        (<object>recorder()).copied(target, source)


def set_grad_enabled_now(bint on):
    """Switch recording on or off in this thread; returns the former state."""
    cdef bint before = fastnn_get_grad_enabled()
    fastnn_set_grad_enabled(on)
    return before


@cython.final
@cython.freelist(64)
cdef class Version:
    """Counts the writes to a piece of memory, and those on the tape; shared by all tensors that view it."""


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


# ------------------------------------------------------------------------------------------------ tape


@cython.trashcan(True)
cdef class Node:
    """A recorded call: where its inputs' gradients go, and how to compute them."""

    def __cinit__(self):
        global next_sequence
        next_sequence += 1
        self.sequence = next_sequence

    def __init__(self):
        raise TypeError("nodes are made by the ops that are recorded")

    cdef list apply(self, list gradients, uint32_t asked):
        """The gradients of the inputs; only those that have a bit in `asked` are used, others may be left out."""
        raise NotImplementedError

    cdef void release(self):
        self.released = True

    cdef tuple output_layout(self, int output):
        """Shape and dtype of an output."""
        raise NotImplementedError

    cdef save_apart(self, cnp.ndarray array):
        """Keep a copy of `array` where it was saved: it is about to be overwritten."""

    @property
    def next_functions(self):
        """The nodes (or leaf tensors) that the gradients go to, with the number of their output."""
        return tuple(
            (edge, self.edge_outputs[i]) for i, edge in enumerate(self.edges)
        )

    @property
    def saved_arrays(self):
        """The arrays that are kept for backward; none once they were freed."""
        return ()

    def name(self):
        """What was called."""
        return type(self).__name__

    def __repr__(self):
        return f"<{self.name()}>"


@cython.trashcan(True)
cdef class FunctionNode(Node):
    """A view or a conversion: `function` turns the gradient of the output into that of the only input."""

    cdef list apply(self, list gradients, uint32_t asked):
        cdef cnp.ndarray found = as_array(self.function(gradients[0]))
        if recorder() != NULL:
            (<object>recorder()).applied(self.function, gradients[0], [found])
        return [found]

    cdef tuple output_layout(self, int output):
        return self.shape, self.dtype

    def name(self):
        """What made the view."""
        return self.function_name


@cython.final
cdef class Window:
    """Where a view's elements lie in its base, for any other memory that is laid out as the base's."""

    cdef tuple open(self):
        """New zeros laid out as the base, and the view's elements among them."""
        flat = np.zeros(self.nbytes, np.uint8)
        whole = np.ndarray(self.own_shape, self.dtype, flat, self.own_offset, self.own_strides)
        if 0 in self.shape:
            return whole, np.empty(self.shape, self.dtype)
        return whole, np.ndarray(self.shape, self.dtype, flat, self.offset, self.strides)


cdef Window window_of(cnp.ndarray base, cnp.ndarray view):
    cdef Window made = Window.__new__(Window)
    cdef Py_ssize_t low = 0, high = 0, step
    for extent, stride in zip((<object>base).shape, (<object>base).strides):
        step = max(0, extent - 1) * stride
        low += min(0, step)
        high += max(0, step)
    made.own_shape, made.own_strides = (<object>base).shape, (<object>base).strides
    made.own_offset = -low
    made.nbytes = high - low + cnp.PyArray_ITEMSIZE(base)
    made.shape, made.strides = (<object>view).shape, (<object>view).strides
    made.offset = <char*>cnp.PyArray_DATA(view) - <char*>cnp.PyArray_DATA(base) - low
    made.dtype = base.dtype
    return made


def meets_itself(cnp.ndarray array):
    """Whether two elements of an array may share memory."""
    reach = 0
    for stride, extent in sorted((abs(s), n) for s, n in zip((<object>array).strides, (<object>array).shape) if n > 1):
        if stride <= reach:
            return cnp.PyArray_SIZE(array) > 0
        reach += (extent - 1) * stride
    return False


def _spread(Window window, gradient):
    """The gradient of a base from that of a view."""
    whole, part = window.open()
    if meets_itself(part):
        np.add.at(part, tuple(np.indices(part.shape, sparse=True)), gradient)
    else:
        part[...] = gradient
    return whole


def _divided(Window window, list gradients):
    """The gradients of what was left of a base, and of what was put in the place of a view."""
    whole, part = window.open()
    whole[...] = gradients[0]
    put = part.copy()
    part[...] = 0
    return [whole, put]


def _as_it_comes(gradient):
    return gradient


def same_copy(cnp.ndarray array):
    """A copy with the same strides."""
    _, copy = window_of(array, array).open()
    np.copyto(copy, array)
    return copy


@cython.trashcan(True)
cdef class OverwriteNode(Node):
    """A change in place of a part of a tensor: the gradient of that part goes to what was put there."""

    cdef list apply(self, list gradients, uint32_t asked):
        cdef list found = _divided(self.window, gradients)
        if recorder() != NULL:
            (<object>recorder()).applied(partial(_divided, self.window), gradients, found)
        return found

    cdef tuple output_layout(self, int output):
        return self.shape, self.dtype

    def name(self):
        """What changed the tensor."""
        return "overwrite"


@cython.trashcan(True)
cdef class CallNode(Node):
    """A call with several inputs or outputs: `function` turns the outputs' gradients into the inputs'."""

    cdef list apply(self, list gradients, uint32_t asked):
        if self.released:
            raise GraphError(
                f"backward through {self.function_name} a second time: what it had saved was freed by the first "
                "backward. Pass retain_graph=True there to keep it"
            )
        cdef list found = [None if g is None else as_array(g) for g in self.function(gradients)]
        if recorder() != NULL:
            (<object>recorder()).applied(self.function, gradients, found)
        return found

    cdef void release(self):
        self.released = True
        self.function = None

    cdef tuple output_layout(self, int output):
        return self.layouts[output]

    def name(self):
        """What was called."""
        return self.function_name


def recorded(str name, inputs, outputs, function):
    """The outputs, tensors, as what was computed from `inputs`, tensors that require grad.

    `function` takes a list of gradients, an array for each output (None where none arrived), and gives a list of one
    (or None) for each input.
    """
    cdef CallNode node = CallNode.__new__(CallNode)
    cdef TensorBase tensor
    cdef list results = []
    cdef int i
    if len(inputs) > MAX_INPUTS:
        raise ValueError(f"{name}: at most {<int>MAX_INPUTS} inputs can have gradients, got {len(inputs)}")
    node.function_name = name
    node.function = function
    node.layouts = tuple([(o.shape, o.dtype) for o in outputs])
    node.n_outputs = len(node.layouts)
    edges = []
    for i, value in enumerate(inputs):
        tensor = <TensorBase>value
        catch_up(tensor)
        edges.append(tensor if tensor._node is None else tensor._node)
        node.edge_outputs[i] = tensor._output
    node.edges = tuple(edges)
    for i, value in enumerate(outputs):
        tensor = wrap((<TensorBase>value).array)
        tensor._version = (<TensorBase>value).version()
        tensor._node = node
        tensor._output = i
        tensor._requires_grad = True
        results.append(tensor)
    if n_observers:
        tell_derived(name, (*inputs, *outputs), tuple(results))
    return results


def derived_parts(TensorBase source, list arrays, str name, function):
    """Tensors of `arrays`, views of `source`'s data.

    `function` maps the list of their gradients (None where none arrived) to a list of the source's alone.
    """
    cdef list results = []
    cdef TensorBase result
    cdef CallNode node = None
    cdef Version version
    catch_up(source)
    version = source.version()
    if source._requires_grad and fastnn_get_grad_enabled():
        node = CallNode.__new__(CallNode)
        node.function_name = name
        node.function = function
        node.layouts = tuple([((<object>array).shape, array.dtype) for array in arrays])
        node.n_outputs = len(arrays)
        node.edges = (source if source._node is None else source._node,)
        node.edge_outputs[0] = source._output
    for array in arrays:
        result = wrap(<cnp.ndarray>array)
        result._version = version
        result._base = source if source._base is None else source._base
        result._history = version.history
        if node is not None:
            result._node = node
            result._output = len(results)
            result._requires_grad = True
        results.append(result)
    if n_observers:
        tell_derived(name, (source,), tuple(results))
    return tuple(results)


cdef FunctionNode passing(TensorBase source, cnp.ndarray array):
    """A node that hands the gradient of `array` on to a leaf, or ends it (None)."""
    cdef FunctionNode node = FunctionNode.__new__(FunctionNode)
    node.function_name = "overwrite"
    node.function = _as_it_comes
    node.shape = (<object>array).shape
    node.dtype = array.dtype
    node.n_outputs = 1
    node.edges = (source,)
    return node


cdef TensorBase derive(TensorBase source, cnp.ndarray array, str name, object function, bint view):
    """A tensor of `array`, which came from `source`; `function` maps its gradient back."""
    cdef TensorBase result = wrap(array)
    cdef FunctionNode node
    catch_up(source)
    if view:
        result._version = source.version()
        result._base = source if source._base is None else source._base
        result._history = result._version.history
    if source._requires_grad and fastnn_get_grad_enabled() and array.dtype.kind == "f":
        node = FunctionNode.__new__(FunctionNode)
        node.function_name = name
        node.function = function
        node.shape = (<object>array).shape
        node.dtype = array.dtype
        node.n_outputs = 1
        node.edges = (source if source._node is None else source._node,)
        node.edge_outputs[0] = source._output
        result._node = node
        result._requires_grad = True
    if n_observers:
        tell_derived(name, (source,), (result,))
    return result


def derived(TensorBase source, cnp.ndarray array, str name, function, bint view=True):
    """A tensor of `array`, a view (or copy) of `source`'s data; `function` maps its gradient array back."""
    return derive(source, array, name, function, view)


cdef cnp.ndarray add_arrays(cnp.ndarray x, cnp.ndarray y, cnp.ndarray out):
    cdef PyObject* args[3]
    args[0], args[1], args[2] = <PyObject*>x, <PyObject*>y, <PyObject*>out
    return PyObject_Vectorcall(op_add, args, 2, <PyObject*>NULL if out is None else <PyObject*>OUT)


# ------------------------------------------------------------------------------------------------ tensors


cdef class _HookHandle:
    """Removes a hook again, as torch's `RemovableHandle`."""

    cdef object hooks
    cdef object key
    cdef TensorBase owner

    def remove(self):
        """Take the hook off; doing so twice is harmless."""
        self.hooks.pop(self.key, None)
        self.owner._changes += 1

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


cdef _HookHandle add_hook(TensorBase owner, object hooks, object function):
    if not callable(function):
        raise TypeError(f"a hook must be callable, got {type(function).__name__}")
    cdef _HookHandle handle = _HookHandle.__new__(_HookHandle)
    handle.hooks = hooks
    handle.key = object()
    handle.owner = owner
    owner._changes += 1
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


@cython.c_api_binop_methods(True)
cdef class TensorBase:
    """A NumPy array with a gradient and a place on the tape. See `fastnn.Tensor`."""

    __array_priority__ = 1000

    def __cinit__(self, *args, **kwargs):
        self.array = NO_ELEMENTS

    cdef Version version(self):
        if self._version is None:
            self._version = Version.__new__(Version)
        return self._version

    cdef int touch(self) except -1:
        cdef Version version = self.version()
        version.value += 1
        if recorder() != NULL:
            (<object>recorder()).touched(self)
        return 0

    cdef follow(self):
        """Take the place of this view on the tape anew: a window into what its base has become."""
        cdef FunctionNode node
        cdef TensorBase base = self._base
        self._history = self._version.history
        if not base._requires_grad or self.array.dtype != base.array.dtype:
            return
        node = FunctionNode.__new__(FunctionNode)
        node.function_name = "view"
        node.function = partial(_spread, window_of(base.array, self.array))
        node.shape = (<object>self.array).shape
        node.dtype = self.array.dtype
        node.n_outputs = 1
        node.edges = (base if base._node is None else base._node,)
        node.edge_outputs[0] = base._output
        self._move_to(node, 0)

    cdef _move_to(self, Node node, int output):
        """Let an output of a node be this tensor's place on the tape."""
        if self._retains_grad and self._node is not None:
            self._node.retained.pop(self._output, None)
        self._node = node
        self._output = output
        self._requires_grad = True
        if self._retains_grad:
            self.retain_grad()

    cdef accumulate(self, cnp.ndarray gradient, bint owned):
        """Add to `grad`; a gradient that is `owned` becomes it if there is none."""
        cdef cnp.ndarray target
        if recorder() != NULL:
            (<object>recorder()).grad_read(self)
        if self._grad is not None:
            target = self._grad.array
            add_arrays(target, gradient, target)
            self._grad.touch()
            return
        if not (owned and (same_strides(gradient, self.array))):
            op_reshape = registry.get("reshape")
            if op_reshape is not None and cnp.PyArray_SIZE(gradient) >= BLOCKWISE and self.array.flags.c_contiguous:
                # a copy that transposes by blocks, on all threads
                self._grad = wrap(op_reshape(gradient, self.shape, True))
                return
            target = dense_like(self.array)
            copy_array(target, gradient)
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
        cdef Version version = self.version()
        if recorder() != NULL:
            (<object>recorder()).rebound(self)
        self.array = array
        version.value += 1

    def _retire(self):
        """Say that a module holds another tensor in this one's place."""
        self._changes += 1

    def _touch(self):
        """Say that the array was written through this tensor."""
        self.touch()

    @property
    def _version_value(self):
        return self.version().value

    def _become(self, TensorBase result):
        """Take over what an op computed from this tensor: its values and its place on the tape (recorded in-place).

        What the op itself saved of the old values is copied first, so its gradient is right; what others saved is
        noticed through the version. Where this is a view, the change is recorded on its base; all other views of the
        memory find it there.
        """
        cdef TensorBase base = self._base
        cdef OverwriteNode node
        catch_up(self)
        if not same_shape(self.array, result.array) or result.array.dtype != self.array.dtype:
            raise ShapeError(
                f"an in-place change must keep shape {self.shape} and dtype {self.array.dtype}, got {result.shape} "
                f"and {result.array.dtype}"
            )
        if meets_itself(self.array):
            raise GraphError(f"an in-place change needs an element for each index, got shape {self.shape} with strides "
                             f"{(<object>self.array).strides}: clone it first")
        if base is not None and base._requires_grad and base._node is None:
            raise GraphError(
                "a view of a leaf Tensor that requires grad cannot be changed in place; do it under no_grad()"
            )
        if base is not None and self.array.dtype != base.array.dtype:
            raise GraphError("a view under another dtype cannot be changed in place where gradients are recorded")
        if result._node is not None:
            result._node.save_apart(self.array)
        copy_array(self.array, result.array)
        self.touch()
        self._version.history += 1
        if n_observers:
            tell_derived("overwrite", (result,), (self,))
            if base is not None:
                tell_derived("overwrite", (base, result), (base,))
        if base is None:
            if result._node is None:
                # a leaf, whose gradient passes; or nothing that has one, where gradients end
                self._move_to(passing(result if result._requires_grad else None, self.array), 0)
            else:
                self._move_to(result._node, result._output)
            return
        node = OverwriteNode.__new__(OverwriteNode)
        node.window = window_of(base.array, self.array)
        node.shape = (<object>base.array).shape
        node.dtype = base.array.dtype
        node.n_outputs = 1
        node.edges = (
            base._node,
            result if result._node is None and result._requires_grad else result._node,
        )
        node.edge_outputs[0] = base._output
        node.edge_outputs[1] = result._output
        base._move_to(node, 0)
        self.follow()

    def _turn_into(self, TensorBase view):
        """Take over the array and the place on the tape of a view of this tensor."""
        self.array = view.array
        if n_observers:
            tell_derived("overwrite", (view,), (self,))
        if view._node is not None:
            self._move_to(view._node, view._output)
            return
        if self._retains_grad and self._node is not None:
            self._node.retained.pop(self._output, None)
        self._retains_grad = False
        self._node = None
        self._output = 0
        self._requires_grad = view._requires_grad

    # -- the tape

    @property
    def requires_grad(self):
        """Whether gradients flow to this tensor."""
        catch_up(self)
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, bint value):
        if self._node is not None and not value:
            raise GraphError("requires_grad can be switched off only on leaves; use detach() on a computed tensor")
        if value and self.array.dtype.kind != "f":
            raise DTypeError(f"only floating-point tensors can require gradients, got {self.array.dtype}")
        if recorder() != NULL:
            (<object>recorder()).switched(self)
        self._requires_grad = value

    @property
    def is_leaf(self):
        """Whether no recorded op made this tensor."""
        catch_up(self)
        return self._node is None

    @property
    def grad_fn(self):
        """The node that made this tensor, or None for a leaf."""
        catch_up(self)
        return self._node

    @property
    def grad(self):
        """The gradient that backward has accumulated, or None."""
        if recorder() != NULL:
            (<object>recorder()).grad_read(self)
        return self._grad

    @grad.setter
    def grad(self, TensorBase value):
        if value is not None:
            if value.shape != self.shape:
                raise ShapeError(f"grad must have shape {self.shape}, got {value.shape}")
            if value.array.dtype != self.array.dtype:
                raise DTypeError(f"grad must have dtype {self.array.dtype}, got {value.array.dtype}")
        if recorder() != NULL:
            (<object>recorder()).grad_set(self)
        self._grad = value

    @property
    def can_go_back(self):
        """Whether a backward pass from here would find what it needs."""
        catch_up(self)
        return self._requires_grad and (self._node is None or not self._node.released)

    @property
    def output_nr(self):
        """Which output of `grad_fn` this tensor is."""
        return self._output

    def detach(self):
        """The same memory as a leaf that requires no gradient."""
        cdef TensorBase result = wrap(self.array)
        if recorder() != NULL:
            (<object>recorder()).met(self)
        result._version = self.version()
        if n_observers:
            tell_derived("detach", (self,), (result,))
        return result

    def register_hook(self, function):
        """Call `function(grad)` when this tensor's gradient is known; what it returns replaces the gradient."""
        catch_up(self)
        if not self._requires_grad:
            raise GraphError("cannot register a hook on a tensor that does not require grad")
        if self._node is None:
            if self._hooks is None:
                self._hooks = OrderedDict()
            return add_hook(self, self._hooks, function)
        if self._node.hooks is None:
            self._node.hooks = {}
        return add_hook(self, self._node.hooks.setdefault(self._output, OrderedDict()), function)

    def register_post_accumulate_grad_hook(self, function):
        """Call `function(tensor)` after a leaf's `grad` was updated."""
        if self._node is not None or not self._requires_grad:
            raise GraphError("post-accumulate hooks are for leaves that require grad")
        if self._post_hooks is None:
            self._post_hooks = OrderedDict()
        return add_hook(self, self._post_hooks, function)

    def retain_grad(self):
        """Keep the gradient of a computed tensor in `grad`, as for a leaf."""
        import weakref

        catch_up(self)
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

    # -- operators (operands as torch takes them; see fastnn.Tensor for the named methods). Those of two operands are
    # called with a tensor on either side, and classes made in Python inherit them as they are.

    def __add__(x, y):
        return binary(op_add, x, y)

    def __sub__(x, y):
        return binary(op_subtract, x, y)

    def __mul__(x, y):
        return binary(op_multiply, x, y)

    def __truediv__(x, y):
        return binary(op_divide, x, y)

    def __matmul__(x, y):
        return binary(op_matmul, x, y)

    def __neg__(self):
        cdef PyObject* args[1]
        args[0] = <PyObject*>self
        return PyObject_Vectorcall(op_negative, args, 1, NULL)

    def __richcmp__(self, other, int which):
        cdef object op
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
        return binary(op, self, other)

    def __hash__(self):
        return <Py_ssize_t><void*>self >> 4


cdef inline object binary(object op, object x, object y):
    cdef PyObject* args[2]
    if not (operand(x) and operand(y)):
        return NotImplemented
    args[0], args[1] = <PyObject*>x, <PyObject*>y
    return PyObject_Vectorcall(op, args, 2, NULL)


cdef inline bint operand(object value):
    return (
        isinstance(value, (TensorBase, float, int, cnp.ndarray)) or isinstance(value, (np.generic, list, tuple))
    )
