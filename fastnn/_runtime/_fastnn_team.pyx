# distutils: language = c++
"""The thread team (team.h): its C interface for the other modules, and what Python needs of it.

A file name of its own and exported C symbols let threadpoolctl find and steer the team.
"""

import warnings
from typing import NamedTuple

from libc.stdint cimport int64_t, uintptr_t
from libcpp.vector cimport vector

cdef extern from "phase.h" namespace "fastnn" nogil:
    const int64_t _SCRATCH_BYTES "fastnn::SCRATCH_BYTES"
    const int64_t _MAX_CHUNKS "fastnn::MAX_CHUNKS"
    const int _MAX_THREADS "fastnn::MAX_THREADS"

cdef extern from "<atomic>" namespace "std" nogil:
    cdef cppclass atomic[T]:
        T load()
        void store(T)

cdef extern from *:
    """
    #include "team.h"

    #if defined(_WIN32)
    #define FASTNN_EXPORT extern "C" __declspec(dllexport)
    #else
    #define FASTNN_EXPORT extern "C" __attribute__((visibility("default")))
    #endif

    // For threadpoolctl. Its limits are the process's, so a thread's own number does not show here.
    FASTNN_EXPORT int fastnn_team_get_num_threads() {
      return fastnn::settings.threads.load(std::memory_order_relaxed);
    }
    FASTNN_EXPORT void fastnn_team_set_num_threads(int threads) { fastnn::set_num_threads(threads); }
    FASTNN_EXPORT const char* fastnn_team_version() { return "1"; }

    typedef void (*fastnn_on_fewer)(int, int);
    """
    ctypedef void (*on_fewer "fastnn_on_fewer")(int wanted, int got) noexcept nogil

cdef extern from "team.h" namespace "fastnn" nogil:
    cdef cppclass PhaseRecord:
        int64_t tag
        Kernel kernel
        int64_t start_ns
        int64_t end_ns
        int64_t chunks
        vector[int64_t] busy_ns
        vector[int64_t] ran

    cdef cppclass Recorder:
        vector[PhaseRecord] drain(int64_t& dropped)

    cdef cppclass Team:
        @staticmethod
        Team& current()
        int started()
        int64_t wakes()
        Recorder recorder

    cdef cppclass Settings:
        atomic[int] threads
        atomic[int] cpus
        atomic[bint] may_spin
        atomic[bint] recording
        atomic[int] starts_allowed
        atomic[on_fewer] on_fewer

    Settings settings
    int own_threads
    void team_run "fastnn::run"(const Phase* phases, int n) noexcept
    int team_get_num_threads "fastnn::get_num_threads"()
    void team_set_num_threads "fastnn::set_num_threads"(int threads)

SCRATCH_BYTES = _SCRATCH_BYTES
MAX_CHUNKS = _MAX_CHUNKS
MAX_THREADS = _MAX_THREADS


cdef void run(const Phase* phases, int n) noexcept nogil:
    team_run(phases, n)


cdef void _warn_of_fewer(int wanted, int got) noexcept with gil:
    warnings.warn(
        f"fastnn wanted {wanted} threads but the system started only {got} (the calling one included); it goes on "
        "with those. The limit may be RLIMIT_NPROC, the cgroup's pids.max or memory.",
        RuntimeWarning,
        stacklevel=1,
    )


settings.on_fewer.store(_warn_of_fewer)


class PhaseTime(NamedTuple):
    """What one phase took, in nanoseconds of `time.monotonic_ns`; ``busy_ns`` and ``ran`` start with the caller."""

    tag: int
    kernel: int
    start_ns: int
    end_ns: int
    chunks: int
    threads: int
    busy_ns: tuple
    ran: tuple


def run_phase(kernel, args, chunks, work=0, tag=0):
    """Run one phase; see `run_phases`."""
    run_phases([(kernel, args, chunks, work, tag)])


def run_phases(phases, Py_ssize_t repeat=1):
    """Run phases one after the other, the whole list `repeat` times, without the GIL.

    A phase is (kernel's address, C-contiguous int64 array that the kernel gets as its arguments, number of chunks,
    estimated nanoseconds on one thread, tag for the recording).
    """
    cdef vector[Phase] listed
    cdef Phase phase
    cdef const int64_t[::1] args
    cdef Py_ssize_t _
    for kernel, array, chunks, work, tag in phases:
        if not 0 <= chunks <= MAX_CHUNKS:
            raise ValueError(f"chunks must be 0 to {MAX_CHUNKS}, got {chunks}")
        args = array
        phase.kernel = <Kernel><uintptr_t>kernel
        phase.args = &args[0] if args.shape[0] else NULL
        phase.chunks = chunks
        phase.work = work
        phase.tag = tag
        listed.push_back(phase)
    with nogil:
        for _ in range(repeat):
            team_run(listed.data(), <int>listed.size())


def get_num_threads():
    """The number of threads that the calling thread's phases may use."""
    return team_get_num_threads()


def set_num_threads(int threads):
    """Set the process's number of threads."""
    team_set_num_threads(threads)


def get_own_threads():
    """The number of threads that the calling thread has set for itself; 0: none."""
    return own_threads


def set_own_threads(int threads):
    """Set the number of threads for the calling thread alone; 0: the process's."""
    global own_threads
    own_threads = threads


def configure(int cpus, bint may_spin):
    """Tell the team how many CPUs the process may use, and whether waiting threads may spin."""
    settings.cpus.store(cpus)
    settings.may_spin.store(may_spin)


def record(bint on):
    """Switch the recording of phase times on or off."""
    settings.recording.store(on)


def drain():
    """Hand over the phases recorded since the last call, as a list of `PhaseTime`, and how many found no room."""
    cdef int64_t dropped = 0
    cdef vector[PhaseRecord] records = Team.current().recorder.drain(dropped)
    cdef size_t i
    times = []
    for i in range(records.size()):
        busy = tuple(records[i].busy_ns)
        ran = tuple(records[i].ran)
        times.append(
            PhaseTime(
                records[i].tag,
                <uintptr_t>records[i].kernel,
                records[i].start_ns,
                records[i].end_ns,
                records[i].chunks,
                sum(1 for count in ran if count),
                busy,
                ran,
            )
        )
    return times, dropped


def started():
    """Threads of the team that exist, the caller's place included."""
    return Team.current().started()


def wakes():
    """How often a sleeping worker was woken."""
    return Team.current().wakes()


def allow_starts(int count):
    """For tests: let `count` more threads start, as if the system then refused; -1 lifts the limit."""
    settings.starts_allowed.store(count)
