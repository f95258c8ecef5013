# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""One call of training: its memory, its threads, and what becomes of it."""
from math import fsum
from time import sleep

import numpy

from libc.math cimport INFINITY

from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.string cimport memset

from cbackprop._bf16 cimport rounding_of
from cbackprop._engine cimport (TRAINING, Engine, Rows, Targets, Workspace, address,
                                float_enter, float_leave, new_arena, run, seconds)
from cbackprop._job cimport (BAD_INPUT, COMPLETE, DIVERGED, ELSEWHERE, INTERRUPTED, PAUSED,
                             RUNNING, STOPPED, TURN, Brake, Job, roll_back)
from cbackprop._kernels cimport (CB_PANEL, CB_SQUARED_ERROR, cb_enter_alone, cb_index,
                                 cb_is_elementwise, cb_leave_alone, is_blocked, parts_of)
from cbackprop._norms cimport error_norms
from cbackprop._pace cimport (COLUMNS, MOST_THREADS, TURNS, Pace, begin_pace,
                              current_way, report, slice_seconds)
from cbackprop._partitions cimport by_columns, by_samples, by_turns
from cbackprop._ranks cimport by_ranks
from cbackprop._signals cimport begin_looks, disarm, let_go, take_back
from cbackprop._updates cimport State, descent_of

STATUS = ["running", "complete", "interrupted", "diverged", "bad input", "paused", "stopped",
          "elsewhere"]

cdef enum:
    # Of a mini-batch's activations and errors: what a core keeps near, where turns are worth
    # their waiting; and of the parameters that all chunks share.
    CHUNK_BYTES = 200_000
    LARGE_BATCH_BYTES = 1_000_000
    SMALL_NETWORK_BYTES = 300_000


cdef void run_in_slices(Job *job, Pace *pace) noexcept nogil:
    # One slice to the end where there is no choice.
    cdef int way
    cdef double began, now
    while True:
        way = current_way(pace)
        job.slice_began = began = seconds()
        job.slice_end = began + slice_seconds(pace)
        job.slice_batches = job.slice_samples = 0
        run(by_ranks if job.meeting != NULL else
            by_columns if pace.partition[way] == COLUMNS else
            by_turns if pace.partition[way] == TURNS else by_samples, job, pace.threads[way])
        now = seconds()
        if job.stop != PAUSED:
            if pace.trial == 0:
                pace.rest -= now - began
            return
        job.stop = RUNNING
        report(pace, (now - job.slice_began) / job.slice_samples, now - began)


cdef void run_without_lock(Job *job, Pace *pace) noexcept nogil:
    # Python's. pace: or NULL, where one thread is enough.
    let_go(&job.looks)
    job.environment = float_enter()
    if pace == NULL:
        run(by_samples, job, 1)
    else:
        run_in_slices(job, pace)
    float_leave(job.environment)
    take_back(&job.looks)


cdef int most_owners(Engine engine, cb_index m, int threads) noexcept:
    # How many threads may own columns: where most of the work is the first layer's.
    cdef cb_index l, products = 0
    for l in range(1, engine.L + 1):
        products += engine.layer[l].n_in * engine.layer[l].n_out
        if is_blocked(engine.kernels, &engine.layer[l], m):
            return 0
    if (engine.L < 2 or not cb_is_elementwise(engine.layer[1].activation)
            or 2 * engine.layer[1].n_in * engine.layer[1].n_out < products):
        return 0
    return min(threads, MOST_THREADS, <int>parts_of(engine.layer[1].n_out, CB_PANEL))


cdef own_pass(Job *job, Engine engine, cb_index m, int score, int thread, State state):
    # Memory of a mini-batch and of the weights after layer 1 for one more owner.
    cdef Workspace w = Workspace(engine, m, 1, TRAINING, score)
    cdef cb_index l
    cdef char *tail = <char *>engine.layer[2].w
    job.tail_bytes = engine.parameters + engine.n_bytes - tail
    copy = new_arena(job.tail_bytes * (1 + state.planes))
    cdef uintptr_t base = address(copy)
    state.lend(&w.p)
    for l in range(2, engine.L + 1):
        w.p.layer[l].w = <char *>base + (<char *>engine.layer[l].w - tail)
        w.p.layer[l].state = <char *>w.p.layer[l].w + job.tail_bytes
        w.p.layer[l].plane = job.tail_bytes
    job.own[thread] = &w.p
    return w, copy


cdef cb_index turn_size(Engine engine, cb_index m) noexcept:
    # The samples of a chunk, or 0 where turns are not worth while.
    cdef cb_index l, sample = 0, size
    for l in range(engine.L + 1):
        sample += (2 + (l == engine.L)) * engine.layer[l].ld_out * engine.kernels.itemsize
    if m * sample < LARGE_BATCH_BYTES or engine.n_bytes > SMALL_NETWORK_BYTES:
        return 0
    size = max(<cb_index>24, CHUNK_BYTES // sample) // 12 * 12      # whole tiles
    return size if 4 * size <= m else 0


cdef own_turn(Job *job, Engine engine, int score, int thread, State state, char *nabla, drops,
              double noise):
    # Memory of a chunk; the sums are everybody's.
    cdef Workspace w = Workspace(engine, job.chunk, 1, TRAINING, score)
    w.leave_to_chance(drops, noise)
    w.p.dropout.key = job.dropout.key
    job.dropouts[thread] = &w.p.dropout
    state.lend(&w.p)
    lend_sums(w, engine, nabla)
    job.own[thread] = &w.p
    return w


cdef void lend_sums(Workspace w, Engine engine, char *nabla) noexcept:
    # Room for the sums of BP3 and BP4, laid out like the parameters.
    cdef cb_index l
    for l in range(1, engine.L + 1):
        w.p.layer[l].nabla = nabla + (<char *>engine.layer[l].w - engine.parameters)


cdef void begin_job(Job *job, Engine engine, Workspace w, State state, cb_index n, cb_index m,
                    cb_index epochs, char *room, double *results) noexcept:
    # What every call needs: mini-batches of m of n rows, all of weight 1, without limits. room:
    # 8 n bytes for the order, then the snapshot's; results: those of the epochs, end to end.
    memset(job, 0, sizeof(Job))
    state.lend(&w.p)
    job.p, job.own[0], job.dropout = w.p, &job.p, &w.p.dropout
    job.index, job.n, job.batch_size, job.total = <int64_t *>room, n, m, n
    job.weighed = job.index
    job.clip_norm = job.max_norm = INFINITY
    job.first_epoch, job.epochs_left = 1, epochs
    job.costs, job.seconds = results, results + epochs
    job.error_norms, job.dead = results + 2 * epochs, results + (2 + engine.L) * epochs
    job.scores = results + (2 + 2 * engine.L) * epochs
    begin_looks(&job.looks, seconds())
    if engine.brake is not None:
        job.brake = &(<Brake>engine.brake).raised
    job.parameters, job.n_bytes = engine.parameters, engine.n_bytes
    job.snapshot = room + 8 * n


cdef cb_index panels_of(Engine engine) noexcept:
    cdef cb_index l, panels = 0
    for l in range(1, engine.L + 1):
        panels += parts_of(engine.layer[l].n_out, CB_PANEL)
    return panels


cdef class Onlooker:
    """What is called after each mini-batch. Meanwhile the position is up to date, and the
    network free to be used and to be given other weights; not to be trained."""
    cdef Job *job
    cdef Engine engine
    cdef State state
    cdef object here, sums, squares, shape, call
    cdef cb_index steps

    def __call__(self):
        cdef bint stop = False
        record(self.job, self.here, self.state, self.sums, self.squares, self.shape, self.steps)
        self.here.running = True
        cb_leave_alone(&self.engine.users)
        try:
            stop = bool(self.call(self.job.epoch, self.job.batches_before + self.job.batch - 1))
        finally:
            late = None
            while not cb_enter_alone(&self.engine.users):   # others may still be predicting
                try:
                    sleep(1e-4)
                except BaseException as error:
                    late = error
            self.here.running = False
            if late is not None:
                raise late
        return stop


cdef record(Job *job, here, State state, sums, squares, shape, cb_index steps):
    # Where training stands; steps: those before this call.
    state.steps, state.product = job.descent.steps, job.descent.product
    here.optimizer = state
    here.epoch, here.batch, here.cost_sum = job.epoch, job.batch, job.cost_sum
    here.steps = steps + job.steps
    here.score_sums, here.error_squares, here.shape = sums, squares, shape


def train(Engine engine not None, Rows x not None, Targets y not None, here, shape,
          Py_ssize_t first, Py_ssize_t epochs, Py_ssize_t batch_size, State state not None, rule,
          rates, chosen, weights, drops, double noise, double l1, double l2, double clip,
          double clip_norm, double max_norm, bint bf16, uint64_t key, bint shuffled, int score,
          int threads, int guess, variance, histories, bint validated, on_batch, before,
          ranks=None):
    """Trains for `epochs` epochs, the first of which may be the rest of a broken one.

    here: the position (epoch, batch, steps, cost_sum, score_sums, error_squares, and the shape of
    what it belongs to), brought up to date; first: the mini-batch to begin with; state: the
    optimiser's; rates: float64 (epochs or fewer, 1 or mini-batches), the
    last ones stay; chosen: int64, the rows
    to train on, or None; weights: float64 (n,) of all rows, or None; drops: of layers
    0 .. L - 1, in 65536ths, or None; bf16: products in bfloat16 where that is worth it;
    histories: each gets the whole epochs that were done, with
    NaN for the validation still to come; variance: of each target, where the score is R^2;
    guess: the number of threads to try first, of 1 to `threads`, or 0 for just `threads`;
    on_batch: (epoch, batch) -> whether to stop, after each mini-batch, or None; before: None, or
    (block, mini-batches, rows) where this is a block of an epoch, and the epoch goes on after it;
    ranks: None, or a `_comm.Exchange` where processes share the mini-batches out: x and y are then
    the rows of this one's shares, and weights those of all samples, in the order of training.
    Returns (status, error); status is "complete", "stopped", "interrupted", "diverged" or "bad
    input", the last two with parameters and state as they were when the epoch or block began. No
    Python code runs between the last mini-batch and the end of this book-keeping, so no signal
    comes between.
    """
    cdef cb_index n = x.n if chosen is None else len(chosen), width = 1
    if ranks is not None:
        n = ranks.n
    cdef cb_index m = min(n, batch_size), l
    cdef cb_index batches = parts_of(n, m)
    cdef Workspace w
    cdef bint chance = drops is not None or noise > 0
    if chance:
        w = Workspace(engine, m, threads, TRAINING, score)
        w.leave_to_chance(drops, noise)
    else:
        w = engine.workspace(m, threads, TRAINING, score)
    if score == CB_SQUARED_ERROR:
        width = engine.sizes[-1]
    kept = None if on_batch is None else dict(vars(here))
    sums, squares = here.score_sums.copy(), here.error_squares.copy()
    pending = []
    cdef char *room = w.room(8 * n + (1 + state.planes) * engine.n_bytes)
    curves = numpy.empty((epochs, 2 + 2 * engine.L + width))
    cdef Job job
    begin_job(&job, engine, w, state, n, m, epochs, room, <double *>address(curves))
    w.p.dropout.key = key
    if bf16:
        # A function of the epoch's mini-batches, not of the rows that change hands at once.
        job.rounding = rounding_of(w, engine, m if ranks is None else batch_size)
    cdef bint by_samples_only = (clip_norm < INFINITY or job.rounding != NULL
                                 or ranks is not None)
    job.x, job.y, job.labels = &x.rows, y.rows(), y.labels
    if chosen is not None:
        job.chosen = <const int64_t *>address(chosen)
    if weights is not None:
        job.weights = <const double *>address(weights)
        job.total = fsum(weights if chosen is None or ranks is not None else weights[chosen])
    job.etas = <const double *>address(rates)
    job.etas_epochs, job.etas_per_epoch = rates.shape
    job.descent = descent_of(state, rule, 0)
    job.descent.l1, job.descent.l2, job.descent.clip = l1 / n, l2 / n, clip
    job.clip_norm, job.max_norm = clip_norm, max_norm
    job.key, job.shuffled = key, shuffled
    if before is not None:
        job.block, job.batches_before, job.rows_before = before
        job.goes_on = 1
    job.epoch, job.batch = here.epoch, first
    job.cost_sum, job.score_sum = here.cost_sum, <double *>address(sums)
    job.error_squares, job.pending = <double *>address(squares), <void *>pending
    cdef int least = 1 if guess else threads, owners = 0, takers = 0, thread
    cdef cb_index steps = here.steps
    cdef Onlooker onlooker
    if on_batch is not None:
        onlooker = Onlooker()
        onlooker.job, onlooker.engine, onlooker.state, onlooker.here = &job, engine, state, here
        onlooker.sums, onlooker.squares, onlooker.shape = sums, squares, shape
        onlooker.call, onlooker.steps = on_batch, steps
        job.on_batch = <void *>onlooker
    # Memory of their own is not worth its while for a handful of mini-batches, and not what
    # an onlooker sees.
    if epochs * batches >= 32 and not chance and on_batch is None and not by_samples_only:
        owners = most_owners(engine, m, threads)
    job.chunk = 0 if engine.in_python or by_samples_only else turn_size(engine, m)
    if job.chunk:
        owners, takers = 0, min(threads, MOST_THREADS)
    if owners < least:      # so many threads were asked for that none can own a column
        owners = 0
    if (engine.pace.m != m or engine.pace.least != least or engine.pace.most != threads
            or engine.pace.owners != owners or engine.pace.takers != takers):
        begin_pace(&engine.pace, m, least, threads, guess or threads, owners, takers)
    _keep = [own_pass(&job, engine, m, score, thread, state) for thread in range(1, owners)]
    if owners > 1:
        job.a_shared[0], job.a_shared[1] = job.p.layer[1].a, job.own[1].layer[1].a
    if ranks is not None:
        job.rank, job.ranks, job.together = ranks.rank, ranks.ranks, ranks.together
        job.meeting = <void *>ranks
        if weights is not None:
            in_order = numpy.arange(n)
            job.weighed = <const int64_t *>address(in_order)
        job.descent.l1, job.descent.l2 = l1 / ranks.total, l2 / ranks.total
    if clip_norm < INFINITY or (ranks is not None and not ranks.together):
        nabla, norms = new_arena(engine.n_bytes), numpy.empty(panels_of(engine))
        lend_sums(w, engine, <char *>address(nabla))
        job.panel_squares = <double *>address(norms)
        job.sums, job.sums_bytes = <void *><uintptr_t>address(nabla), engine.n_bytes
    if ranks is not None:
        places = [(<uintptr_t>w.p.costs, 8), (<uintptr_t>w.p.scores, 8)]
        for l in range(1, engine.L + 1):
            places.append((<uintptr_t>w.p.layer[l].a_in,
                           w.p.layer[l].ld_in * engine.kernels.itemsize))
            places.append((<uintptr_t>w.p.layer[l].delta,
                           w.p.layer[l].ld_out * engine.kernels.itemsize))
        if score == CB_SQUARED_ERROR:
            l = w.p.layer[engine.L].ld_out * engine.kernels.itemsize
            places.extend([(<uintptr_t>w.p.layer[engine.L].a, l), (<uintptr_t>w.p.y, l)])
        ranks.bind(places, m, <uintptr_t>job.sums, engine.n_bytes, engine.kernels.itemsize)
    if takers:
        nabla, turns = new_arena(engine.n_bytes), new_arena((engine.L + 1) * TURN * 8)
        job.turn = <int64_t *>address(turns)
        _keep = [own_turn(&job, engine, score, thread, state, <char *>address(nabla), drops,
                          noise)
                 for thread in range(takers)]
    job.looks.may_arm = on_batch is None and ranks is None and not engine.in_python
    job.looks.may_keep = job.looks.may_arm and engine.own is None
    run_without_lock(&job, &engine.pace)
    disarm(&job.looks)
    status = <int>(job.stop or job.ended)
    if status == INTERRUPTED and not pending:
        pending.append(engine.own.failures.take())
    if status == DIVERGED or status == BAD_INPUT:
        roll_back(&job)
        if kept is not None:
            vars(here).update(kept)
    state.steps, state.product = job.descent.steps, job.descent.product
    if status != BAD_INPUT:
        here.optimizer = state
    if (status == COMPLETE or status == INTERRUPTED or status == STOPPED
            or status == ELSEWHERE):
        record(&job, here, state, sums, squares, shape, steps)
    elif status == DIVERGED and job.done:   # a broken epoch that diverged stays as it was
        here.epoch, here.batch, here.shape = job.epoch, 0, shape
        here.steps = steps + job.done * batches - first
    cdef const double *variances = NULL
    if variance is not None:
        variances = <const double *>address(variance)
    costs = [job.costs[e] for e in range(job.done)]
    values = [score_of(&job.scores[e * width], variances, width) for e in range(job.done)]
    times = [job.seconds[e] for e in range(job.done)]
    delta_norms = [[job.error_norms[e * engine.L + l] for l in range(engine.L)]
                   for e in range(job.done)]
    dead = [[job.dead[e * engine.L + l] for l in range(engine.L)] for e in range(job.done)]
    etas = [rates[min(e, len(rates) - 1), 0].item() for e in range(job.done)]
    for history in histories if job.done else ():
        history.score_name = "accuracy" if variance is None else "r2"
        history.cost.extend(costs)
        history.score.extend(values)
        history.delta_norms.extend(delta_norms)
        history.dead_units.extend(dead)
        history.learning_rate.extend(etas)
        history.seconds.extend(times)
        if validated:
            history.validation_cost.extend([float("nan")] * job.done)
            history.validation_score.extend([float("nan")] * job.done)
    # NaN in the lanes of padding may outlive the numbers: half a vector is computed where that is
    # enough, and not every way of computing takes the same half.
    if not chance and status != BAD_INPUT and status != DIVERGED:
        engine.put_back(w)
    return STATUS[status], pending[0] if pending else None


cdef double score_of(const double *means, const double *variances, cb_index width) noexcept:
    # The accuracy, or R^2 = 1 - MSE / variance, a mean over outputs; a constant target counts
    # 1 where it is met and 0 elsewhere, as scikit-learn has it.
    cdef cb_index j
    cdef double total = 0, of_target
    if variances == NULL:
        return means[0]
    for j in range(width):
        of_target = variances[j]
        if of_target == 0:
            total += means[j] == 0
        else:
            total += 1 - means[j] / of_target
    return total / width


def mean_score(means, variance):
    """`score_of` for the mean scores (n,) of an evaluation."""
    cdef const double *variances = NULL
    if variance is not None:
        variances = <const double *>address(variance)
    return score_of(<double *>address(means), variances, means.size)


def norms_of(Engine engine not None, squares):
    """||delta^l|| and the share of dead neurons, a list each, from a position's squares."""
    both = numpy.empty((2, engine.L))
    cdef double *to = <double *>address(both)
    error_norms(engine.layer, engine.L, <const double *>address(squares), to, to + engine.L)
    return both.tolist()
