// A pool of 64-byte-aligned memory in size classes.
//
// A block that is given back waits in its class for the next request, so a loop that repeats its shapes takes nothing
// from the system after its first round. Classes are powers of two in four steps, so at most a fifth of a block is
// wasted. What waits is bounded: above the bound a returned block goes to the system.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <vector>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace fastnn {

class Pool {
 public:
  static constexpr std::size_t kAlignment = 64;
  static constexpr int kClasses = 4 * 58;

  // Class of the smallest size that holds nbytes, or -1 where no class does.
  static int class_of(std::size_t nbytes) {
    if (nbytes <= 64) return 0;
    if (nbytes > (std::size_t{1} << 62)) return -1;
    int log = static_cast<int>(std::bit_width(nbytes - 1)) - 1;   // 2^log <= nbytes-1 < 2^(log+1)
    std::size_t quarter = std::size_t{1} << (log - 2);
    int step = static_cast<int>((nbytes - 1 - (std::size_t{1} << log)) / quarter);   // 0..3
    return (log - 6) * 4 + step + 1;
  }
  static std::size_t size_of(int size_class) {
    if (size_class == 0) return 64;
    int log = (size_class - 1) / 4 + 6, step = (size_class - 1) % 4;
    std::size_t base = std::size_t{1} << log;
    std::size_t size = base + (base >> 2) * (step + 1);
    return (size + kAlignment - 1) / kAlignment * kAlignment;
  }

  void* take(int size_class) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      auto& waiting = waiting_[size_class];
      if (!waiting.empty()) {
        void* address = waiting.back();
        waiting.pop_back();
        held_ -= size_of(size_class);
        in_use_ += size_of(size_class);
        return address;
      }
    }
    void* address = ::operator new(size_of(size_class), std::align_val_t{kAlignment}, std::nothrow);
    if (!address) {   // what waits may be enough to make room
      trim();
      address = ::operator new(size_of(size_class), std::align_val_t{kAlignment}, std::nothrow);
      if (!address) return nullptr;
    }
    std::lock_guard<std::mutex> lock(mutex_);
    system_allocations_++;
    in_use_ += size_of(size_class);
    return address;
  }

  void give(void* address, int size_class) noexcept {
    std::size_t size = size_of(size_class);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      in_use_ -= size;
      if (held_ + size <= bound_) {
        try {
          waiting_[size_class].push_back(address);
          held_ += size;
          return;
        } catch (const std::bad_alloc&) {
        }
      }
    }
    ::operator delete(address, std::align_val_t{kAlignment});
  }

  void trim() noexcept {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto& waiting : waiting_) {
      for (void* address : waiting) ::operator delete(address, std::align_val_t{kAlignment});
      waiting.clear();
    }
    held_ = 0;
#if defined(__GLIBC__)
    malloc_trim(0);  // pieces of less than some MB come from the heap, which keeps what lies below the last one in use
#endif
  }

  std::size_t held() const { return held_; }
  std::size_t in_use() const { return in_use_; }
  std::uint64_t system_allocations() const { return system_allocations_; }

 private:
  std::mutex mutex_;
  std::vector<void*> waiting_[kClasses];
  std::size_t held_ = 0, in_use_ = 0;
  std::size_t bound_ = std::size_t{1} << 30;
  std::uint64_t system_allocations_ = 0;
};

// Never destroyed: arrays may outlive the module at interpreter exit.
inline Pool& pool() {
  static Pool* instance = new Pool;
  return *instance;
}

// A piece of the pool's memory; goes back when its owner dies.
struct Piece {
  Piece() = default;
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;
  ~Piece() {
    if (address != nullptr) pool().give(address, size_class);
  }

  void* address = nullptr;
  int size_class = -1;
};

}  // namespace fastnn
