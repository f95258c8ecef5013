from cbackprop._kernels cimport cb_team

cdef void by_samples(void *argument, int thread, cb_team *team) noexcept nogil
cdef void by_columns(void *argument, int thread, cb_team *team) noexcept nogil
cdef void by_turns(void *argument, int thread, cb_team *team) noexcept nogil
