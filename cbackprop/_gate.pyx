# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""The quick way through the gate: what is plainly in order is taken here in one walk. What
is not is left to `_validation`, which says what is wrong, or converts it."""
from numpy import empty, float64, int32, ndarray

from cpython.buffer cimport (PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release,
                             PyObject_GetBuffer)
from libc.stdint cimport int32_t, int64_t, uintptr_t

from cbackprop._engine cimport Engine, Rows, Targets, address
from cbackprop._kernels cimport (cb_index, cb_labels, cb_look_at_targets, cb_targets,
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
        if index is None or len(index) != count or not counts_up(index):
            return None
    return indices(y, count)


cdef indices(array, int64_t count):
    cdef Py_buffer b
    cdef bint readable = True
    try:
        PyObject_GetBuffer(array, &b, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    except (ValueError, BufferError):
        readable = False
    if not readable:
        return None
    cdef char kind = b.format[0] if b.format[1] == 0 else 0
    cdef bint is_signed = kind in b"bhilq", known = is_signed or kind in b"?BHILQ"
    cdef int32_t *to
    cdef bint fit
    try:
        if (not known or b.ndim != 1
                or (<uintptr_t>b.buf | <uintptr_t>b.strides[0]) % <cb_index>b.itemsize != 0):
            return None
        result = empty(b.shape[0], int32)
        to = <int32_t *>address(result)
        with nogil:
            fit = cb_labels(b.buf, b.strides[0], b.itemsize, is_signed, b.shape[0], count, to)
        return result if fit else None
    finally:
        PyBuffer_Release(&b)


cdef bint counts_up(index) except -1:
    cdef const int32_t *at = <const int32_t *>address(index)
    cdef cb_index i
    for i in range(len(index)):
        if at[i] != i:
            return False
    return True
