// Waiting by spinning: the pause instruction, the clock, and a spin that ends after a given time.
#pragma once

#include <chrono>
#include <cstdint>

#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
#include <intrin.h>
#endif

namespace fastnn {

// Tells the core that this is a spin loop: it saves power and leaves the core's other hardware thread alone.
inline void pause() {
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
  _mm_pause();
#elif defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` is a no-op on most cores; an `isb` takes about as long as x86's pause
#elif defined(__GNUC__)
  asm volatile("" ::: "memory");
#endif
}

// Nanoseconds of the monotonic clock; on Linux and macOS the same as Python's time.monotonic_ns().
inline std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Spins until `ready()` holds or `limit_ns` have passed; returns whether it holds.
template <class Ready>
bool spin(std::int64_t limit_ns, Ready ready) {
  if (ready()) return true;
  if (limit_ns <= 0) return false;
  const std::int64_t start = now_ns();
  do {
    for (int i = 0; i < 16; i++) {  // a look at the clock costs as much as a pause or less: rarely, but not too rarely
      pause();
      if (ready()) return true;
    }
  } while (now_ns() - start < limit_ns);
  return false;
}

}  // namespace fastnn
