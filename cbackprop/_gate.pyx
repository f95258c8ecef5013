# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""The quick way through the gate: what is plainly in order is taken here in one walk. What
is not is left to `_validation`, which says what is wrong, or converts it."""
from numpy import empty, float64, int32, ndarray

from cpython.buffer cimport (PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release,
                             PyObject_GetBuffer)
from libc.stdint cimport int32_t, int64_t, uintptr_t

from cbackprop._engine cimport Engine, Rows, Targets, address, as_rows
from cbackprop._kernels cimport (cb_index, cb_labels, cb_look_at_targets, cb_rows, cb_targets,
                                 cb_variance)


def rows_of(x, Engine engine not None):
    """An ndarray (m >= 1, n_0) as the engine's input, read where it lies; else None."""
    if type(x) is not ndarray:
        return None
    cdef Rows rows = None
    try:
        rows = Rows(x, engine)
    except BufferError:
        pass
    if rows is None or rows.n == 0 or rows.rows.width != engine.layer[0].n_out:
        return None
    return rows


def targets(Targets y not None, double low, double high, int bits):
    """Whether real targets (m, n_L), as the core reads them, are all finite and within the
    bounds; whether all are 0 or 1; and whether each row is one-hot."""
    cdef Rows rows = y.dense
    cdef cb_targets found
    with nogil:
        found = cb_look_at_targets(&rows.rows, rows.n, low, high, bits)
    return bool(found.fit), bool(found.binary), bool(found.one_hot)


def variance(Targets y not None):
    """Of each column of real targets (m, n_L): float64 (n_L,)."""
    cdef Rows rows = y.dense
    result = empty(rows.rows.width, float64)
    cdef double *to = <double *>address(result)
    with nogil:
        cb_variance(&rows.rows, rows.n, to)
    return result


def labels(y, classes, int64_t count):
    """int32 (m,) of an ndarray of integers that are indices 0 .. count - 1 already, where
    classes are 0 .. count - 1 or None; else None."""
    if type(y) is not ndarray:
        return None
    if classes is not None:
        index = indices(classes, count)
        if index is None or len(index) != count or not counts_up(
                <const int32_t *>address(index), count):
            return None
    return indices(y, count)


cdef indices(array, int64_t count):
    cdef Py_buffer b
    cdef bint readable = True
    cdef int32_t *to
    cdef bint fit
    try:
        PyObject_GetBuffer(array, &b, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    except (ValueError, BufferError):
        readable = False
    if not readable:
        return None
    try:
        if not are_integers(&b):
            return None
        result = empty(b.shape[0], int32)
        to = <int32_t *>address(result)
        with nogil:
            fit = as_indices(&b, count, to)
        return result if fit else None
    finally:
        PyBuffer_Release(&b)


cdef bint are_integers(const Py_buffer *b) noexcept nogil:
    # A vector of them, native and aligned.
    cdef char kind = b.format[0] if b.format[1] == 0 else 0
    return (kind in b"bhilq?BHILQ" and b.ndim == 1
            and (<uintptr_t>b.buf | <uintptr_t>b.strides[0]) % <cb_index>b.itemsize == 0)


cdef bint as_indices(const Py_buffer *b, int64_t count, int32_t *to) noexcept nogil:
    # Integers that are 0 .. count - 1; or 0.
    return cb_labels(b.buf, b.strides[0], b.itemsize, b.format[0] in b"bhilq", b.shape[0], count,
                     to)


cdef bint counts_up(const int32_t *at, cb_index n) noexcept nogil:
    cdef cb_index i
    for i in range(n):
        if at[i] != i:
            return False
    return True


cdef bint are_plain(classes, int64_t count, int32_t *room) except -1:
    # Whether the label of each index is the index; room: [count].
    cdef Py_buffer b
    try:
        PyObject_GetBuffer(classes, &b, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    except (ValueError, BufferError):
        return False
    cdef bint fit = (are_integers(&b) and b.shape[0] == count and as_indices(&b, count, room)
                     and counts_up(room, count))
    PyBuffer_Release(&b)
    return fit


cdef bint take_targets(array, Py_buffer *buffer, cb_rows *rows) except -1:
    # As look_at, and also vectors: of numbers, as one column; of integers, with rows.data NULL.
    try:
        PyObject_GetBuffer(array, buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    except (ValueError, BufferError):
        return False
    rows.data = NULL
    if are_integers(buffer) or as_rows(buffer, rows):
        return True
    PyBuffer_Release(buffer)
    return False
