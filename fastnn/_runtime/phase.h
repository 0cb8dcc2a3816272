// What a kernel is and what a phase is: the only C++ that every extension module of the runtime shares.
// The team itself (team.h) is compiled into `_fastnn_team` alone; the other modules reach it through cimport.
#pragma once

#include <cstdint>

namespace fastnn {

constexpr std::int64_t SCRATCH_BYTES = std::int64_t{1} << 20;
constexpr std::int64_t MAX_CHUNKS = 65'535;  // a thread's word has 16 bits for them
constexpr int MAX_THREADS = 1'024;

// Runs chunks first to last - 1. `scratch` is SCRATCH_BYTES, 64-byte aligned, and belongs to the calling thread.
using Kernel = void (*)(const std::int64_t* args, std::int64_t first, std::int64_t last, void* scratch);

struct Phase {
  Kernel kernel;
  const std::int64_t* args;
  std::int64_t chunks;  // more than MAX_CHUNKS, or fewer than two: the caller runs them alone
  std::int64_t work;    // estimated nanoseconds on one thread; 0 (unknown) counts as too small to share
  std::int64_t tag;     // whatever the recording shall carry along
};

}  // namespace fastnn
