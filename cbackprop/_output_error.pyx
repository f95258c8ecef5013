# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""BP1: delta^L, the error of the output layer, in the general form (2.15)."""
from libc.string cimport memcpy

from cbackprop._kernels cimport Pass, cb_index, cb_layer


cdef void output_error(const Pass *p, cb_index first, cb_index last) noexcept nogil:
    # delta^L_j = sum_k dC/da_k da_k/dz_j, for samples first .. last - 1. For element-wise
    # sigma the sum has one term, dC/da_j sigma'(z_j): (2.16).
    cdef const cb_layer *output = &p.layer[p.L]
    cdef cb_index n = last - first
    if p.stable:
        # softmax with log-likelihood, sigmoid with cross-entropy: the sum is a - y
        p.kernels.stable_error(output, p.y, first, n)
    else:
        p.kernels.cost_gradient(&p.cost, output, p.y, first, n)
        p.kernels.through_activation(output, first, n)


cdef void given_error(const Pass *p, cb_index first, cb_index last) noexcept nogil:
    # The same sum for a dC/da that the caller gives; it came as targets do, into y.
    cdef const cb_layer *output = &p.layer[p.L]
    cdef cb_index stride = output.ld_out * p.kernels.itemsize
    memcpy(<char *>output.delta + first * stride, <const char *>p.y + first * stride,
           (last - first) * stride)
    p.kernels.through_activation(output, first, last - first)


cdef void measure(const Pass *p, cb_index first, cb_index last) noexcept nogil:
    # C and the score of each sample.
    cdef const cb_layer *output = &p.layer[p.L]
    p.kernels.cost_value(&p.cost, output, p.y, first, last - first, p.costs)
    p.kernels.score(p.score, output, p.y, first, last - first, p.scores)
