# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""Where a training stands, mini-batch by mini-batch and epoch by epoch: sums, the look for
Ctrl-C, the check of an epoch's end and the way back."""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from cbackprop._engine cimport float_enter, float_leave, key_of_block, seconds, shuffle
from cbackprop._norms cimport error_norms, neurons
from cbackprop._kernels cimport (CB_FLOAT32, CB_FOR_SHUFFLE, CB_SQUARED_ERROR, Pass, cb_index,
                                 cb_is_raised, cb_raise_flag, cb_random, cb_rows, part, parts_of)
from cbackprop._signals cimport is_due, look
from cbackprop._updates cimport Descent

cdef enum:
    SHARE = 4096            # bytes that no two threads share: whole panels, of lines of their own


cdef class Brake:
    """Stops, from any thread, the training of every network whose engine has it: KeyboardInterrupt
    comes out there, after the mini-batch."""

    def pull(self):
        """From now on."""
        cb_raise_flag(&self.raised)

    @property
    def pulled(self):
        """Whether somebody has."""
        return bool(cb_is_raised(&self.raised))


cdef inline cb_index score_width(const Pass *p) noexcept nogil:
    return p.layer[p.L].n_out if p.score == CB_SQUARED_ERROR else 1


cdef void begin_epoch(Job *job) noexcept nogil:
    # The order of epoch e depends on (seed, e) alone, of a block on its number too; a broken
    # epoch goes on in its order. A full batch needs none.
    cdef cb_index i
    job.targets = cb_rows(job.labels, 4, 4, 1, CB_FLOAT32, 0, NULL, NULL)
    if job.labels == NULL:
        job.targets = job.y[0]
    cdef uint64_t key = key_of_block(job.key, job.block)
    if job.shuffled and (job.batch_size < job.n or job.goes_on):
        shuffle(cb_random(key, CB_FOR_SHUFFLE, <unsigned>job.epoch), job.index, job.n)
    else:
        for i in range(job.n):
            job.index[i] = i
    if job.meeting != NULL:
        number_own_rows(job)
    elif job.chosen != NULL:
        for i in range(job.n):
            job.index[i] = job.chosen[job.index[i]]
    if job.batch == 0 and job.block == 0:
        job.cost_sum = 0
        for i in range(score_width(&job.p)):
            job.score_sum[i] = 0
        for i in range(neurons(job.p.layer, job.p.L) + 1):
            job.error_squares[i] = 0
    job.dropout.epoch = <unsigned>job.epoch
    job.dropout.position = job.rows_before + job.batch * job.batch_size
    job.kept = job.descent
    job.is_new, job.broken = 1, 0
    job.epoch_began = seconds()
    job.in_epoch = 1


cdef void enter_epoch(Job *job) noexcept nogil:
    # Thread 0, where a slice or an epoch begins.
    job.is_new = 0
    if not job.in_epoch:
        begin_epoch(job)


cdef cb_index share_of(const Job *job, int thread, int threads, cb_index *begin) noexcept nogil:
    # Bytes of a thread's share of each plane: the parameters, or one of the optimiser's.
    cdef cb_index n = parts_of(job.n_bytes, SHARE)
    begin[0] = part(n, threads, thread) * SHARE
    return min(job.n_bytes, part(n, threads, thread + 1) * SHARE) - begin[0]


cdef void keep_share(Job *job, int thread, int threads) noexcept nogil:
    # A thread's share of the snapshot of an epoch that is new.
    cdef cb_index k, begin, size = share_of(job, thread, threads, &begin)
    if not job.is_new:
        return
    memcpy(job.snapshot + begin, job.parameters + begin, size)
    for k in range(job.descent.planes):
        memcpy(job.snapshot + (1 + k) * job.n_bytes + begin,
               job.descent.state + k * job.n_bytes + begin, size)


cdef void check_share(Job *job, int thread, int threads) noexcept nogil:
    # Whether a thread's share of all that an epoch changed is finite.
    cdef cb_index k, begin, size = share_of(job, thread, threads, &begin)
    cdef cb_index count = size // job.p.kernels.itemsize
    if not job.p.kernels.all_finite(job.parameters + begin, count):
        cb_raise_flag(&job.broken)
    for k in range(job.descent.planes):
        if not job.p.kernels.all_finite(job.descent.state + k * job.n_bytes + begin, count):
            cb_raise_flag(&job.broken)


cdef void number_own_rows(Job *job) noexcept nogil:
    # chosen: where the rows of this process's share of each mini-batch lie, in order.
    cdef cb_index begin = 0, own = 0, m, s
    while begin < job.n:
        m = min(job.batch_size, job.n - begin)
        for s in range(part(m, job.ranks, job.rank), part(m, job.ranks, job.rank + 1)):
            job.index[begin + s] = job.chosen[own]
            own += 1
        begin += m


cdef void roll_back(Job *job) noexcept nogil:
    # To where the epoch began.
    memcpy(job.parameters, job.snapshot, job.n_bytes)
    memcpy(job.descent.state, job.snapshot + job.n_bytes, job.descent.planes * job.n_bytes)
    job.descent = job.kept


cdef double mass_of(const Job *job, cb_index batch, cb_index m) noexcept nogil:
    # The number of samples of the mini-batch, or the sum of their weights, in order.
    cdef cb_index i
    cdef double mass = 0
    if job.weights == NULL:
        return m
    for i in range(m):
        mass += job.weights[job.weighed[batch * job.batch_size + i]]
    return mass


cdef void clear_absent(const Pass *p, const double *weights, const int64_t *index, cb_index first,
                       cb_index last) noexcept nogil:
    # a^0 = 0 where a row counts nothing: its own might overflow further on, and 0 inf in BP4 is
    # NaN. weights: by row, or NULL; index: the rows of samples 0, 1, .. of p, or NULL: 0, 1, ..
    cdef cb_index s, item = p.kernels.itemsize
    if weights == NULL:
        return
    for s in range(first, last):
        if weights[index[s] if index != NULL else s] == 0:
            memset(<char *>p.layer[0].a + s * p.layer[0].ld_out * item, 0, p.layer[0].n_out * item)


cdef void weigh(const Job *job, const Pass *p, cb_index at, cb_index first,
                cb_index last) noexcept nogil:
    # delta^L of samples first .. last - 1 of p, whose sample 0 is number `at` of the epoch.
    if job.weights != NULL:
        p.kernels.weigh(&p.layer[p.L], job.weights, job.weighed + at, first, last - first)


cdef void sum_costs(Job *job, const Pass *p, const int64_t *index, cb_index m) noexcept nogil:
    # In the order of the samples, whose rows index names.
    cdef cb_index i
    cdef double weight = 1, cost = job.cost_sum, score = 0
    cdef bint scored = p.score != CB_SQUARED_ERROR
    if scored:
        score = job.score_sum[0]
    for i in range(m):
        if job.weights != NULL:
            weight = job.weights[index[i]]
            if weight == 0:
                continue
        cost += weight * p.costs[i]
        if scored:
            score += weight * p.scores[i]
    job.cost_sum = cost
    if scored:
        job.score_sum[0] = score


cdef void sum_squares(Job *job, const Pass *p, const int64_t *index, cb_index m, int thread,
                      int threads) noexcept nogil:
    # Where the score is R^2: each output in the order of the samples, a thread's share of them.
    cdef cb_index n = p.layer[p.L].n_out, begin = part(n, threads, thread)
    if p.score == CB_SQUARED_ERROR:
        p.kernels.add_squares(&p.layer[p.L], p.y, job.weights, index, m, begin,
                              part(n, threads, thread + 1) - begin, job.score_sum)


cdef void end_batch(Job *job, cb_index m, const Descent *descent) noexcept nogil:
    # The mini-batch counts; then, now and then, a look for Ctrl-C.
    job.descent.steps, job.descent.product = descent.steps, descent.product
    job.batch += 1
    job.steps += 1
    job.dropout.position = job.rows_before + job.batch * job.batch_size
    if job.first_epoch and job.non_finite:
        job.stop = BAD_INPUT
        return
    cdef double now = seconds()
    if is_due(&job.looks, now):
        look_for_signals(job)
    if job.brake != NULL and job.stop == RUNNING and cb_is_raised(job.brake):
        stop_here(job)
    if job.on_batch != NULL and job.stop == RUNNING:
        let_look_on(job)
    job.slice_batches += 1
    job.slice_samples += m
    if now > job.slice_end and job.stop == RUNNING:
        job.stop = PAUSED
    elif job.slice_batches == 1:        # the first warms up, unless it is the only one
        job.slice_began, job.slice_samples = now, 0


cdef void look_for_signals(Job *job) noexcept nogil:
    float_leave(job.environment)    # the user's handlers run in the caller's environment
    if look(&job.looks, job.pending):
        job.stop = INTERRUPTED
    float_enter()


cdef void meet(Job *job, cb_index m) noexcept nogil:
    # With the other processes, in the middle of mini-batch job.batch, which has m samples.
    float_leave(job.environment)
    with gil:
        try:
            if (<object>job.meeting)(m, job.leaving):
                job.stop = job.leaving or ELSEWHERE
        except BaseException as error:
            (<list>job.pending).append(error)
            job.stop = INTERRUPTED
    float_enter()


cdef void stop_here(Job *job) noexcept nogil:
    with gil:
        (<list>job.pending).append(KeyboardInterrupt())
        job.stop = INTERRUPTED


cdef void let_look_on(Job *job) noexcept nogil:
    float_leave(job.environment)
    with gil:
        try:
            if (<object>job.on_batch)() and (job.goes_on or job.batch * job.batch_size < job.n):
                job.stop = STOPPED
        except BaseException as error:
            (<list>job.pending).append(error)
            job.stop = INTERRUPTED
    float_enter()


cdef void end_epoch(Job *job) noexcept nogil:
    # After check_share by all threads.
    cdef cb_index i, width = score_width(&job.p)
    if job.cost_sum != job.cost_sum or job.broken:      # NaN
        job.ended = DIVERGED
        return
    if job.goes_on:
        job.batch = 0
        job.ended = COMPLETE
        return
    error_norms(job.p.layer, job.p.L, job.error_squares, job.error_norms + job.done * job.p.L,
                job.dead + job.done * job.p.L)
    job.costs[job.done] = job.cost_sum / job.total
    for i in range(width):
        job.scores[job.done * width + i] = job.score_sum[i] / job.total
    job.seconds[job.done] = seconds() - job.epoch_began
    job.done += 1
    job.epoch += 1
    job.batch = 0
    job.first_epoch = job.in_epoch = 0
    job.epochs_left -= 1
    if job.epochs_left == 0:
        job.ended = COMPLETE
