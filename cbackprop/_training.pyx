# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""The epoch loop: mini-batches gathered by index, the four equations and the update, one
program for all threads, outside the GIL."""
import numpy

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

from cbackprop._engine cimport (TRAINING, Engine, Rows, Targets, Workspace, address, barrier,
                                float_enter, float_leave, load, run, seconds, shuffle,
                                team_size)
from cbackprop._error_propagation cimport (propagate_columns, propagate_error,
                                           propagate_error_to)
from cbackprop._forward cimport forward, forward_columns, forward_from
from cbackprop._gradients cimport gradient_columns, gradients
from cbackprop._kernels cimport (CB_FOR_SHUFFLE, CB_PANEL, CB_SGD, CB_SOFTMAX, CB_SQUARED_ERROR,
                                 Pass, cb_ahead, cb_index, cb_random, cb_rows, cb_team,
                                 cb_update, is_blocked, part, parts_of)
from cbackprop._output_error cimport measure, output_error
from cbackprop._pace cimport MOST_OWNERS, Pace, begin_pace, current_way, report, slice_seconds

cdef enum Status:
    RUNNING = 0
    COMPLETE = 1
    INTERRUPTED = 2         # a signal handler raised
    DIVERGED = 3            # a parameter or the cost is not finite after an epoch; rolled back
    BAD_INPUT = 4           # a value of X or y is not finite; rolled back
    PAUSED = 5              # the slice is over: time to choose the number of threads

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
    # of threads that own columns
    const Pass *own[MOST_OWNERS]    # own[0] is p
    void *a_shared[2]       # a^1, in turn
    cb_index tail_bytes     # of the weights after layer 1
    # what the threads agree on, written between two barriers
    char apart[128]         # what is written lies apart from what is only read
    int stop, ended
    int stops[2]            # of owners: stop before this mini-batch, before the next; in turn
    int non_finite
    char apart_too[128]
    # where we are; thread 0 alone
    int first_epoch, in_epoch
    cb_index epoch, batch, epochs_left, done, steps
    double cost_sum
    double *score_sum       # [1], or [n_L]
    double *costs           # results, one for each epoch of this call
    double *scores
    double *seconds
    double epoch_began, last_look
    double slice_began, slice_end
    cb_index slice_batches, slice_samples
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
    job.in_epoch = 1


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
    job.slice_batches += 1
    job.slice_samples += m
    if now > job.slice_end and job.stop == RUNNING:
        job.stop = PAUSED
    elif job.slice_batches == 1:        # the first warms up, unless it is the only one
        job.slice_began, job.slice_samples = now, 0


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
    job.first_epoch = job.in_epoch = 0
    job.epochs_left -= 1
    if job.epochs_left == 0:
        job.ended = COMPLETE


cdef void look_ahead(Job *job, cb_index batch, int thread, int threads,
                     cb_ahead *ahead) noexcept nogil:
    # The rows that this thread will gather for that mini-batch of this epoch.
    cdef cb_index m = max(<cb_index>0, min(job.batch_size, job.n - batch * job.batch_size))
    cdef cb_index first = part(m, threads, thread)
    ahead[0] = cb_ahead(job.x, job.index + batch * job.batch_size + first,
                        part(m, threads, thread + 1) - first, 0)


cdef void train_program(void *argument, int thread, cb_team *team) noexcept nogil:
    cdef Job *job = <Job *>argument
    cdef const Pass *p = &job.p
    cdef int threads = team_size(team)
    cdef cb_index batch = job.batch, batches = parts_of(job.n, job.batch_size), m, first, last
    cdef cb_update update = cb_update(CB_SGD, 0, job.decay, 0)
    cdef cb_ahead ahead
    while True:
        if thread == 0 and not job.in_epoch:
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
            look_ahead(job, batch + 1, thread, threads, &ahead)
            gradients(p, m, thread, threads, &update, &ahead)
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


cdef void owners_program(void *argument, int thread, cb_team *team) noexcept nogil:
    # Each thread owns some neurons of layer 1, whose weights never leave its cache, and does
    # everything after layer 1 for itself, with its own copy of those weights. What the
    # threads tell each other is a^1, in turn in two places, so that they meet once a step.
    cdef Job *job = <Job *>argument
    cdef const Pass *p = job.own[thread]
    cdef int threads = team_size(team), turn = 0
    cdef cb_index batch = job.batch, batches = parts_of(job.n, job.batch_size), m, l
    cdef cb_index panels = parts_of(p.layer[1].n_out, CB_PANEL)
    cdef cb_index begin = part(panels, threads, thread) * CB_PANEL
    cdef cb_index end = min(p.layer[1].n_out, part(panels, threads, thread + 1) * CB_PANEL)
    cdef cb_update update = cb_update(CB_SGD, 0, job.decay, 0)
    cdef cb_ahead ahead
    cdef void *a[2]
    a[0], a[1] = job.a_shared[0], job.a_shared[1]
    if thread:
        memcpy(p.layer[2].w, job.p.layer[2].w, job.tail_bytes)
    while True:
        if thread == 0:
            job.stops[0] = job.stops[1] = 0
            if not job.in_epoch:
                begin_epoch(job)
        barrier(team)
        while batch < batches:
            m = min(job.batch_size, job.n - batch * job.batch_size)
            p.layer[1].a = p.layer[1].z = a[turn]
            p.layer[2].a_in = a[turn]
            load(p, job.x, job.y, job.labels, job.index + batch * job.batch_size, 0, m,
                 &job.non_finite)
            forward_columns(p, 1, 0, m, begin, end)
            if end == p.layer[1].n_out:
                p.kernels.complete_rows(&p.layer[1], 0, m)
            barrier(team)
            if job.stops[turn]:
                break
            forward_from(p, 2, 0, m)
            if thread == 0:
                measure(p, 0, m)
            output_error(p, 0, m)
            propagate_error_to(p, 2, 0, 0, m)
            propagate_columns(p, 1, 0, 0, m, begin, end)
            update.rate = job.eta / m
            look_ahead(job, batch + 1, 0, 1, &ahead)
            gradient_columns(p, 1, m, begin, end, &update, &ahead)
            for l in range(2, p.L + 1):
                gradient_columns(p, l, m, 0, p.layer[l].n_out, &update, &ahead)
            turn = 1 - turn
            if thread == 0:
                end_batch(job, m)
                job.stops[turn] = job.stop
            batch += 1
        barrier(team)
        if job.stops[turn]:
            break
        batch = 0
        if thread == 0:
            end_epoch(job)
        barrier(team)
        if job.ended:
            break
    p.layer[1].a = p.layer[1].z = a[0]
    p.layer[2].a_in = a[0]


cdef void run_in_slices(Job *job, Pace *pace) noexcept nogil:
    # One slice to the end where there is no choice.
    cdef int way
    cdef double began, now
    while True:
        way = current_way(pace)
        job.slice_began = began = seconds()
        job.slice_end = began + slice_seconds(pace, began)
        job.slice_batches = job.slice_samples = 0
        run(owners_program if pace.owners[way] else train_program, job, pace.threads[way])
        if job.stop != PAUSED:
            return
        job.stop = RUNNING
        now = seconds()
        report(pace, (now - job.slice_began) / job.slice_samples, now - began, now)


cdef int most_owners(Engine engine, cb_index m, int threads) noexcept:
    # How many threads may own columns: where most of the work is the first layer's.
    cdef cb_index l, products = 0
    for l in range(1, engine.L + 1):
        products += engine.layer[l].n_in * engine.layer[l].n_out
        if is_blocked(engine.kernels, &engine.layer[l], m):
            return 0
    if (engine.L < 2 or engine.layer[1].activation == CB_SOFTMAX
            or 2 * engine.layer[1].n_in * engine.layer[1].n_out < products):
        return 0
    return min(threads, MOST_OWNERS, <int>parts_of(engine.layer[1].n_out, CB_PANEL))


cdef own_pass(Job *job, Engine engine, cb_index m, int score, int thread):
    # Memory of a mini-batch and of the weights after layer 1 for one more owner.
    cdef Workspace w = Workspace(engine, m, 1, TRAINING, score)
    cdef cb_index l
    cdef char *tail = <char *>engine.layer[2].w
    job.tail_bytes = engine.parameters + engine.n_bytes - tail
    copy = numpy.empty(job.tail_bytes + 128, numpy.uint8)
    cdef uintptr_t base = (address(copy) + 127) // 128 * 128
    for l in range(2, engine.L + 1):
        w.p.layer[l].w = <char *>base + (<char *>engine.layer[l].w - tail)
    job.own[thread] = &w.p
    return w, copy


def train(Engine engine not None, Rows x not None, Targets y not None, here, shape,
          Py_ssize_t first, Py_ssize_t epochs, Py_ssize_t batch_size, double learning_rate,
          double l2,
          uint64_t key, bint shuffled, int score, int threads, int guess, variance,
          histories, bint validated):
    """Trains for `epochs` epochs, the first of which may be the rest of a broken one.

    here: the position (epoch, batch, steps, cost_sum, score_sums, and the shape of what it
    belongs to), brought up to date; first: the mini-batch to begin with; histories: each gets
    the whole epochs that were done, with NaN for the validation still to come; variance: of
    each target, where the score is R^2; guess: the number of threads to try first, of 1 to
    `threads`, or 0 for just `threads`. Returns (status, error); status is "complete",
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
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.p = w.p
    job.x, job.y, job.labels = &x.rows, y.rows(), y.labels
    job.index, job.n, job.batch_size = <int64_t *>room, x.n, m
    job.eta, job.decay = learning_rate, 1 - learning_rate * l2 / x.n
    job.key, job.shuffled = key, shuffled
    job.first_epoch = 1
    job.epoch, job.batch, job.epochs_left = here.epoch, first, epochs
    job.cost_sum, job.score_sum = here.cost_sum, <double *>address(sums)
    job.costs, job.seconds, job.scores = results, results + epochs, results + 2 * epochs
    job.last_look = seconds()
    job.parameters, job.n_bytes = engine.parameters, engine.n_bytes
    job.snapshot, job.pending = room + 8 * x.n, <void *>pending
    cdef int least = 1 if guess else threads, owners = 0, thread
    # The owners' memory is not worth its while for a handful of mini-batches.
    if epochs * batches >= 32:
        owners = most_owners(engine, m, threads)
    if owners < least:      # so many threads were asked for that none can own a column
        owners = 0
    if (engine.pace.m != m or engine.pace.least != least or engine.pace.most != threads
            or engine.pace.owned != owners):
        begin_pace(&engine.pace, m, least, threads, guess or threads, owners)
    job.own[0] = &job.p
    _keep = [own_pass(&job, engine, m, score, thread) for thread in range(1, owners)]
    if owners > 1:
        job.a_shared[0], job.a_shared[1] = job.p.layer[1].a, job.own[1].layer[1].a
    with nogil:
        job.environment = float_enter()
        run_in_slices(&job, &engine.pace)
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
