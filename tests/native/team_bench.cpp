// What the thread team costs and gains on 2 threads: the figures of docs/decisions/thread-team.md. Not run by the tests.
//
//   g++ -std=c++20 -O3 -march=native -pthread -Ifastnn/_runtime tests/native/team_bench.cpp -o team_bench
//   ./team_bench empty|compute|memory|handover [GAP_US] [force]
//
// One thread and the team take turns in blocks of some milliseconds. On Linux a pair of blocks counts only if other
// processes used less than 15% of a core meanwhile. GAP_US: time between runs that the caller spends on something else.
// force: share phases that are thought too small.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "team.h"

namespace {

using fastnn::now_ns;
using fastnn::Phase;
using std::int64_t;

std::vector<float> data(1 << 20);
int64_t gap_ns = 0;
bool force = false;

void empty(const int64_t*, int64_t, int64_t, void*) {}

// args: dependent multiply-adds of each chunk.
void compute(const int64_t* args, int64_t first, int64_t last, void*) {
  float x = 1;
  for (int64_t i = 0; i < (last - first) * args[0]; i++) {
    x = x * 0.999f + 0.1f;
    asm volatile("" : "+x"(x));
  }
}

// args: elements of each chunk.
void scale(const int64_t* args, int64_t first, int64_t last, void*) {
  for (int64_t i = first * args[0]; i < last * args[0]; i++) data[i] = data[i] * 0.5f + 1.0f;
}

// Seconds that other processes have computed.
double others() {
  std::ifstream stat("/proc/stat");
  std::string name;
  double busy[4] = {};
  stat >> name >> busy[0] >> busy[1] >> busy[2];
  return (busy[0] + busy[1] + busy[2]) / 100 - static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

// Mean nanoseconds of a run with so many threads.
double block(const std::vector<Phase>& phases, int threads, int runs) {
  fastnn::set_num_threads(threads);
  int64_t total = 0;
  for (int i = -30; i < runs; i++) {
    const int64_t idle = now_ns();
    while (now_ns() - idle < gap_ns) {
    }
    const int64_t start = now_ns();
    fastnn::run(phases.data(), static_cast<int>(phases.size()));
    if (i >= 0) total += now_ns() - start;
  }
  return static_cast<double>(total) / runs;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void compare(const std::string& name, std::vector<Phase> phases) {
  double cost = 1e18;
  for (int i = 0; i < 5; i++) cost = std::min(cost, block(phases, 1, 300));
  if (phases.back().work == 0) phases.back().work = static_cast<int64_t>(cost) / static_cast<int64_t>(phases.size());
  if (force) phases.back().work = std::max(phases.back().work, 2 * fastnn::SHARE_NS);
  const int runs = std::max(4, static_cast<int>(1.5e7 / (cost + static_cast<double>(gap_ns))));
  std::vector<double> alone, team, ratio;
  const int64_t until = now_ns() + 10'000'000'000;
  while (ratio.size() < 15 && now_ns() < until) {
    const double before = others();
    const int64_t start = now_ns();
    double one = 0, two = 0;
    for (int i = 0; i < 3; i++) {
      one += block(phases, 1, runs) / 3;
      two += block(phases, 2, runs) / 3;
    }
    if ((others() - before) * 1e9 > 0.15 * static_cast<double>(now_ns() - start)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      continue;
    }
    alone.push_back(one);
    team.push_back(two);
    ratio.push_back(two / one);
  }
  std::printf("%-28s 1 thread %9.3f us, team %9.3f us, ratio %5.2f (%zu quiet pairs)\n", name.c_str(),
              median(alone) / 1e3, median(team) / 1e3, median(ratio), ratio.size());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (argc > 2) gap_ns = std::atoll(argv[2]) * 1000;
  force = argc > 3;
  fastnn::settings.cpus = 2;
  if (mode == "empty") {
    compare("1 chunk", {{empty, nullptr, 1, 1, 0}});
    for (const int64_t chunks : {4, 64, 1000}) {
      compare(std::to_string(chunks) + " empty chunks", {{empty, nullptr, chunks, 2 * fastnn::SHARE_NS, 0}});
    }
  }
  for (const int64_t work : {1, 2, 3, 4, 5, 7, 10, 20, 50, 100, 200}) {
    const int64_t args[] = {work * 50};
    if (mode == "compute") compare("compute, about " + std::to_string(work) + " us", {{compute, args, 8, 0, 0}});
  }
  for (const int64_t kib : {16, 64, 96, 128, 256, 512, 1024, 4096}) {
    const int64_t args[] = {kib * 32};
    const Phase phase{scale, args, 8, 0, 0};
    if (mode == "memory") compare("scale " + std::to_string(kib) + " KiB", {phase});
    // The first of the two stays on the caller, whose cache then holds what the workers need.
    if (mode == "handover") compare("twice " + std::to_string(kib) + " KiB", {phase, phase});
  }
}
