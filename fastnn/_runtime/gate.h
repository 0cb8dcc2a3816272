// What a NumPy function needs that hands some of its calls to an op: see gate.pyx.
#pragma once

#include "call.h"

#include <array>
#include <cstdint>

namespace fastnn {

// ---------------------------------------------------------------------------------------- numbers

// The compiler's lowest x86-64 compares four float32 at a time and no float64; the loader picks what the CPU has.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FASTNN_FOR_EACH_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FASTNN_FOR_EACH_CPU
#endif

FASTNN_FOR_EACH_CPU static bool all_below(const std::uint32_t* values, npy_intp count, std::uint32_t exponent) {
  std::uint32_t found = 0;
  for (npy_intp i = 0; i < count; i++) found |= static_cast<std::uint32_t>((values[i] & exponent) == exponent);
  return found == 0;
}

FASTNN_FOR_EACH_CPU static bool all_below(const std::uint64_t* values, npy_intp count, std::uint64_t exponent) {
  std::uint64_t found = 0;
  for (npy_intp i = 0; i < count; i++) found |= static_cast<std::uint64_t>((values[i] & exponent) == exponent);
  return found == 0;
}

template <class Bits>
bool all_finite(const Bits* values, npy_intp count, Bits exponent) {
  constexpr npy_intp BLOCK = 4096;  // a look at the verdict costs little beside this many elements
  for (npy_intp i = 0; i < count; i += BLOCK) {
    if (!all_below(values + i, count - i < BLOCK ? count - i : BLOCK, exponent)) return false;
  }
  return true;
}

// Whether an array of float32 or float64 that lies side by side holds neither infinities nor NaNs.
inline bool all_finite(PyArrayObject* array) {
  const void* const data = PyArray_DATA(array);
  const npy_intp count = PyArray_SIZE(array);
  if (PyArray_TYPE(array) == NPY_FLOAT) {
    return all_finite(static_cast<const std::uint32_t*>(data), count, std::uint32_t{0x7f800000});
  }
  return all_finite(static_cast<const std::uint64_t*>(data), count, std::uint64_t{0x7ff0000000000000});
}

inline bool overlap(PyArrayObject* x, PyArrayObject* y) {
  const Extent a = extent(x), b = extent(y);
  return a.low < b.high && b.low < a.high;
}

// ---------------------------------------------------------------------------------------- layouts

// The first layouts of small arguments that came, and no others. A layout's recipe takes as long to make as hundreds of
// small calls: a loop whose shapes never recur must not make one each time. A layout's answer never changes.
class Layouts {
 public:
  static constexpr int MOST = 128;

  bool admits(const Signature& signature) {
    const std::uint64_t hash = hashed(signature) | 1;  // 0 marks a free place
    for (std::size_t place = hash >> 32; ; place++) {
      std::uint64_t& here = places_[place % places_.size()];
      if (here == hash) return true;
      if (here != 0) continue;
      if (count_ == MOST) return false;
      count_++;
      here = hash;
      return true;
    }
  }

 private:
  static std::uint64_t hashed(const Signature& signature) {
    std::uint64_t sum = 0;
    for (int i = 0; i < signature.count; i++) {
      sum = (sum ^ static_cast<std::uint64_t>(signature.words[i])) * 0x9e3779b97f4a7c15u;
      sum ^= sum >> 29;
    }
    return sum;
  }

  std::array<std::uint64_t, 4 * MOST> places_{};
  int count_ = 0;
};

}  // namespace fastnn
