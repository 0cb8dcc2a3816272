# distutils: language = c++
"""From a call of an op to its recipe, and to the node that remembers the call.

(a) A `Primitive` is the compiled side of an op's declaration. It is called by the vectorcall protocol (PEP 590): where
    the arguments are arrays, tensors and numbers that are ready as they come, a call makes nothing but its result.
    Everything else (lists, other dtypes, odd memory) is made ready first and then goes the same way.
(b) Arguments, attributes and the layout of `out` make a signature, which finds the recipe: the one used last, one of
    some by hash, or one of all in a dict. A signature without one is lowered, in Python.
(c) A recipe that the layout of `out` is part of may write there directly, unless `out` meets an input. Otherwise the
    result is made in fresh memory and copied.
(d) If a gradient may be asked for, the call becomes a node on the tape. Its backward pass is a recipe again, found
    through the one of the forward pass.
"""

cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from cpython.ref cimport Py_INCREF, PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from fastnn._runtime.attributes cimport Attributes, gathered
from fastnn._runtime.call cimport MAX_INPUTS, Call, Signature
from fastnn._runtime.capture cimport recorder
from fastnn._runtime.memory cimport new_array
from fastnn._runtime.recipe cimport Recipe, lies_apart, listed
from fastnn._runtime.tensor cimport (
    Node, TensorBase, Version, as_array, catch_up, grad_enabled, observed, observing, wrap,
)

import numpy as np

from fastnn._runtime.tensor import same_copy
from fastnn.errors import DTypeError, GraphError, ShapeError

cnp.import_array()

cdef extern from "Python.h":
    ctypedef object (*ternaryfunc)(object callee, object args, object kwargs)
    ctypedef object (*vectorcallfunc)(object callee, PyObject* const* args, size_t n, PyObject* names)
    Py_ssize_t PyVectorcall_NARGS(size_t n) noexcept
    PyObject** PySequence_Fast_ITEMS(object values)

cdef extern from "numpy/ndarrayobject.h":
    bint PyArray_CheckExact(object o)
    bint PyArray_ISWRITEABLE(cnp.ndarray array)
    int PyArray_CopyInto(cnp.ndarray target, cnp.ndarray source) except -1

cdef extern from "vectorcall.h" namespace "fastnn":
    ternaryfunc call_slot(object callee) noexcept
    void has_vectorcall(object cls, Py_ssize_t offset) noexcept

cdef enum:
    MAX_RECIPES = 1024      # recipes an op keeps
    MAX_CELLS = 16
    MAX_SAVED = 8           # arrays that a node keeps for backward
    MAX_PARAMETERS = 64
    SLOT_BITS = 6           # of recipes that are found by hash

cdef ternaryfunc own_call = NULL          # what classes that do not define `__call__` are called by
cdef Py_ssize_t vectorcall_offset = 0     # of an op's entry for vectorcall
cdef str OUT = "out"                      # interned, as the names in a call are
cdef int backend = 0                      # part of every signature, as is the precision
cdef int precision = 0


def get_backend():
    """0: kernels, 1: NumPy references."""
    return backend


cdef int settings_now() noexcept:
    return backend | precision << 1


def set_backend_now(int number):
    """Choose the backend for all threads; returns the former one."""
    global backend
    before = backend
    backend = number
    return before


def get_precision_now():
    """0: default, 1: strict."""
    return precision


def set_precision_now(int number):
    """Choose the precision for all threads; returns the former one."""
    global precision
    before = precision
    precision = number
    return before


# ------------------------------------------------------------------------------------------------ ops


cdef object enter(Primitive self, PyObject* const* args, size_t flagged, PyObject* names):
    """What the interpreter calls; `names` are those of the last arguments, or NULL."""
    cdef Py_ssize_t n = PyVectorcall_NARGS(flagged)
    if call_slot(self) == own_call:
        return self.enter(args, n, names)
    # the class was given a `__call__` of its own later, which Python before 3.12 does not notice
    keys = () if names == NULL else <tuple>names
    positional = tuple([<object>args[i] for i in range(n)])
    return call_slot(self)(self, positional, {key: <object>args[n + i] for i, key in enumerate(keys)})


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
    views : whether results are views of the first input where they can be; then any dtype is taken as it comes.

    Raises
    ------
    ValueError : for more inputs, cells or saved arrays than a call has room for.
    """

    cdef vectorcallfunc vectorcall
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
    cdef readonly bint views
    cdef uint32_t optional              # a bit for each input
    cdef uint32_t promoted
    cdef tuple names                    # of inputs, attributes and cells
    cdef int n_saved_inputs
    cdef int n_saved
    cdef int[MAX_SAVED] saved           # inputs, then outputs
    cdef uint32_t[MAX_SAVED] users
    cdef dict recipes
    cdef Recipe recent
    cdef list slots
    cdef Attributes attributes

    def __cinit__(self):
        self.vectorcall = <vectorcallfunc>enter
        if vectorcall_offset and call_slot(self) == own_call:
            has_vectorcall(type(self), vectorcall_offset)
        self.recipes = {}
        self.forget()

    def __init__(self, name, input_names, optional, promoted, attributes, cells, returned, saved_inputs,
                 saved_outputs, differentiable, elementwise, users=None, views=False):
        cdef int i
        self.name = name
        self.input_names = tuple(input_names)
        self.n_inputs = len(self.input_names)
        self.attribute_names = tuple(attributes)
        self.attribute_defaults = tuple(attributes.values())
        self.attributes = Attributes(self.attribute_defaults, self._check_attributes)
        self.cell_names = tuple(cells)
        self.cell_defaults = tuple(cells.values())
        self.names = self.input_names + self.attribute_names + self.cell_names
        saved = [*saved_inputs, *saved_outputs]
        for what, count, most in (
            ("inputs", self.n_inputs, MAX_INPUTS),
            ("cells", len(self.cell_names), MAX_CELLS),
            ("saved arrays", len(saved), MAX_SAVED),
            ("arguments", len(self.names), MAX_PARAMETERS),
        ):
            if count > most:
                raise ValueError(f"{name}: at most {most} {what}, got {count}")
        self.optional = bits(n in optional for n in self.input_names)
        self.promoted = bits(n in promoted for n in self.input_names)
        self.n_returned = returned
        self.n_saved_inputs = len(saved_inputs)
        self.n_saved = len(saved)
        for i in range(self.n_saved):
            self.saved[i] = saved[i]
            self.users[i] = 0xffffffff
            if users is not None and i < self.n_saved_inputs:
                self.users[i] = bits(n in users[i] for n in range(self.n_inputs))
        self.differentiable = differentiable
        self.elementwise = elementwise
        self.views = views

    def __call__(self, *args, **kwargs):
        cdef tuple values = args + tuple(kwargs.values())
        cdef tuple names = tuple(kwargs)
        return self.enter(PySequence_Fast_ITEMS(values), len(args), <PyObject*>names if names else <PyObject*>NULL)

    @cython.final
    cdef object enter(self, PyObject* const* args, Py_ssize_t n, PyObject* names):
        """Bind the arguments; inputs by place and `out` by name need no binding."""
        if n <= self.n_inputs:
            if names == NULL:
                return self.call(args, n, self.attribute_defaults, 0, self.cell_defaults, None)
            if PyTuple_GET_SIZE(<tuple>names) == 1 and PyTuple_GET_ITEM(<tuple>names, 0) == <PyObject*>OUT:
                return self.call(args, n, self.attribute_defaults, 0, self.cell_defaults, <object>args[n])
        return self.bind(args, n, names)

    @cython.final
    cdef object bind(self, PyObject* const* args, Py_ssize_t n, PyObject* names):
        """The general case: inputs, attributes and cells given by place or by name."""
        cdef PyObject* values[MAX_PARAMETERS]
        cdef Py_ssize_t i, place, total = len(self.names), given = n
        cdef Py_ssize_t first_cell = self.n_inputs + len(self.attribute_names)
        cdef Py_ssize_t n_names = 0 if names == NULL else PyTuple_GET_SIZE(<tuple>names)
        cdef object out = None, name
        cdef tuple attributes = self.attribute_defaults, cells = self.cell_defaults
        cdef int64_t number = 0
        if n > total:
            raise TypeError(f"{self.name}: takes at most {total} arguments, got {n}")
        for i in range(n):
            values[i] = args[i]
        for i in range(n, total):
            values[i] = NULL
        for i in range(n_names):
            name = <object>PyTuple_GET_ITEM(<tuple>names, i)
            if name is OUT or name == OUT:
                out = <object>args[n + i]
                continue
            place = index_of(self.names, name)
            if place < 0:
                raise TypeError(
                    f"{self.name}: got an unexpected argument {name!r}; it takes {', '.join(self.names)}"
                )
            if place < n:
                raise TypeError(f"{self.name}: got {name!r} twice")
            values[place] = args[n + i]
            given = max(given, place + 1)
        for i in range(self.n_inputs, min(given, first_cell)):
            if values[i] != NULL:
                known = self.attributes.find(values + self.n_inputs)
                attributes = <tuple>known[0]
                number = known[1]
                break
        if given > first_cell:
            cells = gathered(values + first_cell, self.cell_defaults)
        return self.call(values, min(given, self.n_inputs), attributes, number, cells, out)

    def _check_attributes(self, tuple attributes):
        return attributes

    # -- arguments

    @cython.final
    cdef object call(self, PyObject* const* args, Py_ssize_t n, tuple attributes, int64_t number, tuple cells, out):
        """Dispatch one call; `args` are the first `n` inputs, NULL where left out."""
        cdef Call call
        cdef Py_ssize_t i
        if recorder() != NULL:
            for i in range(n):
                if args[i] != NULL and isinstance(<object>args[i], TensorBase):
                    (<object>recorder()).met(<object>args[i])
        if not self.gather(args, n, &call):
            self.prepare(args, n, &call)
        call.signature.words[0] = number << 8 | settings_now() << 1 | call.tensors
        if out is None:
            result = self.run(&call, attributes, cells)
        else:
            result = self.run_into(&call, attributes, cells, out)
        if observed():
            self.tell(&call, result)
        return result

    @cython.final
    cdef tell(self, Call* call, result):
        """Let the observers see a call that was just run."""
        cdef Recipe recipe = self.find(&call.signature)
        cdef list given = listed(call.given, self.n_inputs)
        if recipe is not None:      # none is kept of a call during which the kernels turned out to be of no use
            for observer in observing():
                observer.forward(self, recipe, given, result)

    @cython.final
    cdef bint gather(self, PyObject* const* args, Py_ssize_t n, Call* call) except -1:
        """Take the arguments as they come; False where one is not ready, or not there."""
        cdef int i
        cdef uint32_t numbers = 0
        cdef PyObject* value
        cdef cnp.ndarray array
        for i in range(self.n_inputs):
            value = args[i] if i < n else NULL
            if value != NULL and PyArray_CheckExact(<object>value):
                array = <cnp.ndarray>value
            elif value != NULL and isinstance(<object>value, TensorBase):
                call.tensors = True
                catch_up(<TensorBase>value)
                call.wants = call.wants or (<TensorBase>value)._requires_grad
                array = (<TensorBase>value).array
            elif value == NULL or value == <PyObject*>None:
                if not self.optional >> i & 1:
                    return False
                call.add_absent()
                continue
            elif self.promoted >> i & 1 and is_number(<object>value):
                call.add_number(value)
                numbers |= <uint32_t>1 << i
                continue
            else:
                return False
            if self.promoted >> i & 1:
                if call.type < 0:
                    call.type = cnp.PyArray_TYPE(array)
                elif cnp.PyArray_TYPE(array) != call.type:
                    return False
            if not call.add(value, array):
                return False
        if call.type != cnp.NPY_FLOAT32 and call.type != cnp.NPY_FLOAT64:
            return self.views
        if numbers:
            self.set_numbers(call, numbers)
        return True

    @cython.final
    cdef set_numbers(self, Call* call, uint32_t numbers):
        """Let Python numbers take the type of the arrays beside them."""
        cdef int i
        cdef double number
        for i in range(self.n_inputs):
            if not numbers >> i & 1:
                continue
            try:
                number = <object>call.given[i]
            except OverflowError:
                raise ValueError(f"{self.name}: {self.input_names[i]} is too large for a float") from None
            call.set_number(i, number)

    @cython.final
    cdef prepare(self, PyObject* const* args, Py_ssize_t n, Call* call):
        """Make ready what `gather` did not take: converted, copied where kernels cannot read it, promoted."""
        cdef int i, type = -1
        cdef uint32_t numbers = 0
        cdef bint one_type = True
        cdef list given = [None] * self.n_inputs, arrays = [None] * self.n_inputs
        cdef cnp.ndarray array
        cdef PyObject* value
        call.clear()
        for i in range(self.n_inputs):
            if i >= n or args[i] == NULL or args[i] == <PyObject*>None:
                if not self.optional >> i & 1:
                    raise TypeError(f"{self.name}: {self.input_names[i]} is missing")
                continue
            given[i] = <object>args[i]
            if isinstance(given[i], TensorBase):
                call.tensors = True
                catch_up(<TensorBase>given[i])
                call.wants = call.wants or (<TensorBase>given[i])._requires_grad
            elif self.promoted >> i & 1 and is_number(given[i]):
                numbers |= <uint32_t>1 << i
                continue
            array = arrays[i] = as_array(given[i])
            if self.promoted >> i & 1:
                if type < 0:
                    type = cnp.PyArray_TYPE(array)
                elif cnp.PyArray_TYPE(array) != type:
                    one_type = False
        if not one_type or (type != cnp.NPY_FLOAT32 and type != cnp.NPY_FLOAT64 and not self.views):
            before = list(arrays)
            arrays = self._promote(given, arrays, call.tensors)
            if recorder() != NULL:
                for i in range(self.n_inputs):
                    if arrays[i] is not None and arrays[i] is not before[i]:
                        (<object>recorder()).promoted(before[i], arrays[i])
            numbers = 0
        call.type = type
        for i in range(self.n_inputs):
            value = <PyObject*>NULL if given[i] is None else args[i]
            if arrays[i] is not None:
                if not call.add(value, <cnp.ndarray>arrays[i]):
                    raise self._unfit(arrays[i])
            elif value == NULL:
                call.add_absent()
            else:
                call.add_number(value)
        self.set_numbers(call, numbers)

    @cython.final
    cdef make_arrays(self, Call* call):
        """Make arrays of the arguments that are still numbers."""
        cdef int i
        cdef cnp.ndarray array
        for i in range(self.n_inputs):
            if call.is_number(i):
                array = new_array(0, NULL, NULL, call.type, 8)
                memcpy(cnp.PyArray_DATA(array), call.bases[i], cnp.PyArray_ITEMSIZE(array))
                if recorder() != NULL:
                    (<object>recorder()).constant(array)
                call.replace_number(i, array)

    @cython.final
    cdef cnp.ndarray target(self, out):
        """The array that `out` is, if it can be written."""
        cdef cnp.ndarray array
        if cnp.PyArray_Check(out):
            array = <cnp.ndarray>out
        elif isinstance(out, TensorBase):
            array = (<TensorBase>out).array
        else:
            raise TypeError(f"{self.name}: out must be an array, got {type(out).__name__}")
        if not PyArray_ISWRITEABLE(array):
            raise ValueError(f"{self.name}: out is read-only")
        return array

    # -- once arguments are ready

    @cython.final
    cdef object run(self, Call* call, tuple attributes, tuple cell_values):
        """Run a call, whose results are new."""
        cdef double[MAX_CELLS] cells
        cdef cnp.ndarray array
        cdef TensorBase result
        cdef OpNode node = None
        cdef list outputs, results
        cdef bint recorded = call.wants and self.differentiable and grad_enabled()
        cdef Py_ssize_t i
        take_cells(cell_values, cells)
        cdef Recipe recipe = self.find(&call.signature)
        if recipe is None:
            recipe = self.lower(call, attributes, None)
        if recipe.checks or (recorded and self.n_saved):
            self.make_arrays(call)
        if self.views:
            array = recipe.seen(call.bases, <cnp.ndarray>call.arrays[0])
            if array is not None:
                if not call.tensors:
                    return array
                result = wrap(array)
                share_version(result, <object>call.given[0])
                if recorded:
                    attach(self.record(call, recipe, cell_values, None, result), result, 0)
                return result
        if recipe.quick and not (recorded and recipe.extra):
            array = recipe.make(0, call.bases)
            recipe.execute(call.bases, cells, call.arrays, True)
            if not call.tensors:
                return array
            result = wrap(array)
            if recorded:
                attach(self.record(call, recipe, cell_values, None, result), result, 0)
            return result
        self.make_arrays(call)
        outputs = recipe.run(call.arrays, cells, cell_values, None)
        if not call.tensors:
            return outputs[0] if self.n_returned == 1 else tuple(outputs[:self.n_returned])
        if self.n_returned == 1:
            result = wrap(<cnp.ndarray>outputs[0])
            if recorded:
                attach(self.record(call, recipe, cell_values, outputs, result), result, 0)
            return result
        results = []
        if recorded:
            node = self.record(call, recipe, cell_values, outputs, None)
        for i in range(self.n_returned):
            result = wrap(<cnp.ndarray>outputs[i])
            if node is not None and result.array.dtype.kind == "f":
                attach(node, result, i)
            results.append(result)
        return tuple(results)

    @cython.final
    cdef object run_into(self, Call* call, tuple attributes, tuple cell_values, object out):
        """Run a call whose first output shall lie in `out`."""
        cdef double[MAX_CELLS] cells
        cdef int without = call.signature.count
        cdef bint as_tensor = not PyArray_CheckExact(out) and isinstance(out, TensorBase)
        cdef cnp.ndarray layout, target
        cdef list outputs = None
        cdef Recipe recipe
        if (call.wants and self.differentiable) or (as_tensor and (<TensorBase>out)._requires_grad):
            if grad_enabled():
                raise GraphError(
                    f"{self.name}: out cannot be given where gradients are recorded; do it under no_grad()"
                )
        target = self.target(out)
        take_cells(cell_values, cells)
        layout = target if call.signature.add(target) else None
        recipe = self.find(&call.signature)
        if recipe is None:
            recipe = self.lower(call, attributes, layout)
        if recipe.into and not lies_apart(recipe, call.bases, <char*>cnp.PyArray_DATA(target)):
            if recipe.meets(call.arrays, target):
                call.signature.count = without
                recipe = self.find(&call.signature)
                if recipe is None:
                    recipe = self.lower(call, attributes, None)
        if recipe.into and recipe.quick:
            if recipe.checks:
                self.make_arrays(call)
            call.bases[recipe.specs[0].storage] = <char*>cnp.PyArray_DATA(target)
            recipe.execute(call.bases, cells, call.arrays, True)
            if recorder() != NULL:
                (<object>recorder()).wrote(target)
        else:
            outputs = self.run_beside(call, recipe, cells, cell_values, target, layout is not None)
        if as_tensor:
            (<TensorBase>out).touch()
            return out
        if self.n_returned == 1:
            return wrap(target) if call.tensors else target
        return tuple([wrap(array) if call.tensors else array for array in outputs[:self.n_returned]])

    @cython.final
    cdef list run_beside(
        self, Call* call, Recipe recipe, const double* cells, tuple cell_values, cnp.ndarray target, bint seen
    ):
        """Run a recipe of several outputs, or one whose result must be copied to `target`.

        `seen` : whether the lowering has seen, and checked, the target; references know no shapes before they run.
        """
        cdef list outputs
        self.make_arrays(call)
        outputs = recipe.run(call.arrays, cells, cell_values, target if recipe.into else None)
        if not recipe.into:
            if not seen or recipe.reference is not None:
                self._check_out(outputs[0].shape, outputs[0].dtype, target)
            PyArray_CopyInto(target, <cnp.ndarray>outputs[0])
            if recorder() != NULL:
                (<object>recorder()).copied(target, outputs[0])
            outputs[0] = target
        elif recorder() != NULL:
            (<object>recorder()).wrote(target)
        return outputs

    def _unfit(self, cnp.ndarray array):
        """The error for an array that finds no place in a signature."""
        if array.dtype.itemsize == 0:
            return DTypeError(f"{self.name}: arrays must hold numbers, got dtype {array.dtype}")
        return ShapeError(f"{self.name}: too many axes")

    def _check_out(self, shape, dtype, cnp.ndarray out):
        """Raise where a result of a shape and dtype cannot be written to `out`."""
        if shape != (<object>out).shape:
            raise ShapeError(f"{self.name}: out must have shape {shape}, got {(<object>out).shape}")
        if not np.can_cast(dtype, out.dtype, "same_kind"):
            raise DTypeError(f"{self.name}: out must have a dtype that {dtype} fits, got {out.dtype}")

    # -- recipes

    @cython.final
    cdef Recipe find(self, const Signature* signature):
        """The recipe of a signature, None if there is none yet."""
        cdef Recipe recipe = self.recent
        cdef unsigned slot
        if recipe is not None and answers(recipe, signature):
            return recipe
        slot = signature.slot(SLOT_BITS)
        recipe = <Recipe>PyList_GET_ITEM(self.slots, slot)
        if recipe is None or not answers(recipe, signature):
            recipe = self.recipes.get(packed(signature))
            if recipe is None:
                return None
            self.slots[slot] = recipe
        self.recent = recipe
        return recipe

    @cython.final
    cdef Recipe lower(self, Call* call, tuple attributes, cnp.ndarray out):
        """Make the recipe of a call. Other threads may do so, or forget recipes, at the same time."""
        cdef bytes key = packed(&call.signature)
        cdef int served = settings_now()
        cdef int i
        self.make_arrays(call)
        arrays = [None if call.arrays[i] == NULL else <object>call.arrays[i] for i in range(self.n_inputs)]
        cdef Recipe recipe = self._lower(arrays, attributes, call.tensors, out)
        recipe.key = key
        recipe.attrs = attributes
        if recipe.into:
            recipe.note_extents(arrays, out, self.elementwise)
        if settings_now() != served:
            return recipe       # it may belong to either; the next call will tell
        if len(self.recipes) >= MAX_RECIPES:
            self.recipes.pop(next(iter(self.recipes)), None)    # the oldest
        self.recipes[key] = recipe
        self.slots[call.signature.slot(SLOT_BITS)] = recipe
        self.recent = recipe
        return recipe

    def _promote(self, list given, list arrays, bint tensors):
        raise NotImplementedError

    def _lower(self, list arrays, tuple attributes, bint tensors, out):
        raise NotImplementedError

    def _lower_backward(self, Recipe recipe, tuple needs, list gradients, list saved):
        raise NotImplementedError

    def forget(self):
        """Drop all recipes: their kernels are looked up anew."""
        self.recipes.clear()
        self.slots = [None] * (1 << SLOT_BITS)
        self.recent = None

    # -- the tape

    @cython.final
    cdef OpNode record(self, Call* call, Recipe recipe, tuple cell_values, list outputs, TensorBase result):
        """Make the node of a call that was just run; what it returns is `result`, or several `outputs`."""
        cdef OpNode node = OpNode.__new__(OpNode)
        cdef TensorBase tensor
        cdef tuple edges = PyTuple_New(self.n_inputs)
        cdef object edge
        cdef int i
        for i in range(self.n_inputs):
            edge = None
            if is_wanted(call.given[i]):
                tensor = <TensorBase>call.given[i]
                edge = tensor if tensor._node is None else tensor._node
                node.edge_outputs[i] = tensor._output
                node.needs |= <uint32_t>1 << i
            Py_INCREF(edge)
            PyTuple_SET_ITEM(edges, i, edge)
        node.edges = edges
        node.op = self
        node.recipe = recipe
        node.cells = cell_values
        node.n_outputs = self.n_returned
        node.saved = self.keep(node, call, outputs, result) if self.n_saved else ()
        return node

    @cython.final
    cdef tuple keep(self, OpNode node, Call* call, list outputs, TensorBase result):
        """What backward needs: arrays, then the versions of those that must not change, None for others."""
        cdef tuple kept = PyTuple_New(2 * self.n_saved)
        cdef TensorBase tensor
        cdef object array, version
        cdef int place, i
        for place in range(self.n_saved):
            i = self.saved[place]
            tensor = None
            if place >= self.n_saved_inputs:
                array = outputs[i] if result is None or i else result.array
                if i == 0:
                    tensor = result
            elif call.arrays[i] == NULL:
                array = None
            else:
                array = <object>call.arrays[i]
                # what only the gradients of others need may change, and so may what a copy was made of
                if self.users[place] & node.needs and isinstance(<object>call.given[i], TensorBase):
                    tensor = <TensorBase>call.given[i]
                    if tensor.array is not array:
                        tensor = None
            version = None
            if tensor is not None:
                version = tensor.version()
                node.version_values[place] = tensor._version.value
            Py_INCREF(array)
            PyTuple_SET_ITEM(kept, place, array)
            Py_INCREF(version)
            PyTuple_SET_ITEM(kept, self.n_saved + place, version)
        return kept

    @cython.final
    cdef list backward(self, OpNode node, list gradients, uint32_t needs):
        """Gradients of the inputs of a recorded call that have a bit in `needs`, None for the others."""
        cdef Signature signature
        cdef double[MAX_CELLS] cells
        cdef Recipe recipe = node.recipe, found = None, candidate
        cdef list saved = list(node.saved[:self.n_saved]), inputs = gradients + saved
        cdef tuple wanted
        cdef int served = settings_now()
        signature.add_word(<int64_t>needs << 8 | served)
        for value in gradients:
            if value is None:
                signature.add_word(-1)
            elif not signature.add(<cnp.ndarray>value):
                raise self._unfit(value)
        for candidate in recipe.backward:
            if answers(candidate, &signature):
                found = candidate
                break
        if found is None:
            wanted = tuple([needs >> i & 1 == 1 for i in range(self.n_inputs)])
            found = self._lower_backward(recipe, wanted, gradients, saved)
            found.key = packed(&signature)
            if settings_now() == served:
                recipe.backward.append(found)
        take_cells(node.cells, cells)
        cdef list results = found.run(PySequence_Fast_ITEMS(inputs), cells, node.cells, None)
        if observed():
            wanted = tuple([needs >> i & 1 == 1 for i in range(self.n_inputs)])
            for observer in observing():
                observer.backward(self, node, recipe, found, wanted)
        return results


cdef uint32_t bits(values) except? 0xffffffff:
    """A number whose bits are the values."""
    cdef uint32_t found = 0
    for i, value in enumerate(values):
        if value:
            found |= <uint32_t>1 << <int>i
    return found


cdef inline void share_version(TensorBase view, object source):
    """Let a view notice writes through the tensor that it looks at, and that one those through the view."""
    cdef TensorBase base
    if isinstance(source, TensorBase):
        base = <TensorBase>source
        view._version = base.version()
        view._base = base if base._base is None else base._base
        view._history = view._version.history


cdef inline void attach(OpNode node, TensorBase result, int output) noexcept:
    result._node = node
    result._output = output
    result._requires_grad = True


cdef inline int take_cells(tuple values, double* cells) except -1:
    cdef Py_ssize_t i
    for i in range(PyTuple_GET_SIZE(values)):
        cells[i] = <object>PyTuple_GET_ITEM(values, i)
    return 0


cdef inline bint is_number(object value) noexcept:
    return type(value) is float or type(value) is int or type(value) is bool


cdef inline bint is_wanted(PyObject* given) noexcept:
    """Whether an argument is a tensor that a gradient flows to."""
    return given != NULL and isinstance(<object>given, TensorBase) and (<TensorBase>given)._requires_grad


cdef inline bint answers(Recipe recipe, const Signature* signature) noexcept:
    return signature.equals(PyBytes_AS_STRING(recipe.key), PyBytes_GET_SIZE(recipe.key))


cdef inline bytes packed(const Signature* signature):
    return PyBytes_FromStringAndSize(<const char*>signature.words, signature.bytes_used())


cdef Py_ssize_t index_of(tuple names, object name) except -2:
    """The place of a name, -1 if it is not there."""
    cdef Py_ssize_t i
    for i in range(len(names)):
        if names[i] is name:
            return i
    for i in range(len(names)):
        if names[i] == name:
            return i
    return -1


# ------------------------------------------------------------------------------------------------ nodes


@cython.trashcan(True)
cdef class OpNode(Node):
    """A call of an op."""

    cdef Primitive op
    cdef Recipe recipe
    cdef tuple cells
    cdef uint32_t needs                 # inputs whose gradients are wanted
    cdef tuple saved                    # arrays, then their versions (None: it may change)
    cdef int64_t[MAX_SAVED] version_values

    cdef str what(self, int place):
        """Words for what is saved at `place`."""
        if place < self.op.n_saved_inputs:
            return f"input {self.op.input_names[self.op.saved[place]]}"
        return "result"

    cdef list apply(self, list gradients, uint32_t asked):
        cdef int i, n = self.op.n_saved
        cdef Version version
        if self.released:
            raise GraphError(
                f"backward through {self.op.name} a second time: what it had saved was freed by the first backward. "
                "Pass retain_graph=True there to keep it"
            )
        for i in range(n):
            version = <Version>self.saved[n + i]
            if version is not None and version.value != self.version_values[i]:
                raise GraphError(
                    f"backward through {self.op.name}: its {self.what(i)} was changed in place after the forward pass "
                    f"(version {version.value}, saved at {self.version_values[i]}); clone it before changing it"
                )
        return self.op.backward(self, gradients, self.needs & asked)

    cdef void release(self):
        self.released = True
        self.saved = None

    cdef tuple output_layout(self, int output):
        return self.recipe.shapes["->"][output]

    cdef save_apart(self, cnp.ndarray array):
        cdef int place, n = self.op.n_saved
        cdef list saved = list(self.saved)
        for place in range(n):
            if saved[place] is array:
                saved[place] = same_copy(array)
                saved[n + place] = None
        self.saved = tuple(saved)

    @property
    def saved_arrays(self):
        """The arrays that are kept for backward; none once they were freed."""
        return () if self.saved is None else tuple([x for x in self.saved[:self.op.n_saved] if x is not None])

    def name(self):
        """The op's name, as `repr` of a tensor shows it."""
        return self.op.name


def call_on(Primitive self, arrays, attribute):
    """``op(*arrays, attribute)``, quicker: for arrays that come in one sequence, and an op's first attribute."""
    cdef tuple given = tuple(arrays)  # a list might be changed while it is read
    cdef PyObject* values[MAX_PARAMETERS]
    cdef Py_ssize_t i
    if len(given) > self.n_inputs:
        raise TypeError(f"{self.name}: takes at most {self.n_inputs} arrays, got {len(given)}")
    if attribute is self.attribute_defaults[0]:
        return self.call(
            PySequence_Fast_ITEMS(given), len(given), self.attribute_defaults, 0, self.cell_defaults, None
        )
    for i in range(1, len(self.attribute_names)):
        values[i] = NULL
    values[0] = <PyObject*>attribute
    known = self.attributes.find(values)
    return self.call(PySequence_Fast_ITEMS(given), len(given), known[0], known[1], self.cell_defaults, None)


cdef locate_entry(Primitive some):
    """Note how `Primitive` is called, by which all classes derived from it are, unless they define `__call__`."""
    global own_call, vectorcall_offset
    own_call = call_slot(some)
    vectorcall_offset = <char*>&some.vectorcall - <char*><PyObject*>some
    has_vectorcall(Primitive, vectorcall_offset)


locate_entry(Primitive.__new__(Primitive))
