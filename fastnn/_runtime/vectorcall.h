// What an extension type needs to be called by vectorcall (PEP 590) and Cython does not write.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace fastnn {

// What an object's class is called by where it is not called by vectorcall.
inline ternaryfunc call_slot(PyObject* object) { return Py_TYPE(object)->tp_call; }

// Says that a class's instances hold a vectorcallfunc at `offset`. A class that is derived from such a one in Python
// inherits that from 3.12 on only, hence for each class.
inline void has_vectorcall(PyObject* cls, Py_ssize_t offset) {
  auto* const type = reinterpret_cast<PyTypeObject*>(cls);
  if (PyType_HasFeature(type, Py_TPFLAGS_HAVE_VECTORCALL)) return;
  type->tp_vectorcall_offset = offset;
  type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
  PyType_Modified(type);
}

}  // namespace fastnn
