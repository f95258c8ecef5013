# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""Norms: of a layer's errors, for the history; of the whole gradient, for clip_norm; of the
weights into a neuron, for max_norm."""
from libc.math cimport sqrt

from cbackprop._engine cimport barrier, team_size
from cbackprop._kernels cimport CB_PANEL, CB_SGD, CB_SGD_ADJUSTED, part, parts_of


cdef cb_index neurons(const cb_layer *layer, cb_index L) noexcept nogil:
    # After the input.
    cdef cb_index l, n = 0
    for l in range(1, L + 1):
        n += layer[l].n_out
    return n


cdef void watch_errors(const Pass *p, cb_index l, cb_index rows, cb_index begin, cb_index end,
                       double *squares) noexcept nogil:
    # squares: of each neuron after the input, layer by layer, sum_s (delta^l_sj)^2.
    cdef cb_index before
    if rows > 0 and begin < end:
        for before in range(1, l):
            squares += p.layer[before].n_out
        p.kernels.add_error_squares(&p.layer[l], rows, begin, end - begin, squares)


cdef void error_norms(const cb_layer *layer, cb_index L, const double *squares, double *norms,
                      double *dead) noexcept nogil:
    # For l = 1 .. L, over the samples looked at, whose number follows the squares: the root
    # of the mean of ||delta^l||^2, and the share of neurons whose error was always 0.
    cdef cb_index l, j
    cdef double count = squares[neurons(layer, L)], total
    for l in range(1, L + 1):
        total = dead[l - 1] = 0
        for j in range(layer[l].n_out):
            total += squares[j]
            dead[l - 1] += squares[j] == 0
        norms[l - 1] = sqrt(total / count)
        dead[l - 1] /= layer[l].n_out
        squares += layer[l].n_out


cdef cb_index panels_before(const Pass *p, cb_index l) noexcept nogil:
    cdef cb_index before, n = 0
    for before in range(1, l):
        n += parts_of(p.layer[before].n_out, CB_PANEL)
    return n


cdef void clip_gradients(const Pass *p, int thread, cb_team *team, double most, double *squares,
                         cb_update *update) noexcept nogil:
    # With the sums of BP3 and BP4 in nabla: g times most / ||g|| where the norm over all layers
    # is larger, then the rule. Each thread takes some panels; the norm is added up by all.
    cdef int threads = team_size(team)
    cdef cb_index l, i, panel, all_panels = panels_before(p, p.L + 1)
    cdef cb_index first = part(all_panels, threads, thread)
    cdef cb_index last = part(all_panels, threads, thread + 1)
    cdef double total = 0, norm
    barrier(team)
    for l in range(1, p.L + 1):
        for panel in range(parts_of(p.layer[l].n_out, CB_PANEL)):
            i = panels_before(p, l) + panel
            if first <= i < last:
                squares[i] = p.kernels.gradient_squares(&p.layer[l], panel, update)
    barrier(team)
    for i in range(all_panels):
        total += squares[i]
    norm = sqrt(total) / update.m
    update.adjusts = 0
    if norm > most:
        if update.rule == CB_SGD or update.rule == CB_SGD_ADJUSTED:
            update.rate *= most / norm
        else:
            update.per_sample *= most / norm
    for l in range(1, p.L + 1):
        for panel in range(parts_of(p.layer[l].n_out, CB_PANEL)):
            i = panels_before(p, l) + panel
            if first <= i < last:
                p.kernels.apply(&p.layer[l], 0, p.layer[l].n_in + 1, panel * CB_PANEL,
                                min(<cb_index>CB_PANEL, p.layer[l].n_out - panel * CB_PANEL),
                                update)


cdef void limit_weights(const Pass *p, cb_index l, cb_index begin, cb_index end,
                        double most) noexcept nogil:
    # ||w^l_j|| <= most for the neurons begin .. end - 1, begin at a panel's edge.
    cdef cb_index panel
    for panel in range(begin // CB_PANEL, parts_of(end, CB_PANEL)):
        p.kernels.limit_norms(&p.layer[l], panel, most)


cdef void limit_share(const Pass *p, int thread, int threads, double most) noexcept nogil:
    # A thread's share of every layer.
    cdef cb_index l, panels
    for l in range(1, p.L + 1):
        panels = parts_of(p.layer[l].n_out, CB_PANEL)
        limit_weights(p, l, part(panels, threads, thread) * CB_PANEL,
                      min(p.layer[l].n_out, part(panels, threads, thread + 1) * CB_PANEL), most)
