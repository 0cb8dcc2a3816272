# distutils: language = c++
"""NumPy functions that hand some of their calls to fastnn's ops: those that are sure to mean the same.

(a) A gate is called by the vectorcall protocol in a function's place. It looks at types, dtypes, layouts and sizes; a
    call that is not surely the op's goes to NumPy's own function with the arguments as they came. That test is all that
    a gate costs other calls: some 10 ns.
(b) Whatever an op raises, NumPy's function is called instead: it raises errors of its own, or serves what ops do not.
(c) NumPy reports overflow, division by zero and invalid operations as `errstate` says, from flags of the processor
    that do not come back from other threads. All of them leave an infinity or a NaN in the result. Where a result has
    one, NumPy's function is called on the same arguments: it warns or raises as it does. (Underflow leaves no trace:
    where it is to be reported, NumPy serves.)
(d) An op makes a recipe for each layout of its arguments, which takes as long as hundreds of small calls. Small calls
    of more than some layouts are NumPy's (`Layouts`); which ones does not change within a process, so that a call
    always gives the same bits.
(e) Results own their memory, and a result without axes is a NumPy scalar, as NumPy's functions have it.
"""

cimport cython
cimport numpy as cnp
from cpython.long cimport PyLong_AsLongAndOverflow
from cpython.object cimport Py_EQ, Py_NE
from cpython.ref cimport Py_XDECREF, PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.math cimport fabs

from fastnn._runtime.call cimport Signature
from fastnn._runtime.layout cimport behaved, same_shape
from fastnn._runtime.memory cimport own

import types
from math import isfinite

import numpy as np

cnp.import_array()

cdef extern from "Python.h":
    ctypedef object (*vectorcallfunc)(object callee, PyObject* const* args, size_t n, PyObject* names)
    Py_ssize_t PyVectorcall_NARGS(size_t n) noexcept
    object PyObject_Vectorcall(object callee, PyObject* const* args, size_t n, PyObject* names)
    PyObject** PySequence_Fast_ITEMS(object values)
    int PyContextVar_Get(object var, PyObject* otherwise, PyObject** value) except -1
    Py_ssize_t PY_SSIZE_T_MAX
    bint PyFloat_CheckExact(object o)
    bint PyLong_CheckExact(object o)
    bint PyUnicode_CheckExact(object o)
    bint PyTuple_CheckExact(object o)
    bint PyBool_Check(object o)
    double PyFloat_AS_DOUBLE(object o)

cdef extern from "numpy/ndarrayobject.h":
    bint PyArray_CheckExact(object o)
    bint PyArray_ISWRITEABLE(cnp.ndarray array)
    bint PyArray_ISCARRAY_RO(cnp.ndarray array)
    int PyArray_CopyInto(cnp.ndarray target, cnp.ndarray source) except -1

cdef extern from "gate.h" namespace "fastnn":
    bint all_finite(cnp.ndarray array) nogil
    bint overlap(cnp.ndarray x, cnp.ndarray y) nogil
    cdef cppclass Layouts:
        bint admits(const Signature& signature)

cdef extern from "vectorcall.h" namespace "fastnn":
    void has_vectorcall(object cls, Py_ssize_t offset) noexcept

cdef enum Kind:
    elementwise, product, inner, reduction, function

ELEMENTWISE, PRODUCT, INNER, REDUCTION, FUNCTION = elementwise, product, inner, reduction, function

cdef enum:
    SILENT, WATCHFUL, STRICT    # what of floating-point errors is to be reported: nothing, all but underflow, underflow

cdef Py_ssize_t vectorcall_offset = 0
cdef str OUT = "out", AXIS = "axis", KEEPDIMS = "keepdims", DDOF = "ddof"     # interned, as the names in a call are
cdef tuple ONLY_OUT = (OUT,)
cdef double LARGEST = 3.4028234663852886e38     # of float32
cdef long EXACT = 1 << 24                       # integers up to this are float32 numbers

# NumPy keeps its settings for floating-point errors in a context variable, which has another value for each setting.
cdef object settings = getattr(np._core.umath, "_extobj_contextvar", None)
cdef object last_setting = None
cdef int last_mode = STRICT


cdef int error_mode() except -1:
    """What of floating-point errors NumPy is to report."""
    global last_setting, last_mode
    cdef PyObject* setting = NULL
    if settings is not None:
        PyContextVar_Get(settings, NULL, &setting)
        if setting == <PyObject*>last_setting and setting != NULL:
            Py_XDECREF(setting)
            return last_mode
    errors = np.geterr()
    if errors["under"] != "ignore":
        last_mode = STRICT
    elif all(errors[kind] == "ignore" for kind in ("over", "divide", "invalid")):
        last_mode = SILENT
    else:
        last_mode = WATCHFUL
    if setting != NULL:
        last_setting = <object>setting
        Py_XDECREF(setting)
    return last_mode


cdef inline bint is_float(object value) noexcept:
    """Whether a value is an array, of no subclass, of float32 or float64."""
    cdef int type
    if not PyArray_CheckExact(value):
        return False
    type = cnp.PyArray_TYPE(<cnp.ndarray>value)
    return type == cnp.NPY_FLOAT32 or type == cnp.NPY_FLOAT64


cdef bint is_plain_number(object value, int type) except -1:
    """Whether a value is a Python number that an array's dtype holds as it is or rounded."""
    cdef int overflow = 0
    cdef long integer
    cdef double number
    if PyFloat_CheckExact(value):
        number = fabs(PyFloat_AS_DOUBLE(value))
        return number <= LARGEST or (type == cnp.NPY_FLOAT64 and number - number == 0)
    if PyLong_CheckExact(value):
        integer = PyLong_AsLongAndOverflow(value, &overflow)
        return not overflow and -EXACT <= integer <= EXACT
    return False


cdef object enter(Gate self, PyObject* const* args, size_t flagged, PyObject* names):
    """What the interpreter calls; `names` are those of the last arguments, or NULL."""
    cdef Py_ssize_t n = PyVectorcall_NARGS(flagged)
    cdef object result
    if n >= self.arity and n <= self.most_args:
        if self.kind == elementwise:
            result = self.try_elementwise(args, n, names)
        elif self.kind == reduction:
            result = self.try_reduction(args, n, names)
        elif self.kind == function:
            result = self.try_function(args, n, names)
        else:
            result = self.try_product(args, n, names)
        if result is not None:
            return result
    return PyObject_Vectorcall(self.original, args, flagged, names)


cdef class Gate:
    """A NumPy function, with an op for the calls that are surely the op's.

    Parameters
    ----------
    original : NumPy's function.
    find : gives the op (for kind FUNCTION: what may return NotImplemented) when it is first needed.
    kind : how arguments are looked at.
    arity : array arguments.
    least, most : work from and up to which the op serves, for float32 and for float64.
    freely : work from which an op serves layouts without limit.
    names : keywords that may be given (`out`, `axis`, ...).
    watched : whether floating-point errors are possible.
    placed : whether one more argument may be given by place: `out`, or a reduction's `axis`.
    easy : numbers for which, as second operand, NumPy has a shorter way.
    restore : what pickling stores: a callable and its arguments.
    """

    cdef vectorcallfunc vectorcall
    cdef readonly object original
    cdef object find
    cdef object op
    cdef object restore
    cdef Kind kind
    cdef int arity
    cdef int most_args
    cdef Py_ssize_t[2] _least
    cdef Py_ssize_t[2] _most
    cdef Py_ssize_t lowest
    cdef readonly Py_ssize_t freely
    cdef tuple names
    cdef tuple easy
    cdef bint watched
    cdef bint takes_out
    cdef bint failed
    cdef Layouts layouts

    def __cinit__(self):
        self.vectorcall = <vectorcallfunc>enter
        if vectorcall_offset:
            has_vectorcall(type(self), vectorcall_offset)

    def __init__(self, original, find, kind, arity, least, most, freely, names, watched, placed, easy, restore):
        self.original = original
        self.find = find
        self.kind = kind
        self.arity = arity
        self.names = names
        self.takes_out = OUT in names
        self.most_args = arity + (1 if placed else 0)
        if kind == function:
            self.most_args = 16
        for i in range(2):
            self._least[i] = max(1, least[i])
            self._most[i] = most[i]
        self.lowest = min(self._least[0], self._least[1])
        self.freely = freely
        self.watched = watched
        self.easy = easy or None
        self.restore = restore

    @property
    def least(self):
        return self._least[0], self._least[1]

    @property
    def most(self):
        return self._most[0], self._most[1]

    def __call__(self, *args, **kwargs):
        cdef tuple values = args + tuple(kwargs.values())
        cdef tuple names = tuple(kwargs)
        return enter(self, PySequence_Fast_ITEMS(values), len(args), <PyObject*>names if names else <PyObject*>NULL)

    # -- what decides

    @cython.final
    cdef inline bint pays(self, Py_ssize_t work, int type) noexcept:
        cdef int which = type == cnp.NPY_FLOAT64
        return self._least[which] <= work <= self._most[which]

    @cython.final
    cdef object try_elementwise(self, PyObject* const* args, Py_ssize_t n, PyObject* names):
        """The op's result, or None if the call is NumPy's."""
        cdef cnp.ndarray x, y, target
        cdef PyObject* given[3]
        cdef PyObject* out = NULL
        cdef Signature signature
        cdef Py_ssize_t work
        cdef int type, mode, i
        cdef bint aside = False
        cdef object result
        cdef PyObject* first = args[0]
        if self.arity == 2 and not PyArray_CheckExact(<object>first):
            first = args[1]
        if not is_float(<object>first):
            return None
        x = <cnp.ndarray>first
        work = cnp.PyArray_SIZE(x)
        if self.arity == 2 and first == args[0] and args[1] != first and PyArray_CheckExact(<object>args[1]):
            work = max(work, cnp.PyArray_SIZE(<cnp.ndarray>args[1]))
        if work < self.lowest:
            return None
        type = cnp.PyArray_TYPE(x)
        if not self.pays(work, type):
            return None
        # from here on the call is worth some looking
        for i in range(self.arity):
            if PyArray_CheckExact(<object>args[i]):
                y = <cnp.ndarray>args[i]
                if cnp.PyArray_TYPE(y) != type or cnp.PyArray_NDIM(y) == 0 or not PyArray_ISCARRAY_RO(y):
                    return None
                if not signature.add(y):
                    return None
            elif is_plain_number(<object>args[i], type):
                if self.easy is not None and i == 1 and <object>args[i] in self.easy:
                    return None
                signature.add_word(-2)
            else:
                return None
            given[i] = args[i]
        if n > self.arity:
            out = args[self.arity]
        if names != NULL:
            if out != NULL or PyTuple_GET_SIZE(<tuple>names) != 1:
                return None
            if PyTuple_GET_ITEM(<tuple>names, 0) != <PyObject*>OUT:
                return None
            out = args[n]
        if out == <PyObject*>None:
            out = NULL
        mode = error_mode()
        if mode == STRICT and self.watched:
            return None
        if out != NULL:
            if not self.takes_out or not self.fits(<object>out, type):
                return None
            target = <cnp.ndarray>out
            for i in range(self.arity):
                if PyArray_CheckExact(<object>args[i]) and overlap(<cnp.ndarray>args[i], target):
                    if (self.watched and mode == WATCHFUL) or not in_place(<cnp.ndarray>args[i], target):
                        aside = True
            if not aside:
                signature.add_word(-3)
        if work < self.freely and not self.layouts.admits(signature):
            return None
        given[self.arity] = out
        if not aside:
            return self.serve(given, self.arity, out != NULL, mode)
        # the arguments must stay as they are until it is known that the op serves
        result = self.serve(given, self.arity, False, mode)
        if result is None or not same_shape(<cnp.ndarray>result, target):
            return None
        PyArray_CopyInto(target, <cnp.ndarray>result)
        return target

    @cython.final
    cdef object try_product(self, PyObject* const* args, Py_ssize_t n, PyObject* names):
        """The op's result, or None if the call is NumPy's."""
        cdef cnp.ndarray x, y
        cdef PyObject* given[3]
        cdef PyObject* out = NULL
        cdef Signature signature
        cdef Py_ssize_t work, rows
        cdef int type, mode
        if not is_float(<object>args[0]) or not is_float(<object>args[1]):
            return None
        x, y = <cnp.ndarray>args[0], <cnp.ndarray>args[1]
        type = cnp.PyArray_TYPE(x)
        if cnp.PyArray_TYPE(y) != type or cnp.PyArray_NDIM(x) == 0 or cnp.PyArray_NDIM(y) == 0:
            return None
        if cnp.PyArray_NDIM(x) + cnp.PyArray_NDIM(y) <= 2:
            return None     # a sum of products: NumPy's is as fast, and lengths of vectors vary more than others
        work = cnp.PyArray_SIZE(x)
        if self.kind == inner:
            rows = cnp.PyArray_DIM(x, cnp.PyArray_NDIM(x) - 1)
            work = work // rows * cnp.PyArray_SIZE(y) if rows > 0 else 0
        elif cnp.PyArray_NDIM(y) > 1:
            work *= cnp.PyArray_DIM(y, cnp.PyArray_NDIM(y) - 1)
        if work < self.lowest or not self.pays(work, type):
            return None
        if cnp.PyArray_NDIM(x) > 2 or cnp.PyArray_NDIM(y) > 2:
            if not (PyArray_ISCARRAY_RO(x) and PyArray_ISCARRAY_RO(y)):
                return None     # the result's layout would follow theirs
        elif not (behaved(x) and behaved(y)):
            return None
        if not signature.add(x) or not signature.add(y):
            return None
        if n > 2:
            out = args[2]
        if names != NULL:
            if n > 2 or PyTuple_GET_SIZE(<tuple>names) != 1 or PyTuple_GET_ITEM(<tuple>names, 0) != <PyObject*>OUT:
                return None
            out = args[n]
        if out == <PyObject*>None:
            out = NULL
        mode = error_mode()
        if mode == STRICT and self.watched:
            return None
        if out != NULL:
            if not self.takes_out or not self.fits(<object>out, type):
                return None
            if overlap(x, <cnp.ndarray>out) or overlap(y, <cnp.ndarray>out):
                return None
            signature.add_word(-3)
        if work < self.freely and not self.layouts.admits(signature):
            return None
        given[0], given[1], given[2] = args[0], args[1], out
        return self.serve(given, 2, out != NULL, mode)

    @cython.final
    cdef object try_reduction(self, PyObject* const* args, Py_ssize_t n, PyObject* names):
        """The op's result, or None if the call is NumPy's."""
        cdef cnp.ndarray x
        cdef Signature signature
        cdef Py_ssize_t work
        cdef PyObject* name
        cdef PyObject* value
        cdef int type, mode, i
        if not is_float(<object>args[0]):
            return None
        x = <cnp.ndarray>args[0]
        work = cnp.PyArray_SIZE(x)
        if work < self.lowest:
            return None
        type = cnp.PyArray_TYPE(x)
        if not self.pays(work, type) or cnp.PyArray_NDIM(x) == 0 or not PyArray_ISCARRAY_RO(x):
            return None
        if n == 2 and not is_axis(<object>args[1]):
            return None
        if names != NULL:
            for i in range(PyTuple_GET_SIZE(<tuple>names)):
                name, value = PyTuple_GET_ITEM(<tuple>names, i), args[n + i]
                if <object>name not in self.names:
                    return None
                if name == <PyObject*>AXIS:
                    if n == 2 or not is_axis(<object>value):
                        return None
                elif name == <PyObject*>KEEPDIMS:
                    if not PyBool_Check(<object>value):
                        return None
                elif name != <PyObject*>DDOF or not PyLong_CheckExact(<object>value):
                    return None
        mode = error_mode()
        if mode == STRICT and self.watched:
            return None
        if not signature.add(x) or (work < self.freely and not self.layouts.admits(signature)):
            return None
        return self.served(args, n, names, args, n, names, mode)

    @cython.final
    cdef object try_function(self, PyObject* const* args, Py_ssize_t n, PyObject* names):
        """What the route gives, or None if the call is NumPy's: all arrays among the arguments must be of one dtype."""
        cdef Signature signature
        cdef Py_ssize_t work = 0, total = n
        cdef int type = -1, mode, i
        if names != NULL:
            total += PyTuple_GET_SIZE(<tuple>names)
            for i in range(PyTuple_GET_SIZE(<tuple>names)):
                if <object>PyTuple_GET_ITEM(<tuple>names, i) not in self.names:
                    return None
        for i in range(n):
            if is_float(<object>args[i]):
                if type < 0:
                    type = cnp.PyArray_TYPE(<cnp.ndarray>args[i])
                if cnp.PyArray_TYPE(<cnp.ndarray>args[i]) != type or not behaved(<cnp.ndarray>args[i]):
                    return None
                if not signature.add(<cnp.ndarray>args[i]):
                    return None
                work = max(work, cnp.PyArray_SIZE(<cnp.ndarray>args[i]))
            elif not is_setting(<object>args[i]):
                return None
        for i in range(n, total):
            if not is_setting(<object>args[i]):
                return None
        if type < 0 or not self.pays(work, type):
            return None
        mode = error_mode()
        if mode == STRICT and self.watched:
            return None
        if work < self.freely and not self.layouts.admits(signature):
            return None
        return self.served(args, n, names, args, n, names, mode)

    @cython.final
    cdef bint fits(self, object out, int type):
        """Whether `out` is an array that the op's result may be written to."""
        cdef cnp.ndarray target
        if not PyArray_CheckExact(out):
            return False
        target = <cnp.ndarray>out
        return cnp.PyArray_TYPE(target) == type and PyArray_ISCARRAY_RO(target) and PyArray_ISWRITEABLE(target)

    # -- what is done

    @cython.final
    cdef object serve(self, PyObject** given, Py_ssize_t n, bint with_out, int mode):
        """Call the op on arguments by place, and `out` by name after them."""
        return self.served(given, n, <PyObject*>ONLY_OUT if with_out else NULL,
                           given, n, <PyObject*>ONLY_OUT if with_out else NULL, mode)

    @cython.final
    cdef object served(
        self, PyObject* const* args, Py_ssize_t n, PyObject* names,
        PyObject* const* plain, Py_ssize_t plain_n, PyObject* plain_names, int mode
    ):
        """The op's result as NumPy would give it, None if the call is NumPy's after all."""
        cdef object result
        cdef cnp.ndarray array
        if self.op is None:
            if self.failed:
                return None
            try:
                self.op = self.find()
            except Exception:
                self.failed = True
                return None
        try:
            result = PyObject_Vectorcall(self.op, args, n, names)
        except Exception:
            return None     # NumPy's function says what is wrong, or does it
        if not PyArray_CheckExact(result):
            if result is NotImplemented or (self.watched and mode == WATCHFUL and not isfinite(result)):
                return None
            return result   # a route's scalar
        array = <cnp.ndarray>result
        if self.watched and mode == WATCHFUL and is_float(result):
            if not PyArray_ISCARRAY_RO(array) or not all_finite(array):
                return None
        if cnp.PyArray_NDIM(array) == 0 and names != <PyObject*>ONLY_OUT and self.kind != function:
            return array[()]
        own(array)
        return result

    # -- as NumPy's function

    @property
    def __class__(self):
        return type(self.original)

    @property
    def __doc__(self):
        return self.original.__doc__

    @__doc__.setter
    def __doc__(self, text):
        self.original.__doc__ = text

    @__doc__.deleter
    def __doc__(self):
        del self.original.__doc__

    @property
    def __wrapped__(self):
        return self.original

    def __getattr__(self, name):
        return getattr(self.original, name)

    def __dir__(self):
        return dir(self.original)

    def __repr__(self):
        return repr(self.original)

    def __get__(self, instance, owner):
        # ufuncs do not become methods of a class that has them as attributes; functions do
        if instance is None or not hasattr(type(self.original), "__get__"):
            return self
        return types.MethodType(self, instance)

    def __richcmp__(self, other, int operation):
        if operation != Py_EQ and operation != Py_NE:
            return NotImplemented
        if type(other) is Gate:
            other = (<Gate>other).original
        return (self.original == other) == (operation == Py_EQ)

    def __hash__(self):
        return hash(self.original)

    def __reduce__(self):
        return self.restore

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


cdef inline bint in_place(cnp.ndarray x, cnp.ndarray out):
    """Whether an argument is the very place of the result."""
    return cnp.PyArray_DATA(x) == cnp.PyArray_DATA(out) and same_shape(x, out)


cdef bint is_axis(object value) noexcept:
    """Whether an axis argument is an int, a tuple of ints or None; others are NumPy's to judge."""
    cdef Py_ssize_t i
    if value is None or PyLong_CheckExact(value):
        return True
    if not PyTuple_CheckExact(value):
        return False
    for i in range(PyTuple_GET_SIZE(<tuple>value)):
        if not PyLong_CheckExact(<object>PyTuple_GET_ITEM(<tuple>value, i)):
            return False
    return True


cdef inline bint is_setting(object value) noexcept:
    """Whether an argument is of a type that settings have; what a tuple or list holds is the route's to judge."""
    return (
        value is None or PyUnicode_CheckExact(value) or PyLong_CheckExact(value) or PyFloat_CheckExact(value)
        or PyBool_Check(value) or PyTuple_CheckExact(value) or type(value) is list
    )


cdef Py_ssize_t offset_in(Gate gate):
    return <char*>&gate.vectorcall - <char*><PyObject*>gate


vectorcall_offset = offset_in(Gate(None, None, ELEMENTWISE, 1, (1, 1), (1, 1), 1, (), False, True, (), None))
has_vectorcall(Gate, vectorcall_offset)
