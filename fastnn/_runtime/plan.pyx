# distutils: language = c++
"""A recorded call, ready to be repeated.

(a) A plan holds the phases of a call with their arguments filled in: addresses in its arena and of arrays that existed
    before the call stay from replay to replay. What may lie elsewhere each time has a slot: the call's own arrays, the
    results, and gradients. A replay writes the addresses of slots that have moved, and hands the phases to the team.
(b) Before that it looks whether what it was recorded with still holds: the tensors' arrays, which of them want
    gradients, the modules' modes and members, the optimizers' groups and state. If not, nothing is done.
(c) Hyper-parameters and the numbers of random draws are cells. They are read anew from optimizers and generators.
(d) Where Python has to act (a check that may raise, a function without kernel), the phases are cut into stretches.
(e) Phases run in the recorded order, so a plan is right wherever its memory lies, except that an op may have been laid
    out for inputs and outputs that lie apart. So the call's own arrays must not reach into memory at fixed addresses.
    An array that did so while it was recorded is bound: it must be the same one in every replay.
(f) An update's count of steps is written right after its phases, without running Python: neither an exception nor an
    interrupt can come in between.
(g) A `Replayer` finds the plan of a call by its arguments' signature, as ops find their recipes.
"""

cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport int64_t
from libcpp.vector cimport vector

from fastnn._runtime._fastnn_team cimport Kernel, Phase, run as run_phases
from fastnn._runtime.call cimport MAX_INPUTS, MAX_WORDS, Signature
from fastnn._runtime.capture cimport note_update, recorder, structure
from fastnn._runtime.dispatch cimport settings_now
from fastnn._runtime.layout cimport Extent, extent
from fastnn._runtime.memory cimport Block, allocate
from fastnn._runtime.tensor cimport TensorBase, catch_up, grad_enabled, wrap

import os
from threading import Lock

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    int PyArray_SetBaseObject(cnp.ndarray arr, object obj) except -1
    object PyArray_NewFromDescr(
        type subtype, cnp.dtype descr, int nd, const cnp.npy_intp* dims, const cnp.npy_intp* strides, void* data,
        int flags, PyObject* obj
    )
    PyObject* PyArray_BASE(cnp.ndarray arr)

cdef extern from "Python.h":
    Py_ssize_t references "Py_REFCNT"(PyObject* o)

cdef enum:
    # Work (in estimated nanoseconds) from which giving up the interpreter's lock pays.
    RELEASE_GIL_FROM = 5000

cdef struct Patch:
    # where in a plan's arguments or tables the address of a slot (and an offset) goes
    int64_t* where
    int64_t offset

cdef struct Stretch:
    # phases that run in one go, and the status that the last of them leaves, if it is a check
    int begin
    int end
    int64_t* status


# How many forks lie between this process and the first one: in a child, a plan that another thread ran stays locked.
cdef int64_t forks = 0
cdef int64_t ticks = 0   # counts replays, so that the plan that was used longest ago is known

STALE = "stale"     # a replay did nothing, because what the plan was recorded with holds no longer
BUSY = "busy"       # a replay did nothing, because another thread runs this plan


def _after_fork():
    global forks
    forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


cdef class View:
    """An array of a plan: a shape, strides in bytes and a dtype at a place.

    Parameters
    ----------
    slot, place : the slot and the offset in bytes from its address; or -1 and an address.
    keep : what holds the memory at a fixed address.
    """

    cdef readonly int slot
    cdef readonly int64_t place
    cdef readonly object keep
    cdef readonly cnp.dtype dtype
    cdef vector[cnp.npy_intp] extents
    cdef vector[cnp.npy_intp] steps

    def __init__(self, int slot, int64_t place, shape, strides, dtype, keep=None):
        self.slot = slot
        self.place = place
        self.dtype = cnp.dtype(dtype)
        self.keep = keep
        for extent, step in zip(shape, strides):
            self.extents.push_back(extent)
            self.steps.push_back(step)

    @property
    def shape(self):
        """Extents."""
        return tuple(self.extents)

    cdef cnp.ndarray over(self, char* base, object holder):
        """The array, given the slot's address and what holds that memory."""
        cdef char* data = <char*>self.place if self.slot < 0 else base + self.place
        Py_INCREF(self.dtype)
        cdef cnp.ndarray array = PyArray_NewFromDescr(
            cnp.ndarray, self.dtype, <int>self.extents.size(), self.extents.data(), self.steps.data(), data,
            cnp.NPY_ARRAY_WRITEABLE, NULL
        )
        holder = self.keep if self.slot < 0 else holder
        Py_INCREF(holder)
        PyArray_SetBaseObject(array, holder)
        return array


cdef class Plan:
    """The phases of a call, and what surrounds them.

    Slots come in this order: the call's arrays, results, gradients that the call leaves, gradients that it finds.

    Parameters
    ----------
    phases : of each the kernel's address, its arguments, the number of chunks, the estimated work. An argument is a
        number, ``("slot", slot, offset)``, or ``("cell", index)``.
    tables : arrays of int64 that phases refer to by address, each with its patches ``(index, slot, offset)``.
    cells : the cells' first values.
    stretches : of each the end among the phases, the address of a check's status or 0, and what to call then:
        ``action(status, arrays)`` after a check that failed, ``action(arrays)`` otherwise, with the arrays of its
        `views`; None for nothing.
    counts : numbers of slots of each kind.
    bound : slots of the call's arrays that must lie where they did, with those arrays.
    outside : the bytes ``(first, past the last)`` at fixed addresses that are not the plan's, in order, and apart.
    written : slots of the call's arrays that it writes.
    externals : tensors that the phases refer to, which must stay as they are.
    entries : tensors whose gradient must be there (with its slot) or not (None) when the call begins.
    updates : objects with ``prepare()`` (the cells, or None where the plan holds no longer), `first`, the place of the
        first cell, and `batch` and `stretch`: what is to be finished with `after` once that stretch has run (or None).
    draws : generators with the places of the cells that a draw of theirs fills.
    after : functions to call at the end.
    touched : tensors that the call writes.
    grads : for each gradient that the call leaves, the tensor, a `View`, and the size of its memory.
    dropped : tensors whose gradient the call takes away.
    results : for each result a `View`.
    result_bytes : sizes of the memory of the result slots.
    guard : function that tells whether modules are as they were.
    keep : whatever must live as long as the plan.
    report : what shows the plan (`fastnn.compilation.report.Report`).
    arena_bytes : memory that the plan holds.

    Attributes
    ----------
    form : for whoever keeps the plan: what to make of the results. None for a single Tensor as it is.
    used : when it was replayed last, in replays of any plan.
    """

    cdef public object form
    cdef readonly tuple written
    cdef readonly int64_t used
    cdef readonly object report
    cdef readonly object guard
    cdef readonly int64_t arena_bytes
    cdef object lock
    cdef list keep
    cdef list actions
    cdef list externals
    cdef list external_arrays
    cdef list wants
    cdef list changes
    cdef list entries
    cdef list updates
    cdef list draws
    cdef list after
    cdef list touched
    cdef list grads
    cdef list dropped
    cdef list grad_owners
    cdef list results
    cdef vector[Phase] phases
    cdef vector[int64_t] args
    cdef vector[double] cells
    cdef vector[vector[Patch]] patches
    cdef vector[char*] bases
    cdef vector[Stretch] stretches
    cdef vector[int64_t] result_bytes
    cdef vector[Extent] outside
    cdef list bound
    cdef size_t first_update
    cdef int n_args
    cdef int first_result
    cdef int first_grad
    cdef int first_entry
    cdef int64_t work
    cdef int64_t structure
    cdef int64_t forks

    def __init__(self, phases, tables, cells, stretches, counts, bound, outside, written, externals, entries, updates,
                 draws, after, touched, grads, dropped, results, result_bytes, guard, keep, report,
                 int64_t arena_bytes):
        cdef Phase phase
        cdef Patch patch
        cdef Stretch stretch
        cdef Extent piece
        cdef size_t n_args = 0, at = 0
        cdef TensorBase tensor
        cdef cnp.ndarray table
        self.lock = Lock()
        self.n_args, n_results, n_grads, n_entries = counts
        self.first_result = self.n_args
        self.first_grad = self.first_result + n_results
        self.first_entry = self.first_grad + n_grads
        self.bases.resize(self.first_entry + n_entries, NULL)
        self.patches.resize(self.bases.size())
        self.cells = cells
        for _, arguments, _, _ in phases:
            n_args += len(arguments)
        self.args.resize(n_args)
        for kernel, arguments, chunks, work in phases:
            phase.kernel = <Kernel><size_t>kernel
            phase.args = self.args.data() + at
            phase.chunks = chunks
            phase.work = work
            phase.tag = <int64_t>self.phases.size()
            self.phases.push_back(phase)
            self.work += work
            for value in arguments:
                if not isinstance(value, tuple):
                    self.args[at] = value
                elif value[0] == "cell":
                    self.args[at] = <int64_t>&self.cells[<size_t>value[1]]
                else:
                    patch.where = &self.args[at]
                    patch.offset = value[2]
                    self.patches[<size_t>value[1]].push_back(patch)
                at += 1
        for table, places in tables:
            for index, slot, offset in places:
                patch.where = <int64_t*>cnp.PyArray_DATA(table) + <int64_t>index
                patch.offset = offset
                self.patches[<size_t>slot].push_back(patch)
        self.actions = []
        stretch.begin = 0
        for end, status, action, views in stretches:
            stretch.end = end
            stretch.status = <int64_t*><size_t>status
            self.stretches.push_back(stretch)
            self.actions.append(None if action is None else (action, list(views)))
            stretch.begin = end
        self.externals = list(externals)
        self.external_arrays, self.wants, self.changes = [], [], []
        for tensor in self.externals:
            self.external_arrays.append(tensor.array)
            self.wants.append(tensor._requires_grad)
            self.changes.append(tensor._changes)
        self.bound, self.written = list(bound), tuple(written)
        for slot, array in self.bound:
            self.bases[<size_t>slot] = <char*>cnp.PyArray_DATA(<cnp.ndarray>array)
        for low, high in outside:
            piece.low, piece.high = <char*><size_t>low, <char*><size_t>high
            self.outside.push_back(piece)
        self.first_update = min([u.stretch for u in updates if u.batch is not None], default=len(stretches))
        self.entries = list(entries)
        self.updates, self.draws, self.after, self.touched = list(updates), list(draws), list(after), list(touched)
        self.grads, self.dropped = list(grads), list(dropped)
        self.grad_owners = [adopted(owner) for owner, _, _ in self.grads]
        self.results = list(results)
        for nbytes in result_bytes:
            self.result_bytes.push_back(nbytes)
        self.guard, self.keep, self.report, self.arena_bytes = guard, [keep, tables], report, arena_bytes
        self.structure, self.forks = structure(), forks
        self.form = None
        self.note_use()

    def __repr__(self):
        return repr(self.report)

    def _repr_html_(self):
        return self.report._repr_html_()

    cdef void note_use(self) noexcept:
        global ticks
        ticks += 1
        self.used = ticks

    cdef bint holds(self) except -1:
        """Whether all is as it was when the plan was recorded."""
        cdef TensorBase tensor
        cdef Py_ssize_t i
        for i in range(PyList_GET_SIZE(self.externals)):
            tensor = <TensorBase>PyList_GET_ITEM(self.externals, i)
            if tensor.array is not <object>PyList_GET_ITEM(self.external_arrays, i):
                return False
            if tensor._requires_grad != (<object>PyList_GET_ITEM(self.wants, i) is True):
                return False
            if tensor._changes != <int64_t><object>PyList_GET_ITEM(self.changes, i):
                return False
        for owner, view in self.entries:
            tensor = <TensorBase>owner
            if (tensor._grad is None) != (view is None):
                return False
            if view is not None and not lies_so(tensor._grad.array, <View>view):
                return False
        if self.structure != structure():
            if not self.guard():
                return False
            self.structure = structure()
        return True

    def replay(self, list arrays):
        """Repeat the call on `arrays`, which must be laid out as those it was recorded with.

        Returns the results, or STALE or BUSY where nothing was done.
        """
        cdef list blocks
        if not self.lock.acquire(False):
            return BUSY if self.forks == forks else STALE
        try:
            if not self.prepare(arrays):
                return STALE
            blocks = []
            self.settle(arrays, blocks)
            self.perform(arrays, blocks)
            return self.finish(arrays, blocks)
        finally:
            self.lock.release()

    @property
    def is_bound(self):
        """Whether some of the call's arrays must be those of the recorded call."""
        return len(self.bound) > 0

    def reaching(self, list arrays):
        """Places of the call's arrays that reach into memory at fixed addresses."""
        return [i for i, array in enumerate(arrays) if self.reaches(<cnp.ndarray?>array)]

    cdef bint reaches(self, cnp.ndarray array) noexcept:
        """Whether an array's elements lie in memory at fixed addresses."""
        cdef Extent own = extent(array)
        cdef size_t low = 0, high = self.outside.size(), middle
        while low < high:
            middle = (low + high) // 2
            if self.outside[middle].high <= own.low:
                low = middle + 1
            else:
                high = middle
        return low < self.outside.size() and self.outside[low].low < own.high

    cdef bint takes(self, list arrays) except -1:
        """Whether the call's arrays lie where they may."""
        cdef cnp.ndarray array
        cdef int i
        for slot, own in self.bound:
            if cnp.PyArray_DATA(<cnp.ndarray>arrays[slot]) != cnp.PyArray_DATA(<cnp.ndarray>own):
                return False
        for slot in self.written:
            if not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>arrays[slot]):
                return False
        for i in range(self.n_args):
            array = <cnp.ndarray>arrays[i]
            if self.bases[i] != <char*>cnp.PyArray_DATA(array) and self.reaches(array):
                return False
        return True

    cdef bint prepare(self, list arrays) except -1:
        """Look whether the plan holds, and read hyper-parameters; False (and nothing done) where it does not."""
        if not self.holds() or not self.takes(arrays):
            return False
        for update in self.updates:
            cells = update.prepare()
            if cells is None:
                return False
            self.fill(update.first, cells)
        self.note_use()
        return True

    cdef list finish(self, list arrays, list blocks):
        """What follows the phases; returns the results."""
        cdef list made = []
        cdef View view
        for tensor in self.touched:
            (<TensorBase>tensor).touch()
        self.leave_gradients()
        for function in self.after:
            function()
        for item in self.results:
            view = <View>item
            if view.slot < 0:
                made.append(wrap(view.over(NULL, None)))
            elif view.slot < self.n_args:
                made.append(wrap(view.over(self.bases[view.slot], arrays[view.slot])))
            elif view.slot < self.first_grad:
                made.append(wrap(view.over(self.bases[view.slot], blocks[view.slot - self.first_result])))
            else:
                holder = <object>PyArray_BASE((<TensorBase>self.grad_owners[view.slot - self.first_grad]).array)
                made.append(wrap(view.over(self.bases[view.slot], holder)))
        return made

    def fill(self, Py_ssize_t first, tuple values):
        """Write cells."""
        cdef Py_ssize_t i
        for i in range(len(values)):
            self.cells[first + i] = values[i]

    cdef int settle(self, list arrays, list blocks) except -1:
        """Take the draws, and give every slot its address; `blocks` receives the memory of the results."""
        cdef Block block
        cdef TensorBase tensor
        cdef size_t i
        for generator, places in self.draws:
            cells = generator.cells()
            for place in places:
                self.fill(place, cells)
        for i in range(<size_t>self.n_args):
            self.move(i, <char*>cnp.PyArray_DATA(<cnp.ndarray>arrays[i]))
        for i in range(self.result_bytes.size()):
            block = allocate(self.result_bytes[i])
            blocks.append(block)
            self.move(self.first_result + i, <char*>block.piece.address)
        for i in range(<size_t>(self.first_entry - self.first_grad)):
            self.move(self.first_grad + i, <char*>cnp.PyArray_DATA(self.own_gradient(i)))
        for owner, view in self.entries:
            if view is not None:
                tensor = <TensorBase>owner
                self.move((<View>view).slot, <char*>cnp.PyArray_DATA(tensor._grad.array))
        return 0

    cdef int count_steps(self, size_t stretch) except -1:
        """Finish the updates of a stretch that has run."""
        for update in self.updates:
            if update.batch is not None and update.stretch == stretch:
                update.batch.finish(*update.after)
        return 0

    cdef int perform(self, list arrays, list blocks) except -1:
        """Run the phases."""
        cdef Stretch* stretch
        cdef size_t i
        for i in range(self.stretches.size()):
            stretch = &self.stretches[i]
            if i == self.first_update:
                note_update()
            if stretch.end > stretch.begin:
                if self.work > RELEASE_GIL_FROM:
                    with nogil:
                        run_phases(&self.phases[stretch.begin], stretch.end - stretch.begin)
                else:
                    run_phases(&self.phases[stretch.begin], stretch.end - stretch.begin)
            if i >= self.first_update:
                self.count_steps(i)
            if stretch.status != NULL:
                self.check(i, arrays, blocks)
            elif self.actions[i] is not None:
                action, views = self.actions[i]
                action(self.seen(views, arrays, blocks))
            elif i < self.first_update and i + 1 < self.stretches.size():
                PyErr_CheckSignals()
        return 0

    cdef int check(self, size_t stretch, list arrays, list blocks) except -1:
        """Raise what a check has found."""
        cdef int64_t status = self.stretches[stretch].status[0]
        if status != 0:
            action, views = self.actions[stretch]
            raise action(status, self.seen(views, arrays, blocks))
        return 0

    cdef bint runs_alone(self):
        """Whether the phases need Python for nothing but checks."""
        cdef size_t i
        for i in range(self.stretches.size()):
            if self.stretches[i].status == NULL and self.actions[i] is not None:
                return False
        return True

    cdef void move(self, size_t slot, char* base) noexcept:
        """Let a slot lie at an address."""
        cdef size_t i
        cdef vector[Patch]* patches
        if self.bases[slot] == base:
            return
        self.bases[slot] = base
        patches = &self.patches[slot]
        for i in range(patches.size()):
            patches.at(i).where[0] = <int64_t>base + patches.at(i).offset

    cdef list seen(self, list views, list arrays, list blocks):
        """Arrays of views, while the plan runs."""
        cdef list found = []
        cdef View view
        for item in views:
            if item is None:
                found.append(None)
                continue
            view = <View>item
            if view.slot < 0:
                found.append(view.over(NULL, None))
            else:
                found.append(view.over(self.bases[view.slot], self))
        return found

    cdef cnp.ndarray own_gradient(self, Py_ssize_t i):
        """Memory for a gradient that the call leaves: the last one's, unless somebody has kept that."""
        cdef TensorBase kept = <TensorBase>self.grad_owners[i], tensor
        cdef View view
        tensor, view, nbytes = self.grads[i]
        # held by the list, by `kept` here, and by the tensor whose gradient it is
        if kept is not None and references(<PyObject*>kept) == 2 + (tensor._grad is kept):
            if references(<PyObject*>kept.array) == 1 and references(PyArray_BASE(kept.array)) == 1:
                return kept.array
        cdef Block block = allocate(nbytes)
        kept = wrap(view.over(<char*>block.piece.address, block))
        self.grad_owners[i] = kept
        return kept.array

    cdef leave_gradients(self):
        """Let tensors have the gradients that the call computed, or none."""
        cdef TensorBase tensor
        cdef Py_ssize_t i
        for i in range(len(self.grads)):
            tensor = <TensorBase>self.grads[i][0]
            tensor._grad = <TensorBase>self.grad_owners[i]
        for i in range(len(self.dropped)):
            tensor = <TensorBase>self.dropped[i]
            tensor._grad = None


cdef struct Job:
    # a plan's phases in their stretches, and the stretch whose check failed, or -1; what lies there is overwritten
    # only by phases that then do not run
    const Phase* phases
    const Stretch* stretches
    int64_t count
    int64_t failed


cdef void run_jobs(const int64_t* args, int64_t first, int64_t last, void* scratch) noexcept nogil:
    """A kernel whose chunks are whole plans."""
    cdef Job* job
    cdef const Stretch* stretch
    cdef const Phase* phase
    cdef int64_t i, k
    cdef int p
    for i in range(first, last):
        job = <Job*>args[0] + i
        for k in range(job.count):
            stretch = job.stretches + k
            for p in range(stretch.begin, stretch.end):
                phase = job.phases + p
                if phase.chunks > 0:
                    phase.kernel(phase.args, 0, phase.chunks, scratch)
            if stretch.status != NULL and stretch.status[0] != 0:
                job.failed = k
                break


def replay_together(list plans, list arguments):
    """Replay several plans side by side, each on one thread; `arguments` are lists of arrays, one for each plan.

    Returns a list of results for each plan; STALE or BUSY, and nothing is done, where one of the plans does not hold or
    is in use, or needs Python between its phases, or appears twice.
    """
    cdef vector[Job] jobs
    cdef Job job
    cdef Phase phase
    cdef int64_t[1] args
    cdef Plan plan
    cdef list locked = [], blocks = [], made = []
    cdef size_t k
    phase.work = 0
    try:
        for item in plans:
            plan = <Plan?>item
            if not plan.lock.acquire(False):
                return BUSY
            locked.append(plan)
        for plan, arrays in zip(locked, arguments, strict=True):
            if not plan.runs_alone() or not plan.prepare(arrays):
                return STALE
        for plan, arrays in zip(locked, arguments, strict=True):
            own = []
            plan.settle(arrays, own)
            blocks.append(own)
            job.phases = plan.phases.data()
            job.stretches = plan.stretches.data()
            job.count = plan.stretches.size()
            job.failed = -1
            jobs.push_back(job)
            phase.work += plan.work
        args[0] = <int64_t>jobs.data()
        phase.kernel = run_jobs
        phase.args = args
        phase.chunks = jobs.size()
        phase.tag = 0
        note_update()
        with nogil:
            run_phases(&phase, 1)
        for k in range(jobs.size()):
            plan = <Plan>locked[k]
            for i in range(jobs[k].count if jobs[k].failed < 0 else jobs[k].failed + 1):
                plan.count_steps(i)
        for k in range(jobs.size()):
            if jobs[k].failed >= 0:
                plan = <Plan>locked[k]
                plan.check(jobs[k].failed, arguments[k], blocks[k])
        for plan, arrays, own in zip(locked, arguments, blocks):
            made.append(plan.finish(arrays, own))
        return made
    finally:
        for plan in locked:
            plan.lock.release()


cdef struct Series:
    # a plan that is repeated row by row: where the address of a row goes, what cells each row has, how far it has come
    const Phase* phases
    const Stretch* stretches
    int64_t count
    vector[Patch]* patches
    char* base
    int64_t stride
    int64_t row
    int64_t rows
    double* cells
    const double* values
    const int64_t* places
    int64_t width
    int64_t failed


cdef void settle_row(Series* job) noexcept nogil:
    """Let a plan refer to the row that comes next."""
    cdef int64_t i
    cdef Patch* patch
    cdef char* base = job.base + job.row * job.stride
    for i in range(<int64_t>job.patches.size()):
        patch = &job.patches.at(i)
        patch.where[0] = <int64_t>base + patch.offset
    for i in range(job.width):
        job.cells[job.places[i]] = job.values[job.row * job.width + i]


cdef void run_row(Series* job, bint alone, void* scratch) noexcept nogil:
    """Repeat a plan for the next row: on all threads, or as a chunk of somebody else's phase."""
    cdef const Stretch* stretch
    cdef const Phase* phase
    cdef int64_t k
    cdef int p
    settle_row(job)
    for k in range(job.count):
        stretch = job.stretches + k
        if alone:
            if stretch.end > stretch.begin:
                run_phases(job.phases + stretch.begin, stretch.end - stretch.begin)
        else:
            for p in range(stretch.begin, stretch.end):
                phase = job.phases + p
                if phase.chunks > 0:
                    phase.kernel(phase.args, 0, phase.chunks, scratch)
        if stretch.status != NULL and stretch.status[0] != 0:
            job.failed = k
            return
    job.row += 1


cdef void run_series(const int64_t* args, int64_t first, int64_t last, void* scratch) noexcept nogil:
    """A kernel whose chunks are some rows of a series each."""
    cdef Series* job
    cdef int64_t i, end
    for i in range(first, last):
        job = <Series*>args[0] + i
        end = min(job.rows, job.row + args[1])
        while job.row < end and job.failed < 0:
            run_row(job, False, scratch)


def replay_series(list jobs):
    """Repeat plans many times without Python: a single one on all threads, several side by side on a thread each.

    A job is a tuple of a plan; the list of its call's arrays; the place of the array that each repetition has anew, of
    shape (n,); its values (rows, n), C-contiguous; and the cells of all the plan's updates, float64 (rows, cells).
    What the updates count is left as it is.

    Returns STALE or BUSY, and nothing is done, where one of the plans does not hold or is in use, or needs Python
    between its phases, draws random numbers, or has results; None otherwise. Interrupts are heard between repetitions.
    """
    cdef vector[Series] series
    cdef vector[vector[int64_t]] places
    cdef Series job
    cdef Phase phase
    cdef int64_t[2] args
    cdef int64_t block = 1
    cdef Plan plan
    cdef cnp.ndarray rows, values
    cdef list locked = [], blocks = []
    cdef size_t k
    cdef bint going = True
    phase.work = 0
    places.resize(len(jobs))
    try:
        for item in jobs:
            plan = <Plan?>item[0]
            if not plan.lock.acquire(False):
                return BUSY
            locked.append(plan)
        for k in range(<size_t>len(jobs)):
            plan, arrays, slot, rows, values = jobs[k]
            if not plan.runs_alone() or plan.draws or plan.results or plan.bound or not plan.prepare(arrays):
                return STALE
            for update in plan.updates:
                if update.batch is not None:
                    for i in range(len(update.prepare())):
                        places[k].push_back(<int64_t>update.first + <int64_t>i)
            if (
                rows.ndim != 2 or values.ndim != 2 or values.shape[0] != rows.shape[0]
                or values.shape[1] != <int64_t>places[k].size() or values.dtype != "float64"
                or not cnp.PyArray_IS_C_CONTIGUOUS(values) or not cnp.PyArray_IS_C_CONTIGUOUS(rows)
                or rows.dtype != arrays[slot].dtype or (rows.shape[1],) != arrays[slot].shape
                or plan.reaches(rows)
            ):
                return STALE
        for k in range(<size_t>len(jobs)):
            plan, arrays, slot, rows, values = jobs[k]
            plan.settle(arrays, blocks)
            job.phases = plan.phases.data()
            job.stretches = plan.stretches.data()
            job.count = plan.stretches.size()
            job.patches = &plan.patches[<size_t>slot]
            job.base = <char*>cnp.PyArray_DATA(rows)
            job.stride = cnp.PyArray_STRIDE(rows, 0)
            job.row, job.rows = 0, rows.shape[0]
            job.cells = plan.cells.data()
            job.values = <const double*>cnp.PyArray_DATA(values)
            job.places = places[k].data()
            job.width = places[k].size()
            job.failed = -1
            series.push_back(job)
            phase.work += plan.work
        # about 2 ms at a time
        block = max(1, <int64_t>(2000000 * series.size()) // max(1, phase.work))
        args[0] = <int64_t>series.data()
        args[1] = block
        phase.kernel = run_series
        phase.args = args
        phase.chunks = series.size()
        phase.tag = 0
        phase.work *= block
        while going:
            with nogil:
                if series.size() == 1:
                    for _ in range(block):
                        if series[0].row == series[0].rows or series[0].failed >= 0:
                            break
                        run_row(&series[0], True, NULL)
                else:
                    run_phases(&phase, 1)
            PyErr_CheckSignals()
            going = False
            for k in range(series.size()):
                if series[k].failed >= 0:
                    plan = <Plan>locked[k]
                    # what the check tells of is the row that failed
                    plan.bases[<size_t>jobs[k][2]] = series[k].base + series[k].row * series[k].stride
                    plan.check(series[k].failed, jobs[k][1], [])
                going = going or series[k].row < series[k].rows
    finally:
        for k in range(series.size()):
            plan, arrays, slot = jobs[k][:3]
            # the slot's address is that of no array of a call
            plan.bases[<size_t>slot] = NULL
            plan.finish(arrays, [])
        for plan in locked:
            plan.lock.release()


cpdef int note_written(Plan plan, args) except -1:
    """Say that a plan wrote to the tensors among a call's arrays."""
    for slot in plan.written:
        if isinstance(args[slot], TensorBase):
            (<TensorBase>args[slot]).touch()
    return 0


cdef class Replayer:
    """What a compiled function's calls go through: those whose plan is known are replayed here.

    A subclass provides `_miss`, which is called where there is none, with the arguments.

    Attributes
    ----------
    plan : what the latest call repeated, or recorded; None before.
    plans : lists of plans, by what `_key` gives; in each the one that was used last stands last.
    """

    cdef public Plan plan
    cdef public dict plans
    cdef list recent
    cdef bytes recent_key

    def __cinit__(self, *args, **kwargs):
        self.plans = {}

    def __call__(self, *args, **kwargs):
        cdef list arrays = []
        cdef Plan plan
        if recorder() == NULL and not kwargs:
            plan = self.known(args, arrays)
            if plan is not None:
                found = plan.replay(arrays)
                if found is not STALE and found is not BUSY:
                    self.plan = plan
                    note_written(plan, args)
                    return found[0] if plan.form is None else self._shape(plan.form, found)
        return self._miss(args, kwargs)

    cdef Plan known(self, tuple args, list arrays):
        """The plan for arguments, whose arrays are put into a list; None where there is none here."""
        cdef Signature signature
        cdef bytes key = self.recent_key
        cdef list plans = self.recent
        if not self.sign(args, arrays, &signature):
            return None
        if key is None or not signature.equals(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)) or not plans:
            key = PyBytes_FromStringAndSize(<const char*>signature.words, signature.bytes_used())
            plans = self.plans.get(key)
            if not plans:
                return None
            # letting go of the former list may run anything: no call may find it beside the new key meanwhile
            self.recent_key = None
            self.recent = plans
            self.recent_key = key
        return <Plan>plans[-1]

    cdef bint sign(self, tuple args, list arrays, Signature* signature) except -1:
        """Write down the signature of arguments that are arrays and tensors; False where they are not that simple."""
        cdef cnp.ndarray array
        cdef Extent[MAX_INPUTS] extents
        cdef TensorBase tensor
        cdef Py_ssize_t i, k
        if len(args) > MAX_INPUTS:
            return False
        signature.add_word(settings_now() << 1 | grad_enabled())
        for i in range(len(args)):
            value = args[i]
            if isinstance(value, TensorBase):
                tensor = <TensorBase>value
                catch_up(tensor)
                array = tensor.array
                signature.add_word(-3 - tensor._requires_grad)
            elif type(value) is cnp.ndarray:
                array = <cnp.ndarray>value
            else:
                return False
            if not signature.add(array) or signature.count + 2 * i >= MAX_WORDS:
                return False
            arrays.append(array)
            extents[i] = extent(array)
            for k in range(i):
                if extents[i].low < extents[k].high and extents[k].low < extents[i].high:
                    signature.add_word(-16 - k)
                    signature.add_word(<char*>cnp.PyArray_DATA(array) - <char*>cnp.PyArray_DATA(<cnp.ndarray>arrays[k]))
        return True

    def _key(self, tuple args, dict kwargs):
        """What the plans of a call are found by; None where the arguments are not simple enough for that."""
        cdef Signature signature
        if kwargs or not self.sign(args, [], &signature):
            return None
        return PyBytes_FromStringAndSize(<const char*>signature.words, signature.bytes_used())

    def _miss(self, args, kwargs):
        raise NotImplementedError

    def _shape(self, form, results):
        raise NotImplementedError


def call_together(list functions, list calls):
    """Call compiled functions side by side, each on one thread, with a tuple of arguments each; returns the results.

    Where a plan is missing or does not serve, they are called one after the other.
    """
    cdef list plans = [], arguments = [], arrays
    cdef Replayer function
    cdef Plan plan
    for function, args in zip(functions, calls, strict=True):
        arrays = []
        plan = None if recorder() != NULL else function.known(args, arrays)
        if plan is None:
            break
        plans.append(plan)
        arguments.append(arrays)
    if len(plans) == len(functions):
        found = replay_together(plans, arguments)
        if found is not STALE and found is not BUSY:
            for i, function in enumerate(functions):
                function.plan = plan = plans[i]
                note_written(plan, calls[i])
                found[i] = found[i][0] if plan.form is None else function._shape(plan.form, found[i])
            return found
    return [function(*args) for function, args in zip(functions, calls)]


def fixed(View view):
    """The array of a view at a fixed address."""
    if view.slot >= 0:
        raise ValueError("the view has a slot, not an address")
    return view.over(NULL, None)


cdef TensorBase adopted(TensorBase tensor):
    """The gradient that the recorded call has left, if a replay can write where it lies."""
    cdef TensorBase gradient = tensor._grad
    cdef PyObject* base = PyArray_BASE(gradient.array)
    if base == NULL or type(<object>base) is not Block:
        return None
    return gradient if (<Block><object>base).piece.address == cnp.PyArray_DATA(gradient.array) else None


cdef bint lies_so(cnp.ndarray array, View view):
    """Whether an array has a view's shape, strides and dtype."""
    cdef int axis
    if cnp.PyArray_NDIM(array) != <int>view.extents.size() or array.dtype != view.dtype:
        return False
    for axis in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_DIM(array, axis) != view.extents[axis] or cnp.PyArray_STRIDE(array, axis) != view.steps[axis]:
            return False
    return True
