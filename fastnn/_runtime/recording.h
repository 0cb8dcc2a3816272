// What each phase took: kept while recording is on, drained by Python (the profiler stands on it).
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "phase.h"

namespace fastnn {

struct PhaseRecord {
  std::int64_t tag;
  Kernel kernel;
  std::int64_t start_ns, end_ns;      // as the caller saw it, of the monotonic clock
  std::int64_t chunks;
  std::vector<std::int64_t> busy_ns;  // time inside the kernel, for each thread; the caller first
  std::vector<std::int64_t> ran;      // chunks that each thread ran
};

class Recorder {
 public:
  static constexpr std::size_t CAPACITY = std::size_t{1} << 20;  // about 150 MB; later records are dropped, and counted

  // Adds what `make()` returns. Nothing is thrown: a record for which there is no memory is dropped.
  template <class Make>
  void add(Make make) noexcept {
    const std::lock_guard guard(lock_);
    try {
      if (records_.size() < CAPACITY) {
        records_.push_back(make());
        return;
      }
    } catch (...) {
    }
    dropped_++;
  }

  // Hands over the records since the last call; sets `dropped` to the number that found no room.
  std::vector<PhaseRecord> drain(std::int64_t& dropped) {
    const std::lock_guard guard(lock_);
    dropped = std::exchange(dropped_, 0);
    return std::exchange(records_, {});
  }

 private:
  std::mutex lock_;
  std::vector<PhaseRecord> records_;
  std::int64_t dropped_ = 0;
};

}  // namespace fastnn
