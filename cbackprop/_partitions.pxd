from cbackprop._job cimport Job
from cbackprop._kernels cimport cb_ahead, cb_index, cb_team, cb_update

cdef void by_samples(void *argument, int thread, cb_team *team) noexcept nogil
cdef void by_columns(void *argument, int thread, cb_team *team) noexcept nogil
cdef void by_turns(void *argument, int thread, cb_team *team) noexcept nogil
cdef void there_and_back(Job *job, cb_index place, cb_index begin, cb_index own, int thread,
                         int threads) noexcept nogil
cdef void sum_errors(Job *job, cb_index m, int thread, int threads, const cb_update *update,
                     cb_ahead *ahead) noexcept nogil
