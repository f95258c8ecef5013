from cbackprop._kernels cimport Pass, cb_ahead, cb_index, cb_update

cdef cb_index tiles_from(const Pass *p, cb_index l, cb_index columns) noexcept nogil
cdef void gradients(const Pass *p, cb_index m, int thread, int threads, const cb_update *update,
                    cb_ahead *ahead) noexcept nogil
cdef void gradient_columns(const Pass *p, cb_index l, cb_index m, cb_index begin, cb_index end,
                           const cb_update *update, cb_ahead *ahead) noexcept nogil
