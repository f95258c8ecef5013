from cbackprop._kernels cimport Pass, cb_index

cdef void forward(const Pass *p, cb_index first, cb_index last) noexcept nogil
cdef void forward_from(const Pass *p, cb_index start, cb_index first, cb_index last) noexcept nogil
cdef void forward_columns(const Pass *p, cb_index l, cb_index first, cb_index last, cb_index begin,
                          cb_index end) noexcept nogil
