from cbackprop._engine cimport Engine, Workspace
from cbackprop._kernels cimport (Pass, cb_ahead, cb_bf16_kernels, cb_index, cb_update, part)


cdef struct Rounding:
    # Products whose operands are rounded to bfloat16, in layers that have a_bf16.
    const cb_bf16_kernels *kernels
    char *scratch           # [threads][scratch_bytes]
    cb_index scratch_bytes


cdef class Rounded:
    cdef object arena, layers
    cdef Rounding rounding


cdef const Rounding *rounding_of(Workspace w, Engine engine, cb_index m) except? NULL


cdef inline cb_index part_of_pairs(cb_index m, cb_index parts, cb_index i) noexcept nogil:
    # Where part i of the samples begins when pairs stay together.
    return min(m, 2 * part((m + 1) // 2, parts, i))


cdef void rounded_forward(const Pass *p, const Rounding *r, int thread, cb_index first,
                          cb_index last) noexcept nogil
cdef void rounded_propagate_error(const Pass *p, const Rounding *r, int thread, cb_index first,
                                  cb_index last) noexcept nogil
cdef void round_again(const Pass *p, const Rounding *r, cb_index first,
                      cb_index last) noexcept nogil
cdef void rounded_gradients(const Pass *p, const Rounding *r, cb_index m, int thread, int threads,
                            const cb_update *update, cb_ahead *ahead) noexcept nogil
