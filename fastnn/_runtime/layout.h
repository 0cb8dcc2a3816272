// What of an array's layout decides how an op treats it. Everything here looks at the array's header alone.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <numpy/arrayobject.h>

#include <algorithm>

namespace fastnn {

// Whether an array's strides are those of whole elements; `all` is all of them, or'ed together.
inline bool whole_elements(PyArrayObject* array, npy_intp all) {
  const npy_intp size = PyArray_ITEMSIZE(array);
  if ((size & (size - 1)) == 0) return size != 0 && (all & (size - 1)) == 0;  // nearly always; dividing takes longer
  const npy_intp* const strides = PyArray_STRIDES(array);
  return std::all_of(strides, strides + PyArray_NDIM(array), [size](npy_intp stride) { return stride % size == 0; });
}

// Whether kernels can read the elements where they lie: aligned, native byte order, strides of whole elements.
inline bool behaved(PyArrayObject* array) {
  npy_intp all = 0;
  for (int axis = 0; axis < PyArray_NDIM(array); axis++) all |= PyArray_STRIDE(array, axis);
  return PyArray_ISALIGNED(array) && PyArray_ISNOTSWAPPED(array) && whole_elements(array, all);
}

// The first byte that the elements take, and the one past the last; equal where there are none.
struct Extent {
  char* low;
  char* high;
};

inline Extent extent(PyArrayObject* array) {
  char* const data = PyArray_BYTES(array);
  Extent found{data, data};
  if (PyArray_SIZE(array) == 0) return found;
  for (int axis = 0; axis < PyArray_NDIM(array); axis++) {
    const npy_intp reach = (PyArray_DIM(array, axis) - 1) * PyArray_STRIDE(array, axis);
    (reach < 0 ? found.low : found.high) += reach;
  }
  found.high += PyArray_ITEMSIZE(array);
  return found;
}

inline bool same_shape(PyArrayObject* x, PyArrayObject* y) {
  return PyArray_NDIM(x) == PyArray_NDIM(y) &&
         std::equal(PyArray_DIMS(x), PyArray_DIMS(x) + PyArray_NDIM(x), PyArray_DIMS(y));
}

// Whether two arrays of one shape and dtype lie alike; axes of length 1 do not count.
inline bool same_strides(PyArrayObject* x, PyArrayObject* y) {
  if (PyArray_TYPE(x) != PyArray_TYPE(y) || PyArray_NDIM(x) != PyArray_NDIM(y)) return false;
  for (int axis = 0; axis < PyArray_NDIM(x); axis++) {
    if (PyArray_DIM(x, axis) != 1 && PyArray_STRIDE(x, axis) != PyArray_STRIDE(y, axis)) return false;
  }
  return true;
}

}  // namespace fastnn
