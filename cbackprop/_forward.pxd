from cbackprop._kernels cimport Pass, cb_index

cdef void forward(const Pass *p, cb_index first, cb_index last) noexcept nogil
