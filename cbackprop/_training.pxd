from cbackprop._engine cimport Engine, Workspace
from cbackprop._job cimport Job
from cbackprop._kernels cimport cb_index
from cbackprop._pace cimport Pace
from cbackprop._updates cimport State

cdef void begin_job(Job *job, Engine engine, Workspace w, State state, cb_index n, cb_index m,
                    cb_index epochs, char *room, double *results) noexcept
cdef void run_without_lock(Job *job, Pace *pace) noexcept nogil
cdef double score_of(const double *means, const double *variances, cb_index width) noexcept
cdef void lend_sums(Workspace w, Engine engine, char *nabla) noexcept
cdef cb_index panels_of(Engine engine) noexcept
