// Scratch memory: SCRATCH_BYTES for each thread that runs kernels, made at first use and kept until the thread ends.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>

#include "phase.h"

namespace fastnn {

class Scratch {
 public:
  static constexpr std::align_val_t ALIGNMENT{64};

  Scratch() : memory_(operator new(SCRATCH_BYTES, ALIGNMENT, std::nothrow)) {}
  ~Scratch() { operator delete(memory_, ALIGNMENT); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* get() const { return memory_; }

  bool lent = false;  // to a call further up this thread's stack

 private:
  void* memory_;
};

inline Scratch& make_own_scratch() {
  thread_local Scratch own;
  return own;
}

inline Scratch& own_scratch() {
  constinit thread_local Scratch* own = nullptr;  // a thread's objects are looked up by call, and guarded: once is enough
  if (own == nullptr) [[unlikely]] own = &make_own_scratch();
  return *own;
}

// Lends this thread's scratch for the length of a call. A call inside a kernel (which the contract forbids) must not
// overwrite that kernel's scratch, so it gets some of its own. A call must not fail for want of memory either: the
// calls that get none take turns on a reserve.
class ScratchLease {
 public:
  ScratchLease() : own_(own_scratch()), outermost_(!own_.lent), memory_(own_.get()) {
    if (!outermost_) {
      nested_.reset(new (std::nothrow) Scratch);
      memory_ = nested_ ? nested_->get() : nullptr;
    }
    own_.lent = true;
    if (memory_ != nullptr) return;
    reserve_lock_.lock();
    memory_ = reserve_;
  }
  ~ScratchLease() {
    if (memory_ == reserve_) reserve_lock_.unlock();
    if (outermost_) own_.lent = false;
  }
  ScratchLease(const ScratchLease&) = delete;
  ScratchLease& operator=(const ScratchLease&) = delete;

  void* get() const { return memory_; }

 private:
  Scratch& own_;
  bool outermost_;
  void* memory_;
  std::unique_ptr<Scratch> nested_;

  alignas(64) static inline std::byte reserve_[SCRATCH_BYTES];  // zero pages: costs nothing until it is used
  static inline std::recursive_mutex reserve_lock_;
};

}  // namespace fastnn
