from cbackprop._kernels cimport Pass, cb_index, cb_layer, cb_team, cb_update

cdef enum:
    # Errors are looked at in one mini-batch of so many, and there in its first samples.
    WATCHED_OF = 8
    WATCHED = 128


cdef inline cb_index watched(cb_index batch, cb_index m) noexcept nogil:
    # Samples to look at of the epoch's mini-batch of that number.
    return 0 if batch % WATCHED_OF else min(m, <cb_index>WATCHED)


cdef cb_index neurons(const cb_layer *layer, cb_index L) noexcept nogil
cdef void watch_errors(const Pass *p, cb_index l, cb_index rows, cb_index begin, cb_index end,
                       double *squares) noexcept nogil
cdef void error_norms(const cb_layer *layer, cb_index L, const double *squares, double *norms,
                      double *dead) noexcept nogil
cdef void clip_gradients(const Pass *p, int thread, cb_team *team, double most, double *squares,
                         cb_update *update) noexcept nogil
cdef void limit_weights(const Pass *p, cb_index l, cb_index begin, cb_index end,
                        double most) noexcept nogil
cdef void limit_share(const Pass *p, int thread, int threads, double most) noexcept nogil
