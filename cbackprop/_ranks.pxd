from cbackprop._kernels cimport cb_team

cdef void by_ranks(void *argument, int thread, cb_team *team) noexcept nogil
