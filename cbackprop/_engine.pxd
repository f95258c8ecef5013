from cpython.buffer cimport Py_buffer
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t

from cbackprop._kernels cimport (Pass, cb_bf16_kernels, cb_cost_function, cb_index, cb_kernels,
                                 cb_layer, cb_program, cb_random, cb_rows, cb_team)
from cbackprop._pace cimport Pace


cdef enum:
    # kinds of workspace
    INFERENCE = 0
    TRAINING = 1
    EVERYTHING = 2          # every z, delta and gradient kept apart, for the user to read
    FEW = 3                 # INFERENCE for one or two rows
    KINDS = 4


cdef class Rows:
    cdef Py_buffer buffer
    cdef cb_rows rows
    cdef cb_index n
    cdef object engine


cdef class Targets:
    cdef Rows dense
    cdef Py_buffer buffer
    cdef const int32_t *labels
    cdef const cb_rows *rows(self) noexcept


cdef class Workspace:
    cdef object arena, offsets
    cdef Pass p
    cdef cb_index m
    cdef int threads, kind
    cdef object spare_room
    cdef list planes        # of dropout
    cdef object rounded     # _bf16.Rounded, or None
    cdef char *room(self, cb_index n_bytes) except NULL
    cdef void leave_to_chance(self, drops, double noise) except *


cdef class Engine:
    cdef const cb_kernels *kernels
    cdef const cb_bf16_kernels *bf16    # or NULL: not on this CPU
    cdef readonly object sizes, activations, arena
    cdef object offsets, spare, transform
    cdef object gradient_arena  # of apply_gradients, or None
    cdef public object brake    # _job.Brake, by which others may stop its training; or None
    cdef readonly object dtype
    cdef int users          # readers.h
    cdef cb_index products  # of one sample's forward pass
    cdef const void *scale
    cdef const void *shift
    cdef cb_layer *layer
    cdef cb_index L, n_bytes
    cdef char *parameters
    cdef cb_cost_function cost
    cdef int stable
    cdef object own         # Functions of the user's, or None
    cdef readonly bint in_python    # any of them: one thread then
    cdef const int *failed
    cdef Pace pace
    cdef bint check(self) except 0
    cdef Workspace workspace(self, cb_index m, int threads, int kind, int score)
    cdef void put_back(self, Workspace w)


cdef class Hold:
    cdef Engine engine
    cdef bint alone, patient
    cdef str busy


cdef uintptr_t address(array) except? 0
cdef new_arena(cb_index n_bytes)
cdef arena_of(counts, cb_index wall=*)
cdef panels_of(arena, start, dtype, n_in, n_out)
cdef bint as_rows(const Py_buffer *buffer, cb_rows *rows) noexcept nogil
cdef bint look_at(array, Py_buffer *buffer, cb_rows *rows) except -1


# The parts of the core that _training uses: there is one pool, in _engine.
cdef int run(cb_program program, void *argument, int threads) noexcept nogil
cdef int team_size(const cb_team *team) noexcept nogil
cdef void barrier(cb_team *team) noexcept nogil
cdef unsigned float_enter() noexcept nogil
cdef void float_leave(unsigned saved) noexcept nogil
cdef double seconds() noexcept nogil
cdef uint64_t key_of_block(uint64_t key, int64_t block) noexcept nogil
cdef void shuffle(cb_random r, int64_t *index, int64_t n) noexcept nogil
cdef void load(const Pass *p, const cb_rows *x, const cb_rows *y, const int32_t *labels,
               const int64_t *index, cb_index first, cb_index last,
               int *non_finite) noexcept nogil
