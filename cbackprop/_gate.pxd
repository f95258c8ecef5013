from cpython.buffer cimport Py_buffer
from libc.stdint cimport int32_t, int64_t

from cbackprop._kernels cimport cb_rows

cdef bint as_indices(const Py_buffer *b, int64_t count, int32_t *to) noexcept nogil
cdef bint are_plain(classes, int64_t count, int32_t *room) except -1
cdef bint take_targets(array, Py_buffer *buffer, cb_rows *rows) except -1
