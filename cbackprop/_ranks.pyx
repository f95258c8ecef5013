# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""A process's share of the mini-batches of an epoch, where several train one network: it meets the
others once a mini-batch, `_comm.Exchange`. Stops are agreed on there, so that all processes have
done the same mini-batches."""
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memset

from cbackprop._bf16 cimport part_of_pairs, round_again
from cbackprop._engine cimport barrier, team_size
from cbackprop._error_propagation cimport block_errors
from cbackprop._job cimport (INTERRUPTED, PAUSED, RUNNING, Job, check_share, end_batch, end_epoch,
                             enter_epoch, keep_share, mass_of, meet, rate_of, sum_costs,
                             sum_squares)
from cbackprop._kernels cimport (CB_SUM, Pass, cb_index, cb_team, cb_update, part, parts_of)
from cbackprop._norms cimport clip_gradients, limit_share, neurons, watch_errors, watched
from cbackprop._partitions cimport sum_errors, there_and_back
from cbackprop._updates cimport Descent, next_step


cdef void by_ranks(void *argument, int thread, cb_team *team) noexcept nogil:
    # Together: every process holds its samples where they stand in the mini-batch, is given the
    # others', and does BP3 and BP4 for all: the sums of one process. Else it holds its own from
    # place 0, and the sums of all processes are added up.
    cdef Job *job = <Job *>argument
    cdef const Pass *p = &job.p
    cdef int threads = team_size(team)
    cdef cb_index batch = job.batch, batches = parts_of(job.n, job.batch_size)
    cdef cb_index m, begin, own, at, place, counted, rows, l, n
    cdef const int64_t *weighed
    cdef Descent descent = job.descent
    cdef double mass
    cdef cb_update update, sums
    if thread == 0:
        enter_epoch(job)
        take_place(job)
    barrier(team)
    keep_share(job, thread, threads)
    while batch < batches:
        m = min(job.batch_size, job.n - batch * job.batch_size)
        begin = part(m, job.ranks, job.rank)
        own = part(m, job.ranks, job.rank + 1) - begin
        at = 0 if job.together else begin
        counted = m if job.together else own
        place = batch * job.batch_size + at     # of the first sample held, in the epoch
        weighed = job.weighed + place
        there_and_back(job, place, begin - at, own, thread, threads)
        barrier(team)
        if thread == 0:
            if p.failed != NULL and p.failed[0]:
                job.leaving = INTERRUPTED
            if job.together:
                meet(job, m)
            elif own == 0:
                memset(job.sums, 0, job.sums_bytes)
        barrier(team)
        if job.stop:
            return
        descent.eta = rate_of(job, batch)
        mass = mass_of(job, batch, m)
        if mass > 0:        # else the mini-batch is as if it were not there
            next_step(&descent, mass, &update)
        sums = update
        sums.rule = CB_SUM
        if job.together:
            keep_others(job, m, thread, threads)
            barrier(team)
        if job.together and job.clip_norm == INFINITY:
            if mass > 0:
                sum_errors(job, m, thread, threads, &update, NULL)
        else:
            if counted > 0 and mass > 0:
                sum_errors(job, counted, thread, threads, &sums, NULL)
            if not job.together:
                barrier(team)
                if thread == 0:
                    meet(job, m)
                barrier(team)
                if job.stop:
                    return
            if mass > 0:
                clip_gradients(p, thread, team, job.clip_norm, job.panel_squares, &update)
        if job.max_norm < INFINITY and mass > 0:
            barrier(team)
            limit_share(p, thread, threads, job.max_norm)
        rows = watched(job.batches_before + batch, m) - at
        rows = max(<cb_index>0, min(rows, counted))
        for l in range(1, p.L + 1):
            n = p.layer[l].n_out
            watch_errors(p, l, rows, part(n, threads, thread), part(n, threads, thread + 1),
                         job.error_squares)
        sum_squares(job, p, weighed, counted, thread, threads)
        if job.on_batch != NULL:
            barrier(team)
        if thread == 0:
            job.error_squares[neurons(p.layer, p.L)] += rows
            sum_costs(job, p, weighed, counted)
            end_batch(job, m, &descent)
            if job.stop != PAUSED:
                job.leaving, job.stop = job.stop, RUNNING
            take_place(job)
        barrier(team)
        if job.stop:
            return
        batch += 1
    check_share(job, thread, threads)
    barrier(team)
    if thread == 0:
        end_epoch(job)
        job.stop = job.leaving


cdef void keep_others(Job *job, cb_index m, int thread, int threads) noexcept nogil:
    # Copies of a and delta as BP4 reads them, of what the other processes told among the rest.
    cdef const Pass *p = &job.p
    cdef cb_index l, first = part(m, threads, thread), last = part(m, threads, thread + 1)
    if job.rounding != NULL:
        round_again(p, job.rounding, part_of_pairs(m, threads, thread),
                    part_of_pairs(m, threads, thread + 1))
        return
    for l in range(1, p.L + 1):
        block_errors(p, &p.layer[l], first, last - first)


cdef void take_place(Job *job) noexcept nogil:
    # Of the mini-batch that comes next, this process's first sample is the one that chance sees.
    cdef cb_index m = min(job.batch_size, job.n - job.batch * job.batch_size)
    if not job.together and m > 0:
        job.dropout.position = (job.rows_before + job.batch * job.batch_size
                                + part(m, job.ranks, job.rank))
