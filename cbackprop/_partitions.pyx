# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""Three ways for a team of threads to share the mini-batches of an epoch. All give the same
bits, so training may go from one to another; `_pace` finds out which is fastest."""
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cbackprop._bf16 cimport (Rounding, part_of_pairs, rounded_forward,
                              rounded_gradients, rounded_propagate_error)
from cbackprop._engine cimport barrier, load, team_size
from cbackprop._error_propagation cimport (propagate_columns, propagate_error,
                                           propagate_error_to)
from cbackprop._forward cimport forward, forward_columns, forward_from
from cbackprop._gradients cimport gradient_columns, gradients, tiles_from
from cbackprop._job cimport (INTERRUPTED, TURN, Job, check_share, clear_absent, end_batch,
                             end_epoch, enter_epoch, keep_share, mass_of, rate_of, sum_costs,
                             sum_squares, weigh)
from cbackprop._kernels cimport (CB_CACHE_LINE, CB_FLOAT32, CB_PANEL, CB_SUM, CB_UINT8, Pass,
                                 cb_ahead, cb_end_turn, cb_index, cb_rows, cb_team, cb_update,
                                 cb_wait_for_turn, part, parts_of)
from cbackprop._norms cimport (clip_gradients, limit_share, limit_weights, neurons, watch_errors,
                               watched)
from cbackprop._output_error cimport measure, output_error
from cbackprop._updates cimport Descent, next_step


cdef enum:
    FEW_LINES = 4       # of memory, which a core asks for at once without waiting


cdef void look_ahead(Job *job, cb_index batch, cb_index steps, int thread, int threads,
                     cb_index tiles, cb_ahead *ahead) noexcept nogil:
    # The rows that this thread will gather for that mini-batch of this epoch, and their
    # targets, spread evenly over its tiles of BP4; where that is more than a few lines for each,
    # and some would wait for room among those on their way, over the tiles' steps as well.
    cdef cb_index m = max(<cb_index>0, min(job.batch_size, job.n - batch * job.batch_size))
    cdef cb_index first = part(m, threads, thread), rows = part(m, threads, thread + 1) - first
    cdef const int64_t *index = job.index + batch * job.batch_size + first
    cdef cb_index lines = parts_of(rows * (lines_of(job.x) + lines_of(&job.targets)), tiles)
    cdef cb_index step = min(lines * CB_CACHE_LINE // steps, <cb_index>CB_CACHE_LINE)
    if lines <= FEW_LINES or lines > lines_of(job.x):
        step = 0
    ahead[0] = cb_ahead(job.x, &job.targets, index, rows, index, rows, 0, lines, step,
                        ((steps - 1) * step // CB_CACHE_LINE + 1) * CB_CACHE_LINE)


cdef inline cb_index lines_of(const cb_rows *x) noexcept nogil:
    # Cache lines that a row touches, wherever it begins.
    return parts_of(x.width * (1 if x.type == CB_UINT8 else 4 if x.type == CB_FLOAT32 else 8)
                    + CB_CACHE_LINE - 1, CB_CACHE_LINE)


cdef void watch(Job *job, const Pass *p, cb_index batch, cb_index m, int thread,
                int threads) noexcept nogil:
    # The errors of a whole mini-batch, a thread's share of each layer's neurons.
    cdef cb_index l, n, rows = watched(job.batches_before + batch, m)
    for l in range(1, p.L + 1 if rows else 0):
        n = p.layer[l].n_out
        watch_errors(p, l, rows, part(n, threads, thread), part(n, threads, thread + 1),
                     job.error_squares)
    if thread == 0:
        job.error_squares[neurons(p.layer, p.L)] += rows


cdef void there_and_back(Job *job, cb_index place, cb_index begin, cb_index own, int thread,
                         int threads) noexcept nogil:
    # Forward, BP1 and BP2 of a thread's share of `own` samples, which are held from `begin` on;
    # what is held at 0 is number `place` of the epoch.
    cdef const Pass *p = &job.p
    cdef const Rounding *r = job.rounding
    cdef cb_index first = begin + part(own, threads, thread)
    cdef cb_index last = begin + part(own, threads, thread + 1)
    if r != NULL:
        first = begin + part_of_pairs(own, threads, thread)
        last = begin + part_of_pairs(own, threads, thread + 1)
    load(p, job.x, job.y, job.labels, job.index + place, first, last, &job.non_finite)
    clear_absent(p, job.weights, job.weighed + place, first, last)
    if r != NULL:
        rounded_forward(p, r, thread, first, last)
    else:
        forward(p, first, last)
    measure(p, first, last)
    output_error(p, first, last)
    weigh(job, p, place, first, last)
    if r != NULL:
        rounded_propagate_error(p, r, thread, first, last)
    else:
        propagate_error(p, thread, first, last)


cdef void sum_errors(Job *job, cb_index m, int thread, int threads, const cb_update *update,
                     cb_ahead *ahead) noexcept nogil:
    if job.rounding != NULL:
        rounded_gradients(&job.p, job.rounding, m, thread, threads, update, ahead)
    else:
        gradients(&job.p, m, thread, threads, update, ahead)


cdef bint is_over(Job *job, int thread, cb_team *team) noexcept nogil:
    # After the last mini-batch of an epoch; all threads learn whether it was the last epoch.
    check_share(job, thread, team_size(team))
    barrier(team)
    if thread == 0:
        end_epoch(job)
    barrier(team)
    return job.ended


cdef void by_samples(void *argument, int thread, cb_team *team) noexcept nogil:
    # Each thread takes some samples of every mini-batch, then some weights of the update.
    cdef Job *job = <Job *>argument
    cdef const Pass *p = &job.p
    cdef int threads = team_size(team)
    cdef cb_index batch = job.batch, batches = parts_of(job.n, job.batch_size), m
    cdef Descent descent = job.descent
    cdef double mass
    cdef cb_update update, sums
    cdef cb_ahead ahead
    cdef cb_index tiles = max(<cb_index>1, tiles_from(p, 1, p.layer[1].n_out) // threads)
    while True:
        if thread == 0:
            enter_epoch(job)
        barrier(team)
        keep_share(job, thread, threads)
        while batch < batches:
            m = min(job.batch_size, job.n - batch * job.batch_size)
            there_and_back(job, batch * job.batch_size, 0, m, thread, threads)
            barrier(team)
            if p.failed != NULL and p.failed[0]:    # it ran with one thread
                job.stop = INTERRUPTED
                return
            descent.eta = rate_of(job, batch)
            look_ahead(job, batch + 1, m, thread, threads, tiles, &ahead)
            mass = mass_of(job, batch, m)
            if mass > 0:        # else the mini-batch is as if it were not there
                next_step(&descent, mass, &update)
                if job.clip_norm < INFINITY:
                    sums = update
                    sums.rule = CB_SUM
                    sum_errors(job, m, thread, threads, &sums, &ahead)
                    clip_gradients(p, thread, team, job.clip_norm, job.panel_squares, &update)
                else:
                    sum_errors(job, m, thread, threads, &update, &ahead)
                if job.max_norm < INFINITY:
                    barrier(team)
                    limit_share(p, thread, threads, job.max_norm)
            watch(job, p, batch, m, thread, threads)
            sum_squares(job, p, job.index + batch * job.batch_size, m, thread, threads)
            if job.on_batch != NULL:    # which may look at all weights, and change them
                barrier(team)
            if thread == 0:
                sum_costs(job, p, job.index + batch * job.batch_size, m)
                end_batch(job, m, &descent)
            barrier(team)
            if job.stop:
                return
            batch += 1
        batch = 0
        if is_over(job, thread, team):
            return


cdef void by_columns(void *argument, int thread, cb_team *team) noexcept nogil:
    # Each thread owns some neurons of layer 1, whose weights never leave its cache, and does
    # everything after layer 1 for itself, with its own copy of those weights. What the
    # threads tell each other is a^1, in turn in two places, so that they meet once a step.
    cdef Job *job = <Job *>argument
    cdef const Pass *p = job.own[thread]
    cdef int threads = team_size(team), turn = 0
    cdef cb_index batch = job.batch, batches = parts_of(job.n, job.batch_size), m, l, k
    cdef cb_index rows
    cdef cb_index panels = parts_of(p.layer[1].n_out, CB_PANEL)
    cdef cb_index begin = part(panels, threads, thread) * CB_PANEL
    cdef cb_index end = min(p.layer[1].n_out, part(panels, threads, thread + 1) * CB_PANEL)
    cdef Descent descent = job.descent
    cdef double mass
    cdef cb_update update
    cdef cb_ahead ahead
    cdef cb_index tiles = tiles_from(p, 1, end - begin)
    cdef void *a[2]
    cdef bint z_apart = p.layer[1].z != p.layer[1].a
    a[0], a[1] = job.a_shared[0], job.a_shared[1]
    if thread:
        memcpy(p.layer[2].w, job.p.layer[2].w, job.tail_bytes)
        for k in range(descent.planes):
            memcpy(<char *>p.layer[2].state + k * p.layer[2].plane,
                   <char *>job.p.layer[2].state + k * job.p.layer[2].plane, job.tail_bytes)
    while True:
        if thread == 0:
            job.stops[0] = job.stops[1] = 0
            enter_epoch(job)
        barrier(team)
        keep_share(job, thread, threads)
        while batch < batches:
            m = min(job.batch_size, job.n - batch * job.batch_size)
            if not z_apart:
                p.layer[1].z = a[turn]
            p.layer[1].a = a[turn]
            p.layer[2].a_in = a[turn]
            load(p, job.x, job.y, job.labels, job.index + batch * job.batch_size, 0, m,
                 &job.non_finite)
            clear_absent(p, job.weights, job.index + batch * job.batch_size, 0, m)
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
            weigh(job, p, batch * job.batch_size, 0, m)
            propagate_error_to(p, 2, 0, 0, m)
            propagate_columns(p, 1, 0, 0, m, begin, end)
            descent.eta = rate_of(job, batch)
            look_ahead(job, batch + 1, m, 0, 1, tiles, &ahead)
            mass = mass_of(job, batch, m)
            if mass > 0:
                next_step(&descent, mass, &update)
                gradient_columns(p, 1, m, begin, end, &update, &ahead)
                for l in range(2, p.L + 1):
                    gradient_columns(p, l, m, 0, p.layer[l].n_out, &update, &ahead)
                if job.max_norm < INFINITY:
                    limit_weights(p, 1, begin, end, job.max_norm)
                    for l in range(2, p.L + 1):
                        limit_weights(p, l, 0, p.layer[l].n_out, job.max_norm)
            rows = watched(job.batches_before + batch, m)
            watch_errors(p, 1, rows, begin, end, job.error_squares)
            for l in range(2, p.L + 1 if thread == 0 else 0):
                watch_errors(p, l, rows, 0, p.layer[l].n_out, job.error_squares)
            if thread == 0:
                job.error_squares[neurons(p.layer, p.L)] += rows
            turn = 1 - turn
            if thread == 0:
                sum_costs(job, p, job.index + batch * job.batch_size, m)
                sum_squares(job, p, job.index + batch * job.batch_size, m, 0, 1)
                end_batch(job, m, &descent)
                job.stops[turn] = job.stop
            batch += 1
        barrier(team)
        if job.stops[turn]:
            break
        batch = 0
        if is_over(job, thread, team):
            break
    if not z_apart:
        p.layer[1].z = a[0]
    p.layer[1].a = a[0]
    p.layer[2].a_in = a[0]


cdef void by_turns(void *argument, int thread, cb_team *team) noexcept nogil:
    # For large mini-batches of small networks: chunks that stay in a core's cache go all the
    # way through the network one by one, and the sums of BP3 and BP4 grow chunk by chunk in
    # the order of the samples. Each layer has a turn of its own, so that one thread may be at
    # layer l while the next one, a chunk behind, is at layer l + 1.
    cdef Job *job = <Job *>argument
    cdef Pass p = job.own[thread][0]
    cdef int threads = team_size(team)
    cdef cb_index batch = job.batch, batches = parts_of(job.n, job.batch_size)
    cdef cb_index m, l, c, chunks, first, k, rows
    cdef int64_t before = 0     # chunks of earlier mini-batches
    cdef Descent descent = job.descent
    cdef double mass
    cdef cb_update update, sums
    while True:
        if thread == 0:
            for l in range(p.L + 1):
                job.turn[l * TURN] = 0
            enter_epoch(job)
            keep_share(job, 0, 1)   # alone: nobody waits for all before the first update
        before = 0
        barrier(team)
        while batch < batches:
            m = min(job.batch_size, job.n - batch * job.batch_size)
            chunks = parts_of(m, job.chunk)
            descent.eta = rate_of(job, batch)
            mass = mass_of(job, batch, m)
            if mass > 0:
                next_step(&descent, mass, &update)
            c = thread - threads
            while c + threads < chunks:
                c += threads
                first = c * job.chunk
                k = min(job.chunk, m - first)
                job.dropouts[thread].epoch = job.dropout.epoch
                job.dropouts[thread].position = (job.rows_before + batch * job.batch_size
                                                 + first)
                rows = min(k, watched(job.batches_before + batch, m) - first)
                load(&p, job.x, job.y, job.labels, job.index + batch * job.batch_size + first,
                     0, k, &job.non_finite)
                clear_absent(&p, job.weights, job.index + batch * job.batch_size + first, 0, k)
                forward(&p, 0, k)
                measure(&p, 0, k)
                output_error(&p, 0, k)
                weigh(job, &p, batch * job.batch_size + first, 0, k)
                propagate_error(&p, 0, 0, k)
                sums = update
                sums.goes_on = c > 0
                if c < chunks - 1:
                    sums.rule = CB_SUM
                for l in range(p.L, -1, -1):
                    cb_wait_for_turn(&job.turn[l * TURN], before + c)
                    if l > 0 and mass > 0:
                        gradient_columns(&p, l, k, 0, p.layer[l].n_out, &sums, NULL)
                        if c == chunks - 1 and job.max_norm < INFINITY:
                            limit_weights(&p, l, 0, p.layer[l].n_out, job.max_norm)
                    if l > 0:
                        watch_errors(&p, l, rows, 0, p.layer[l].n_out, job.error_squares)
                    else:
                        job.error_squares[neurons(p.layer, p.L)] += max(<cb_index>0, rows)
                        sum_costs(job, &p,
                                  job.index + batch * job.batch_size + first, k)
                        sum_squares(job, &p,
                                    job.index + batch * job.batch_size + first, k, 0, 1)
                    cb_end_turn(&job.turn[l * TURN], before + c + 1)
            before += chunks
            barrier(team)
            if thread == 0:
                end_batch(job, m, &descent)
            barrier(team)
            if job.stop:
                return
            batch += 1
        batch = 0
        if is_over(job, thread, team):
            return
