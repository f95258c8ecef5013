from cbackprop._kernels cimport Pass, cb_index

cdef void propagate_error(const Pass *p, int thread, cb_index first, cb_index last) noexcept nogil
