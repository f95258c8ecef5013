# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""The epoch loop: mini-batches gathered by index, the four equations and the update, one
program for all threads, outside the GIL."""
import numpy

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy

from cbackprop._engine cimport (TRAINING, Engine, Rows, Targets, Workspace, address, barrier,
                                float_enter, float_leave, load, run, seconds, shuffle,
                                team_size)
from cbackprop._error_propagation cimport propagate_error
from cbackprop._forward cimport forward
from cbackprop._gradients cimport gradients
from cbackprop._kernels cimport (CB_FOR_SHUFFLE, CB_SGD, CB_SQUARED_ERROR, Pass, cb_index,
                                 cb_random, cb_rows, cb_team, cb_update, part, parts_of)
from cbackprop._output_error cimport measure, output_error

cdef enum Status:
    RUNNING = 0
    COMPLETE = 1
    INTERRUPTED = 2         # a signal handler raised
    DIVERGED = 3            # a parameter or the cost is not finite after an epoch; rolled back
    BAD_INPUT = 4           # a value of X or y is not finite; rolled back

STATUS = ["running", "complete", "interrupted", "diverged", "bad input"]

cdef double LOOK_SECONDS = 0.02   # between two looks for Ctrl-C


cdef struct Job:
    Pass p
    const cb_rows *x
    const cb_rows *y
    const int32_t *labels
    int64_t *index          # [n]: the permutation of this epoch
    cb_index n, batch_size
    double eta, decay       # of the rule w = decay w - eta/m sum
    uint64_t key
    int shuffled
    # where we are; written by thread 0 only
    cb_index epoch, batch, epochs_left, done, steps
    double cost_sum
    double *score_sum       # [1], or [n_L]
    double *costs           # results, one for each epoch of this call
    double *scores
    double *seconds
    # what the threads agree on, written between two barriers
    int stop, ended
    int non_finite, first_epoch
    double epoch_began, last_look
    char *parameters
    char *snapshot          # as they were when the epoch began
    cb_index n_bytes
    unsigned environment    # the caller's float environment
    void *pending           # a list to put an exception in


cdef inline cb_index score_width(const Pass *p) noexcept nogil:
    return p.layer[p.L].n_out if p.score == CB_SQUARED_ERROR else 1


cdef void begin_epoch(Job *job) noexcept nogil:
    # The order of epoch e depends on (seed, e) alone; a broken epoch goes on in its order.
    cdef cb_index i
    if job.shuffled:
        shuffle(cb_random(job.key, CB_FOR_SHUFFLE, <unsigned>job.epoch), job.index, job.n)
    else:
        for i in range(job.n):
            job.index[i] = i
    if job.batch == 0:
        job.cost_sum = 0
        for i in range(score_width(&job.p)):
            job.score_sum[i] = 0
    memcpy(job.snapshot, job.parameters, job.n_bytes)
    job.epoch_began = seconds()


cdef void end_batch(Job *job, cb_index m) noexcept nogil:
    # Sums in the order of the samples; then, now and then, a look for Ctrl-C.
    cdef cb_index i, j, width = score_width(&job.p)
    for i in range(m):
        job.cost_sum += job.p.costs[i]
        for j in range(width):
            job.score_sum[j] += job.p.scores[i * width + j]
    job.batch += 1
    job.steps += 1
    if job.first_epoch and job.non_finite:
        job.stop = BAD_INPUT
        return
    cdef double now = seconds()
    if now - job.last_look > LOOK_SECONDS:
        job.last_look = now
        look_for_signals(job)


cdef void look_for_signals(Job *job) noexcept nogil:
    float_leave(job.environment)    # the user's handlers run in the caller's environment
    with gil:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            (<list>job.pending).append(error)
            job.stop = INTERRUPTED
    float_enter()


cdef void end_epoch(Job *job) noexcept nogil:
    cdef cb_index i, width = score_width(&job.p)
    if (job.cost_sum != job.cost_sum        # NaN
            or not job.p.kernels.all_finite(job.parameters,
                                            job.n_bytes // job.p.kernels.itemsize)):
        job.ended = DIVERGED
        return
    job.costs[job.done] = job.cost_sum / job.n
    for i in range(width):
        job.scores[job.done * width + i] = job.score_sum[i] / job.n
    job.seconds[job.done] = seconds() - job.epoch_began
    job.done += 1
    job.epoch += 1
    job.batch = 0
    job.first_epoch = 0
    job.epochs_left -= 1
    if job.epochs_left == 0:
        job.ended = COMPLETE


cdef void train_program(void *argument, int thread, cb_team *team) noexcept nogil:
    cdef Job *job = <Job *>argument
    cdef const Pass *p = &job.p
    cdef int threads = team_size(team)
    cdef cb_index batch = job.batch, batches = parts_of(job.n, job.batch_size), m, first, last
    cdef cb_update update = cb_update(CB_SGD, 0, job.decay, 0)
    while True:
        if thread == 0:
            begin_epoch(job)
        barrier(team)
        while batch < batches:
            m = min(job.batch_size, job.n - batch * job.batch_size)
            first, last = part(m, threads, thread), part(m, threads, thread + 1)
            load(p, job.x, job.y, job.labels, job.index + batch * job.batch_size, first, last,
                 &job.non_finite)
            forward(p, first, last)
            measure(p, first, last)
            output_error(p, first, last)
            propagate_error(p, thread, first, last)
            barrier(team)
            update.rate = job.eta / m
            gradients(p, m, thread, threads, &update)
            if thread == 0:
                end_batch(job, m)
            barrier(team)
            if job.stop:
                return
            batch += 1
        batch = 0
        if thread == 0:
            end_epoch(job)
        barrier(team)
        if job.ended:
            return


def train(Engine engine not None, Rows x not None, Targets y not None, here, shape,
          Py_ssize_t first, Py_ssize_t epochs, Py_ssize_t batch_size, double learning_rate,
          double l2,
          uint64_t key, bint shuffled, int score, int threads, variance, histories,
          bint validated):
    """Trains for `epochs` epochs, the first of which may be the rest of a broken one.

    here: the position (epoch, batch, steps, cost_sum, score_sums, and the shape of what it
    belongs to), brought up to date; first: the mini-batch to begin with; histories: each gets
    the whole epochs that were done, with NaN for the validation still to come; variance: of
    each target, where the score is R^2. Returns (status, error); status is "complete",
    "interrupted", "diverged" or "bad input", the last two with the parameters as they were
    when the epoch began. No Python code runs between the last mini-batch and the end of this
    book-keeping, so no signal comes between.
    """
    cdef cb_index batches = parts_of(x.n, min(x.n, batch_size))
    cdef cb_index m = min(x.n, batch_size), width = 1
    cdef Workspace w = engine.workspace(m, threads, TRAINING, score)
    if score == CB_SQUARED_ERROR:
        width = engine.sizes[-1]
    sums = here.score_sums.copy()
    pending = []
    cdef char *room = w.room(8 * x.n + engine.n_bytes)
    curves = numpy.empty((epochs, 2 + width))
    cdef double *results = <double *>address(curves)
    cdef Job job = Job(w.p, &x.rows, y.rows(), y.labels, <int64_t *>room, x.n, m,
                       learning_rate, 1 - learning_rate * l2 / x.n, key, shuffled,
                       here.epoch, first, epochs, 0, 0, here.cost_sum,
                       <double *>address(sums), results, results + 2 * epochs,
                       results + epochs,
                       RUNNING, RUNNING, 0, 1, 0, seconds(), engine.parameters,
                       room + 8 * x.n, engine.n_bytes, 0, <void *>pending)
    with nogil:
        job.environment = float_enter()
        run(train_program, &job, threads)
        float_leave(job.environment)
    status = job.stop or job.ended
    if status == DIVERGED or status == BAD_INPUT:
        memcpy(engine.parameters, job.snapshot, engine.n_bytes)
    if status == COMPLETE or status == INTERRUPTED:
        here.epoch, here.batch, here.cost_sum = job.epoch, job.batch, job.cost_sum
        here.steps += job.steps
        here.score_sums, here.shape = sums, shape
    elif status == DIVERGED and job.done:   # a broken epoch that diverged stays as it was
        here.epoch, here.batch, here.shape = job.epoch, 0, shape
        here.steps += job.done * batches - first
    costs = [job.costs[e] for e in range(job.done)]
    values = [score_of(&job.scores[e * width], variance, width) for e in range(job.done)]
    times = [job.seconds[e] for e in range(job.done)]
    for history in histories if job.done else ():
        history.score_name = "accuracy" if variance is None else "r2"
        history.cost.extend(costs)
        history.score.extend(values)
        history.learning_rate.extend([learning_rate] * job.done)
        history.seconds.extend(times)
        if validated:
            history.validation_cost.extend([float("nan")] * job.done)
            history.validation_score.extend([float("nan")] * job.done)
    engine.put_back(w)
    return STATUS[status], pending[0] if pending else None


cdef double score_of(const double *means, variance, cb_index width) except? -1:
    # The accuracy, or R^2 = 1 - MSE / variance, a mean over outputs; a constant target counts
    # 1 where it is met and 0 elsewhere, as scikit-learn has it.
    cdef cb_index j
    cdef double total = 0, of_target
    if variance is None:
        return means[0]
    cdef const double *variances = <const double *>address(variance)
    for j in range(width):
        of_target = variances[j]
        if of_target == 0:
            total += means[j] == 0
        else:
            total += 1 - means[j] / of_target
    return total / width


def mean_score(means, variance):
    """`score_of` for the mean scores (n,) of an evaluation."""
    return score_of(<double *>address(means), variance, means.size)
