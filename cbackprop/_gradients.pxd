from cbackprop._kernels cimport Pass, cb_ahead, cb_index, cb_update

cdef void gradients(const Pass *p, cb_index m, int thread, int threads, const cb_update *update,
                    cb_ahead *ahead) noexcept nogil
