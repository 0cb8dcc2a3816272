// Kernels for test_team.py, compiled by it. args are addresses and sizes, as the kernel contract has it.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>

#include "phase.h"

using std::int64_t;

namespace {

int64_t* address(int64_t value) { return reinterpret_cast<int64_t*>(value); }

// Different for any two threads that live at the same time.
int64_t this_thread() {
  static thread_local char place;
  return reinterpret_cast<int64_t>(&place);
}

}  // namespace

extern "C" {

// args: out. out[chunk] += chunk + 1
void count_up(const int64_t* args, int64_t first, int64_t last, void*) {
  for (int64_t chunk = first; chunk < last; chunk++) address(args[0])[chunk] += chunk + 1;
}

// args: in, out, chunks. out[chunk] = in[chunk] * 3 + in[chunks - 1 - chunk]: reads what other threads have written.
void mix(const int64_t* args, int64_t first, int64_t last, void*) {
  const int64_t *in = address(args[0]), chunks = args[2];
  for (int64_t chunk = first; chunk < last; chunk++) {
    const auto sum = static_cast<std::uint64_t>(in[chunk]) * 3 + static_cast<std::uint64_t>(in[chunks - 1 - chunk]);
    address(args[1])[chunk] = static_cast<int64_t>(sum);
  }
}

// args: nanoseconds that each chunk takes.
void dawdle(const int64_t* args, int64_t first, int64_t last, void*) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(args[0] * (last - first));
  while (std::chrono::steady_clock::now() < end) {
  }
}

// args: counter, threads, thread of each chunk, scratch of each chunk. A chunk does not end before `threads` chunks have
// begun (or 10 s have passed): so each of that many threads runs exactly one.
void meet(const int64_t* args, int64_t first, int64_t last, void* scratch) {
  auto* begun = reinterpret_cast<std::atomic<int64_t>*>(args[0]);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (int64_t chunk = first; chunk < last; chunk++) {
    address(args[2])[chunk] = this_thread();
    address(args[3])[chunk] = reinterpret_cast<int64_t>(scratch);
    std::memset(scratch, 1, fastnn::SCRATCH_BYTES);
    begun->fetch_add(1);
    while (begun->load() < args[1] && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  }
}

// args: address of fastnn's `run`, out, number of failures. Misuse: a kernel that runs a phase of its own.
void nested(const int64_t* args, int64_t first, int64_t last, void* scratch) {
  const auto run = reinterpret_cast<void (*)(const fastnn::Phase*, int)>(args[0]);
  for (int64_t chunk = first; chunk < last; chunk++) {
    std::memset(scratch, 7, fastnn::SCRATCH_BYTES);
    std::atomic<int64_t> begun{0};
    int64_t threads[4], scratches[4];
    const int64_t inner[] = {reinterpret_cast<int64_t>(&begun), 1, reinterpret_cast<int64_t>(threads),
                             reinterpret_cast<int64_t>(scratches)};
    const fastnn::Phase phase{meet, inner, 4, 100'000'000, 0};
    run(&phase, 1);
    for (int64_t i = 0; i < fastnn::SCRATCH_BYTES; i++) {
      if (static_cast<char*>(scratch)[i] != 7) {
        reinterpret_cast<std::atomic<int64_t>*>(args[2])->fetch_add(1);
        break;
      }
    }
    address(args[1])[chunk] += begun.load();
  }
}
}
