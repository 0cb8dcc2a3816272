# distutils: language = c++
"""What the attributes of an op's calls mean: their normal form, and a number that stands for it in signatures."""

from cpython.ref cimport PyObject
from cpython.tuple cimport PyTuple_GET_SIZE

cdef extern from "Python.h":
    PyObject** PySequence_Fast_ITEMS(object values)
    PyObject* PyTuple_GET_ITEM(object values, Py_ssize_t index)

cdef enum:
    MOST_KNOWN = 1024
    MOST_LATELY = 4

# Types of values that cannot change, so that what is known of them stays true. The type counts: True equals 1.
cdef frozenset PLAIN = frozenset([int, float, bool, str, type(None)])


cdef class Attributes:
    """Remembers the attributes that an op's calls brought.

    An entry is (normal form, number, the attributes as given).

    Parameters
    ----------
    defaults : values of attributes that a call leaves out.
    check : function of a tuple of attributes that gives their normal form, or raises.
    """

    def __init__(self, tuple defaults, check):
        self.defaults = defaults
        self.check = check
        self.known = {}
        self.numbers = {}
        self.lately = []

    cdef tuple find(self, PyObject* const* values):
        """The entry of a call's values, NULL where one is left out. Raises what the check raises."""
        cdef tuple entry = self.recall(values)
        if entry is None:
            entry = self.look_up(gathered(values, self.defaults))
        return entry

    cdef tuple recall(self, PyObject* const* values):
        """The entry of the very same objects, which a loop brings again and again; None where they are others.

        Tuples are made anew by each call that unpacks its arguments; those of the same numbers count as the same.
        """
        cdef tuple entry
        cdef PyObject* given
        cdef Py_ssize_t i, n = PyTuple_GET_SIZE(self.defaults)
        cdef PyObject* const* own
        cdef PyObject* const* defaults = PySequence_Fast_ITEMS(self.defaults)
        for entry in self.lately:
            own = PySequence_Fast_ITEMS(<tuple>entry[2])
            for i in range(n):
                given = defaults[i] if values[i] == NULL else values[i]
                if own[i] != given and not same_numbers(<object>own[i], <object>given):
                    break
            else:
                return entry
        return None

    cdef tuple look_up(self, tuple given):
        """The entry of equal attributes, made if there is none."""
        cdef tuple key = key_of(given), entry
        entry = None if key is None else self.known.get(key)
        if entry is not None:
            entry = (entry[0], entry[1], given)
        else:
            entry = self._make(tuple(self.check(given)), given)
            if key is not None and len(self.known) < MOST_KNOWN:
                self.known[key] = entry
        if key is not None:
            self.lately = [entry, *self.lately[:MOST_LATELY - 1]]
        return entry

    def _make(self, tuple normal, tuple given):
        number = self.numbers.get(normal)
        if number is None:
            if len(self.numbers) >= MOST_KNOWN:
                self.numbers = {}
                self.known = {}
                self.lately = []
            # no number is used twice: a signature that another thread is lowering keeps its meaning
            self.count += 1
            number = self.count
            self.numbers[normal] = number
        return normal, number, given


cdef inline bint same_numbers(object one, object two):
    """Whether both are tuples of the same ints, so far as that is quickly told."""
    cdef Py_ssize_t i, n
    if type(one) is not tuple or type(two) is not tuple:
        return False
    n = PyTuple_GET_SIZE(one)
    if PyTuple_GET_SIZE(two) != n:
        return False
    for i in range(n):
        if PyTuple_GET_ITEM(one, i) != PyTuple_GET_ITEM(two, i):
            # small ints are one object each; what else is the same object is equal
            return False
    return True


cdef tuple key_of(tuple given):
    """By what attributes are remembered; None where they may change, or hide something that may."""
    cdef list types = []
    for value in given:
        if type(value) is tuple:
            if not all([type(v) in PLAIN for v in value]):
                return None
            types.append(tuple([type(v) for v in value]))
        elif type(value) in PLAIN:
            types.append(type(value))
        else:
            return None
    return given, tuple(types)


cdef tuple gathered(PyObject* const* values, tuple defaults):
    """A tuple of values, the default where one is NULL."""
    cdef Py_ssize_t i
    return tuple([defaults[i] if values[i] == NULL else <object>values[i] for i in range(len(defaults))])
