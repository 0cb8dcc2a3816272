"""One call of an op on its way to a recipe: see call.h."""

cimport numpy as cnp
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

cdef extern from "call.h" namespace "fastnn" nogil:
    enum:
        MAX_INPUTS "fastnn::MAX_INPUTS"
        MAX_STORAGES "fastnn::MAX_STORAGES"
        MAX_WORDS "fastnn::MAX_WORDS"

    cdef cppclass Signature:
        bint add(cnp.ndarray array)
        void add_word "add"(int64_t word)
        bint equals(const char* bytes, Py_ssize_t size) const
        Py_ssize_t bytes_used() const
        unsigned slot(int bits) const
        int count
        int64_t* words

    cdef cppclass Call:
        bint add(PyObject* given, cnp.ndarray array)
        void add_absent()
        void add_number(PyObject* given)
        bint is_number(int i)
        void set_number(int i, double value)
        void replace_number(int i, cnp.ndarray array)
        void clear()
        Signature signature
        int count
        int type
        bint tensors
        bint wants
        PyObject** given
        PyObject** arrays
        char** bases
