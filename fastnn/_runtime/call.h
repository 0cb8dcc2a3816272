// One call of an op on its way to a recipe: its arguments, and the signature that they make.
#pragma once

#include "layout.h"

#include <cstdint>
#include <cstring>

namespace fastnn {

constexpr int MAX_INPUTS = 16;    // arguments of an op that are arrays
constexpr int MAX_STORAGES = 64;  // of a recipe that runs on a call's own list of addresses
constexpr int MAX_WORDS = 512;    // of a signature

// Everything by which calls of an op differ, apart from addresses and values: words that a recipe is found by. An array
// is a word for type and number of axes, then extent and stride of each axis; other words are negative.
class Signature {
 public:
  static constexpr std::int64_t ABSENT = -1, NUMBER = -2;

  // False, and the array does not count, where kernels cannot read it or no more words fit.
  bool add(PyArrayObject* array) {
    const int ndim = PyArray_NDIM(array);
    if (count + 1 + 2 * ndim > MAX_WORDS - MAX_INPUTS) return false;
    if (!PyArray_ISALIGNED(array) || !PyArray_ISNOTSWAPPED(array)) return false;
    const npy_intp* const shape = PyArray_DIMS(array);
    const npy_intp* const strides = PyArray_STRIDES(array);
    std::int64_t* to = words + count;
    *to++ = std::int64_t{PyArray_TYPE(array)} * 256 + ndim;
    npy_intp all = 0;
    for (int axis = 0; axis < ndim; axis++) {
      *to++ = shape[axis];
      *to++ = strides[axis];
      all |= strides[axis];
    }
    if (!whole_elements(array, all)) return false;
    count = static_cast<int>(to - words);
    return true;
  }

  void add(std::int64_t word) { words[count++] = word; }

  bool equals(const char* bytes, Py_ssize_t size) const {
    return size == bytes_used() && std::memcmp(bytes, words, static_cast<std::size_t>(size)) == 0;
  }

  Py_ssize_t bytes_used() const { return count * static_cast<Py_ssize_t>(sizeof(std::int64_t)); }

  // One of 2^bits. The words are weighed by powers of an odd number (multiplicative hashing), whose products do not
  // wait for one another.
  unsigned slot(int bits) const {
    std::uint64_t sum = 0, weight = 1;
    for (int i = 0; i < count; i++) {
      weight *= 0x9e3779b97f4a7c15u;
      sum += static_cast<std::uint64_t>(words[i]) * weight;
    }
    return static_cast<unsigned>(sum >> (64 - bits));
  }

  int count = 0;
  std::int64_t words[MAX_WORDS];
};

// What an op was given, with its signature. Arrays are held for as long as the call takes: a tensor may be given
// another one meanwhile. A number beside arrays of float32 or float64 stays a number until something asks for an array.
// Inputs are added in order; the signature's first word is the dispatcher's.
class Call {
 public:
  explicit Call() { signature.add(std::int64_t{0}); }
  ~Call() { release(); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // As Signature::add; the array is held.
  bool add(PyObject* given_as, PyArrayObject* array) {
    if (!signature.add(array)) return false;
    Py_INCREF(array);
    next(given_as, reinterpret_cast<PyObject*>(array), PyArray_BYTES(array));
    return true;
  }

  void add_absent() {
    signature.add(Signature::ABSENT);
    next(nullptr, nullptr, nullptr);
  }

  void add_number(PyObject* given_as) {
    signature.add(Signature::NUMBER);
    next(given_as, nullptr, reinterpret_cast<char*>(&numbers[count]));
  }

  bool is_number(int i) const { return arrays[i] == nullptr && bases[i] != nullptr; }

  void set_number(int i, double value) {
    if (type == NPY_FLOAT) {
      numbers[i].single = static_cast<float>(value);
    } else {
      numbers[i].wide = value;
    }
  }

  // Puts an array in the place of a number.
  void replace_number(int i, PyArrayObject* array) {
    Py_INCREF(array);
    arrays[i] = reinterpret_cast<PyObject*>(array);
    bases[i] = PyArray_BYTES(array);
  }

  void clear() {
    release();
    signature.count = 1;
    count = 0;
    type = -1;
    tensors = wants = false;
  }

  Signature signature;
  int count = 0;                        // of the inputs so far
  int type = -1;                        // of those that share one
  bool tensors = false, wants = false;  // whether any is a tensor, and whether one of them requires a gradient
  PyObject* given[MAX_INPUTS];          // borrowed from the caller; NULL where left out
  PyObject* arrays[MAX_INPUTS];         // NULL where left out, or a number
  char* bases[MAX_STORAGES];            // addresses: of the inputs (NULL where left out), then what a recipe adds

 private:
  void next(PyObject* given_as, PyObject* array, char* base) {
    given[count] = given_as;
    arrays[count] = array;
    bases[count++] = base;
  }

  void release() {
    for (int i = 0; i < count; i++) Py_XDECREF(arrays[i]);
  }

  union {
    float single;
    double wide;
  } numbers[MAX_INPUTS];
};

}  // namespace fastnn
