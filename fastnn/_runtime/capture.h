// Whether an array was made by NumPy while this thread's calls were being recorded.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <numpy/arrayobject.h>

#include <cstdlib>

namespace fastnn {

// The handler through which NumPy takes memory while a call is recorded (NEP 49). It does what NumPy's own does; that
// an array names it tells when the array was made.
inline PyObject* recording_handler() {
  static PyDataMem_Handler handler{
      "fastnn_recorded",
      1,
      {nullptr, [](void*, std::size_t size) { return std::malloc(size); },
       [](void*, std::size_t count, std::size_t size) { return std::calloc(count, size); },
       [](void*, void* address, std::size_t size) { return std::realloc(address, size); },
       [](void*, void* address, std::size_t) { std::free(address); }}};
  static PyObject* const capsule = PyCapsule_New(&handler, "mem_handler", nullptr);  // lives as long as the process
  return capsule;
}

// The array that holds the memory of a view.
inline PyObject* owner(PyArrayObject* array) {
  for (;;) {
    PyObject* const base = PyArray_BASE(array);
    if (base == nullptr || !PyArray_Check(base)) return reinterpret_cast<PyObject*>(array);
    array = reinterpret_cast<PyArrayObject*>(base);
  }
}

inline bool made_while_recording(PyArrayObject* array) {
  PyArrayObject* const root = reinterpret_cast<PyArrayObject*>(owner(array));
  return PyArray_CHKFLAGS(root, NPY_ARRAY_OWNDATA) && PyArray_HANDLER(root) == recording_handler();
}

}  // namespace fastnn
