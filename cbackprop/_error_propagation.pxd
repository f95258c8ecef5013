from cbackprop._kernels cimport Pass, cb_index, cb_layer

cdef void propagate_error(const Pass *p, int thread, cb_index first, cb_index last) noexcept nogil
cdef void propagate_error_to(const Pass *p, cb_index end, int thread, cb_index first,
                             cb_index last) noexcept nogil
cdef void propagate_columns(const Pass *p, cb_index l, int thread, cb_index first, cb_index last,
                            cb_index begin, cb_index end) noexcept nogil
cdef void block_errors(const Pass *p, const cb_layer *layer, cb_index first,
                       cb_index n) noexcept nogil
