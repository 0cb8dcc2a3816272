// Arrays that own pooled memory. For memory.pyx alone: each extension module that includes pool.h has a pool of its own.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <numpy/arrayobject.h>

#include "pool.h"

#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <unordered_map>

namespace fastnn {

// Lets an array own pooled memory as NumPy's own arrays own theirs, so that it has no base and can be resized: NumPy
// frees memory through the handler that the array names. There is one for each class of the pool, which is all that
// giving a piece back takes. Memory that was resized beyond its class is remembered by address.
class Handlers {
 public:
  // A new reference to the handler's capsule; NULL with an error set where it cannot be made.
  PyObject* of(int size_class) {
    PyObject*& capsule = capsules_[static_cast<std::size_t>(size_class)];
    if (capsule == nullptr) {
      auto* const handler = new PyDataMem_Handler{
          "fastnn", 1, {reinterpret_cast<void*>(static_cast<std::intptr_t>(size_class)), take, take_zeros, resize, give}};
      capsule = PyCapsule_New(handler, "mem_handler", nullptr);  // both live as long as the process
      if (capsule == nullptr) delete handler;
    }
    Py_XINCREF(capsule);
    return capsule;
  }

 private:
  static int class_in(void* context) { return static_cast<int>(reinterpret_cast<std::intptr_t>(context)); }

  static void* take(void*, std::size_t) { return nullptr; }  // new memory never comes through these
  static void* take_zeros(void*, std::size_t, std::size_t) { return nullptr; }

  static int forget(void* address, int size_class) {
    if (moved_count.load(std::memory_order_acquire) == 0) return size_class;
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = moved().find(address);
    if (found == moved().end()) return size_class;
    size_class = found->second;
    moved().erase(found);
    moved_count.fetch_sub(1, std::memory_order_release);
    return size_class;
  }

  static void give(void* context, void* address, std::size_t) {
    if (address != nullptr) pool().give(address, forget(address, class_in(context)));
  }

  static void* resize(void* context, void* address, std::size_t size) {
    const int wanted = Pool::class_of(size);
    void* const made = wanted < 0 ? nullptr : pool().take(wanted);
    if (made == nullptr) return nullptr;
    const int before = forget(address, class_in(context));
    const std::size_t had = Pool::size_of(before);
    std::memcpy(made, address, had < size ? had : size);
    pool().give(address, before);
    const std::lock_guard<std::mutex> lock(mutex);
    moved()[made] = wanted;
    moved_count.fetch_add(1, std::memory_order_release);
    return made;
  }

  static std::unordered_map<void*, int>& moved() {
    static auto* const map = new std::unordered_map<void*, int>;
    return *map;
  }

  inline static std::mutex mutex;
  inline static std::atomic<long> moved_count{0};
  std::array<PyObject*, Pool::kClasses> capsules_{};
};

// Gives an array the piece of memory that it was made with, in place of its base; false with an error set on failure.
inline bool take_over(PyArrayObject* array, Piece& piece) {
  static Handlers* const handlers = new Handlers;
  PyObject* const capsule = handlers->of(piece.size_class);
  if (capsule == nullptr) return false;
  auto* const fields = reinterpret_cast<PyArrayObject_fields*>(array);
  PyObject* const base = fields->base;
  piece.address = nullptr;
  fields->mem_handler = capsule;
  fields->base = nullptr;
  PyArray_ENABLEFLAGS(array, NPY_ARRAY_OWNDATA);
  Py_DECREF(base);
  return true;
}

}  // namespace fastnn
