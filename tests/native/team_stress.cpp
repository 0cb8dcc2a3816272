// The thread team under stress, for ThreadSanitizer (and AddressSanitizer): compiled and run by test_team.py.
//
// Several callers run short lists of phases of changing width while the number of threads changes. Each phase's
// arguments are freed as soon as `run` returns, and each phase has a kernel and a table of its own: a thread that read
// the descriptor of a phase that is over would touch freed memory, write a wrong value or race with the caller.
//
// usage: team_stress SECONDS
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "team.h"

namespace {

using fastnn::Phase;
using std::int64_t;

// args: address of the int64 results, what to add, extra work. Scratch must be the thread's own.
template <int64_t factor>
void accumulate(const int64_t* args, int64_t first, int64_t last, void* scratch) {
  auto* results = reinterpret_cast<int64_t*>(args[0]);
  auto* own = static_cast<int64_t*>(scratch);
  for (int64_t chunk = first; chunk < last; chunk++) {
    own[chunk % (fastnn::SCRATCH_BYTES / 8)] = factor * (chunk + args[1]);
    for (int64_t i = 0; i < args[2]; i++) fastnn::pause();
    results[chunk] += own[chunk % (fastnn::SCRATCH_BYTES / 8)];
  }
}

constexpr fastnn::Kernel KERNELS[] = {accumulate<1>, accumulate<3>, accumulate<7>};

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

void call(unsigned seed, int64_t until_ns, int64_t& calls) {
  const auto draw = [&seed](unsigned below) { return (seed = seed * 1'664'525u + 1'013'904'223u) / 65'536u % below; };
  for (calls = 0; fastnn::now_ns() < until_ns; calls++) {
    const int n = 1 + static_cast<int>(draw(6));
    const int64_t chunks = draw(50) == 0 ? 20'000 : 1 + draw(40);
    auto results = std::make_unique<int64_t[]>(static_cast<std::size_t>(chunks));
    std::vector<std::unique_ptr<int64_t[]>> args;
    std::vector<Phase> phases;
    int64_t factors = 0, constant = 0;
    for (int i = 0; i < n; i++) {
      const int which = static_cast<int>(draw(3));
      const int64_t factor = which == 0 ? 1 : which == 1 ? 3 : 7;
      args.emplace_back(new int64_t[3]{reinterpret_cast<int64_t>(results.get()), draw(9), draw(8) == 0 ? 20 : 0});
      factors += factor;
      constant += factor * args.back()[1];
      constexpr int64_t WORK[] = {0, 3'000, 20'000, 50'000'000};
      phases.push_back({KERNELS[which], args.back().get(), chunks, WORK[draw(4)], i});
    }
    if (draw(20) == 0) fastnn::set_num_threads(1 + static_cast<int>(draw(8)));
    fastnn::own_threads = draw(4) == 0 ? 1 + static_cast<int>(draw(8)) : 0;
    if (draw(100) == 0) fastnn::settings.recording = !fastnn::settings.recording;
    if (draw(100) == 0) fastnn::settings.may_spin = !fastnn::settings.may_spin;
    if (draw(5) == 0) std::this_thread::sleep_for(std::chrono::microseconds(draw(400)));  // let workers fall asleep
    fastnn::run(phases.data(), n);
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      expect(results[static_cast<std::size_t>(chunk)] == factors * chunk + constant, "every chunk ran once, in order");
    }
  }
}

}  // namespace

int main(int, char** argv) {
  const int64_t until_ns = fastnn::now_ns() + static_cast<int64_t>(std::stod(argv[1]) * 1e9);
  fastnn::settings.cpus = 4;
  fastnn::set_num_threads(4);
  int64_t calls[3] = {};
  std::vector<std::thread> callers;
  for (unsigned i = 0; i < 3; i++) callers.emplace_back(call, i + 1, until_ns, std::ref(calls[i]));
  for (auto& caller : callers) caller.join();
  int64_t dropped = 0;
  for (const auto& record : fastnn::Team::current().recorder.drain(dropped)) {
    int64_t ran = 0;
    for (const int64_t count : record.ran) ran += count;
    expect(ran == record.chunks, "a record accounts for every chunk");
  }
  std::printf("%lld calls, %d threads, %lld wakes\n", static_cast<long long>(calls[0] + calls[1] + calls[2]),
              fastnn::Team::current().started(), static_cast<long long>(fastnn::Team::current().wakes()));
}
