# distutils: language = c++
"""Who listens while a call is recorded (see `fastnn.compilation`).

(a) A thread has one recorder or none. The runtime tells it of every recipe that runs, every array that is made and
    every gradient that is looked at; where there is none, that costs a comparison.
(b) While there is one, NumPy takes the thread's memory through a handler of our own, so that an array which was
    computed outside of fastnn's ops can be told from one that was there before.
(c) The structure counts the changes of modules: attributes, members, modes, hooks.
(d) The updates count how often an optimizer's kernels began to write: who wants to break a training step off learns
    from them whether the parameters are still those of the last one.
"""

cimport numpy as cnp
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport int64_t

from fastnn._runtime.layout cimport Extent, extent

cnp.import_array()

cdef extern from "capture.h" namespace "fastnn":
    PyObject* recording_handler()
    PyObject* owner(cnp.ndarray array)
    bint made_while_recording(cnp.ndarray array)

cdef extern from "numpy/arrayobject.h":
    object PyDataMem_SetHandler(object handler)

cdef extern from *:
    """
    static thread_local PyObject* fastnn_recorder = nullptr;
    static PyObject* fastnn_get_recorder() { return fastnn_recorder; }
    static void fastnn_set_recorder(PyObject* recorder) { fastnn_recorder = recorder; }
    """
    PyObject* fastnn_get_recorder() noexcept nogil
    void fastnn_set_recorder(PyObject* recorder) noexcept nogil

cdef int64_t changes = 0
cdef int64_t updates = 0


cdef PyObject* recorder() noexcept nogil:
    return fastnn_get_recorder()


cdef int64_t structure() noexcept nogil:
    return changes


cdef void note_update() noexcept nogil:
    global updates
    updates += 1


def updates_begun():
    """How often an optimizer began to write parameters so far."""
    return updates


def active():
    """This thread's recorder, or None."""
    cdef PyObject* found = fastnn_get_recorder()
    return None if found == NULL else <object>found


def listen(recorder):
    """Let a recorder (or None) hear of what this thread does from now on; returns what to give to `restore`."""
    cdef PyObject* former = fastnn_get_recorder()
    before = None if former == NULL else <object>former
    handler = None if recorder is None else PyDataMem_SetHandler(<object>recording_handler())
    if recorder is None:
        fastnn_set_recorder(NULL)
    else:
        Py_INCREF(recorder)
        fastnn_set_recorder(<PyObject*>recorder)
    return before, handler


def restore(token):
    """Go back to the recorder that there was before."""
    cdef PyObject* present = fastnn_get_recorder()
    before, handler = token
    if before is None:
        fastnn_set_recorder(NULL)
    else:
        fastnn_set_recorder(<PyObject*>before)
    if handler is not None:
        PyDataMem_SetHandler(handler)
    Py_XDECREF(present)


def computed(function, *arrays):
    """What a function gives for arrays: an array that depends on them alone, its shape and dtype on theirs alone."""
    cdef PyObject* found
    made = function(*arrays)
    found = fastnn_get_recorder()
    if found != NULL:
        (<object>found).computed_by(function, arrays, made)
    return made


def frozen(array):
    """The array; who records this thread's calls hears that it holds the same in every call."""
    cdef PyObject* found = fastnn_get_recorder()
    if found != NULL:
        (<object>found).constant(array)
    return array


def blank(array):
    """The array; who records this thread's calls hears that it is to be written before it is read."""
    cdef PyObject* found = fastnn_get_recorder()
    if found != NULL:
        (<object>found).blank(array)
    return array


def reading(what):
    """Tell who records this thread's calls that a value leaves fastnn."""
    cdef PyObject* found = fastnn_get_recorder()
    if found != NULL:
        (<object>found).read(what)


def made_inside(cnp.ndarray array):
    """Whether NumPy made the array's memory while a call was recorded."""
    return made_while_recording(array)


def holder(cnp.ndarray array):
    """The array that holds the memory of a view; the array itself where it is none."""
    return <object>owner(array)


def address_of(cnp.ndarray array):
    """The address of an array's first element."""
    return <size_t>cnp.PyArray_DATA(array)


def extent_of(cnp.ndarray array):
    """The first byte that an array's elements take, and the one past the last; the same where there are none."""
    cdef Extent own = extent(array)
    return <size_t>own.low, <size_t>own.high


def restructure(module=None, name=None):
    """Say that a module (or its attribute of a name) was changed."""
    global changes
    cdef PyObject* found = fastnn_get_recorder()
    changes += 1
    if found != NULL and name is not None:
        (<object>found).restructured(module, name)


def structure_now():
    """How often modules were changed so far."""
    return changes
