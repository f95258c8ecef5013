from cbackprop._kernels cimport Pass, cb_index

cdef void output_error(const Pass *p, cb_index first, cb_index last) noexcept nogil
cdef void given_error(const Pass *p, cb_index first, cb_index last) noexcept nogil
cdef void measure(const Pass *p, cb_index first, cb_index last) noexcept nogil
