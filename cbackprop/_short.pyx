# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""The short way of `Network.train`: one epoch of little work, with the arguments of a call
before and whatever data. What they mean is kept from that call, which went the long way; where
anything would have to be said, nothing has happened here and the long way says it."""
from numpy import ndarray

from cpython.buffer cimport PyBuffer_Release
from cpython.object cimport PyObject
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from cbackprop._engine cimport TRAINING, Engine, Workspace, address, look_at, new_arena
from cbackprop._gate cimport are_plain, as_indices, take_targets
from cbackprop._job cimport COMPLETE, INTERRUPTED, Job, roll_back
from cbackprop._kernels cimport (CB_ARGMAX, CB_SQUARED_ERROR,
                                 cb_enter_alone, cb_index, cb_leave_alone, cb_look_at_targets,
                                 cb_rows, cb_targets, cb_variance)
from cbackprop._norms cimport neurons
from cbackprop._training cimport begin_job, lend_sums, panels_of, run_without_lock, score_of
from cbackprop._updates cimport Descent, State, descent_of

from cbackprop._validation import score_kinds
from cbackprop._monitors import EXPLODED, VANISHED, warn_of_layers
from cbackprop.history import History
from cbackprop.optimizers import OPTIMIZERS

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(PyObject *)

cdef enum:
    # Of all rows: below half of _threads.WORTH_A_SECOND_THREAD with the six of training.
    MOST_PRODUCTS = 3_000_000
    MOST_PLANS = 4          # of a network, the last ones

cdef double vanished = VANISHED, exploded = EXPLODED
cdef object EMPTY = ()            # there is one only
cdef object SIMPLE = frozenset([bool, int, float, str])
cdef object RULES = frozenset(OPTIMIZERS.values())


def again(list plans not None, net, x, y, learning_rate, tuple given not None):
    """The History of an epoch on x and y with arguments that were met before; or None, and
    nothing has changed."""
    cdef Plan plan
    for plan in plans:
        if same(given, plan.given):
            return plan.again(net, x, y, learning_rate)
    return None


def keep(list plans not None, net, tuple given not None, call, cb_index batch_size, smoothing):
    """Keeps what the arguments `given` of this call mean, where it is an ordinary one: one
    thread, one epoch, nothing between or beside, and arguments that nobody can change."""
    cdef Engine engine = net._engine
    cdef Plan plan
    if (call.epochs != 1 or call.threads != 1 or call.guess or call.one_by_one or smoothing
            or call.chosen is not None or call.weights is not None or call.drops is not None
            or call.noise > 0 or call.bf16 or engine.own is not None
            or type(call.rate) is not float):
        return
    for value in given:
        if (value is not None and value is not EMPTY and type(value) not in SIMPLE
                and type(value) not in RULES):
            return
    others = [plan for plan in plans if not same(given, plan.given)]
    plans[:] = [Plan(net, given, call, batch_size), *others[:MOST_PLANS - 1]]


cdef bint same(tuple one, tuple other) except -1:
    # Equal numbers of another type are not the same argument: True is no 1.
    cdef Py_ssize_t i
    for i in range(len(one)):
        if one[i] is not other[i] and (
                type(one[i]) is not type(other[i]) or type(one[i]) not in (int, float, str)
                or one[i] != other[i]):
            return False
    return True


cdef bint is_worrying(list norms) except -1:
    # Whether warn_of_layers might have something to say.
    cdef double norm, last = norms[-1]
    for norm in norms:
        if not vanished * last <= norm <= exploded * last:
            return True
    return False


cdef class Plan:
    """The meaning of some arguments, and room for the results of a call: whoever has the engine
    alone may write there."""
    cdef Engine engine
    cdef tuple given
    cdef object memory, gradient
    cdef list pending
    cdef str rule
    cdef Descent descent
    cdef double l1, l2, clip_norm, max_norm, low, high, rate
    cdef cb_index batch_size, n_out
    cdef uint64_t key
    cdef bint shuffled, named, is_sgd
    cdef int score_of_labels, score_of_binary
    cdef double *results    # cost, seconds, norms [L], dead [L], scores [n_L]
    cdef double *sums       # [n_L]
    cdef double *squares    # [neurons after the input + 1]
    cdef double *variances  # [n_L]
    cdef double *panel_squares

    def __cinit__(self, net, tuple given, call, cb_index batch_size):
        cdef Engine e = net._engine
        cdef cb_index n = e.layer[e.L].n_out, all_neurons = neurons(e.layer, e.L)
        self.engine, self.given, self.pending = e, given, []
        self.descent = descent_of(net._position.optimizer, call.rule, 0)
        self.descent.clip = call.clip
        self.rule, self.rate = call.rule.name, call.rule.learning_rate
        self.named = not any(type(value) in RULES for value in given)
        self.is_sgd = self.rule == "sgd"
        self.l1, self.l2 = call.l1, call.l2
        self.clip_norm, self.max_norm = call.clip_norm, call.max_norm
        self.batch_size, self.n_out, self.key, self.shuffled = batch_size, n, net._key, call.shuffle
        self.low, self.high = net.cost.targets
        self.score_of_labels, self.score_of_binary = score_kinds(net.cost)
        if n > 1:
            self.score_of_labels = CB_ARGMAX
        self.memory = new_arena(8 * (2 + 2 * e.L + 3 * n + all_neurons + 1 + panels_of(e)))
        self.results = <double *>address(self.memory)
        self.sums = self.results + 2 + 2 * e.L + n
        self.variances = self.sums + n
        self.squares = self.variances + n
        self.panel_squares = self.squares + all_neurons + 1
        if self.clip_norm < INFINITY:
            self.gradient = new_arena(e.n_bytes)

    cdef again(self, net, x, y, learning_rate):
        cdef Py_buffer x_buffer, y_buffer
        cdef cb_rows rows, targets
        cdef double eta = self.rate
        cdef int *users = &self.engine.users
        if learning_rate is not None:
            if type(learning_rate) is not float or not self.named:
                return None
            eta = learning_rate
        if (not 0 < eta < INFINITY or eta * self.descent.rule.weight_decay >= 1
                or type(x) is not ndarray or type(y) is not ndarray
                or not look_at(x, &x_buffer, &rows)):
            return None
        try:
            if not take_targets(y, &y_buffer, &targets):
                return None
            try:
                if not cb_enter_alone(users):
                    return None
                try:
                    history = self.epoch(net, &rows, x_buffer.shape[0], &targets, &y_buffer, eta)
                finally:
                    cb_leave_alone(users)
            finally:
                PyBuffer_Release(&y_buffer)
        finally:
            PyBuffer_Release(&x_buffer)
        if history is not None and is_worrying(history.delta_norms[0]):
            warn_of_layers(history, 3)
        return history

    cdef int score(self, const cb_rows *y, const Py_buffer *buffer, classes) except -2:
        # Of what y shows; -1 where it is not plainly in order. Labels are not looked at yet.
        cdef cb_targets found
        if y.data == NULL:
            return -1 if classes is None else self.score_of_labels
        if y.width != self.n_out or (buffer.ndim == 1 and classes is not None):
            return -1
        found = cb_look_at_targets(y, buffer.shape[0], self.low, self.high,
                                   8 * self.engine.kernels.itemsize)
        if not found.fit:
            return -1
        if found.one_hot and self.n_out > 1:
            return CB_ARGMAX
        return self.score_of_binary if found.binary else CB_SQUARED_ERROR

    cdef epoch(self, net, cb_rows *x, cb_index n, cb_rows *y, const Py_buffer *y_buffer,
               double eta):
        cdef Engine e = self.engine
        cdef cb_index m = min(n, self.batch_size), most_labels = max(n, self.n_out, 2)
        cdef State state
        here, classes = net._position, net.classes
        remembered = here.optimizer
        # An epoch is broken where a callback looks on, too: the long way refuses to train then.
        if (x.width != e.layer[0].n_out or y_buffer.shape[0] != n
                or not 0 < n <= MOST_PRODUCTS // e.products or here.batch
                or remembered is None or (self.is_sgd and eta * self.l2 >= n)):
            return None
        state = remembered
        cdef int score = self.score(y, y_buffer, classes)
        if score < 0 or state.name != self.rule:
            return None
        x.bias, x.scale, x.shift = 1, e.scale, e.shift
        cdef Workspace w = e.workspace(m, 1, TRAINING, score)
        cdef cb_index kept = 8 * n + (1 + state.planes) * e.n_bytes
        cdef char *room = w.room(kept + 4 * most_labels)
        cdef int32_t *labels = <int32_t *>(room + kept)
        cdef Job job
        history = None
        if y.data != NULL or (are_plain(classes, max(self.n_out, 2), labels)
                              and as_indices(y_buffer, max(self.n_out, 2), labels)):
            begin_job(&job, e, w, state, n, m, 1, room, self.results)
            job.x = x
            if self.gradient is not None:
                lend_sums(w, e, <char *>address(self.gradient))
                job.panel_squares = self.panel_squares
            if y.data == NULL:
                job.labels = labels
            else:
                job.y = y
            history = self.trained(&job, net, here, state, score, eta)
        e.put_back(w)
        return history

    cdef trained(self, Job *job, net, here, State state, int score, double eta):
        # Ends in a History, an exception of a signal's handler, or where the job began.
        cdef Engine e = self.engine
        cdef double *variances = NULL
        cdef uintptr_t sums = address(here.score_sums), squares = address(here.error_squares)
        cdef cb_index width = 8 * self.n_out, steps = here.steps
        cdef int status
        memcpy(self.sums, <void *>sums, width)
        self.descent.planes, self.descent.state = state.planes, state.at
        self.descent.steps, self.descent.product = state.steps, state.product
        self.descent.l1, self.descent.l2 = self.l1 / job.n, self.l2 / job.n
        job.descent, job.clip_norm, job.max_norm = self.descent, self.clip_norm, self.max_norm
        job.etas, job.etas_epochs, job.etas_per_epoch = &eta, 1, 1
        job.key, job.shuffled = self.key, self.shuffled
        job.epoch, job.score_sum, job.error_squares = here.epoch, self.sums, self.squares
        job.pending, job.slice_end = <void *>self.pending, INFINITY
        run_without_lock(job, NULL)
        status = job.stop or job.ended
        if status != COMPLETE and status != INTERRUPTED:
            roll_back(job)
            return None
        history = None
        if status == COMPLETE:
            if score == CB_SQUARED_ERROR:
                variances = self.variances
                cb_variance(job.y, job.n, variances)
            # No memory for the curves: as if it had not been trained.
            try:
                history = recorded(net.history, score_of(job.scores, variances, self.n_out), score,
                                   eta, job)
            except MemoryError:
                roll_back(job)
                raise
        state.steps, state.product = job.descent.steps, job.descent.product
        memcpy(<void *>sums, self.sums, width)
        memcpy(<void *>squares, self.squares, 8 * (neurons(e.layer, e.L) + 1))
        here.epoch, here.batch, here.steps = job.epoch, job.batch, steps + job.steps
        here.cost_sum, here.shape = job.cost_sum, (job.n, job.batch_size, int(self.shuffled), score)
        if status == INTERRUPTED:
            raise self.pending.pop()
        return history


cdef recorded(whole, double score, int kind, double eta, const Job *job):
    # The epoch's History, and an entry more in that of all.
    cdef cb_index l, L = job.p.L
    cdef double cost = job.costs[0], elapsed = job.seconds[0]
    norms, dead = [job.error_norms[l] for l in range(L)], [job.dead[l] for l in range(L)]
    # Lists of numbers are in no cycle, and a loop may make millions: the collector need not walk
    # them again and again.
    PyObject_GC_UnTrack(<PyObject *>norms)
    PyObject_GC_UnTrack(<PyObject *>dead)
    name = "r2" if kind == CB_SQUARED_ERROR else "accuracy"
    history = History(name, [cost], [score], [], [], [eta], [elapsed], [norms], [dead])
    cdef Py_ssize_t length = len(whole.cost)
    try:
        whole.cost.append(cost)
        whole.score.append(score)
        whole.learning_rate.append(eta)
        whole.seconds.append(elapsed)
        whole.delta_norms.append(norms)
        whole.dead_units.append(dead)
    except MemoryError:
        for curve in (whole.cost, whole.score, whole.learning_rate, whole.seconds,
                      whole.delta_norms, whole.dead_units):
            del curve[length:]
        raise
    whole.score_name = name
    return history
