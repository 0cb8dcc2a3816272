// The thread team: persistent threads that claim the chunks of a phase. See design.md's "Team".
//
// A. A seat is one thread's place: seat 0 is the caller's, the others belong to workers. A phase is shared over `width`
//    seats; seat i's share is chunks [chunks*i/width, chunks*(i+1)/width), the same share for the same data in every
//    phase, so that what a core has in its cache stays useful. A thread takes from its own share first, then from others'.
// B. A seat's word is 48 bits of epoch (the phase's number, which never recurs) and 16 bits of chunks of its share that
//    nobody has claimed yet. The caller opens a phase by storing the words; a claim is one compare-exchange that lowers
//    the count. The exchange looks at the word alone. Its success proves that the phase is open and stays open until the
//    claimed chunks are reported done, because the caller waits for them: only then is the phase's descriptor read. A
//    thread that was preempted between load and exchange finds another epoch, or no chunks left, and has read nothing.
//    Word, descriptor and count of unfinished chunks share a cache line, which is all that two threads need to exchange.
// C. The caller claims chunks too, until none are left, and then waits for those that others have claimed. So a worker
//    that sleeps, or that the system has put aside, delays nothing but a chunk it holds, and no wake-up can be lost that
//    anyone waits for: waking workers is a question of speed alone.
// D. One caller at a time has the team (`enter`); another one does not wait but runs its chunks alone.
// E. A team is never destroyed. Workers end with the process; a forked child forgets the inherited team and builds its
//    own; fewer threads means narrower phases, and the workers beyond them sleep.
// F. Idle workers spin for the next phase, each on its own word, and then sleep. Waking one costs the caller more than a
//    small phase takes, so sleepers are woken (and workers started) only for work that pays: of the rest of the run, and
//    of runs that came shortly before.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#define FASTNN_POSIX 1
#endif

#include "phase.h"
#include "recording.h"
#include "scratch.h"
#include "spin.h"

namespace fastnn {

// Nanoseconds, measured: docs/decisions/thread-team.md.
constexpr std::int64_t SHARE_NS = 2'000;       // work that a thread must bring to a phase to take part in it
constexpr std::int64_t CLAIM_NS = 1'000;       // work that one claim takes, at least, where a share has it
constexpr std::int64_t WAKE_NS = 100'000;      // work that must be at hand for each thread that is woken or started
constexpr std::int64_t IDLE_NS = 200'000;      // how long a worker spins for the next phase before it sleeps
constexpr std::int64_t FINISH_NS = 500'000;    // how long the caller spins for the last chunks before it sleeps

struct Settings {
  std::atomic<int> threads{1};            // for callers that set no number of their own
  std::atomic<int> cpus{1};               // that this process may use: workers beyond them do not spin
  std::atomic<bool> may_spin{true};       // false under a CPU quota, which spinning would use up
  std::atomic<bool> recording{false};
  std::atomic<int> starts_allowed{-1};    // tests: how many more threads can be started; -1: no limit
  std::atomic<void (*)(int wanted, int got)> on_fewer{nullptr};  // told, once, that threads could not be started
};
inline Settings settings;

// The calling thread's own number of threads (`with fastnn.threads(n)`); 0: the process's.
inline thread_local int own_threads = 0;

// How many threads a phase keeps busy, of those allowed.
inline int useful_threads(const Phase& phase, int threads) {
  if (phase.chunks > MAX_CHUNKS) return 1;
  return static_cast<int>(std::min<std::int64_t>({threads, phase.chunks, phase.work / SHARE_NS}));
}

class Team {
 public:
  static Team& current();

  bool enter() { return !busy_.load(std::memory_order_relaxed) && !busy_.exchange(true, std::memory_order_acquire); }
  void leave() { busy_.store(false, std::memory_order_release); }

  // Runs phases[i] on `width` threads, of a run of n phases on up to `threads`; false (and nothing done) where the
  // workers sleep and waking them does not pay. Only between enter and leave.
  bool share(const Phase* phases, int i, int n, int threads, int width, void* scratch, bool timed);

  // The most threads that can be had, known since a start has failed.
  int limit() const { return limit_.load(std::memory_order_relaxed); }
  void retry_starts() { limit_.store(MAX_THREADS, std::memory_order_relaxed); }
  int started() const { return started_.load(std::memory_order_relaxed); }
  std::int64_t wakes() const { return wakes_.load(std::memory_order_relaxed); }

  Recorder recorder;

 private:
  struct alignas(64) Seat {
    std::atomic<std::uint64_t> word{0};
    std::atomic<std::uint32_t> unfinished{0};  // chunks of the share that are not reported done; CALLER_ASLEEP
    std::atomic<std::uint32_t> grain{1};       // chunks that a claim takes
    // The open phase: written by the caller while nobody can hold a claim, read by those who do.
    Kernel kernel = nullptr;
    const std::int64_t* args = nullptr;
    std::int32_t end = 0;  // the share's last chunk + 1
    bool timed = false;

    alignas(64) std::atomic<std::uint32_t> asleep{0};
    std::int64_t busy_ns = 0, ran = 0;  // written by the seat's thread while it holds a claim of a timed phase
  };
  struct Claim {
    std::uint32_t left, take;  // chunks of the share that were unclaimed before, and how many of them are now claimed
  };
  struct Crew {
    int awake, to_raise;
  };
  static constexpr std::uint64_t LEFT = 0xffff;
  static constexpr std::uint32_t CALLER_ASLEEP = std::uint32_t{1} << 31;

  static bool claim(Seat& from, Claim& claimed);
  static void execute(Seat& mine, Seat& from, const Claim& claimed, void* scratch);
  static void work_through(Seat& mine, Seat& from, void* scratch);
  void work(int me, void* scratch);
  void serve(int me, const Scratch& scratch);
  bool start();
  Crew muster(const Phase* phases, int i, int n, int threads, int width);
  void raise(int count, int width);
  void open(const Phase& phase, int width, bool timed);
  void wait_for_claimed(int width);
  void record(const Phase& phase, int width, std::int64_t start_ns);

  alignas(64) std::atomic<int> width_{1};  // of the latest phase: where idle threads look for chunks
  alignas(64) std::atomic<bool> busy_{false};
  std::uint64_t epoch_ = 0;
  std::int64_t owed_ = 0, last_ns_ = 0;  // work done lately that workers could have shared, and when it was done
  std::atomic<int> started_{1}, limit_{MAX_THREADS};
  std::atomic<std::int64_t> wakes_{0};
  std::array<Seat, MAX_THREADS> seats_;
};

inline bool Team::claim(Seat& from, Claim& claimed) {
  std::uint64_t seen = from.word.load(std::memory_order_acquire);
  while (const auto left = static_cast<std::uint32_t>(seen & LEFT)) {
    const std::uint32_t take = std::min(left, from.grain.load(std::memory_order_relaxed));
    if (from.word.compare_exchange_weak(seen, seen - take, std::memory_order_acq_rel, std::memory_order_acquire)) {
      claimed = {left, take};
      return true;
    }
  }
  return false;
}

// Runs claimed chunks and reports them; with the report the claim ends, and the phase may be over.
inline void Team::execute(Seat& mine, Seat& from, const Claim& claimed, void* scratch) {
  const std::int64_t first = from.end - static_cast<std::int64_t>(claimed.left), last = first + claimed.take;
  if (!from.timed) {
    from.kernel(from.args, first, last, scratch);
  } else {
    const std::int64_t start = now_ns();
    from.kernel(from.args, first, last, scratch);
    mine.busy_ns += now_ns() - start;
    mine.ran += claimed.take;
  }
  if (from.unfinished.fetch_sub(claimed.take, std::memory_order_acq_rel) - claimed.take == CALLER_ASLEEP) {
    from.unfinished.notify_one();
  }
}

inline void Team::work_through(Seat& mine, Seat& from, void* scratch) {
  for (Claim claimed; claim(from, claimed);) execute(mine, from, claimed, scratch);
}

// Runs chunks, of the thread's own share first, until all that it has come across are claimed.
inline void Team::work(int me, void* scratch) {
  work_through(seats_[me], seats_[me], scratch);
  const int width = width_.load(std::memory_order_relaxed);
  if (me >= width) return;  // the phase is not meant to have so many threads
  for (int from = me + 1; from < width; from++) work_through(seats_[me], seats_[from], scratch);
  for (int from = 0; from < me; from++) work_through(seats_[me], seats_[from], scratch);
}

inline bool Team::share(const Phase* phases, int i, int n, int threads, int width, void* scratch, bool timed) {
  const Crew crew = muster(phases, i, n, threads, width);
  if (crew.awake + crew.to_raise == 0) return false;
  const std::int64_t start = timed ? now_ns() : 0;
  open(phases[i], width, timed);
  if (crew.to_raise > 0) raise(crew.to_raise, width);
  work(0, scratch);
  wait_for_claimed(width);
  if (timed) record(phases[i], width, start);
  return true;
}

inline void Team::open(const Phase& phase, int width, bool timed) {
  const auto grain = std::clamp<std::int64_t>(CLAIM_NS * phase.chunks / phase.work, 1, phase.chunks);
  width_.store(width, std::memory_order_relaxed);
  epoch_++;
  auto end = static_cast<std::int32_t>(phase.chunks);
  for (int i = width - 1; i >= 0; i--) {
    const auto begin = static_cast<std::int32_t>(phase.chunks * i / width);
    const auto share = static_cast<std::uint32_t>(end - begin);
    Seat& seat = seats_[i];
    seat.kernel = phase.kernel;
    seat.args = phase.args;
    seat.end = end;
    seat.timed = timed;
    seat.grain.store(static_cast<std::uint32_t>(grain), std::memory_order_relaxed);
    seat.unfinished.store(share, std::memory_order_relaxed);
    seat.word.store(epoch_ << 16 | share, std::memory_order_release);
    end = begin;
  }
}

inline void Team::wait_for_claimed(int width) {
  const bool spare = settings.may_spin.load(std::memory_order_relaxed) &&
                     width <= settings.cpus.load(std::memory_order_relaxed);
  for (int i = 0; i < width; i++) {
    std::atomic<std::uint32_t>& unfinished = seats_[i].unfinished;
    const auto finished = [&unfinished] { return unfinished.load(std::memory_order_acquire) == 0; };
    if (spin(spare ? FINISH_NS : FINISH_NS / 50, finished)) continue;
    std::uint32_t seen = unfinished.fetch_or(CALLER_ASLEEP, std::memory_order_acq_rel) | CALLER_ASLEEP;
    while (seen != CALLER_ASLEEP) {
      unfinished.wait(seen, std::memory_order_acquire);
      seen = unfinished.load(std::memory_order_acquire);
    }
  }
}

// Counts the phase's workers that are awake, and how many others the work at hand pays for.
inline Team::Crew Team::muster(const Phase* phases, int i, int n, int threads, int width) {
  const int started = std::min(this->started(), width);
  int awake = 0;
  for (int seat = 1; seat < started; seat++) awake += !seats_[seat].asleep.load(std::memory_order_relaxed);
  if (awake == width - 1) return {awake, 0};

  const std::int64_t enough = WAKE_NS * width, work = std::min(phases[i].work, enough);
  std::int64_t at_hand = work;
  if (settings.may_spin.load(std::memory_order_relaxed)) {
    // Workers that are woken stay awake for the rest of this run, and for the next runs if they come soon.
    for (int later = i + 1; later < n && at_hand < enough; later++) {
      if (useful_threads(phases[later], threads) > 1) at_hand += std::min(phases[later].work, enough);
    }
    const std::int64_t now = now_ns();
    if (now - last_ns_ > IDLE_NS) owed_ = 0;
    at_hand += owed_;
    owed_ = at_hand >= WAKE_NS ? 0 : owed_ + work;
    last_ns_ = now + work;
  }
  return {awake, static_cast<int>(std::min<std::int64_t>(width - 1 - awake, at_hand / WAKE_NS))};
}

// Wakes or starts `count` of the open phase's workers.
inline void Team::raise(int count, int width) {
  for (int seat = 1; seat < width && count > 0; seat++) {
    if (seat >= started()) {
      if (!start()) return;
      count--;
    } else if (seats_[seat].asleep.load(std::memory_order_relaxed) &&
               seats_[seat].asleep.exchange(0, std::memory_order_seq_cst)) {
      seats_[seat].asleep.notify_one();
      wakes_.fetch_add(1, std::memory_order_relaxed);
      count--;
    }
  }
}

// A worker's life.
inline void Team::serve(int me, const Scratch& scratch) {
  Seat& mine = seats_[me];
  const auto called = [&mine] { return (mine.word.load(std::memory_order_acquire) & LEFT) != 0; };
  for (;;) {
    work(me, scratch.get());
    const bool spare = settings.may_spin.load(std::memory_order_relaxed) &&
                       me < settings.cpus.load(std::memory_order_relaxed);
    if (!spin(spare ? IDLE_NS : 0, called)) {
      mine.asleep.store(1, std::memory_order_seq_cst);
      if (!called()) mine.asleep.wait(1, std::memory_order_seq_cst);
      mine.asleep.store(0, std::memory_order_relaxed);
    }
  }
}

// Starts the next worker. Signals are the business of Python's threads: workers block all but those of a fault.
inline bool Team::start() {
  const int me = started();
  if (me >= limit()) return false;
#ifdef FASTNN_POSIX
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&blocked, fault);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
#endif
  bool running = false;
  try {
    auto scratch = std::make_unique<Scratch>();
    const int allowed = settings.starts_allowed.load(std::memory_order_relaxed);
    if (scratch->get() != nullptr && allowed != 0) {
      std::thread([this, me, scratch = std::move(scratch)] { serve(me, *scratch); }).detach();
      settings.starts_allowed.store(std::max(allowed - 1, -1), std::memory_order_relaxed);
      running = true;
    }
  } catch (...) {  // no thread or no memory: fewer threads
  }
#ifdef FASTNN_POSIX
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
  if (running) {
    started_.store(me + 1, std::memory_order_relaxed);
  } else {
    limit_.store(me, std::memory_order_relaxed);
  }
  return running;
}

inline void Team::record(const Phase& phase, int width, std::int64_t start_ns) {
  const std::int64_t end_ns = now_ns();
  recorder.add([&] {
    PhaseRecord made{phase.tag, phase.kernel, start_ns, end_ns, phase.chunks, {}, {}};
    for (int seat = 0; seat < started(); seat++) {  // a worker may have come from a wider phase just before
      if (seat >= width && seats_[seat].ran == 0) continue;
      made.busy_ns.push_back(std::exchange(seats_[seat].busy_ns, 0));
      made.ran.push_back(std::exchange(seats_[seat].ran, 0));
    }
    return made;
  });
}

inline Team& Team::current() {
  static std::atomic<Team*> team{nullptr};
#ifdef FASTNN_POSIX
  // A child has none of its parent's workers, and another thread may have had the team when the process forked.
  [[maybe_unused]] static const int registered =
      pthread_atfork(nullptr, nullptr, [] { team.store(nullptr, std::memory_order_relaxed); });
#endif
  Team* found = team.load(std::memory_order_acquire);
  if (found == nullptr) {
    Team* made = new Team;
    if (team.compare_exchange_strong(found, made, std::memory_order_acq_rel)) return *made;
    delete made;
  }
  return *found;
}

inline int get_num_threads() {
  const int wanted = own_threads != 0 ? own_threads : settings.threads.load(std::memory_order_relaxed);
  return std::min(wanted, Team::current().limit());
}

// Sets the process's number of threads, 1 to MAX_THREADS. It takes effect with the next phase, and never ends a thread.
inline void set_num_threads(int threads) {
  settings.threads.store(std::clamp(threads, 1, MAX_THREADS), std::memory_order_relaxed);
  Team::current().retry_starts();
}

inline void run_alone(const Phase& phase, void* scratch, bool timed) {
  const std::int64_t start = timed ? now_ns() : 0;
  phase.kernel(phase.args, 0, phase.chunks, scratch);
  if (!timed) return;
  const std::int64_t end = now_ns();
  Team::current().recorder.add(
      [&] { return PhaseRecord{phase.tag, phase.kernel, start, end, phase.chunks, {end - start}, {phase.chunks}}; });
}

// Whether a phase keeps one thread busy at most, however many there are.
inline bool runs_alone(const Phase& phase) {
  return phase.chunks < 2 || phase.chunks > MAX_CHUNKS || phase.work < 2 * SHARE_NS;
}

// Runs the phases with the team, where it is free and they are large enough.
inline void run_shared(const Phase* phases, int n, void* scratch, bool timed) noexcept {
  Team& team = Team::current();
  const int limit = team.limit();
  const int threads = get_num_threads();
  bool entered = false;
  for (int i = 0; i < n; i++) {
    const int width = useful_threads(phases[i], threads);
    if (width > 1 && (entered || (entered = team.enter())) &&
        team.share(phases, i, n, threads, width, scratch, timed)) {
      continue;
    }
    if (phases[i].chunks > 0) run_alone(phases[i], scratch, timed);
  }
  if (entered) team.leave();
  if (team.limit() < limit) {
    static std::atomic<bool> told{false};
    const auto tell = settings.on_fewer.load(std::memory_order_acquire);
    if (tell != nullptr && !told.exchange(true)) tell(threads, team.limit());
  }
}

// Runs the phases one after the other; returns when the last is done. From any thread, without the GIL; no exception
// leaves it. Kernels must not call it (if one does, its chunks run alone).
inline void run(const Phase* phases, int n) noexcept {
  const bool timed = settings.recording.load(std::memory_order_relaxed);
  const ScratchLease scratch;
  for (int i = 0; i < n; i++) {
    if (!runs_alone(phases[i])) {
      run_shared(phases + i, n - i, scratch.get(), timed);
      return;
    }
    // small calls come here often: they touch nothing of the team's
    if (phases[i].chunks > 0) run_alone(phases[i], scratch.get(), timed);
  }
}

}  // namespace fastnn
